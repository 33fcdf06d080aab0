import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { FsError } from '../../src/errors.js';
import { BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { FakeClock, HeapMedia } from '../support/mem-context.js';

/** The space of metadata chunks is that of the data again when the names, attributes and extents in them are gone. */

const BLOCKS = 8192;
const FILES = 1500;
/** Blocks: 200 KiB, what ten rounds may cost. */
const ROUNDS_MAY_COST = 50;
/** Blocks: nearly a chunk may stay behind, and the nodes that a step would need come out of the same space. */
const LEFT_MAX = 64 + 8;

const clock = new FakeClock();
const nameOf = (n: number): Uint8Array => Buffer.from(`a name that is somewhat long ${n}`);

function fresh(): { media: HeapMedia; engine: RegionEngine } {
  const media = new HeapMedia(BLOCKS, BLOCKS);
  mkfs(media, { label: 'space', clock, uid: 0, gid: 0 });
  return { media, engine: openEngine(media, { clock }) };
}

const create = (engine: RegionEngine, name: Uint8Array): Ino =>
  engine.create(ROOT_INO, name, { mode: S_IFREG | 0o600, uid: 0, gid: 0 });

function populate(engine: RegionEngine): void {
  const value = Buffer.alloc(1000, 1);
  for (let n = 0; n < FILES; n++) {
    const ino = create(engine, nameOf(n));
    engine.setxattr(ino, Buffer.from('user.a'), value, 0);
    if (n % 3 === 0) engine.write(ino, 0, value, value.length, false);
  }
  engine.commit();
}

/** Removes all files but the first `spared` of every `of`. */
function remove(engine: RegionEngine, spared = 0, of = 1): void {
  for (let n = 0; n < FILES; n++) {
    if (n % of >= spared) engine.inactivate(engine.unlink(ROOT_INO, nameOf(n)));
  }
  engine.commit();
}

/** Blocks that a file can be given before the filesystem is full. */
function fill(engine: RegionEngine): number {
  const ino = create(engine, Buffer.from('fill'));
  const piece = Buffer.alloc(16 * BLOCK_SIZE, 2);
  let at = 0;
  try {
    for (;;) at += engine.write(ino, at, piece, piece.length, false);
  } catch (error) {
    if (!(error instanceof FsError) || error.code !== 'ENOSPC') throw error;
  }
  return at / BLOCK_SIZE;
}

describe('space that metadata took', () => {
  it('is free again after each of ten rounds, and the same from the second on', () => {
    const { media, engine } = fresh();
    const before = engine.space();
    const used: number[] = [];
    for (let round = 0; round < 10; round++) {
      populate(engine);
      expect(before.free - engine.space().free).toBeGreaterThan(FILES / 2);
      remove(engine);
      used.push(before.free - engine.space().free);
    }
    expect(Math.max(...used.map(Math.abs))).toBeLessThan(ROUNDS_MAY_COST);
    expect(new Set(used.slice(1)).size).toBe(1);
    engine.close();
    expect(checkRegion(media).problems).toEqual([]);
  });

  it('goes back to the free blocks by itself, but for what is kept as a reserve', () => {
    const { media, engine } = fresh();
    const chunks = (): number => engine.store.nodes.ownedCount;
    populate(engine);
    const most = chunks();
    remove(engine);
    for (let n = 0; n < 6; n++) {
      create(engine, Buffer.from(`later ${n}`));
      engine.commit();
    }
    expect(most).toBeGreaterThan(700);
    expect(chunks()).toBeLessThan(300);
    expect(checkRegion(media).problems).toEqual([]);
  });

  // Nine in a row have leaves of their own, which stay where they are: few in each chunk.
  for (const [spared, of] of [
    [0, 1],
    [1, 40],
    [9, 90],
  ]) {
    it(`can be filled with data as far as said when ${spared} in ${of} files are left`, () => {
      const { media, engine } = fresh();
      populate(engine);
      remove(engine, spared, of);
      const { available } = engine.space();
      const filled = fill(engine);
      expect(filled).toBeGreaterThan(available - LEFT_MAX);
      expect(filled).toBeLessThanOrEqual(available + LEFT_MAX);
      expect(engine.space().available).toBeLessThan(LEFT_MAX);
      engine.inactivate(engine.unlink(ROOT_INO, Buffer.from('fill')));
      expect(engine.space().available).toBeGreaterThan(available - LEFT_MAX);
      engine.close();
      expect(checkRegion(media).problems).toEqual([]);
    });
  }
});
