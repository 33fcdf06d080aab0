import { assert, CorruptionError, InvariantError } from '../errors.js';
import { TREE_HEIGHT_MAX } from '../limits.js';
import { asPhys } from '../types.js';
import { TreeCursor } from './cursor.js';
import { NODE, NODE_BODY_WORDS, NODE_HEADER_WORDS, type TreeSpec } from './layout.js';
import type { NodeMedia, NodeStore, ReadonlyWords } from './nodes.js';
import { PayloadHeap } from './payload-heap.js';
import { type Cursor, PAYLOAD_MAX_BYTES, type Tree } from './tree.js';

const BODY_BYTES = NODE_BODY_WORDS * 4;
/** A node that is less than this full is merged with a neighbour when both fit into MERGE_TO. */
const MERGE_BELOW = BODY_BYTES / 3;
const MERGE_TO = (BODY_BYTES * 3) / 4;

const EMPTY_PAYLOAD = new Uint8Array(0);

/**
 * A copy-on-write B+tree in the region.
 *
 *   internal node   [ key, child (, highest end) ] ...   key <= every key below child
 *   leaf            [ key, value ] ...
 *   variable leaf   [ key, payload offset | length << 16 ] ...  free ...  payloads down from the end
 *
 * A change shadows the path from the root to the leaf once a transaction; nodes of the running transaction
 * are changed in place. A parent of such a node is such a node, too.
 */
export class BTree implements Tree {
  root = 0;
  /** 0 = empty, 1 = the root is a leaf. */
  height = 0;
  count = 0;
  /** Counts changes, so that a stale cursor is noticed. */
  version = 0;
  readonly spec: TreeSpec;
  readonly media: NodeMedia;
  readonly nodes: NodeStore;
  readonly leafStride: number;
  readonly innerStride: number;
  readonly #keyWords: number;
  /** Of a variable-length tree only. */
  readonly payloads: PayloadHeap | null;
  /** The path of the last descent, by level. */
  readonly #block = new Uint32Array(TREE_HEIGHT_MAX);
  readonly #index = new Int32Array(TREE_HEIGHT_MAX);
  readonly #key = new Uint32Array(4);

  constructor(spec: TreeSpec, media: NodeMedia, nodes: NodeStore) {
    this.spec = spec;
    this.media = media;
    this.nodes = nodes;
    this.#keyWords = spec.keyWords;
    this.payloads = spec.variable ? new PayloadHeap(spec, media, nodes) : null;
    this.leafStride = spec.keyWords + (spec.variable ? 1 : spec.valueWords);
    this.innerStride = spec.keyWords + (spec.augmented ? 2 : 1);
  }

  /** Takes over a root from the superblock. */
  load(root: number, height: number, count: number): void {
    if (height > TREE_HEIGHT_MAX || (root === 0) !== (height === 0) || (root === 0) !== (count === 0)) {
      throw new CorruptionError(
        root,
        `tree ${this.spec.name} has an impossible height of ${height}, with ${count} records`,
      );
    }
    this.root = root;
    this.height = height;
    this.count = count;
    this.version++;
  }

  cursor(): Cursor {
    return new TreeCursor(this);
  }

  // ---- search -------------------------------------------------------------------------------------------

