import { describe, expect, it } from 'vitest';
import { TREES } from '../../src/engine/layout.js';
import { MemTree } from './mem-tree.js';

describe('MemTree holds its users to the contract of Tree', () => {
  it('a cursor is no good after a change by anything but its own set()', () => {
    const tree = new MemTree(TREES.refcount);
    tree.insert(5, 0, 0, 0, Uint32Array.of(1, 2));
    const cursor = tree.cursor();
    expect(cursor.seek(5, 0, 0, 0)).toBe(true);
    cursor.set(1, 9);
    expect(cursor.value(1)).toBe(9);
    tree.insert(6, 0, 0, 0, Uint32Array.of(1, 2));
    expect(cursor.valid).toBe(false);
    for (const use of [
      () => cursor.key(0),
      () => cursor.value(0),
      () => cursor.next(),
      () => cursor.set(0, 1),
    ]) {
      expect(use).toThrow('cursor used after a change');
    }
    expect(cursor.seekLE(7, 0, 0, 0)).toBe(true);
    expect(cursor.key(0)).toBe(6);
  });

  it('a payload view is scrubbed by the next change', () => {
    const tree = new MemTree(TREES.dirent);
    tree.insertPayload(1, 2, 3, 0, Uint8Array.of(1, 2, 3));
    const cursor = tree.cursor();
    expect(cursor.seek(1, 2, 3, 0)).toBe(true);
    const view = cursor.payload();
    expect([...view]).toEqual([1, 2, 3]);
    tree.insertPayload(1, 2, 4, 0, Uint8Array.of(4));
    expect([...view]).toEqual([0xdd, 0xdd, 0xdd]);
  });

  it('refuses twice the same key, an absent key, words out of range and key words too many', () => {
    const tree = new MemTree(TREES.free);
    tree.insert(1, 0, 0, 0, Uint32Array.of(1));
    expect(() => tree.insert(1, 0, 0, 0, Uint32Array.of(1))).toThrow('existing');
    expect(() => tree.update(2, 0, 0, 0, Uint32Array.of(1))).toThrow('absent');
    expect(() => tree.insert(-1, 0, 0, 0, Uint32Array.of(1))).toThrow('key word 0');
    expect(() => tree.insert(3, 1, 0, 0, Uint32Array.of(1))).toThrow('key word 1');
    expect(tree.remove(9, 0, 0, 0)).toBe(false);
    expect(tree.count).toBe(1);
  });

  it('finds the intervals that meet a range, in key order', () => {
    const tree = new MemTree(TREES.rmap);
    for (const [from, owner, length] of [
      [0, 9, 100],
      [10, 1, 5],
      [10, 2, 20],
      [40, 1, 1],
    ]) {
      tree.insert(from, owner, 0, 0, Uint32Array.of(length, 0));
    }
    const found: number[][] = [];
    const cursor = tree.cursor();
    for (let more = cursor.seekOverlap(15, 41); more; more = cursor.nextOverlap()) {
      found.push([cursor.key(0), cursor.key(1)]);
    }
    expect(found).toEqual([
      [0, 9],
      [10, 2],
      [40, 1],
    ]);
    expect(cursor.seekOverlap(100, 101)).toBe(false);
  });
});
