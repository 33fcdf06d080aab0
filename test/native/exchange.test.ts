import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CONTROL, newControl, SEGMENTS_MAX, tableOf } from '../../src/exchange.js';
import { bindExchange } from '../../src/native.js';
import { failure } from '../support/failure.js';

const EBADF = 9;
const EAGAIN = 11;

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

/** The buffers of a loop over `on`, and a turn of it. */
function bound(on: number, sources: readonly Buffer[] = []) {
  const answer = Buffer.alloc(100);
  const request = Buffer.alloc(100);
  const control = newControl();
  const exchange = bindExchange(on, answer, request, control, sources);
  const turn = (text: string, segments: readonly number[] = [], wait = 1): void => {
    control[CONTROL.answerBytes] = answer.write(text);
    control[CONTROL.segments] = segments.length / 3;
    control[CONTROL.wait] = wait;
    tableOf(control).set(segments);
    exchange();
  };
  const received = (): string => request.toString('latin1', 0, control[CONTROL.received]);
  return { control, turn, received };
}

describe('an exchange', () => {
  test('writes the answer, with its segments, and then reads', () => {
    const { control, turn, received } = bound(fd, [Buffer.from('zero'), Buffer.from('0123456789')]);
    turn('answer');
    expect(received()).toBe('answer');
    turn('in ', [1, 2, 3, 0, 0, 4, 1, 9, 1]);
    expect(received()).toBe('in 234zero9');
    expect(control[CONTROL.writeErrno]).toBe(0);
  });

  test('writes nothing without an answer, and says why a read failed', () => {
    const { control, turn } = bound(fd);
    turn('');
    expect([control[CONTROL.received], control[CONTROL.writeErrno]]).toEqual([-EAGAIN, 0]);
  });

  test('only writes when it is not to wait', () => {
    const { control, turn, received } = bound(fd);
    control[CONTROL.received] = 77;
    turn('kept', [], 0);
    expect(control[CONTROL.received]).toBe(77);
    turn('');
    expect(received()).toBe('kept');
  });

  test('reads although the write failed, and says why it did', () => {
    const readOnly = openSync(join(dir, 'fifo'), constants.O_RDONLY | constants.O_NONBLOCK);
    bound(fd).turn('x', [], 0);
    const { control, turn, received } = bound(readOnly);
    turn('y');
    expect(received()).toBe('x');
    expect(control[CONTROL.writeErrno]).toBe(EBADF);
    closeSync(readOnly);
  });

  test('takes as many segments as one writev(2) does', () => {
    const { turn, received } = bound(fd, [Buffer.from('ab')]);
    turn('', [], 0);
    const all = Array.from({ length: SEGMENTS_MAX }, (_, i) => [0, i % 2, i < 90 ? 1 : 0]).flat();
    turn('>', all);
    expect(received()).toBe(`>${'ab'.repeat(45)}`);
  });
});

describe('what lies outside of its memory is refused before anything is written', () => {
  test.each([
    ['an unknown source', [1, 0, 1]],
    ['a negative source', [-1, 0, 1]],
    ['a negative offset', [0, -1, 1]],
    ['a negative length', [0, 0, -1]],
    ['beyond the end', [0, 3, 2]],
    ['far beyond the end', [0, 0x7fff_ffff, 0x7fff_ffff]],
  ])('%s', (_name, segment) => {
    const { turn, control } = bound(fd, [Buffer.from('abcd')]);
    expect(failure(() => turn('x', segment))).toMatchObject({ code: 'EINVAL', errno: -22 });
    turn('');
    expect(control[CONTROL.received]).toBe(-EAGAIN);
  });

  test('more segments or a longer answer than there can be', () => {
    const { control } = bound(fd);
    const answer = Buffer.alloc(10);
    const exchange = bindExchange(fd, answer, Buffer.alloc(10), control, []);
    for (const [bytes, segments] of [
      [11, 0],
      [-1, 0],
      [1, SEGMENTS_MAX + 1],
      [1, -1],
    ]) {
      control[CONTROL.answerBytes] = bytes;
      control[CONTROL.segments] = segments;
      expect(failure(exchange)).toMatchObject({ code: 'EINVAL' });
    }
  });
});

test('binding refuses what it cannot use', () => {
  const buffer = Buffer.alloc(10);
  const control = newControl();
  const calls = [
    () => bindExchange(-1, buffer, buffer, control, []),
    () => bindExchange(fd, {} as Buffer, buffer, control, []),
    () => bindExchange(fd, buffer, 'x' as unknown as Buffer, control, []),
    () => bindExchange(fd, buffer, buffer, new Int32Array(10), []),
    () => bindExchange(fd, buffer, buffer, new Uint8Array(20_000) as unknown as Int32Array, []),
    () => bindExchange(fd, buffer, buffer, control, null as unknown as Buffer[]),
    () => bindExchange(fd, buffer, buffer, control, [buffer, {} as Buffer]),
  ];
  for (const call of calls) expect(failure(call)).toMatchObject({ code: 'EINVAL', errno: -22 });
});
