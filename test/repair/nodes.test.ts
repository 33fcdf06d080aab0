import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { openEngine, type RegionEngine } from '../../src/engine/index.js';
import { NODE, NODE_HEADER_WORDS, TREES, type TreeName } from '../../src/engine/layout.js';
import { S_IFREG } from '../../src/engine/mode.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { repairRegion } from '../../src/repair/repair.js';
import { asPhys, BLOCK_SIZE, ROOT_INO } from '../../src/types.js';
import { harmBlock } from '../support/damage.js';
import { FakeClock } from '../support/mem-context.js';
import { makeSmallImage, SMALL_BLOCKS } from '../support/small-region.js';
import { mediumOf, type Seen, snapshot } from '../support/snapshot.js';

const EFFORT = Number(process.env.RMAPFS_EFFORT ?? 1);
const clock = new FakeClock();
const image = makeSmallImage();
const nodes = [...(checkRegion(mediumOf(image)).scan?.nodes ?? [])];
const before = snapshot(openEngine(mediumOf(image), { clock }));

/** Nodes above the leaves: what is below them is found without them. */
const inner = new Set(nodes.map(([block]) => block).filter((block) => levelOf(block) > 0));

function levelOf(block: number): number {
  return image.readUInt32LE(block * BLOCK_SIZE + NODE.treeLevel * 4) >>> 8;
}

/** What each inode is, wherever it is named. */
const byInode = (paths: ReadonlyMap<string, Seen>): Map<number, string> =>
  new Map([...paths.values()].map(({ ino, text }) => [ino, text]));

/** Mode and what follows are lost with the record; contents are the last number. */
const contentsOf = (text: string | undefined): string => (text ?? '').split(' ').at(-2) ?? '';

