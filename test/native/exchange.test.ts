import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { exchange, exchangev } from '../../src/native.js';
import { failure } from '../support/failure.js';

const EBADF = 9;

/** A FIFO open for both: what is written comes back. */
let dir: string;
let fd: number;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rmapfs-exchange-'));
  execFileSync('mkfifo', [join(dir, 'fifo')]);
  fd = openSync(join(dir, 'fifo'), constants.O_RDWR | constants.O_NONBLOCK);
});

afterEach(() => {
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

const writeErrno = new Int32Array(1);

describe('exchange', () => {
  test('writes the answer, whole or in parts, and then reads', () => {
    const request = Buffer.alloc(100);
    expect(exchange(fd, Buffer.from('answer and more'), 6, request, writeErrno)).toBe(6);
    expect(request.toString('latin1', 0, 6)).toBe('answer');
    expect(writeErrno[0]).toBe(0);
    expect(exchangev(fd, [Buffer.from('in '), Buffer.from('two')], request, writeErrno)).toBe(6);
    expect(request.toString('latin1', 0, 6)).toBe('in two');
  });

  test('writes nothing for an empty answer, and says why a read failed', () => {
    expect(exchange(fd, Buffer.alloc(4), 0, Buffer.alloc(10), writeErrno)).toBe(-11);
    expect(writeErrno[0]).toBe(0);
  });

  test('reads although the write failed, and says why it did', () => {
    const readOnly = openSync(join(dir, 'fifo'), constants.O_RDONLY | constants.O_NONBLOCK);
    const request = Buffer.alloc(10);
    exchange(fd, Buffer.from('x'), 1, Buffer.alloc(0), writeErrno);
    expect(exchange(readOnly, Buffer.from('y'), 1, request, writeErrno)).toBe(1);
    expect(request[0]).toBe('x'.charCodeAt(0));
    expect(writeErrno[0]).toBe(EBADF);
    closeSync(readOnly);
  });

  test('refuses bad arguments before it does anything', () => {
    const answer = Buffer.from('abc');
    const request = Buffer.alloc(10);
    const calls = [
      () => exchange(-1, answer, 3, request, writeErrno),
      () => exchange(fd, answer, 4, request, writeErrno),
      () => exchange(fd, {} as Buffer, 0, request, writeErrno),
      () => exchange(fd, answer, 3, 'x' as unknown as Buffer, writeErrno),
      () => exchange(fd, answer, 3, request, new Int32Array(0)),
      () => exchange(fd, answer, 3, request, new Uint8Array(4) as unknown as Int32Array),
      () => exchangev(fd, [], request, writeErrno),
      () => exchangev(fd, new Array<Buffer>(1025).fill(answer), request, writeErrno),
      () => exchangev(fd, [answer, null as unknown as Buffer], request, writeErrno),
      () => exchangev(-1, [answer], request, writeErrno),
      () => exchangev(fd, [answer], null as unknown as Buffer, writeErrno),
    ];
    for (const call of calls) expect(failure(call)).toMatchObject({ code: 'EINVAL', errno: -22 });
    expect(exchange(fd, answer, 0, request, writeErrno)).toBe(-11);
  });
});
