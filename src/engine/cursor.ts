import { assert, broken, InvariantError } from '../errors.js';
import { TREE_HEIGHT_MAX } from '../limits.js';
import { asPhys } from '../types.js';
import type { BTree } from './btree.js';
import { NODE_HEADER_WORDS } from './layout.js';
import type { ReadonlyWords } from './nodes.js';
import type { Cursor } from './tree.js';

/** A position in a B+tree: the path from the root, by level. */
export class TreeCursor implements Cursor {
  valid = false;
  readonly #tree: BTree;
  readonly #block = new Uint32Array(TREE_HEIGHT_MAX);
  readonly #index = new Int32Array(TREE_HEIGHT_MAX);
  #version = -1;
  #epoch = -1;
  /** At the start of a search: the path was valid. */
  #near = false;
  /** The leaf, for quick access: view, word index of its first entry, number of entries. */
  #words: ReadonlyWords;
  #entries = 0;
  #count = 0;
  /** Bounds of the running overlap query: [from, to). */
  #from = 0;
  #to = 0;

  constructor(tree: BTree) {
    this.#tree = tree;
    this.#words = new Uint32Array(0);
  }

  #enterLeaf(block: number): void {
    this.#tree.nodes.check(block, this.#tree.spec.id, 0);
    this.#block[0] = block;
    this.#words = this.#tree.media.words(asPhys(block));
    this.#entries = this.#tree.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS;
    this.#count = this.#tree.countOf(block);
  }

  #start(): boolean {
    this.#near = this.#isCurrent();
    this.#version = this.#tree.version;
    this.#epoch = this.#tree.nodes.epoch;
    this.valid = false;
    return this.#tree.height > 0;
  }

  /** Whether the path is that of a record of the tree as it is. */
  #isCurrent(): boolean {
    return this.valid && this.#version === this.#tree.version && this.#epoch === this.#tree.nodes.epoch;
  }

  /** Whether the leaf of the last position has the place of the key: who asks for neighbours needs no descent. */
  #isNear(k0: number, k1: number, k2: number, k3: number): boolean {
    if (!this.#near || this.#words[this.#entries] > k0) return false;
    const tree = this.#tree;
    const last = this.#entries + (this.#count - 1) * tree.leafStride;
    if (this.#words[last] < k0) return false;
    return (
      tree.compare(this.#words, this.#entries, k0, k1, k2, k3) <= 0 &&
      tree.compare(this.#words, last, k0, k1, k2, k3) >= 0
    );
  }

  #checkVersion(): void {
    if (this.#version !== this.#tree.version) this.#stale();
  }

  #stale(): never {
    throw new InvariantError(`stale cursor in tree ${this.#tree.spec.name}`);
  }

  /** Descends to the leaf that may hold the key. */
  #descend(k0: number, k1: number, k2: number, k3: number): void {
    const tree = this.#tree;
    if (this.#isNear(k0, k1, k2, k3)) {
      this.#index[0] = tree.lowerBound(this.#block[0], tree.leafStride, k0, k1, k2, k3);
      return;
    }
    let block = tree.root;
    for (let level = tree.height - 1; level > 0; level--) {
      tree.nodes.check(block, tree.spec.id, level);
      const i = tree.childIndex(block, k0, k1, k2, k3);
      this.#block[level] = block;
      this.#index[level] = i;
      block = tree.childAt(block, i);
    }
    this.#enterLeaf(block);
    this.#index[0] = tree.lowerBound(block, tree.leafStride, k0, k1, k2, k3);
  }

  seek(k0: number, k1: number, k2: number, k3: number): boolean {
    if (!this.#start()) return false;
    this.#descend(k0, k1, k2, k3);
    if (this.#index[0] < this.#count) {
      this.valid = true;
      return true;
    }
    this.#index[0] = this.#count - 1;
    return this.#step(1);
  }

  seekLE(k0: number, k1: number, k2: number, k3: number): boolean {
    if (!this.#start()) return false;
    const tree = this.#tree;
    this.#descend(k0, k1, k2, k3);
    const i = this.#index[0];
    if (i < this.#count) {
      const at = this.#entries + i * tree.leafStride;
      if (tree.compare(this.#words, at, k0, k1, k2, k3) === 0) {
        this.valid = true;
        return true;
      }
    }
    if (i > 0) {
      this.#index[0] = i - 1;
      this.valid = true;
      return true;
    }
    return this.#step(-1);
  }

  /** To the neighbouring record, in this leaf or the next one in that direction. */
  #step(by: 1 | -1): boolean {
    const next = this.#index[0] + by;
    if (next >= 0 && next < this.#count) {
      this.#index[0] = next;
      this.valid = true;
      return true;
    }
    return this.#leap(by);
  }

  #leap(by: 1 | -1): boolean {
    const tree = this.#tree;
    let level = 1;
    while (level < tree.height) {
      const i = this.#index[level] + by;
      if (i >= 0 && i < tree.countOf(this.#block[level])) break;
      level++;
    }
    if (level >= tree.height) {
      this.valid = false;
      return false;
    }
    this.#index[level] += by;
    let block = tree.childAt(this.#block[level], this.#index[level]);
    for (level--; level > 0; level--) {
      tree.nodes.check(block, tree.spec.id, level);
      this.#block[level] = block;
      this.#index[level] = by > 0 ? 0 : tree.countOf(block) - 1;
      block = tree.childAt(block, this.#index[level]);
    }
    this.#enterLeaf(block);
    this.#index[0] = by > 0 ? 0 : this.#count - 1;
    this.valid = true;
    return true;
  }

  next(): boolean {
    this.#checkVersion();
    if (!this.valid) return false;
    return this.#step(1);
  }

  prev(): boolean {
    this.#checkVersion();
    if (!this.valid) return false;
    return this.#step(-1);
  }

  #at(): number {
    if (!this.valid || this.#version !== this.#tree.version)
      broken(`stale cursor in tree ${this.#tree.spec.name}`);
    return this.#entries + this.#index[0] * this.#tree.leafStride;
  }

  key(i: number): number {
    return this.#words[this.#at() + i];
  }

  value(i: number): number {
    return this.#words[this.#at() + this.#tree.spec.keyWords + i];
  }

  isAt(k0: number): boolean {
    return this.#isCurrent() && this.#words[this.#entries + this.#index[0] * this.#tree.leafStride] === k0;
  }

  read(out: Uint32Array): void {
    const { keyWords, valueWords } = this.#tree.spec;
    const at = this.#at() + keyWords;
    for (let i = 0; i < valueWords; i++) out[i] = this.#words[at + i];
  }

  set(i: number, word: number): void {
    const tree = this.#tree;
    assert(!tree.spec.augmented || i !== 0, 'set of the length in an augmented tree');
    this.#at();
    if (!tree.nodes.isCurrent(this.#block[0])) {
      tree.shadowPath(this.#block, this.#index);
      tree.version++;
      this.#version = tree.version;
      this.#enterLeaf(this.#block[0]);
    }
    tree.nodes.writable(this.#block[0])[this.#at() + tree.spec.keyWords + i] = word;
  }

  payload(): Buffer {
    this.#at();
    const { payloads } = this.#tree;
    if (payloads === null) broken(`the tree ${this.#tree.spec.name} has no payloads`);
    return payloads.view(this.#block[0], this.#index[0]);
  }

  seekOverlap(from: number, to: number): boolean {
    const tree = this.#tree;
    assert(tree.spec.augmented, 'overlap query in a plain tree');
    this.#from = from;
    this.#to = to;
    if (!this.#start() || to <= from) return false;
    this.valid = this.#overlapBelow(tree.root, tree.height - 1);
    return this.valid;
  }

  seekOverlapFrom(from: number, to: number, k0: number, k1: number, k2: number, k3: number): boolean {
    assert(this.#tree.spec.augmented, 'overlap query in a plain tree');
    this.#from = from;
    this.#to = to;
    if (!this.seek(k0, k1, k2, k3)) return false;
    this.valid = this.#overlapInLeaf(this.#index[0]) || this.#overlapBeside();
    return this.valid;
  }

  nextOverlap(): boolean {
    this.#checkVersion();
    if (!this.valid) return false;
    this.valid = this.#overlapInLeaf(this.#index[0] + 1) || this.#overlapBeside();
    return this.valid;
  }

  /** The first match in the subtree; fills the path on the way. */
  #overlapBelow(block: number, level: number): boolean {
    if (level === 0) {
      this.#enterLeaf(block);
      return this.#overlapInLeaf(0);
    }
    this.#tree.nodes.check(block, this.#tree.spec.id, level);
    this.#block[level] = block;
    return this.#overlapInChildren(level, 0);
  }

  #overlapInChildren(level: number, start: number): boolean {
    const tree = this.#tree;
    const block = this.#block[level];
    const words = tree.media.words(asPhys(block));
    const n = tree.countOf(block);
    let at = tree.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS + start * tree.innerStride;
    for (let i = start; i < n; i++, at += tree.innerStride) {
      if (words[at] >= this.#to) return false;
      if (words[at + tree.spec.keyWords + 1] < this.#from) continue;
      this.#index[level] = i;
      if (this.#overlapBelow(words[at + tree.spec.keyWords], level - 1)) return true;
    }
    return false;
  }

  #overlapInLeaf(start: number): boolean {
    const tree = this.#tree;
    let at = this.#entries + start * tree.leafStride;
    for (let i = start; i < this.#count; i++, at += tree.leafStride) {
      if (this.#words[at] >= this.#to) return false;
      if (this.#words[at] + this.#words[at + tree.spec.keyWords] > this.#from) {
        this.#index[0] = i;
        return true;
      }
    }
    return false;
  }

  /** The first match to the right of the path. */
  #overlapBeside(): boolean {
    for (let level = 1; level < this.#tree.height; level++) {
      if (this.#overlapInChildren(level, this.#index[level] + 1)) return true;
    }
    return false;
  }
}
