import { beforeEach, describe, expect, test } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { BLOCK_SIZE as B, type Ino, ROOT_INO } from '../../src/types.js';
import { outcome } from '../support/data-env.js';
import { FakeClock, HeapMedia } from '../support/mem-context.js';

const EXTENTS = 20;
const clock = new FakeClock();
let engine: RegionEngine;
/** How often the caller may be looked at before it is killed. */
let looks: number;

beforeEach(() => {
  const media = new HeapMedia(2048, 500);
  mkfs(media, { label: 'x', clock, uid: 0, gid: 0 });
  looks = Number.POSITIVE_INFINITY;
  engine = openEngine(media, { clock, interrupted: () => looks-- <= 0 });
});

const create = (name: string): Ino =>
  engine.create(ROOT_INO, Buffer.from(name), { mode: S_IFREG | 0o644, uid: 0, gid: 0 });

/** A file of EXTENTS blocks with holes between them. */
function fragmented(name: string): Ino {
  const ino = create(name);
  for (let i = 0; i < EXTENTS; i++) engine.write(ino, 2 * i * B, Buffer.alloc(B, i + 1), B, false);
  return ino;
}

const blocksOf = (ino: Ino): number => engine.names.inodes.blocks(ino);

describe('an operation whose caller was killed ends between two steps', () => {
  test('clone: with EINTR, a part is shared', () => {
    const source = fragmented('a');
    const copy = create('b');
    looks = 9;
    expect(outcome(() => engine.cloneRange(source, 0, copy, 0, 0))).toBe('EINTR');
    expect(blocksOf(copy)).toBeGreaterThan(0);
    expect(blocksOf(copy)).toBeLessThan(EXTENTS);
    expect(checkData(engine.store.context)).toEqual([]);
    looks = Number.POSITIVE_INFINITY;
    engine.cloneRange(source, 0, copy, 0, 0);
    expect(blocksOf(copy)).toBe(EXTENTS);
  });

  test('copy of bytes: short', () => {
    const source = fragmented('a');
    const copy = create('b');
    looks = 9;
    const done = engine.copyRange(source, 0, copy, 100, 2 * EXTENTS * B);
    expect(done).toBeGreaterThan(0);
    expect(done).toBeLessThan(2 * (EXTENTS - 1) * B);
    expect(checkData(engine.store.context)).toEqual([]);
  });

  test('dedupe: with EINTR, while comparing and while sharing', () => {
    const source = fragmented('a');
    const other = fragmented('b');
    const length = (2 * EXTENTS - 1) * B;
    for (const limit of [9, 2 * EXTENTS + 9]) {
      looks = limit;
      expect(outcome(() => engine.dedupeRange(source, 0, other, 0, length))).toBe('EINTR');
      expect(checkData(engine.store.context)).toEqual([]);
    }
    looks = Number.POSITIVE_INFINITY;
    expect(engine.dedupeRange(source, 0, other, 0, length)).toBe(length);
  });

  test('fallocate: with EINTR, what is allocated stays and the size does', () => {
    const file = fragmented('a');
    const size = engine.names.inodes.size(file);
    looks = 9;
    expect(outcome(() => engine.fallocate(file, 0, 0, 100 * B))).toBe('EINTR');
    expect(blocksOf(file)).toBeGreaterThan(EXTENTS);
    expect(engine.names.inodes.size(file)).toBe(size);
    expect(checkData(engine.store.context)).toEqual([]);
  });

  test('punch and truncate go on to their end', () => {
    const file = fragmented('a');
    looks = 0;
    engine.fallocate(file, 3, 0, 8 * B);
    engine.truncate(file, 0);
    expect(blocksOf(file)).toBe(0);
  });
});
