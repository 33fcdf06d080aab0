import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { openEngine } from '../../src/engine/index.js';
import { INODE, INODE_FIRST_UNUSED, NODE, SB, TREES, type TreeName } from '../../src/engine/layout.js';
import { S_IFREG } from '../../src/engine/mode.js';
import type { Media } from '../../src/media/media.js';
import { repairRegion } from '../../src/repair/repair.js';
import { BLOCK_SIZE, ROOT_INO } from '../../src/types.js';
import { type BlockKind, recordPlace, whileDamaged } from '../support/damage.js';
import { FakeClock } from '../support/mem-context.js';
import { buildScene, SCENE_BLOCKS } from '../support/scene.js';
import { imageOf, mediumOf, type Seen, snapshot } from '../support/snapshot.js';

const scene = buildScene();
const sound = mediumOf(imageOf(scene.media));
const TREE_NAMES = Object.keys(TREES) as TreeName[];
const clock = new FakeClock();
const before = snapshot(openEngine(mediumOf(imageOf(sound)), { clock }));

function firstKey(tree: TreeName, from: readonly number[]): number[] {
  const cursor = scene.scan.trees[tree].cursor();
  expect(cursor.seek(from[0], from[1] ?? 0, from[2] ?? 0, from[3] ?? 0)).toBe(true);
  return Array.from({ length: TREES[tree].keyWords }, (_, i) => cursor.key(i));
}

/** Every word, or every one of these. */
type Words = 'all' | readonly number[];
const word = (field: number): number => field + 1;
const WORDS_OF_INODE = [
  0,
  ...[INODE.mode, INODE.nlink, INODE.uid, INODE.rdev, INODE.sizeLo, INODE.sizeHi, INODE.blocks].map(word),
  ...[INODE.flags, INODE.atime + 1, INODE.mtime + 2, INODE.entries, INODE.xattrs, INODE.version].map(word),
  word(INODE_FIRST_UNUSED),
];
const WORDS_OF_LINK = [word(INODE.mode), word(INODE.nlink), word(INODE.sizeLo), word(INODE.sizeHi)];
const WORDS_OF_DEVICE = [word(INODE.mode), word(INODE.rdev), word(INODE.blocks), word(INODE.version)];

/** A record, and the inodes that suffer when a word of it is wrong: none where other trees say the same. */
const CASES: [string, TreeName, () => readonly number[], Words, () => readonly number[]][] = [
  ['a file', 'inode', () => [scene.file], WORDS_OF_INODE, () => [scene.file]],
  ['a directory', 'inode', () => [scene.dir], WORDS_OF_INODE, () => [scene.dir]],
  ['a symbolic link', 'inode', () => [scene.link], WORDS_OF_LINK, () => [scene.link]],
  ['a device', 'inode', () => [scene.device], WORDS_OF_DEVICE, () => [scene.device]],
  ['an entry', 'dirent', () => firstKey('dirent', [scene.dir]), 'all', () => [namedByFirst()]],
  ['a link', 'parent', () => firstKey('parent', [scene.file]), 'all', () => []],
  ['an attribute', 'xattr', () => firstKey('xattr', [scene.file]), 'all', () => [scene.file]],
  ['a target', 'xattr', () => firstKey('xattr', [scene.link]), 'all', () => [scene.link]],
  // At another place of the file its data look as good: there the bmap is believed.
  ['an extent', 'bmap', () => [scene.file, 20], 'all', () => [scene.file]],
  ['an unwritten extent', 'bmap', () => [scene.clone, 60], 'all', () => []],
  ['the owner of a block', 'rmap', () => [blockOf(20), scene.file, 20], 'all', () => []],
  ['the owner of a slot', 'rmap', () => [0, 0xffff_ffff, 0], 'all', () => []],
  ['the owner of a chunk', 'rmap', () => [1, 0xffff_fffe, 0], 'all', () => []],
  ['a count', 'refcount', () => firstKey('refcount', [0]), 'all', () => []],
  ['a free run', 'free', () => firstKey('free', [0]), 'all', () => []],
  ['a bad run', 'badblock', () => firstKey('badblock', [0]), 'all', () => []],
  ['an orphan', 'orphan', () => [scene.orphan], 'all', () => []],
  ['a chunk', 'chunk', () => [1], 'all', () => []],
];

function blockOf(from: number): number {
  const cursor = scene.scan.trees.bmap.cursor();
  expect(cursor.seek(scene.file, from, 0, 0)).toBe(true);
  return cursor.value(0);
}

