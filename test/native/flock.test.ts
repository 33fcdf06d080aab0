import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { constants, flock } from '../../src/native.js';
import { failure } from '../support/failure.js';

const { LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } = constants;
let dir: string;
let path: string;
let open: number[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rmapfs-flock-'));
  path = join(dir, 'file');
  open = [0, 1].map(() => openSync(path, 'a+'));
});

afterEach(() => {
  for (const fd of open) closeSync(fd);
  rmSync(dir, { recursive: true });
});

test('an exclusive lock keeps others out until it is given up', () => {
  flock(open[0], LOCK_EX | LOCK_NB);
  expect(failure(() => flock(open[1], LOCK_SH | LOCK_NB))).toMatchObject({
    code: 'EAGAIN',
    errno: -11,
    syscall: 'flock',
  });
  expect(() => execFileSync('flock', ['-n', path, 'true'])).toThrow();
  flock(open[0], LOCK_UN);
  flock(open[1], LOCK_EX | LOCK_NB);
});

test('shared locks stand beside each other', () => {
  flock(open[0], LOCK_SH);
  flock(open[1], LOCK_SH);
  expect(failure(() => flock(open[1], LOCK_EX | LOCK_NB)).code).toBe('EAGAIN');
});

test('bad arguments', () => {
  expect(failure(() => flock(-1, LOCK_EX)).code).toBe('EINVAL');
  expect(failure(() => flock(open[0], 64)).code).toBe('EINVAL');
  expect(failure(() => flock(2 ** 31, LOCK_EX)).code).toBe('EINVAL');
  expect(failure(() => flock(100_000, LOCK_EX))).toMatchObject({ code: 'EBADF', errno: -9 });
});
