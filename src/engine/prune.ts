import { asPhys } from '../types.js';
import type { BTree } from './btree.js';
import { NODE, NODE_HEADER_WORDS } from './layout.js';

/** Keys from `low` on and below `high` (null: without end), word by word. */
export interface KeyRange {
  readonly low: readonly number[];
  readonly high: readonly number[] | null;
}

/** Whether `a` comes before `b`; both have the same number of words, or `b` the fewer. */
function before(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return a[i] < b[i];
  return false;
}

export const inRange = (key: readonly number[], { low, high }: KeyRange): boolean =>
  !before(key, low) && (high === null || before(key, high));

/** The keys that lie below nodes that cannot be read, none of which is. Adjoining ranges are not merged. */
export function lostRanges(tree: BTree, isLost: (block: number) => boolean): KeyRange[] {
  const gone: KeyRange[] = [];
  const look = (block: number, level: number, keys: KeyRange): void => {
    if (isLost(block)) {
      gone.push(keys);
      return;
    }
    if (level === 0) return;
    tree.nodes.check(block, tree.spec.id, level);
    const keyAt = separators(tree, block);
    keyAt.forEach((key, i) => {
      const low = i === 0 ? keys.low : key;
      look(tree.childAt(block, i), level - 1, { low, high: keyAt[i + 1] ?? keys.high });
    });
  };
  const low = new Array<number>(tree.spec.keyWords).fill(0);
  if (tree.height > 0) look(tree.root, tree.height - 1, { low, high: null });
  return gone;
}

function separators(tree: BTree, block: number): number[][] {
  const { media, innerStride, spec } = tree;
  const words = media.words(asPhys(block));
  const first = media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS;
  return Array.from({ length: tree.countOf(block) }, (_, i) => {
    const at = first + i * innerStride;
    return Array.from(words.subarray(at, at + spec.keyWords));
  });
}

/**
 * Takes every node that cannot be read out of a tree, with all that lies below it. The caller has seen to it that
 * there are nodes enough. Those below a lost one stay marked as in use, see NodeStore.loseUnreached().
 */
export function pruneLost(tree: BTree, isLost: (block: number) => boolean): void {
  const { nodes, spec } = tree;
  /** Returns the subtree's new root, or 0 when nothing of it is left. */
  const prune = (block: number, level: number): number => {
    if (isLost(block)) {
      nodes.lose(block);
      return 0;
    }
    if (level === 0) return block;
    nodes.check(block, spec.id, level);
    const children = Array.from({ length: tree.countOf(block) }, (_, i) => tree.childAt(block, i));
    const kept = children.map((child) => prune(child, level - 1));
    if (kept.every((child, i) => child === children[i])) return block;
    if (kept.some((child) => child !== 0)) return keep(tree, nodes.shadow(block), level, kept);
    nodes.release(block);
    return 0;
  };
  if (tree.height > 0) tree.adopt(prune(tree.root, tree.height - 1));
}

/** Leaves the entries of an internal node whose child is not 0, with their children's new places. */
function keep(tree: BTree, block: number, level: number, kept: readonly number[]): number {
  const { media, nodes, innerStride, spec } = tree;
  const words = nodes.writable(block);
  const base = media.wordIndex(asPhys(block));
  let to = base + NODE_HEADER_WORDS;
  kept.forEach((child, i) => {
    if (child === 0) return;
    const from = base + NODE_HEADER_WORDS + i * innerStride;
    words.copyWithin(to, from, from + innerStride);
    words[to + spec.keyWords] = child;
    if (spec.augmented) words[to + spec.keyWords + 1] = tree.maxOf(child, level - 1);
    to += innerStride;
  });
  words[base + NODE.count] = (to - base - NODE_HEADER_WORDS) / innerStride;
  return block;
}
