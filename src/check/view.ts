import { NODE, NODE_HEADER_WORDS, type TreeSpec } from '../engine/layout.js';
import { leafStride } from '../engine/node-fault.js';
import { assert } from '../errors.js';
import type { Media } from '../media/media.js';
import { asPhys } from '../types.js';
import type { ReadCursor, ReadTree } from './subject.js';

/**
 * The records of a tree that can be read: its usable leaves in key order, read in place. It needs no internal
 * node, so that damage above the leaves loses nothing. Memory: one number for each leaf.
 */
export class LeafView implements ReadTree {
  count = 0;
  readonly spec: TreeSpec;
  readonly media: Media;
  readonly leaves: number[] = [];

  constructor(spec: TreeSpec, media: Media) {
    this.spec = spec;
    this.media = media;
  }

  /** The next leaf in key order. */
  add(leaf: number, records: number): void {
    this.leaves.push(leaf);
    this.count += records;
  }

  cursor(): ReadCursor {
    return new LeafCursor(this);
  }
}

class LeafCursor implements ReadCursor {
  readonly #view: LeafView;
  readonly #stride: number;
  readonly #keyWords: number;
  readonly #wanted = new Uint32Array(4);
  #leaf = 0;
  #index = 0;
  #count = 0;
  #words: Uint32Array = new Uint32Array(0);
  #entries = 0;

  constructor(view: LeafView) {
    this.#view = view;
    this.#stride = leafStride(view.spec);
    this.#keyWords = view.spec.keyWords;
  }

  #enter(leaf: number): void {
    const block = asPhys(this.#view.leaves[leaf]);
    const { media } = this.#view;
    const base = media.wordIndex(block);
    this.#leaf = leaf;
    this.#words = media.words(block);
    this.#count = this.#words[base + NODE.count];
    this.#entries = base + NODE_HEADER_WORDS;
  }

  /** Compares entry `index` of the current leaf with the wanted key: < 0, 0, > 0. */
  #compare(index: number): number {
    const at = this.#entries + index * this.#stride;
    for (let i = 0; i < this.#keyWords; i++) {
      const d = this.#words[at + i] - this.#wanted[i];
      if (d !== 0) return d;
    }
    return 0;
  }

  /** To the first entry with key >= the wanted one, or behind the last one of its leaf. */
  #search(k0: number, k1: number, k2: number, k3: number): void {
    this.#wanted[0] = k0;
    this.#wanted[1] = k1;
    this.#wanted[2] = k2;
    this.#wanted[3] = k3;
    let low = 0;
    let high = this.#view.leaves.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      this.#enter(middle);
      if (this.#compare(0) <= 0) low = middle;
      else high = middle;
    }
    this.#enter(low);
    low = 0;
    high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(middle) < 0) low = middle + 1;
      else high = middle;
    }
    this.#index = low;
  }

  seek(k0: number, k1: number, k2: number, k3: number): boolean {
    if (this.#view.leaves.length === 0) return false;
    this.#search(k0, k1, k2, k3);
    if (this.#index < this.#count) return true;
    this.#index--;
    return this.next();
  }

  seekLE(k0: number, k1: number, k2: number, k3: number): boolean {
    if (this.#view.leaves.length === 0) return false;
    this.#search(k0, k1, k2, k3);
    if (this.#index < this.#count && this.#compare(this.#index) === 0) return true;
    if (this.#index > 0) {
      this.#index--;
      return true;
    }
    // Only the first leaf is entered by a key below its first one.
    return false;
  }

  next(): boolean {
    if (this.#index + 1 < this.#count) {
      this.#index++;
      return true;
    }
    if (this.#leaf + 1 >= this.#view.leaves.length) return false;
    this.#enter(this.#leaf + 1);
    this.#index = 0;
    return true;
  }

  #at(): number {
    assert(this.#index < this.#count, `tree ${this.#view.spec.name}: the cursor stands on no record`);
    return this.#entries + this.#index * this.#stride;
  }

  key(i: number): number {
    return this.#words[this.#at() + i];
  }

  value(i: number): number {
    return this.#words[this.#at() + this.#keyWords + i];
  }

  payload(): Buffer {
    const ref = this.#words[this.#at() + this.#keyWords];
    const offset = ref & 0xffff;
    const block = asPhys(this.#view.leaves[this.#leaf]);
    return this.#view.media.bytes(block, 1).subarray(offset, offset + (ref >>> 16));
  }
}