  /** Compares the key at words[at] with the given one: < 0, 0, > 0. */
  compare(words: ReadonlyWords, at: number, k0: number, k1: number, k2: number, k3: number): number {
    let d = words[at] - k0;
    if (d !== 0 || this.#keyWords === 1) return d;
    d = words[at + 1] - k1;
    if (d !== 0 || this.#keyWords === 2) return d;
    d = words[at + 2] - k2;
    if (d !== 0 || this.#keyWords === 3) return d;
    return words[at + 3] - k3;
  }

  /** Index of the first entry with key >= the given one; the count when there is none. */
  lowerBound(block: number, stride: number, k0: number, k1: number, k2: number, k3: number): number {
    const words = this.media.words(asPhys(block));
    const base = this.media.wordIndex(asPhys(block));
    let low = 0;
    let high = words[base + NODE.count];
    const entries = base + NODE_HEADER_WORDS;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.compare(words, entries + mid * stride, k0, k1, k2, k3) < 0) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Index of the child that may hold the key: the last entry with key <= it, or the first. */
  childIndex(block: number, k0: number, k1: number, k2: number, k3: number): number {
    const i = this.lowerBound(block, this.innerStride, k0, k1, k2, k3);
    const words = this.media.words(asPhys(block));
    const base = this.media.wordIndex(asPhys(block));
    if (i < words[base + NODE.count]) {
      const at = base + NODE_HEADER_WORDS + i * this.innerStride;
      if (this.compare(words, at, k0, k1, k2, k3) === 0) return i;
    }
    return i === 0 ? 0 : i - 1;
  }

  childAt(block: number, index: number): number {
    const at = this.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS + index * this.innerStride;
    return this.media.words(asPhys(block))[at + this.#keyWords];
  }

  /** Whether searches for the first and the last key of a sound node come to it, from the root down. */
  leadsTo(block: number, level: number): boolean {
    const words = this.media.words(asPhys(block));
    const first = this.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS;
    const last = first + (this.countOf(block) - 1) * this.#stride(level);
    return (
      this.#leadsTo(block, level, words, first) &&
      (last === first || this.#leadsTo(block, level, words, last))
    );
  }

  /** The same for the key at words[at]. */
  #leadsTo(block: number, level: number, words: ReadonlyWords, at: number): boolean {
    const key = (i: number): number => (i < this.#keyWords ? words[at + i] : 0);
    let node = this.root;
    for (let above = this.height - 1; above > level; above--) {
      this.nodes.check(node, this.spec.id, above);
      const i = this.childIndex(node, key(0), key(1), key(2), key(3));
      const separator = this.media.wordIndex(asPhys(node)) + NODE_HEADER_WORDS + i * this.innerStride;
      if (this.compare(this.media.words(asPhys(node)), separator, key(0), key(1), key(2), key(3)) > 0)
        return false;
      node = this.childAt(node, i);
    }
    return node === block && level < this.height;
  }

  countOf(block: number): number {
    return this.media.words(asPhys(block))[this.media.wordIndex(asPhys(block)) + NODE.count];
  }

  /** Fills the path. Returns whether the leaf has exactly this key. */
  #descend(k0: number, k1: number, k2: number, k3: number): boolean {
    if (this.height === 0) return false;
    let block = this.root;
    for (let level = this.height - 1; level > 0; level--) {
      this.nodes.check(block, this.spec.id, level);
      const i = this.childIndex(block, k0, k1, k2, k3);
      this.#block[level] = block;
      this.#index[level] = i;
      block = this.childAt(block, i);
    }
    this.nodes.check(block, this.spec.id, 0);
    const i = this.lowerBound(block, this.leafStride, k0, k1, k2, k3);
    this.#block[0] = block;
    this.#index[0] = i;
    if (i >= this.countOf(block)) return false;
    const at = this.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS + i * this.leafStride;
    return this.compare(this.media.words(asPhys(block)), at, k0, k1, k2, k3) === 0;
  }

  get(k0: number, k1: number, k2: number, k3: number, out: Uint32Array): boolean {
    if (!this.#descend(k0, k1, k2, k3)) return false;
    const block = this.#block[0];
    const words = this.media.words(asPhys(block));
    let at = this.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS;
    at += this.#index[0] * this.leafStride + this.#keyWords;
    for (let i = 0; i < this.spec.valueWords; i++) out[i] = words[at + i];
    return true;
  }

  #wrongKey(k0: number, k1: number, k2: number, k3: number, what: string): never {
    throw new InvariantError(`tree ${this.spec.name}: key ${k0},${k1},${k2},${k3} ${what}`);
  }

  // ---- change -------------------------------------------------------------------------------------------

  /** Makes the path of the last descent belong to the running transaction. */
  #shadowPath(): void {
    this.version++;
    this.shadowPath(this.#block, this.#index);
  }

  /** The same for a cursor's path. */
  shadowPath(blocks: Uint32Array, indexes: Int32Array): void {
    this.nodes.changes++;
    if (this.nodes.isCurrent(blocks[0])) return;
    for (let level = this.height - 1; level >= 0; level--) {
      const copy = this.nodes.shadow(blocks[level]);
      if (copy === blocks[level]) continue;
      blocks[level] = copy;
      if (level === this.height - 1) this.root = copy;
      else this.#setChild(blocks[level + 1], indexes[level + 1], copy);
    }
  }

  #setChild(block: number, index: number, child: number): void {
    const at = this.media.wordIndex(asPhys(block)) + NODE_HEADER_WORDS + index * this.innerStride;
    this.nodes.writable(block)[at + this.#keyWords] = child;
  }

  insert(k0: number, k1: number, k2: number, k3: number, value: Uint32Array): void {
    assert(!this.spec.variable, 'insert of a value into a variable-length tree');
    const at = this.#openSlot(k0, k1, k2, k3, 0);
    const words = this.nodes.writable(this.#block[0]);
    for (let i = 0; i < this.spec.valueWords; i++) words[at + this.#keyWords + i] = value[i];
    this.#refreshMax(0);
  }

  insertPayload(k0: number, k1: number, k2: number, k3: number, payload: Uint8Array): void {
    const heap = this.payloads;
    assert(heap !== null, 'payload for a fixed-length tree');
    assert(payload.length <= PAYLOAD_MAX_BYTES, 'payload is too long');
    // The caller's payload may be a view of a node that the split below moves. (slice() of a Buffer does not copy.)
    const copy = payload.length === 0 ? EMPTY_PAYLOAD : new Uint8Array(payload);
    this.#openSlot(k0, k1, k2, k3, copy.length);
    heap.put(this.#block[0], this.#index[0], copy);
  }

  /** Opens a slot for a new key in the right leaf and writes the key. Returns the slot's word index. */
  #openSlot(k0: number, k1: number, k2: number, k3: number, payloadBytes: number): number {
    if (this.#descend(k0, k1, k2, k3)) this.#wrongKey(k0, k1, k2, k3, 'is in the tree already');
    if (this.height === 0) {
      this.root = this.nodes.allocate(this.spec.id, 0);
      this.height = 1;
      this.#block[0] = this.root;
      this.#index[0] = 0;
      this.version++;
    } else {
      this.#shadowPath();
    }
    this.#key[0] = k0;
    this.#key[1] = k1;
    this.#key[2] = k2;
    this.#key[3] = k3;
    this.#splitIfFull(0, payloadBytes);
    this.count++;
    const at = this.#openEntry(0, this.#index[0]);
    const words = this.nodes.writable(this.#block[0]);
    for (let i = 0; i < this.#keyWords; i++) words[at + i] = this.#key[i];
    if (this.#index[0] === 0) this.#lowerSeparators();
    return at;
  }

  /** A key below all others came to the leftmost leaf: the separators above must not be greater. */
  #lowerSeparators(): void {
    for (let level = 1; level < this.height; level++) {
      const words = this.nodes.writable(this.#block[level]);
      let at = this.media.wordIndex(asPhys(this.#block[level])) + NODE_HEADER_WORDS;
      at += this.#index[level] * this.innerStride;
      if (this.compare(words, at, this.#key[0], this.#key[1], this.#key[2], this.#key[3]) <= 0) return;
      for (let i = 0; i < this.#keyWords; i++) words[at + i] = this.#key[i];
      if (this.#index[level] !== 0) return;
    }
  }

  #stride(level: number): number {
    return level === 0 ? this.leafStride : this.innerStride;
  }

  /** Moves the entries from `index` on one up. Returns the word index of the gap. */
  #openEntry(level: number, index: number): number {
    const stride = this.#stride(level);
    const words = this.nodes.writable(this.#block[level]);
    const base = this.media.wordIndex(asPhys(this.#block[level]));
    const n = words[base + NODE.count];
    const at = base + NODE_HEADER_WORDS + index * stride;
    words.copyWithin(at + stride, at, base + NODE_HEADER_WORDS + n * stride);
    words[base + NODE.count] = n + 1;
    return at;
  }

  /** Bytes that entry `index` takes in its leaf, payload included. */
  #entryBytes(block: number, index: number): number {
    return this.leafStride * 4 + (this.payloads?.bytesOf(block, index) ?? 0);
  }

  #usedBytes(block: number, level: number): number {
    const fixed = this.countOf(block) * this.#stride(level) * 4;
    return level === 0 && this.payloads !== null ? fixed + this.payloads.bytesIn(block) : fixed;
  }

  #splitIfFull(level: number, payloadBytes: number): void {
    const block = this.#block[level];
    const need = this.#stride(level) * 4 + payloadBytes;
    if (this.#usedBytes(block, level) + need <= BODY_BYTES) {
      if (level === 0) this.payloads?.squeeze(block, need);
      return;
    }
    if (level === this.height - 1) this.#growRoot();
    this.#splitIfFull(level + 1, 0);
    this.#split(level, need);
    if (level === 0) this.payloads?.squeeze(this.#block[0], need);
  }

  /** Puts an internal node with one child above the root. */
  #growRoot(): void {
    assert(this.height < TREE_HEIGHT_MAX, 'tree is too high');
    const child = this.root;
    this.root = this.nodes.allocate(this.spec.id, this.height);
    this.#block[this.height] = this.root;
    this.#index[this.height] = 0;
    this.height++;
    const at = this.#openEntry(this.height - 1, 0);
    this.#writeInner(at, this.root, child, this.height - 2);
  }

  /** Writes the internal entry at `at` of `block` for a non-empty child. */
  #writeInner(at: number, block: number, child: number, childLevel: number): void {
    const words = this.nodes.writable(block);
    const from = this.media.words(asPhys(child));
    const key = this.media.wordIndex(asPhys(child)) + NODE_HEADER_WORDS;
    for (let i = 0; i < this.#keyWords; i++) words[at + i] = from[key + i];
    words[at + this.#keyWords] = child;
    if (this.spec.augmented) words[at + this.#keyWords + 1] = this.maxOf(child, childLevel);
  }

  /** Splits the path's node at `level`; the parent has room. The path then leads to the half with the new entry. */
  #split(level: number, need: number): void {
    const left = this.#block[level];
    const position = this.#index[level];
    const n = this.countOf(left);
    let keep: number;
    let toRight: boolean;
    if (level > 0) {
      // Here `position` is the child below the path; the new entry comes right behind it.
      keep = position === n - 1 ? n - 1 : n >>> 1;
      toRight = position >= keep;
    } else if (position === n) {
      // An append leaves the left leaf full: sequential keys fill their leaves.
      keep = n;
      toRight = true;
    } else {
      const boundary = this.#balance(left, position, n, need);
      toRight = position >= boundary;
      keep = toRight ? boundary : boundary - 1;
    }
    const right = this.nodes.allocate(this.spec.id, level);
    this.#copyTail(left, right, level, keep);
    this.#cutTail(left, level, keep);
    this.#insertSibling(level, right, keep === n);
    if (toRight) {
      this.#block[level] = right;
      this.#index[level] = position - keep;
      this.#index[level + 1]++;
    }
  }

  /** How many entries of a leaf, counting a new one of `need` bytes at `position`, make half of its bytes. */
  #balance(leaf: number, position: number, n: number, need: number): number {
    const half = (this.#usedBytes(leaf, 0) + need) / 2;
    let sum = 0;
    let boundary = 0;
    while (boundary < n && sum < half) {
      const old = boundary > position ? boundary - 1 : boundary;
      sum += boundary === position ? need : this.#entryBytes(leaf, old);
      boundary++;
    }
    return boundary;
  }

  /** Adds the entry of the new right neighbour of the path's node to the parent. */
  #insertSibling(level: number, right: number, rightIsEmpty: boolean): void {
    const parent = this.#block[level + 1];
    const at = this.#openEntry(level + 1, this.#index[level + 1] + 1);
    const words = this.nodes.writable(parent);
    if (rightIsEmpty) {
      for (let i = 0; i < this.#keyWords; i++) words[at + i] = this.#key[i];
      words[at + this.#keyWords] = right;
      if (this.spec.augmented) words[at + this.#keyWords + 1] = 0;
      return;
    }
    this.#writeInner(at, parent, right, level);
    if (this.spec.augmented) {
      words[at - this.innerStride + this.#keyWords + 1] = this.maxOf(this.#block[level], level);
    }
  }

  /** Copies the entries from `keep` on from one node, which stays as it is, to the end of another. */
  #copyTail(from: number, to: number, level: number, keep: number): void {
    const stride = this.#stride(level);
    const source = this.media.words(asPhys(from));
    const sourceBase = this.media.wordIndex(asPhys(from));
    const target = this.nodes.writable(to);
    const targetBase = this.media.wordIndex(asPhys(to));
    const n = source[sourceBase + NODE.count];
    const m = target[targetBase + NODE.count];
    const start = sourceBase + NODE_HEADER_WORDS + keep * stride;
    const end = sourceBase + NODE_HEADER_WORDS + n * stride;
    target.set(source.subarray(start, end), targetBase + NODE_HEADER_WORDS + m * stride);
    if (level === 0) this.payloads?.copy(from, to, m, n - keep);
    target[targetBase + NODE.count] = m + n - keep;
  }

  /** Leaves the first `keep` entries of a node. */
  #cutTail(block: number, level: number, keep: number): void {
    if (level === 0 && this.payloads !== null) {
      for (let index = this.countOf(block) - 1; index >= keep; index--) this.payloads.drop(block, index);
    }
    this.nodes.writable(block)[this.media.wordIndex(asPhys(block)) + NODE.count] = keep;
  }

  update(k0: number, k1: number, k2: number, k3: number, value: Uint32Array): void {
    assert(!this.spec.variable, 'update in a variable-length tree');
    if (!this.#descend(k0, k1, k2, k3)) this.#wrongKey(k0, k1, k2, k3, 'is not in the tree');
    this.#shadowPath();
    const words = this.nodes.writable(this.#block[0]);
    let at = this.media.wordIndex(asPhys(this.#block[0])) + NODE_HEADER_WORDS;
    at += this.#index[0] * this.leafStride + this.#keyWords;
    for (let i = 0; i < this.spec.valueWords; i++) words[at + i] = value[i];
    this.#refreshMax(0);
  }

  remove(k0: number, k1: number, k2: number, k3: number): boolean {
    if (!this.#descend(k0, k1, k2, k3)) return false;
    this.#shadowPath();
    this.payloads?.drop(this.#block[0], this.#index[0]);
    this.count--;
    this.#removeEntry(0);
    return true;
  }

  #closeEntry(level: number, index: number): void {
    const stride = this.#stride(level);
    const words = this.nodes.writable(this.#block[level]);
    const base = this.media.wordIndex(asPhys(this.#block[level]));
    const n = words[base + NODE.count];
    const at = base + NODE_HEADER_WORDS + index * stride;
    words.copyWithin(at, at + stride, base + NODE_HEADER_WORDS + n * stride);
    words[base + NODE.count] = n - 1;
  }

  /** Removes the path's entry at `level`, then empty nodes, then merges what became too empty. */
  #removeEntry(level: number): void {
    this.#closeEntry(level, this.#index[level]);
    const block = this.#block[level];
    const isRoot = level === this.height - 1;
    if (this.countOf(block) === 0) {
      this.nodes.release(block);
      if (!isRoot) {
        this.#removeEntry(level + 1);
        return;
      }
      this.root = 0;
      this.height = 0;
      return;
    }
    if (isRoot) {
      this.#shrinkRoot();
      return;
    }
    if (this.#usedBytes(block, level) >= MERGE_BELOW || !this.#merge(level)) this.#refreshMax(level);
  }

  /** A root with one child is not needed. */
  #shrinkRoot(): void {
    while (this.height > 1 && this.countOf(this.root) === 1) {
      const child = this.childAt(this.root, 0);
      this.nodes.release(this.root);
      this.root = child;
      this.height--;
    }
  }

  /** Merges the path's node with a neighbour below the same parent. Returns whether it did. */
  #merge(level: number): boolean {
    const parent = this.#block[level + 1];
    const index = this.#index[level + 1];
    const rightIndex = index > 0 ? index : index + 1;
    if (rightIndex >= this.countOf(parent)) return false;
    const leftOld = this.childAt(parent, rightIndex - 1);
    const right = this.childAt(parent, rightIndex);
    this.nodes.check(index > 0 ? leftOld : right, this.spec.id, level);
    if (this.#usedBytes(leftOld, level) + this.#usedBytes(right, level) > MERGE_TO) return false;
    const left = this.nodes.shadow(leftOld);
    this.#setChild(parent, rightIndex - 1, left);
    if (level === 0) this.payloads?.squeeze(left, this.#usedBytes(right, level));
    // The right one may be of the last commit: it is left as it is.
    this.#copyTail(right, left, level, 0);
    this.nodes.release(right);
    this.#block[level] = left;
    this.#index[level + 1] = rightIndex - 1;
    this.#refreshMax(level);
    this.#index[level + 1] = rightIndex;
    this.#removeEntry(level + 1);
    return true;
  }

  // ---- highest ends -------------------------------------------------------------------------------------

  /** Highest last block of a record below the node (the inclusive end, so that it fits into a word). */
  maxOf(block: number, level: number): number {
    const words = this.media.words(asPhys(block));
    const base = this.media.wordIndex(asPhys(block));
    const n = words[base + NODE.count];
    let at = base + NODE_HEADER_WORDS;
    let max = 0;
    if (level === 0) {
      for (let i = 0; i < n; i++, at += this.leafStride) {
        const last = words[at] + words[at + this.#keyWords] - 1;
        if (last > max) max = last;
      }
    } else {
      for (let i = 0; i < n; i++, at += this.innerStride) {
        if (words[at + this.#keyWords + 1] > max) max = words[at + this.#keyWords + 1];
      }
    }
    return max;
  }

  /** Brings the highest ends above the path's node at `level` up to date. */
  #refreshMax(level: number): void {
    if (!this.spec.augmented) return;
    for (let child = level; child < this.height - 1; child++) {
      const max = this.maxOf(this.#block[child], child);
      const parent = this.#block[child + 1];
      const at =
        this.media.wordIndex(asPhys(parent)) + NODE_HEADER_WORDS + this.#index[child + 1] * this.innerStride;
      this.nodes.writable(parent)[at + this.#keyWords + 1] = max;
    }
  }

  /** Copies every node from block `from` on to a new place, and with it those above, see NodeStore.rewind(). */
  relocate(from: number): void {
    if (this.height === 0) return;
    const root = this.#relocate(this.root, this.height - 1, from);
    if (root === this.root) return;
    this.version++;
    this.root = root;
  }

  #relocate(block: number, level: number, from: number): number {
    if (level === 0 && block < from) return block;
    this.nodes.check(block, this.spec.id, level);
    let copy = block < from ? block : this.nodes.shadow(block);
    if (level === 0) return copy;
    const n = this.countOf(copy);
    for (let i = 0; i < n; i++) {
      const child = this.childAt(copy, i);
      const moved = this.#relocate(child, level - 1, from);
      if (moved === child) continue;
      copy = this.nodes.shadow(copy);
      this.#setChild(copy, i, moved);
    }
    return copy;
  }

  /** Takes over a root of the same height, or none (0), after nodes were taken out below; counts the records. */
  adopt(root: number): void {
    this.version++;
    this.root = root;
    if (root === 0) this.height = 0;
    else this.#shrinkRoot();
    let records = 0;
    this.walk((block, level) => {
      if (level > 0) return;
      this.nodes.check(block, this.spec.id, 0);
      records += this.countOf(block);
    });
    this.count = records;
  }

  // ---- walking all nodes --------------------------------------------------------------------------------

  /**
   * Visits the address of every node, parents first. Leaves are not read, nor is a node for which the visitor
   * answers false: what lies below it is passed over.
   */
  walk(visit: (block: number, level: number) => unknown): void {
    if (this.height > 0) this.#walk(this.root, this.height - 1, visit);
  }

  #walk(block: number, level: number, visit: (block: number, level: number) => unknown): void {
    if (visit(block, level) === false || level === 0) return;
    this.nodes.check(block, this.spec.id, level);
    const n = this.countOf(block);
    for (let i = 0; i < n; i++) this.#walk(this.childAt(block, i), level - 1, visit);
  }
}
