import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DirtyBlocks, flushDirtyLines } from '../../src/media/dirty.js';
import { WINDOW_SHIFT, Windows } from '../../src/media/windows.js';
import { BLOCK_SIZE } from '../../src/types.js';

/** The drained runs, ascending. */
function drained(dirty: DirtyBlocks): [number, number][] {
  const runs: [number, number][] = [];
  dirty.drain((block, count) => runs.push([block, count]));
  return runs.sort((a, b) => a[0] - b[0]);
}

test('holds the noted blocks exactly, as a set does, again and again', () => {
  const run = fc.record({ block: fc.nat(2 ** 18 + 200), count: fc.nat(150) });
  fc.assert(
    fc.property(fc.array(fc.array(run, { maxLength: 40 }), { maxLength: 4 }), (rounds) => {
      const dirty = new DirtyBlocks(2 ** 20);
      for (const runs of rounds) {
        const model = new Set<number>();
        for (const { block, count } of runs) {
          dirty.note(block, count);
          for (let i = 0; i < count; i++) model.add(block + i);
        }
        expect(dirty.isEmpty).toBe(model.size === 0);
        const blocks = drained(dirty).flatMap(([block, count]) =>
          Array.from({ length: count }, (_, i) => block + i),
        );
        expect(blocks).toEqual([...model].sort((a, b) => a - b));
        expect(dirty.isEmpty).toBe(true);
      }
    }),
  );
});

test('neighbours are one run, and a run ends at its window', () => {
  const dirty = new DirtyBlocks(2 ** 32);
  for (const block of [7, 5, 6, 6, 2 ** 32 - 1]) dirty.note(block, 1);
  dirty.note(2 ** 18 - 2, 5);
  dirty.note(2 ** 31 - 3, 64);
  expect(drained(dirty)).toEqual([
    [5, 3],
    [2 ** 18 - 2, 2],
    [2 ** 18, 3],
    [2 ** 31 - 3, 3],
    [2 ** 31, 61],
    [2 ** 32 - 1, 1],
  ]);
});

test('a whole window', () => {
  const dirty = new DirtyBlocks(2 ** 19);
  dirty.note(0, 2 ** 19);
  expect(drained(dirty)).toEqual([
    [0, 2 ** 18],
    [2 ** 18, 2 ** 18],
  ]);
});

test('what a throwing visitor did not see stays noted', () => {
  const dirty = new DirtyBlocks(2 ** 20);
  for (const block of [1, 3, 5, 2 ** 19]) dirty.note(block, 1);
  const seen: number[] = [];
  expect(() =>
    dirty.drain((block) => {
      if (block === 3) throw new Error('stop');
      seen.push(block);
    }),
  ).toThrow('stop');
  const rest = drained(dirty).map(([block]) => block);
  expect([...seen, ...rest].sort((a, b) => a - b)).toEqual([1, 3, 5, 2 ** 19]);
});

test('cache lines are flushed in the window and at the offset that hold the block', () => {
  const sizes = [2 ** WINDOW_SHIFT, 2 ** WINDOW_SHIFT, 16].map((blocks) => blocks * BLOCK_SIZE);
  // Untouched pages of a large allocation take no memory.
  const windows = new Windows(
    sizes.map((size) => Buffer.from(new ArrayBuffer(size))),
    WINDOW_SHIFT,
  );
  const dirty = new DirtyBlocks(windows.blocks);
  const last = windows.blocks - 1;
  for (const block of [2 ** WINDOW_SHIFT - 1, 2 ** WINDOW_SHIFT, last]) dirty.note(block, 1);
  const calls: [number, number, number][] = [];
  flushDirtyLines(windows, dirty, (window, offset, length) => {
    calls.push([windows.buffers.indexOf(window as Buffer<ArrayBuffer>), offset, length]);
  });
  expect(calls.sort((a, b) => a[0] - b[0])).toEqual([
    [0, sizes[0] - BLOCK_SIZE, BLOCK_SIZE],
    [1, 0, BLOCK_SIZE],
    [2, 15 * BLOCK_SIZE, BLOCK_SIZE],
  ]);
  expect(dirty.isEmpty).toBe(true);
});
