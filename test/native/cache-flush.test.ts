import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { cacheFlushKind, flushCacheLines } from '../../src/native.js';
import { failure } from '../support/failure.js';

/** The best instruction that the kernel lists for this CPU. */
function kindByCpuinfo(): string {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1].split(' '));
  return ['clwb', 'clflushopt', 'clflush'].find((name) => flags.has(name)) ?? 'none';
}

test.runIf(process.arch === 'x64')('the instruction is the best that the CPU has', () => {
  expect(cacheFlushKind()).toBe(kindByCpuinfo());
});

describe('flushCacheLines', () => {
  test('changes nothing, at any alignment; a CPU without an instruction for it says so', () => {
    const buffer = Buffer.alloc(4096, 7);
    if (cacheFlushKind() === 'none') {
      expect(failure(() => flushCacheLines(buffer, 0, 64)).code).toBe('ENOTSUP');
      return;
    }
    for (const [offset, length] of [
      [0, 4096],
      [1, 1],
      [63, 2],
      [4095, 1],
      [4096, 0],
    ]) {
      flushCacheLines(buffer, offset, length);
    }
    expect(buffer.equals(Buffer.alloc(4096, 7))).toBe(true);
  });

  test('refuses what lies outside and what is no Buffer', () => {
    const buffer = Buffer.alloc(128);
    const calls = [
      () => flushCacheLines(buffer, 0, 129),
      () => flushCacheLines(buffer, 129, 0),
      () => flushCacheLines(buffer, -1, 1),
      () => flushCacheLines(buffer, 0, 0.5),
      () => flushCacheLines(buffer, 2 ** 53 - 1, 2 ** 53 - 1),
      () => flushCacheLines({} as Buffer, 0, 0),
    ];
    for (const call of calls) expect(failure(call)).toMatchObject({ code: 'EINVAL', errno: -22 });
  });
});
