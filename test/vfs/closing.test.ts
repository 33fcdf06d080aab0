import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SHARED } from '../../src/daemon/bridge.js';
import { SharedGate } from '../../src/daemon/gate.js';
import { asIno, BLOCK_SIZE } from '../../src/types.js';
import { Closing } from '../../src/vfs/closing.js';

const INO = asIno(7);

function setUp(first = 0, pages = 8) {
  const gate = new SharedGate(new Int32Array(SHARED.slots));
  const range = { ino: INO, offset: first * BLOCK_SIZE, length: pages * BLOCK_SIZE };
  return { gate, closing: new Closing([range], gate) };
}

test('during the sweep everything is answered, and what was asked for is dropped one by one', () => {
  const { closing } = setUp(2, 4);
  expect(closing.touch(INO, 0, 3, false)).toBe('answer');
  expect(closing.touch(INO, 9, 9, true)).toBe('answer');
  expect(closing.touch(asIno(8), 3, 3, true)).toBe('answer');
  expect(closing.round()).toEqual([
    { ino: INO, page: 2 },
    { ino: INO, page: 3 },
  ]);
});

test('nobody asked: all is closed at once', () => {
  const { closing } = setUp();
  expect(closing.round()).toEqual([]);
  expect(closing.touch(INO, 0, 0, false)).toBe('wait');
  expect(closing.touch(INO, 8, 8, false)).toBe('answer');
});

test('a page that is being dropped is answered and dropped again; one that is closed waits', () => {
  const { closing, gate } = setUp();
  for (const page of [1, 4]) closing.touch(INO, page, page, false);
  closing.round();
  gate.reset();
  const drops: number[] = [];
  gate.pass(2, (index) => {
    drops.push(index);
    if (drops.length > 1) return;
    expect(closing.touch(INO, 1, 1, false)).toBe('answer');
    expect(closing.touch(INO, 4, 4, true)).toBe('answer');
    expect(closing.touch(INO, 2, 2, true)).toBe('wait');
  });
  expect(drops).toEqual([0, 0, 1]);
  expect(closing.touch(INO, 1, 1, false)).toBe('wait');
  expect(closing.touch(INO, 4, 4, false)).toBe('wait');
  expect(closing.round()).toEqual([]);
});

test('of many pages some closed, some open: a read is asked for page by page, a write opens them again', () => {
  const { closing, gate } = setUp();
  closing.touch(INO, 3, 3, false);
  closing.round();
  gate.reset();
  expect(closing.touch(INO, 2, 4, false)).toBe('refuse');
  expect(closing.touch(INO, 2, 4, true)).toBe('answer');
  gate.pass(1, () => {});
  expect(closing.round().map(({ page }) => page)).toEqual([2, 3, 4]);
});

/**
 * The kernel's page cache in small: a page is absent, being filled (locked), or there. Requests and drops come in any
 * order. Whatever happens, no drop waits for a page whose request waits, and when all is closed no page is there.
 */
test('no deadlock, and no page is left, however requests and drops meet', () => {
  const PAGES = 6;
  const touch = fc.record({
    at: fc.nat(8),
    first: fc.nat(PAGES - 1),
    count: fc.integer({ min: 1, max: 3 }),
    isWrite: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(touch, { maxLength: 40 }), (touches) => {
      const { closing, gate } = setUp(0, PAGES);
      const there = new Set<number>();
      const waiting = new Set<number>();
      const pending = [...touches];
      /** Up to so many requests come in between. */
      const ask = (): void => {
        const next = pending.shift();
        if (next === undefined) return;
        const pages = Array.from({ length: next.count }, (_, i) => next.first + i).filter((p) => p < PAGES);
        if (pages.some((page) => there.has(page) || waiting.has(page))) return;
        const answer = closing.touch(INO, pages[0], pages[pages.length - 1], next.isWrite);
        if (answer === 'answer') for (const page of pages) there.add(page);
        if (answer === 'wait') for (const page of pages) waiting.add(page);
        for (let more = next.at; more > 4; more--) ask();
      };
      const drop = (page: number): void => {
        expect(waiting.has(page)).toBe(false);
        ask();
        there.delete(page);
        ask();
      };
      for (let page = 0; page < PAGES; page++) drop(page);
      for (let list = closing.round(), rounds = 0; list.length > 0; list = closing.round(), rounds++) {
        expect(rounds).toBeLessThan(100);
        gate.reset();
        gate.pass(list.length, (index) => drop(list[index].page));
      }
      expect([...there]).toEqual([]);
    }),
    { numRuns: 2000 },
  );
});
