import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { receiveFd, socketPair } from '../../src/native.js';
import { failure } from '../support/failure.js';

let ours: number;
let theirs: number;
let dir: string;
let path: string;

beforeEach(() => {
  [ours, theirs] = socketPair();
  dir = mkdtempSync(join(tmpdir(), 'rmapfs-fd-'));
  path = join(dir, 'file');
  writeFileSync(path, 'what was passed');
});

afterEach(() => {
  closeSync(ours);
  closeSync(theirs);
  rmSync(dir, { recursive: true });
});

/** Another process sends one byte with `count` descriptors of the file over its descriptor 3. */
function send(count: number): void {
  const script = [
    'import os, socket, sys',
    'fds = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(int(sys.argv[2]))]',
    'socket.send_fds(socket.socket(fileno=3), [b"x"], fds)',
  ].join('\n');
  const done = spawnSync('python3', ['-c', script, path, String(count)], {
    stdio: ['ignore', 'pipe', 'pipe', theirs],
    encoding: 'utf8',
  });
  expect(done.stderr).toBe('');
}

const openFiles = (): number => readdirSync('/proc/self/fd').length;

test('a descriptor arrives, close-on-exec, and is of the file that was sent', () => {
  send(1);
  const fd = receiveFd(ours);
  expect(fstatSync(fd).ino).toBe(statSync(path).ino);
  expect(readFileSync(fd, 'utf8')).toBe('what was passed');
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  expect(Number.parseInt(flags ?? '0', 8) & 0o2000000).toBe(0o2000000);
  closeSync(fd);
});

test('a byte without a descriptor, and one with two, are refused and leave nothing open', () => {
  send(0);
  const before = openFiles();
  expect(failure(() => receiveFd(ours))).toMatchObject({ code: 'EPROTO', syscall: 'recvmsg' });
  send(2);
  expect(failure(() => receiveFd(ours)).message).toMatch(/more than one/);
  expect(openFiles()).toBe(before);
});

test('it does not wait, and says when the other end is gone', () => {
  expect(failure(() => receiveFd(ours)).code).toBe('EAGAIN');
  closeSync(theirs);
  theirs = openSync('/dev/null', 'r');
  expect(failure(() => receiveFd(ours)).code).toBe('EPIPE');
});

test('bad arguments', () => {
  expect(failure(() => receiveFd(-1)).code).toBe('EINVAL');
  expect(failure(() => receiveFd(theirs + 100_000)).code).toBe('EBADF');
  const file = openSync(path, 'r');
  expect(failure(() => receiveFd(file)).code).toBe('ENOTSOCK');
  closeSync(file);
});
