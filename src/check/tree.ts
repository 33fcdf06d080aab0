import type { BTree } from '../engine/btree.js';
import { NODE_HEADER_WORDS } from '../engine/layout.js';
import { asPhys } from '../types.js';

/** What a walk over one tree found wrong; [] for a sound tree. Reads every node. */
export function checkTree(tree: BTree): string[] {
  const found: string[] = [];
  const words = tree.spec.keyWords;
  const nodes = new Set<number>();
  let records = 0;
  const keyAt = (block: number, stride: number, i: number): number[] => {
    const view = tree.media.words(asPhys(block));
    const at = tree.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS + i * stride;
    return Array.from({ length: words }, (_, k) => view[at + k]);
  };
  const less = (a: readonly number[], b: readonly number[]): boolean => {
    for (let i = 0; i < words; i++) if (a[i] !== b[i]) return a[i] < b[i];
    return false;
  };
  const bad = (block: number, what: string): void => {
    found.push(`tree ${tree.spec.name}, block ${block}: ${what}`);
  };
  const visit = (
    block: number,
    level: number,
    low: readonly number[],
    high: readonly number[] | null,
  ): void => {
    if (nodes.has(block)) {
      bad(block, 'is reached twice');
      return;
    }
    nodes.add(block);
    tree.nodes.check(block, tree.spec.id, level);
    if (!tree.nodes.isUsed(block)) bad(block, 'is not marked as used');
    const n = tree.countOf(block);
    const stride = level === 0 ? tree.leafStride : tree.innerStride;
    if (n === 0) bad(block, 'is empty');
    const keys = Array.from({ length: n }, (_, i) => keyAt(block, stride, i));
    keys.forEach((key, i) => {
      if (i > 0 && !less(keys[i - 1], key)) bad(block, `entries ${i - 1} and ${i} are out of order`);
      if (less(key, low)) bad(block, `entry ${i} lies below the separator`);
      if (high !== null && !less(key, high)) bad(block, `entry ${i} lies beyond the next separator`);
    });
    if (level === 0) {
      records += n;
      return;
    }
    for (let i = 0; i < n; i++) {
      const child = tree.childAt(block, i);
      visit(child, level - 1, keys[i], i + 1 < n ? keys[i + 1] : high);
      if (!tree.spec.augmented) continue;
      const at = tree.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS + i * stride + words + 1;
      const stored = tree.media.words(asPhys(block))[at];
      const real = tree.maxOf(child, level - 1);
      if (stored !== real) bad(block, `entry ${i} has the highest end ${stored}, below it is ${real}`);
    }
  };
  if (tree.height > 0) visit(tree.root, tree.height - 1, new Array<number>(words).fill(0), null);
  if (records !== tree.count)
    found.push(`tree ${tree.spec.name}: counts ${tree.count} records, has ${records}`);
  return found;
}
