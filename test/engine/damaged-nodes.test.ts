import { beforeAll, describe, expect, it } from 'vitest';
import type { Scan } from '../../src/check/scan.js';
import { openEngine, type RegionEngine } from '../../src/engine/index.js';
import { NODE, NODE_HEADER_WORDS, TREES, type TreeName } from '../../src/engine/layout.js';
import { innerStride, leafStride } from '../../src/engine/node-fault.js';
import { CorruptionError } from '../../src/errors.js';
import type { Media } from '../../src/media/media.js';
import { BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { harmBlock, recordPlace } from '../support/damage.js';
import { FakeClock } from '../support/mem-context.js';
import { buildScene } from '../support/scene.js';
import { imageOf, mediumOf } from '../support/snapshot.js';

/** A node that fsck would refuse, with a right checksum: whoever comes upon it gets an error and nothing is changed. */
describe('a node with a right checksum and wrong words', () => {
  let image: Buffer;
  let scan: Scan;
  let file: Ino;
  let dir: Ino;
  beforeAll(() => {
    const scene = buildScene();
    image = imageOf(scene.media);
    ({ scan, file, dir } = scene);
  });

  /** A medium with one node changed. */
  function harmed(block: number, harm: (words: Uint32Array) => void): Media {
    const media = mediumOf(image);
    harmBlock(media, block, harm, 'node');
    return media;
  }

  function refuses(media: Media, use: (engine: RegionEngine) => unknown): void {
    const engine = openEngine(media, { clock: new FakeClock() });
    engine.begin();
    expect(() => use(engine)).toThrow(CorruptionError);
    expect(engine.changed).toBe(false);
  }

  const list = (engine: RegionEngine): void => engine.readdir(dir, 0, () => true);
  const leafOf = (tree: TreeName, key: readonly number[]): number => recordPlace(scan, tree, key).block;
  const firstOf = (tree: TreeName): number => scan.trees[tree].leaves[0];

  it.each([0, 5000, 4_000_000_000])('%d entries: a directory is not empty, nor without end', (count) => {
    for (const block of scan.trees.dirent.leaves) {
      const media = harmed(block, (words) => words.fill(count, NODE.count, NODE.count + 1));
      refuses(media, list);
    }
  });

  it.each([0, 5000, 4_000_000_000])('%d entries in the free space: a write ends', (count) => {
    const media = harmed(firstOf('free'), (words) => words.fill(count, NODE.count, NODE.count + 1));
    const data = Buffer.alloc(300_000, 7);
    expect(() => {
      const engine = openEngine(media, { clock: new FakeClock() });
      engine.write(file, 4096 * BLOCK_SIZE, data, data.length, false);
    }).toThrow(CorruptionError);
  });

  it.each([
    ['before the region', 0],
    ['over the last superblock', (blocks: number) => blocks - 1],
    ['beyond the region', 4_000_000_000],
  ])('an extent %s', (_title, physical) => {
    const { block, word } = recordPlace(scan, 'bmap', [file, 20]);
    const media = harmed(block, (words) => {
      words[word + 2] = typeof physical === 'number' ? physical : physical(scan.media.blocks);
    });
    refuses(media, (engine) =>
      engine.read(file, 20 * BLOCK_SIZE, BLOCK_SIZE, false, {
        table: new Int32Array(64),
        segments: 0,
        bytes: 0,
      }),
    );
  });

  it('entries that are out of order, or not those that are sought here', () => {
    const [left, right] = scan.trees.dirent.leaves;
    const stride = leafStride(TREES.dirent);
    const last = NODE_HEADER_WORDS;
    refuses(
      harmed(left, (words) => words.copyWithin(last, last + stride, last + stride + 3)),
      list,
    );
    // In order by itself, and below all of the leaf to its left.
    refuses(
      harmed(right, (words) => words.fill(0, NODE_HEADER_WORDS + 1, NODE_HEADER_WORDS + 3)),
      list,
    );
  });

  it('a child outside of the region ends the mount', () => {
    const { root } = scan.superblock.roots[TREES.dirent.id];
    const at = NODE_HEADER_WORDS + innerStride(TREES.dirent) + TREES.dirent.keyWords;
    const media = harmed(root, (words) => words.fill(0xffff_fff0, at, at + 1));
    expect(() => openEngine(media, { clock: new FakeClock() })).toThrow(CorruptionError);
  });

  it('an inode whose words nobody wrote', () => {
    const { block, word } = recordPlace(scan, 'inode', [ROOT_INO]);
    refuses(
      harmed(block, (words) => words.fill(0xffff_ffff, word + 1, word + 2)),
      list,
    );
    expect(leafOf('inode', [ROOT_INO])).toBe(block);
  });
});
