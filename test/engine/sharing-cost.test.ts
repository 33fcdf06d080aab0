import { beforeAll, describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import type { Owner, OwnerCursor } from '../../src/engine/api.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import { memoryMedia } from '../../src/media/memory.js';
import { BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { FakeClock } from '../support/mem-context.js';

/**
 * What operations cost in tree nodes looked at, on a file of EXTENTS extents and with OWNERS owners of one block:
 * both must not matter to who touches little.
 */
const EXTENTS = 12_000;
const OWNERS = 1_500;
/** Some paths of up to four nodes in each tree that an operation changes: 49 for the costliest one, an unlink. */
const VISITS_MAX = 80;
const REGION_BLOCKS = 8192;

const clock = new FakeClock();
const media = memoryMedia(REGION_BLOCKS);
let engine: RegionEngine;
let source: Ino;
/** Block i of it is block i % 2 of the source: no two extents can be merged. */
let long: Ino;
const owners: Ino[] = [];

const create = (name: string): Ino =>
  engine.create(ROOT_INO, Buffer.from(name), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
const write = (ino: Ino, block: number): number =>
  engine.write(ino, block * BLOCK_SIZE, Buffer.alloc(BLOCK_SIZE, 7), BLOCK_SIZE, false);

beforeAll(() => {
  mkfs(media, { label: 'cost', clock, uid: 0, gid: 0 });
  engine = openEngine(media, { clock });
  source = create('source');
  write(source, 0);
  write(source, 2);
  long = create('long');
  for (let i = 0; i < EXTENTS; i++) {
    engine.cloneRange(source, (i % 2) * 2 * BLOCK_SIZE, long, i * BLOCK_SIZE, BLOCK_SIZE);
  }
  for (let i = 0; i < OWNERS; i++) {
    owners.push(create(`owner ${i}`));
    engine.cloneRange(source, 0, owners[i], 0, 0);
  }
  engine.commit();
});

/** Nodes that `run` looks at. */
function visitsOf(run: () => void): number {
  const { nodes } = engine.store;
  const check = nodes.check.bind(nodes);
  let visits = 0;
  nodes.check = (block, tree, level) => {
    visits++;
    check(block, tree, level);
  };
  try {
    run();
  } finally {
    nodes.check = check;
  }
  return visits;
}

const middle = (EXTENTS / 2) * BLOCK_SIZE;
const plan = newReadPlan();
const OPERATIONS: [string, () => void][] = [
  ['read', () => engine.read(long, middle, BLOCK_SIZE, false, plan)],
  ['copy-on-write', () => write(long, EXTENTS / 2 + 10)],
  ['overwrite', () => write(long, EXTENTS / 2 + 10)],
  ['punch', () => engine.fallocate(long, 3, middle + 4 * BLOCK_SIZE, BLOCK_SIZE)],
  ['zero range', () => engine.fallocate(long, 16, middle + 8 * BLOCK_SIZE, BLOCK_SIZE)],
  ['unshare', () => engine.fallocate(long, 64, middle + 20 * BLOCK_SIZE, BLOCK_SIZE)],
  ['clone of a block', () => engine.cloneRange(long, middle, owners[0], 8 * BLOCK_SIZE, BLOCK_SIZE)],
  ['dedupe', () => engine.dedupeRange(long, middle, owners[1], 0, BLOCK_SIZE)],
  ['append', () => write(long, EXTENTS)],
  ['truncate by a block', () => engine.truncate(long, EXTENTS * BLOCK_SIZE)],
  ['a page of extents', () => engine.extents(long, middle, 2 ** 40, 8)],
  ['lseek', () => engine.seek(long, middle, 3)],
  ['one owner of many', () => engine.owners(2 ** 20, 2 ** 20, () => false)],
  ['statfs', () => engine.space()],
  ['unlink of one of many owners', () => engine.inactivate(engine.unlink(ROOT_INO, Buffer.from('owner 7')))],
];

describe('the cost of sharing', () => {
  it.each(OPERATIONS)('%s', (_title, run) => {
    // The first count of shared blocks reads all of them.
    engine.space();
    expect(visitsOf(run)).toBeLessThan(VISITS_MAX);
  });

  it('owners of one block, in pages: each is read once', () => {
    const [{ physical }] = engine.extents(source, 0, BLOCK_SIZE, 1);
    const seen = new Set<string>();
    const last: { at?: OwnerCursor } = {};
    const visits = Array.from({ length: 100 }, () =>
      visitsOf(() => {
        let room = 10;
        const take = (owner: Owner): boolean => {
          if (owner.kind !== 'file') return true;
          seen.add(`${owner.ino} ${owner.fileOffset}`);
          last.at = owner;
          return --room > 0;
        };
        engine.owners(physical, BLOCK_SIZE, take, last.at);
      }),
    );
    expect(seen.size).toBe(1000);
    expect(Math.max(...visits)).toBeLessThan(15);
  });

  it('owners that began before the range, in pages: each is read once', () => {
    const wide = create('wide');
    engine.write(wide, 0, Buffer.alloc(8 * BLOCK_SIZE, 5), 8 * BLOCK_SIZE, false);
    const clones = Array.from({ length: 500 }, (_, i) => create(`wide ${i}`));
    for (const clone of clones) engine.cloneRange(wide, 0, clone, 0, 0);
    const [{ physical }] = engine.extents(wide, 0, BLOCK_SIZE, 1);
    const [first, end] = [physical / BLOCK_SIZE + 3, physical / BLOCK_SIZE + 5];
    const place = { at: first, end: 0, start: 0, owner: 0, from: 0 };
    const seen: number[] = [];
    const visits: number[] = [];
    for (let isLast = false; !isLast; ) {
      let room = 10;
      const take = (owner: Owner): boolean => {
        if (room-- === 0 || owner.kind !== 'file') return false;
        expect(owner).toMatchObject({
          physical: first * BLOCK_SIZE,
          length: 2 * BLOCK_SIZE,
          shareCount: 501,
        });
        seen.push(owner.ino);
        return true;
      };
      visits.push(
        visitsOf(() => {
          isLast = engine.ownersFrom(place, end, take);
        }),
      );
    }
    expect(seen).toEqual([wide, ...clones]);
    expect(visits.length).toBeGreaterThan(50);
    expect(Math.max(...visits)).toBeLessThan(15);
  });

  it('and fsck finds nothing', () => {
    engine.close();
    expect(checkRegion(media).problems).toEqual([]);
  });
});