function namedByFirst(): number {
  const cursor = scene.scan.trees.dirent.cursor();
  expect(cursor.seek(scene.dir, 0, 0, 0)).toBe(true);
  return Buffer.from(cursor.payload()).readUInt32LE(0);
}

/** Repairs, expects a clean check and a mount that can write; returns what is there then. */
function repaired(media: Media, title: string): Map<string, Seen> {
  const result = repairRegion(media, { dryRun: false, now: 5 });
  expect([title, result.left]).toEqual([title, []]);
  expect([title, checkRegion(media).problems]).toEqual([title, []]);
  const engine = openEngine(media, { clock });
  const after = snapshot(engine);
  engine.create(ROOT_INO, Buffer.from('after'), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
  engine.commit();
  return after;
}

/** Inodes of which not all is as before: at the same paths, with the same attributes and contents. */
function harmed(after: ReadonlyMap<string, Seen>): number[] {
  const gone = [...before].filter(([path, { ino, text }]) => {
    const now = after.get(path);
    return now?.text !== text || now.ino !== ino;
  });
  return [...new Set(gone.map(([, { ino }]) => ino))];
}

/** The copy of the region with the block changed by `harm`. */
const damaged = (block: number, kind: BlockKind | null, harm: (words: Uint32Array) => void): Media =>
  whileDamaged(scene.media, block, harm, kind, () => mediumOf(imageOf(scene.media)));

const CHANGES = [
  ['high bit', (old: number) => (old ^ 0x8000_0000) >>> 0],
  ['+1', (old: number) => (old + 1) >>> 0],
] as const;

describe('one wrong word, the checksum right', () => {
  it.each(CASES)('%s (%s)', (_title, tree, key, words, suffering) => {
    const place = recordPlace(scene.scan, tree, key());
    const all = words === 'all' ? Array.from({ length: place.words }, (_, i) => i) : words;
    for (const i of all) {
      for (const [name, change] of CHANGES) {
        const media = damaged(place.block, 'node', (own) => {
          own[place.word + i] = change(own[place.word + i]);
        });
        const title = `word ${i} ${name}`;
        const others = harmed(repaired(media, title)).filter((ino) => !suffering().includes(ino));
        // Where the number of an inode is wrong, all that is below it moves with it.
        const isMoved = tree === 'inode' && i === 0;
        if (!isMoved) expect([title, others]).toEqual([title, []]);
      }
    }
  });

  it.each(TREE_NAMES)('the header of the root of %s', (tree) => {
    const { root } = scene.scan.superblock.roots[TREES[tree].id];
    for (const field of ['magic', 'crc', 'treeLevel', 'count', 'heapDead'] as const) {
      const at = NODE[field];
      const media = damaged(root, field === 'crc' ? null : 'node', (own) => {
        own[at] = (own[at] ^ 0x8000_0000) >>> 0;
      });
      const after = repaired(media, field);
      // The attributes are in the root itself; the leaves of the other trees are found, or made from others.
      const suffering: readonly number[] = tree === 'xattr' ? [scene.file, scene.link] : [];
      expect([field, harmed(after).filter((ino) => !suffering.includes(ino))]).toEqual([field, []]);
      const engine = openEngine(media, { clock });
      expect([field, engine.isBad((SCENE_BLOCKS - 9) * BLOCK_SIZE, 2 * BLOCK_SIZE)]).toEqual([field, true]);
    }
  });

  it('a field of a superblock slot', () => {
    const slots = [0, SCENE_BLOCKS - 1];
    const fields = [
      ...Object.values(SB),
      SB.roots + 4,
      SB.roots + 9,
      SB.roots + 20,
      SB.roots + 25,
      SB.roots + 33,
    ];
    const cases: [block: number, word: number, sealed: BlockKind | null][] = [];
    for (const [i, at] of fields.entries()) cases.push([slots[i % 2], at, 'superblock']);
    for (const block of slots) cases.push([block, SB.roots, null], [block, SB.magicLo, null]);
    for (const [block, at, kind] of cases) {
      const media = damaged(block, kind, (own) => {
        own[at] = (own[at] ^ 0x8000_0000) >>> 0;
      });
      const title = `slot ${block}, word ${at}, ${kind}`;
      const after = repaired(media, title);
      // With a wrong checksum the other slot counts, which is one transaction older.
      if (kind === null)
        expect([title, harmed(after).filter((ino) => ino !== scene.dir)]).toEqual([title, []]);
    }
  });
});
