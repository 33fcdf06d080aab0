import { expect, test } from 'vitest';
import { WINDOW_BYTES } from '../../src/limits.js';
import { WINDOW_SHIFT, Windows } from '../../src/media/windows.js';
import { asPhys, BLOCK_SIZE } from '../../src/types.js';

test('block numbers above 2^31 are no negative numbers', () => {
  // 8 TiB of windows that are all the same untouched memory, and a last one of its own.
  const filler = Buffer.from(new ArrayBuffer(WINDOW_BYTES));
  const last = Buffer.from(new ArrayBuffer(16 * BLOCK_SIZE));
  const windows = new Windows([...new Array(2 ** 31 / 2 ** WINDOW_SHIFT).fill(filler), last], WINDOW_SHIFT);
  const block = asPhys(2 ** 31 + 5);
  expect(windows.blocks).toBe(2 ** 31 + 16);
  expect(windows.words(block).buffer).toBe(last.buffer);
  expect(windows.wordIndex(block)).toBe(5 * 1024);
  expect(windows.contiguous(asPhys(2 ** 31 - 1), 4)).toBe(1);
  windows.bytes(block, 2).fill(1);
  expect([last[5 * BLOCK_SIZE - 1], last[5 * BLOCK_SIZE], last[7 * BLOCK_SIZE]]).toEqual([0, 1, 0]);
});