function mountsAndWrites(media: Media): RegionEngine {
  const engine = openEngine(media, { clock });
  const made = engine.create(ROOT_INO, Buffer.from('after'), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
  engine.write(made, 0, Buffer.alloc(3 * BLOCK_SIZE, 1), 3 * BLOCK_SIZE, false);
  engine.commit();
  expect(checkRegion(media).problems).toEqual([]);
  return engine;
}

describe('a node fails under a mount that then shuts down', () => {
  it.each(nodes.filter(([, tree]) => ['inode', 'dirent', 'xattr'].includes(tree)))(
    'block %i, of tree %s',
    (block, tree) => {
      const media = mediumOf(image);
      const engine = openEngine(media, { clock });
      media.bytes(asPhys(block), 1).fill(0xdd);
      engine.poison(block * BLOCK_SIZE, BLOCK_SIZE, false);
      engine.shutdown(engine.damage.lost ?? '');
      engine.close();
      expect(() => openEngine(media, { clock })).toThrow(/fsck --repair/);
      const { left, actions, problems } = repairRegion(media, { dryRun: false, now: 5 });
      expect(left).toEqual([]);
      expect(problems.every(({ repaired }) => repaired)).toBe(true);
      expect(actions).toContainEqual(
        expect.objectContaining({ kind: 'superblock', detail: expect.stringMatching('shutdown') }),
      );
      expect(checkRegion(media).problems).toEqual([]);
      const paths = snapshot(openEngine(media, { clock }));
      if (inner.has(block)) expect(paths).toEqual(before);
      const after = byInode(paths);
      for (const [ino, text] of byInode(before)) {
        if (ino === ROOT_INO) continue;
        const now = after.get(ino);
        if (tree === 'inode' && !inner.has(block) && now !== text) {
          // Its data are there, if it had any.
          expect([ino, contentsOf(now)]).toEqual([ino, contentsOf(text)]);
        } else if (tree !== 'xattr' || !text.includes('user.')) expect([ino, now]).toEqual([ino, text]);
      }
      const again = mountsAndWrites(media);
      expect(again.isBad(block * BLOCK_SIZE, 1)).toBe(true);
      expect(again.store.nodes.isUsed(block)).toBe(false);
      expect(again.info.wasShutdown).toBeNull();
    },
  );
});

describe('many blocks fail at once', () => {
  it.each([
    [0, 63],
    [1, 30],
    [20, 60],
    [SMALL_BLOCKS - 20, 20],
  ])('blocks %i and %i more, metadata, data and superblocks: it mounts again', (first, count) => {
    const media = mediumOf(image);
    const engine = openEngine(media, { clock });
    engine.poison(first * BLOCK_SIZE, count * BLOCK_SIZE, false);
    engine.shutdown(engine.damage.lost ?? 'asked for');
    for (let block = first; block < first + count; block++) {
      const isSlot = block === 0 || block === SMALL_BLOCKS - 1;
      if (!isSlot && engine.store.nodes.isUsed(block)) media.bytes(asPhys(block), 1).fill(0xdd);
    }
    expect(repairRegion(media, { dryRun: false, now: 5 }).left).toEqual([]);
    expect(checkRegion(media).problems).toEqual([]);
    mountsAndWrites(media);
  });
});

describe('any nodes', () => {
  const harms = fc.uniqueArray(
    fc.record({
      node: fc.nat(nodes.length - 1),
      sealed: fc.boolean(),
      words: fc.array(
        fc.tuple(fc.integer({ min: NODE_HEADER_WORDS, max: 1023 }), fc.integer({ min: 0, max: 0xffff_ffff })),
        { minLength: 1, maxLength: 20 },
      ),
    }),
    { selector: ({ node }) => node, minLength: 1, maxLength: 5 },
  );

  it('damaged, with or without a right checksum: the repaired region is clean and mounts', () => {
    fc.assert(
      fc.property(harms, (list) => {
        const media = mediumOf(image);
        for (const { node, sealed, words } of list) {
          const harm = (own: Uint32Array): void => {
            for (const [word, value] of words) own[word] = value;
          };
          harmBlock(media, nodes[node][0], harm, sealed ? 'node' : null);
        }
        expect(repairRegion(media, { dryRun: false, now: 5 }).left).toEqual([]);
        expect(checkRegion(media).problems).toEqual([]);
        mountsAndWrites(media);
        // There is nothing left to do.
        expect(repairRegion(media, { dryRun: true, now: 5 })).toMatchObject({ actions: [], problems: [] });
      }),
      { numRuns: 40 * EFFORT },
    );
  });

  it('all of a tree that others tell of: every file is as before', () => {
    for (const tree of ['bmap', 'rmap', 'refcount', 'free', 'chunk', 'parent', 'orphan'] as const) {
      const media = mediumOf(image);
      for (const [block, name] of nodes) if (name === tree) media.bytes(asPhys(block), 1).fill(0xdd);
      expect([tree, repairRegion(media, { dryRun: false, now: 5 }).left]).toEqual([tree, []]);
      const engine = mountsAndWrites(media);
      engine.unlink(ROOT_INO, Buffer.from('after'));
      const after = snapshot(engine);
      for (const [path, { ino, text }] of before) {
        if (path !== '/') expect([tree, path, after.get(path)]).toEqual([tree, path, { ino, text }]);
      }
    }
  });

  it('all nodes: an empty root directory is left', () => {
    const media = mediumOf(image);
    for (const [block] of nodes) media.bytes(asPhys(block), 1).fill(0xdd);
    expect(repairRegion(media, { dryRun: false, now: 5 }).left).toEqual([]);
    expect([...snapshot(mountsAndWrites(media)).keys()].sort()).toEqual(['/', '/after']);
  });
});

describe('records', () => {
  const names = Object.keys(TREES) as TreeName[];
  const edits = fc.array(
    fc.record({
      tree: fc.constantFrom(...names),
      index: fc.nat(1000),
      word: fc.nat(6),
      value: fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffff_ffff })),
      remove: fc.boolean(),
    }),
    { minLength: 1, maxLength: 6 },
  );

  it('removed and changed as if by a bug: the repaired region is clean and mounts', () => {
    fc.assert(
      fc.property(edits, (list) => {
        const media = memoryMedia(SMALL_BLOCKS, { image });
        const { trees, trx } = openEngine(media, { clock }).store;
        for (const { tree, index, word, value, remove } of list) {
          const { keyWords, valueWords, augmented } = TREES[tree];
          const cursor = trees[tree].cursor();
          let more = cursor.seek(0, 0, 0, 0);
          for (let i = 0; more && i < index % Math.max(1, trees[tree].count); i++) more = cursor.next();
          if (!more) continue;
          const key = [0, 1, 2, 3].map((i) => (i < keyWords ? cursor.key(i) : 0));
          if (remove || valueWords === 0) trees[tree].remove(key[0], key[1], key[2], key[3]);
          else if (!augmented || word % valueWords > 0) cursor.set(word % valueWords, value);
        }
        trx.commit();
        expect(repairRegion(media, { dryRun: false, now: 5 }).left).toEqual([]);
        expect(checkRegion(media).problems).toEqual([]);
        mountsAndWrites(media);
      }),
      { numRuns: 60 * EFFORT },
    );
  });
});
