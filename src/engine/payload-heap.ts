import { assert } from '../errors.js';
import { asPhys, BLOCK_SIZE } from '../types.js';
import { NODE, NODE_HEADER_WORDS, type TreeSpec } from './layout.js';
import type { NodeMedia, NodeStore } from './nodes.js';

/** Where a payload lies in its leaf, as one word: offset | length << 16. */
const refOf = (offset: number, length: number): number => offset + length * 65536;
const offsetOf = (ref: number): number => ref & 0xffff;
const lengthOf = (ref: number): number => ref >>> 16;

/**
 * The payloads of the leaves of a variable-length tree: each leaf has a heap that grows from its end down towards the
 * entries, whose only value is where their payload lies. A payload that is not wanted any more is dead until the
 * leaf is squeezed.
 */
export class PayloadHeap {
  readonly #media: NodeMedia;
  readonly #nodes: NodeStore;
  /** Words from the start of an entry to where its payload lies, and to the next entry. */
  readonly #ref: number;
  readonly #stride: number;

  constructor(spec: TreeSpec, media: NodeMedia, nodes: NodeStore) {
    this.#media = media;
    this.#nodes = nodes;
    this.#ref = spec.keyWords;
    this.#stride = spec.keyWords + 1;
  }

  /** Word index of where entry `index` has its payload. */
  #slot(leaf: number, index: number): number {
    return this.#media.wordIndex(asPhys(leaf)) + NODE_HEADER_WORDS + index * this.#stride + this.#ref;
  }

  /** Bytes of the payload of an entry. */
  bytesOf(leaf: number, index: number): number {
    return lengthOf(this.#media.words(asPhys(leaf))[this.#slot(leaf, index)]);
  }

  /** Bytes of all payloads of a leaf but the dead ones. */
  bytesIn(leaf: number): number {
    const words = this.#media.words(asPhys(leaf));
    const base = this.#media.wordIndex(asPhys(leaf));
    return BLOCK_SIZE - words[base + NODE.heapTop] - words[base + NODE.heapDead];
  }

  /** The payload of an entry, as a view of the region. */
  view(leaf: number, index: number): Buffer {
    const ref = this.#media.words(asPhys(leaf))[this.#slot(leaf, index)];
    return this.#media.bytes(asPhys(leaf), 1).subarray(offsetOf(ref), offsetOf(ref) + lengthOf(ref));
  }

  /** Stores the payload of an entry that has none yet. There is room in one piece, see squeeze(). */
  put(leaf: number, index: number, payload: Uint8Array): void {
    const words = this.#nodes.writable(leaf);
    const base = this.#media.wordIndex(asPhys(leaf));
    const offset = words[base + NODE.heapTop] - payload.length;
    words[base + NODE.heapTop] = offset;
    words[this.#slot(leaf, index)] = refOf(offset, payload.length);
    this.#media.bytes(asPhys(leaf), 1).set(payload, offset);
  }

  /** The entry is about to go. */
  drop(leaf: number, index: number): void {
    const words = this.#nodes.writable(leaf);
    words[this.#media.wordIndex(asPhys(leaf)) + NODE.heapDead] += this.bytesOf(leaf, index);
  }

  /** Copies the payloads of `count` entries that were copied to another leaf, where the first has the index `first`. */
  copy(from: number, to: number, first: number, count: number): void {
    const source = this.#media.bytes(asPhys(from), 1);
    const words = this.#media.words(asPhys(to));
    for (let index = first; index < first + count; index++) {
      const ref = words[this.#slot(to, index)];
      this.put(to, index, source.subarray(offsetOf(ref), offsetOf(ref) + lengthOf(ref)));
    }
  }

  /** Squeezes dead payloads out when the `need` free bytes of a leaf are not in one piece. */
  squeeze(leaf: number, need: number): void {
    const words = this.#media.words(asPhys(leaf));
    const base = this.#media.wordIndex(asPhys(leaf));
    const n = words[base + NODE.count];
    const indexEnd = (NODE_HEADER_WORDS + n * this.#stride) * 4;
    if (words[base + NODE.heapTop] - indexEnd >= need) return;
    const old = Buffer.from(this.#media.bytes(asPhys(leaf), 1));
    const changed = this.#nodes.writable(leaf);
    changed[base + NODE.heapTop] = BLOCK_SIZE;
    changed[base + NODE.heapDead] = 0;
    for (let index = 0; index < n; index++) {
      const ref = words[this.#slot(leaf, index)];
      this.put(leaf, index, old.subarray(offsetOf(ref), offsetOf(ref) + lengthOf(ref)));
    }
    assert(words[base + NODE.heapTop] - indexEnd >= need, 'no room after compaction');
  }
}
