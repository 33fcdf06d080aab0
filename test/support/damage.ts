import type { Scan } from '../../src/check/scan.js';
import {
  NODE,
  NODE_HEADER_WORDS,
  SB,
  TREES,
  type TreeName,
  WORDS_PER_BLOCK,
} from '../../src/engine/layout.js';
import { innerStride, leafStride } from '../../src/engine/node-fault.js';
import { blockChecksum } from '../../src/engine/nodes.js';
import type { Media } from '../../src/media/media.js';
import { asPhys } from '../../src/types.js';

export type BlockKind = 'node' | 'superblock';

export const readWord = (media: Media, block: number, word: number): number =>
  media.words(asPhys(block))[media.wordIndex(asPhys(block)) + word];

/** Makes the block's checksum right again. */
function seal(media: Media, block: number, kind: BlockKind): void {
  const at = media.wordIndex(asPhys(block)) + (kind === 'node' ? NODE.crc : SB.crc);
  media.words(asPhys(block))[at] = blockChecksum(media.bytes(asPhys(block), 1), kind);
}

/** Changes the block's words, and makes its checksum right again where `sealed` says how. */
export function harmBlock(
  media: Media,
  block: number,
  harm: (words: Uint32Array) => void,
  sealed: BlockKind | null,
): void {
  const base = media.wordIndex(asPhys(block));
  harm(media.words(asPhys(block)).subarray(base, base + WORDS_PER_BLOCK));
  if (sealed !== null) seal(media, block, sealed);
}

/** Runs `look` while the block's words are changed by `harm`, and puts them back. */
export function whileDamaged<T>(
  media: Media,
  block: number,
  harm: (words: Uint32Array) => void,
  sealed: BlockKind | null,
  look: () => T,
): T {
  const base = media.wordIndex(asPhys(block));
  const words = media.words(asPhys(block)).subarray(base, base + WORDS_PER_BLOCK);
  const before = words.slice();
  harmBlock(media, block, harm, sealed);
  try {
    return look();
  } finally {
    words.set(before);
  }
}

/** Where the entry of a node begins: a record of a leaf, or what leads to a child. */
export interface EntryPlace {
  readonly block: number;
  /** Word of the block. */
  readonly word: number;
  readonly words: number;
}

/** The leaf entry with this key. Throws when there is none. */
export function recordPlace(scan: Scan, name: TreeName, key: readonly number[]): EntryPlace {
  const { leaves, media } = scan.trees[name];
  const stride = leafStride(TREES[name]);
  for (const block of leaves) {
    for (let i = 0; i < readWord(media, block, NODE.count); i++) {
      const word = NODE_HEADER_WORDS + i * stride;
      if (key.every((part, k) => readWord(media, block, word + k) === part))
        return { block, word, words: stride };
    }
  }
  throw new Error(`tree ${name} has no record ${key}`);
}

/** Entry `index` of the root of a tree of height 2 or more. */
export function rootEntry(scan: Scan, name: TreeName, index: number): EntryPlace {
  const { root, height } = scan.superblock.roots[TREES[name].id];
  if (height < 2) throw new Error(`tree ${name} has a height of ${height}`);
  const words = innerStride(TREES[name]);
  return { block: root, word: NODE_HEADER_WORDS + index * words, words };
}
