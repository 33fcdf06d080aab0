import { NODE, NODE_HEADER_WORDS, type TreeSpec } from '../engine/layout.js';
import {
  countFault,
  heapFault,
  innerStride,
  leafStride,
  type NodeImage,
  orderFault,
} from '../engine/node-fault.js';
import type { NodeMedia, ReadonlyWords } from '../engine/nodes.js';
import { TREE_HEIGHT_MAX } from '../limits.js';
import { asPhys } from '../types.js';

/** A tree as the walk sees it, and who hears of what it finds. */
export interface TreeWalk {
  readonly media: NodeMedia;
  readonly spec: TreeSpec;
  readonly root: number;
  /** 0 = empty, 1 = the root is a leaf. */
  readonly height: number;
  /** Why the node cannot be used, or null. `parent` is the block of the node above, 0 for the root. */
  unusable(block: number, level: number, parent: number): string | null;
  /** The node and all below it are left out: keys from `low` on and below `high` (null: no bound). */
  lost(
    block: number,
    text: string,
    level: number,
    low: readonly number[] | null,
    high: readonly number[] | null,
  ): void;
  /** Something is wrong in a node whose entries are used all the same. */
  wrong(block: number, text: string): void;
  /** A leaf whose keys are in order and beyond those of the leaf before it. */
  leaf(block: number, records: number): void;
}

/** Words of a key somewhere in a node. */
interface KeyAt {
  readonly words: ReadonlyWords;
  readonly at: number;
}

/** < 0, 0 or > 0, word by word. */
function compareKeys(a: KeyAt, b: KeyAt, keyWords: number): number {
  for (let i = 0; i < keyWords; i++) {
    const d = a.words[a.at + i] - b.words[b.at + i];
    if (d !== 0) return d;
  }
  return 0;
}

/**
 * Walks one tree from its root in key order, whatever state it is in: each node is reached once, what cannot be
 * used is left out. Checks the order of the keys, the separators, the highest ends of an augmented tree, and
 * the build of the leaves. Memory: O(nodes). Throws only what `unusable` throws.
 */
export function walkTree(walk: TreeWalk): void {
  if (walk.height > TREE_HEIGHT_MAX) {
    walk.lost(walk.root, `a height of ${walk.height} is impossible`, walk.height - 1, null, null);
  } else if (walk.height > 0) new Walker(walk).visit(walk.root, walk.height - 1, null, null, 0);
}

class Walker {
  readonly #walk: TreeWalk;
  readonly #reached = new Set<number>();
  readonly #lastKey: Uint32Array;
  #hasLast = false;

  constructor(walk: TreeWalk) {
    this.#walk = walk;
    this.#lastKey = new Uint32Array(walk.spec.keyWords);
  }

  /** Returns the highest last block of a record below (of an augmented tree), or -1 when a part is lost. */
  visit(block: number, level: number, low: KeyAt | null, high: KeyAt | null, parent: number): number {
    const { spec, media } = this.#walk;
    const unusable = this.#reached.has(block)
      ? 'is reached twice'
      : this.#walk.unusable(block, level, parent);
    const lose = (text: string): number => {
      const bound = (key: KeyAt | null): number[] | null =>
        key === null ? null : Array.from(key.words.subarray(key.at, key.at + spec.keyWords));
      this.#walk.lost(block, text, level, bound(low), bound(high));
      return -1;
    };
    if (unusable !== null) return lose(unusable);
    this.#reached.add(block);
    const words = media.words(asPhys(block));
    const base = media.wordIndex(asPhys(block));
    const stride = level === 0 ? leafStride(spec) : innerStride(spec);
    const count = words[base + NODE.count];
    const node = { spec, level, words, base, bytes: media.bytes(asPhys(block), 1) };
    const countless = countFault(node);
    if (countless !== null) return lose(countless);
    const heapless = heapFault(node);
    if (heapless !== null) this.#walk.wrong(block, heapless);
    const isOrdered = this.#checkKeys(block, node, count, stride, low, high);
    if (level > 0) return this.#visitChildren(block, words, base, count, level, high);
    if (!isOrdered) return lose('cannot be searched');
    return (
      this.#leaf(block, words, base, count, stride) ?? lose('begins before the end of the leaf to its left')
    );
  }

  /** Returns whether the keys of the node are in order. */
  #checkKeys(
    block: number,
    node: NodeImage & { readonly words: ReadonlyWords },
    count: number,
    stride: number,
    low: KeyAt | null,
    high: KeyAt | null,
  ): boolean {
    const { keyWords } = this.#walk.spec;
    const key = (i: number): KeyAt => ({ words: node.words, at: node.base + NODE_HEADER_WORDS + i * stride });
    const disorder = orderFault(node);
    if (disorder !== null) this.#walk.wrong(block, disorder);
    if (low !== null && compareKeys(key(0), low, keyWords) < 0) {
      this.#walk.wrong(block, 'entry 0 lies below the separator');
    }
    if (high !== null && compareKeys(key(count - 1), high, keyWords) >= 0) {
      this.#walk.wrong(block, `entry ${count - 1} lies beyond the next separator`);
    }
    return disorder === null;
  }

  /** As visit(); null where the leaf cannot be used. */
  #leaf(block: number, words: ReadonlyWords, base: number, count: number, stride: number): number | null {
    const { spec } = this.#walk;
    const last = { words: this.#lastKey, at: 0 };
    const first = { words, at: base + NODE_HEADER_WORDS };
    if (this.#hasLast && compareKeys(last, first, spec.keyWords) >= 0) return null;
    const from = base + NODE_HEADER_WORDS + (count - 1) * stride;
    this.#lastKey.set(words.subarray(from, from + spec.keyWords));
    this.#hasLast = true;
    this.#walk.leaf(block, count);
    if (!spec.augmented) return 0;
    let highest = 0;
    for (let i = 0, at = first.at; i < count; i++, at += stride) {
      highest = Math.max(highest, words[at] + words[at + spec.keyWords] - 1);
    }
    return highest;
  }

  #visitChildren(
    block: number,
    words: ReadonlyWords,
    base: number,
    count: number,
    level: number,
    high: KeyAt | null,
  ): number {
    const { spec } = this.#walk;
    const stride = innerStride(spec);
    let highest = 0;
    for (let i = 0; i < count; i++) {
      const at = base + NODE_HEADER_WORDS + i * stride;
      const next = i + 1 < count ? { words, at: at + stride } : high;
      const below = this.visit(words[at + spec.keyWords], level - 1, { words, at }, next, block);
      if (!spec.augmented) continue;
      const stored = words[at + spec.keyWords + 1];
      if (below >= 0 && stored !== below) {
        this.#walk.wrong(block, `entry ${i} has the highest end ${stored}, below it is ${below}`);
      }
      highest = below < 0 || highest < 0 ? -1 : Math.max(highest, stored);
    }
    return highest;
  }
}
