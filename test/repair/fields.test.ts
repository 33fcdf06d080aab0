import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { openEngine } from '../../src/engine/index.js';
import { TREES, type TreeName } from '../../src/engine/layout.js';
import type { Media } from '../../src/media/media.js';
import { repairRegion } from '../../src/repair/repair.js';
import { recordPlace, whileDamaged } from '../support/damage.js';
import { FakeClock } from '../support/mem-context.js';
import { buildScene } from '../support/scene.js';
import { imageOf, mediumOf, type Seen, snapshot } from '../support/snapshot.js';

const scene = buildScene();
const sound = mediumOf(imageOf(scene.media));
const clock = new FakeClock();
const before = snapshot(openEngine(mediumOf(imageOf(sound)), { clock }));

function firstKey(tree: TreeName, from: readonly number[]): number[] {
  const cursor = scene.scan.trees[tree].cursor();
  expect(cursor.seek(from[0], from[1] ?? 0, from[2] ?? 0, from[3] ?? 0)).toBe(true);
  return Array.from({ length: TREES[tree].keyWords }, (_, i) => cursor.key(i));
}

const CASES: [string, TreeName, () => readonly number[]][] = [
  ['a file', 'inode', () => [scene.file]],
  ['a directory', 'inode', () => [scene.dir]],
  ['a symbolic link', 'inode', () => [scene.link]],
  ['a device', 'inode', () => [scene.device]],
  ['an entry', 'dirent', () => firstKey('dirent', [scene.dir])],
  ['a link', 'parent', () => firstKey('parent', [scene.file])],
  ['an attribute', 'xattr', () => firstKey('xattr', [scene.file])],
  ['a target', 'xattr', () => firstKey('xattr', [scene.link])],
  ['an extent', 'bmap', () => [scene.file, 20]],
  ['an unwritten extent', 'bmap', () => [scene.clone, 60]],
  ['the owner of a slot', 'rmap', () => [0, 0xffff_ffff, 0]],
  ['the owner of a chunk', 'rmap', () => [1, 0xffff_fffe, 0]],
  ['a count', 'refcount', () => firstKey('refcount', [0])],
  ['a free run', 'free', () => firstKey('free', [0])],
  ['a bad run', 'badblock', () => firstKey('badblock', [0])],
  ['an orphan', 'orphan', () => [scene.orphan]],
  ['a chunk', 'chunk', () => [1]],
];

const differs = (a: Seen | undefined, b: Seen | undefined): boolean =>
  a?.text !== b?.text || a?.ino !== b?.ino;

function repaired(media: Media, title: string): Map<string, Seen> {
  const result = repairRegion(media, { dryRun: false, now: 5 });
  expect([title, result.left]).toEqual([title, []]);
  expect([title, checkRegion(media).problems]).toEqual([title, []]);
  const engine = openEngine(media, { clock });
  const after = snapshot(engine);
  engine.commit();
  return after;
}

describe('one wrong word in a record', () => {
  it.each(CASES)('%s (%s)', (_title, tree, key) => {
    const place = recordPlace(scene.scan, tree, key());
    for (let i = 0; i < place.words; i++) {
      for (const [title, change] of [
        [`${i}`, (old: number) => (old ^ 0x8000_0000) >>> 0],
        [`${i}+1`, (old: number) => (old + 1) >>> 0],
      ] as const) {
        const harm = (words: Uint32Array): void => {
          words[place.word + i] = change(words[place.word + i]);
        };
        const damaged = whileDamaged(scene.media, place.block, harm, 'node', () =>
          mediumOf(imageOf(scene.media)),
        );
        const after = repaired(damaged, title);
        const lost = [...before]
          .filter(([path, seen]) => differs(after.get(path), seen))
          .map(([path]) => path);
        const made = [...after.keys()].filter((path) => !before.has(path));
        if (lost.length + made.length > 0) console.log(tree, title, lost.slice(0, 5), made.slice(0, 5));
      }
    }
  });
});
