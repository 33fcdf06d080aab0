import { describe, expect, it } from 'vitest';
import type { Owner } from '../../src/engine/api.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, ROOT_INO } from '../../src/types.js';
import { StepClock } from '../support/fuse-harness.js';

const BLOCKS = 512;
const SIZE = BLOCKS * BLOCK_SIZE;

function setUp() {
  const media = memoryMedia(BLOCKS);
  const clock = new StepClock();
  mkfs(media, { label: 'scrub', clock, uid: 0, gid: 0, uuid: Buffer.alloc(16, 1) });
  const engine = openEngine(media, { clock });
  const ino = engine.create(ROOT_INO, Buffer.from('a'), { mode: 0o100644, uid: 0, gid: 0 });
  engine.write(ino, 0, Buffer.alloc(8 * BLOCK_SIZE, 1), 8 * BLOCK_SIZE, false);
  engine.commit();
  return { media, engine, ino };
}

function firstOwner(engine: RegionEngine, wanted: (owner: Owner) => boolean): Owner {
  let found: Owner | undefined;
  engine.owners(0, SIZE, (owner) => {
    if (wanted(owner)) found ??= owner;
    return found === undefined;
  });
  if (found === undefined) throw new Error('there is no such owner');
  return found;
}

const CLEAN = { latent: null, damaged: [] };

describe('scrub', () => {
  it('reads what it is told to, and finds nothing in a sound region', () => {
    const { engine } = setUp();
    expect(engine.scrub(0, SIZE)).toEqual({ length: SIZE, ...CLEAN });
    expect(engine.scrub(SIZE - 4 * BLOCK_SIZE, SIZE)).toEqual({ length: 4 * BLOCK_SIZE, ...CLEAN });
    expect(engine.scrub(8 * BLOCK_SIZE, 2 * BLOCK_SIZE)).toEqual({ length: 2 * BLOCK_SIZE, ...CLEAN });
  });

  it('ends behind the first run of latent errors, and passes over known ones', () => {
    const { engine } = setUp();
    const { physical } = firstOwner(engine, (owner) => owner.kind === 'file');
    engine.poison(physical + BLOCK_SIZE, BLOCK_SIZE, false);
    engine.poison(physical + 3 * BLOCK_SIZE, 2 * BLOCK_SIZE, true);
    const latent = { physical: physical + 3 * BLOCK_SIZE, length: 2 * BLOCK_SIZE };
    expect(engine.scrub(0, SIZE)).toEqual({ length: physical + 5 * BLOCK_SIZE, latent, damaged: [] });
    const first = { physical: latent.physical, length: BLOCK_SIZE };
    expect(engine.scrub(0, latent.physical + BLOCK_SIZE).latent).toEqual(first);
    const rest = latent.physical + latent.length;
    expect(engine.scrub(rest, SIZE)).toEqual({ length: SIZE - rest, ...CLEAN });
    expect(engine.badBlocks(0, 9).map((range) => range.latent)).toEqual([false, true]);
  });

  it('verifies the checksums of nodes and superblocks, but of no node that is not committed', () => {
    const { media, engine, ino } = setUp();
    const isNode = (owner: Owner): boolean => owner.kind === 'metadata' && owner.tree === 'xattr';
    engine.setxattr(ino, Buffer.from('user.a'), Buffer.from('x'), 0);
    expect(engine.scrub(0, SIZE).damaged).toEqual([]);
    engine.commit();
    const { physical } = firstOwner(engine, isNode);
    for (const at of [0, physical]) media.bytes(asPhys(at / BLOCK_SIZE), 1)[BLOCK_SIZE - 1] ^= 1;
    expect(engine.scrub(0, SIZE)).toMatchObject({
      length: SIZE,
      latent: null,
      damaged: [
        { physical: 0, tree: 'superblock', detail: expect.stringMatching(/wrong checksum/) },
        { physical, tree: 'xattr', detail: expect.stringMatching(/wrong checksum/) },
      ],
    });
  });
});
