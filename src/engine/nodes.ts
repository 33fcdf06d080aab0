import { crc32 } from 'node:zlib';
import { assert, broken, CorruptionError } from '../errors.js';
import type { Media } from '../media/media.js';
import { asPhys, BLOCK_SIZE, type PhysBlock } from '../types.js';
import { META_GROUP_BLOCKS, NODE, NODE_MAGIC, SB, TREES, WORDS_PER_BLOCK } from './layout.js';
import { nodeFault, treeName } from './node-fault.js';

/** State of one block of a metadata group, as bits. */
const OWNED = 1;
const USED = 2;
/** Was part of the last commit and is not used any more: free after the next commit. */
const PENDING = 4;
/** All that the node holds was checked since the mount (or the node was made by it). */
const VERIFIED = 8;
/** On the list of nodes that the running transaction has made. */
const DIRTY = 16;
/** The block is bad: it is not handed out. */
const BAD = 32;
const NOT_FREE = OWNED | USED | PENDING | BAD;

/** Words of a node that are looked at: only NodeStore.writable() gives out such as can be changed. */
export interface ReadonlyWords {
  readonly length: number;
  readonly [index: number]: number;
  subarray(begin: number, end: number): ReadonlyWords;
}

/** The medium as the trees see it. */
export interface NodeMedia extends Pick<Media, 'wordIndex' | 'bytes'> {
  words(block: PhysBlock): ReadonlyWords;
}

const NONE: ReadonlySet<number> = new Set();
const ZERO_WORD = Buffer.alloc(4);
/** Both kinds of block keep their checksum in a word of their own, which counts as zero. */
const CRC_OFFSETS = { node: NODE.crc * 4, superblock: SB.crc * 4 } as const;

/** crc32 (IEEE 802.3, as zlib) of a block whose checksum word is taken as zero. */
export function blockChecksum(bytes: Uint8Array, kind: keyof typeof CRC_OFFSETS): number {
  const at = CRC_OFFSETS[kind];
  const head = crc32(bytes.subarray(0, at));
  return crc32(bytes.subarray(at + 4, BLOCK_SIZE), crc32(ZERO_WORD, head)) >>> 0;
}

/**
 * The metadata blocks: which of them are in use, which nodes belong to the running transaction, and the
 * copy-on-write of nodes. What it knows is a cache: open() rebuilds it from the trees.
 *
 *   OWNED ----allocate/shadow----> USED,DIRTY ----commit----> USED
 *     ^                               |                         |
 *     |<---------- release -----------+                      release, shadow
 *     |<---------- commit ------- PENDING <---------------------+
 */
export class NodeStore {
  /** Free, usable right now. */
  freeCount = 0;
  usedCount = 0;
  ownedCount = 0;
  txid = 0;
  /** Goes up whenever a checked node must be checked again. */
  epoch = 0;
  /** Goes up before a tree is changed. */
  changes = 0;
  readonly #media: Media;
  readonly #uuid0: number;
  readonly #uuid1: number;
  readonly #groups = new Map<number, Uint8Array>();
  /** Groups that may have a free block. */
  readonly #candidates = new Set<number>();
  /** The candidate that nodes are taken from. */
  #current = Number.POSITIVE_INFINITY;
  #dirty: number[] = [];
  #pending: number[] = [];
  /** Whether the medium says that the block cannot be read. Set once the bad-block index exists. */
  isBad: (block: number) => boolean = () => false;
  /** Whether searches for what a node holds lead to it, see BTree.leadsTo(). Set once the trees exist. */
  leadsTo: (treeId: number, block: number, level: number) => boolean = () => true;
  /** Before a shutdown: a node on a bad block is read as long as its checksum is right, see FailureOps. */
  readsBad = false;
  /**
   * A latent error is met before anything is changed, or it must wait: once `changes` is above this, a node on a bad
   * block is read as long as its checksum is right, and goes into `met`. An operation that is cut off between two
   * trees would leave them in disagreement.
   */
  #strictUpTo = Number.POSITIVE_INFINITY;
  #lost: ReadonlySet<number> = NONE;
  readonly met: number[] = [];

  constructor(media: Media, uuid0: number, uuid1: number) {
    this.#media = media;
    this.#uuid0 = uuid0;
    this.#uuid1 = uuid1;
  }

  /** An operation begins: the trees agree. */
  begin(): number {
    this.#strictUpTo = this.changes;
    return this.changes;
  }

  /** Does what must come to its end: nodes on bad blocks are read as above, but for those that are `lost`. */
  toTheEnd<T>(work: () => T, lost = this.#lost): T {
    const [strictUpTo, before] = [this.#strictUpTo, this.#lost];
    this.#strictUpTo = -1;
    this.#lost = lost;
    try {
      return work();
    } finally {
      this.#strictUpTo = strictUpTo;
      this.#lost = before;
    }
  }

  get dirtyCount(): number {
    return this.#dirty.length;
  }

  get pendingCount(): number {
    return this.#pending.length;
  }

  #group(block: number): Uint8Array {
    const index = Math.floor(block / META_GROUP_BLOCKS);
    let group = this.#groups.get(index);
    if (group === undefined) {
      group = new Uint8Array(META_GROUP_BLOCKS);
      this.#groups.set(index, group);
    }
    return group;
  }

  /** Makes the blocks of a chunk known. The chunk lies within one group. */
  addChunk(start: number, length: number): void {
    const group = this.#group(start);
    const first = start % META_GROUP_BLOCKS;
    if (first + length > META_GROUP_BLOCKS) broken(`metadata chunk ${start}+${length} straddles two groups`);
    for (let i = first; i < first + length; i++) {
      if ((group[i] & OWNED) !== 0) throw new CorruptionError(start - first + i, 'belongs to two chunks');
    }
    for (let i = first; i < first + length; i++) {
      group[i] |= OWNED;
      if ((group[i] & USED) === 0) this.freeCount++;
    }
    this.ownedCount += length;
    this.#candidates.add(Math.floor(start / META_GROUP_BLOCKS));
  }

  /** Forgets a chunk that is given back to the data. None of its blocks may be in use. */
  removeChunk(start: number, length: number): void {
    const group = this.#group(start);
    const first = start % META_GROUP_BLOCKS;
    for (let i = first; i < first + length; i++) {
      if ((group[i] & NOT_FREE) !== OWNED) broken(`metadata block ${start - first + i} is in use`);
      group[i] = group[i] & DIRTY;
    }
    this.freeCount -= length;
    this.ownedCount -= length;
  }

  /** Whether every block of the chunk is free, so that it could be given back. */
  chunkIsFree(start: number, length: number): boolean {
    const group = this.#group(start);
    const first = start % META_GROUP_BLOCKS;
    for (let i = first; i < first + length; i++) {
      if ((group[i] & NOT_FREE) !== OWNED) return false;
    }
    return true;
  }

  /** How many blocks of the chunk are nodes, and how many are free. */
  countIn(start: number, length: number): { used: number; free: number } {
    const first = start % META_GROUP_BLOCKS;
    const states = this.#group(start).subarray(first, first + length);
    let used = 0;
    let free = 0;
    for (const state of states) {
      if ((state & USED) !== 0) used++;
      else if ((state & NOT_FREE) === OWNED) free++;
    }
    return { used, free };
  }

  /** At mount: the node is reachable from a root. Before addChunk of its chunk or after, both work. */
  markUsed(block: number): void {
    const group = this.#group(block);
    const i = block % META_GROUP_BLOCKS;
    if ((group[i] & USED) !== 0)
      throw new CorruptionError(block, 'two trees or two parents point to this node');
    if ((group[i] & OWNED) !== 0) this.freeCount--;
    group[i] |= USED;
    this.usedCount++;
  }

  /** At mount, after all chunks and nodes are known: a node outside of every chunk is damage. */
  checkAllOwned(): void {
    for (const [index, group] of this.#groups) {
      for (let i = 0; i < META_GROUP_BLOCKS; i++) {
        if ((group[i] & (USED | OWNED)) === USED) {
          throw new CorruptionError(
            index * META_GROUP_BLOCKS + i,
            'a tree node lies outside of the metadata chunks',
          );
        }
      }
    }
  }

  /** Visits the blocks of the metadata chunks that lie in [from, to). Takes no longer the larger the range is. */
  eachOwned(from: number, to: number, visit: (block: number) => void): void {
    const first = Math.floor(from / META_GROUP_BLOCKS);
    const end = Math.ceil(to / META_GROUP_BLOCKS);
    if (end - first > this.#groups.size) {
      for (const index of this.#groups.keys()) this.#eachOwnedOf(index, from, to, visit);
    } else {
      for (let index = first; index < end; index++) this.#eachOwnedOf(index, from, to, visit);
    }
  }

  #eachOwnedOf(index: number, from: number, to: number, visit: (block: number) => void): void {
    const group = this.#groups.get(index);
    const start = index * META_GROUP_BLOCKS;
    for (let i = 0; group !== undefined && i < META_GROUP_BLOCKS; i++) {
      const isInside = start + i >= from && start + i < to;
      if (isInside && (group[i] & OWNED) !== 0) visit(start + i);
    }
  }

  /** Whether the block is a node of some tree now. */
  isUsed(block: number): boolean {
    const group = this.#groups.get(Math.floor(block / META_GROUP_BLOCKS));
    return group !== undefined && (group[block % META_GROUP_BLOCKS] & USED) !== 0;
  }

  /** Whether the block of a metadata group must not be read: see setBad(). */
  isCutOff(block: number): boolean {
    const group = this.#groups.get(Math.floor(block / META_GROUP_BLOCKS));
    return group !== undefined && (group[block % META_GROUP_BLOCKS] & BAD) !== 0;
  }

  /** Checks a node before its first use since the mount; cheap afterwards. `level` 0 is a leaf. */
  check(block: number, treeId: number, level: number): void {
    const group = this.#groups.get(Math.floor(block / META_GROUP_BLOCKS));
    if (group === undefined || (group[block % META_GROUP_BLOCKS] & VERIFIED) === 0) {
      this.#verify(block, treeId, level);
    }
    const words = this.#media.words(asPhys(block));
    const found = words[this.#media.wordIndex(asPhys(block)) + NODE.treeLevel];
    if (found !== treeId + level * 256) {
      throw new CorruptionError(
        block,
        `is level ${found >>> 8} of tree ${found & 255}, expected level ${level} of tree ${treeId}`,
      );
    }
  }

  /** Checks a node again that the last commit has; one of the running transaction has no checksum yet. */
  recheck(block: number): void {
    const group = this.#groups.get(Math.floor(block / META_GROUP_BLOCKS));
    const state = group === undefined ? 0 : group[block % META_GROUP_BLOCKS];
    if ((state & (USED | DIRTY)) !== USED) return;
    const words = this.#media.words(asPhys(block));
    const treeLevel = words[this.#media.wordIndex(asPhys(block)) + NODE.treeLevel];
    this.#verify(block, treeLevel & 255, treeLevel >>> 8);
  }

  #verify(block: number, treeId: number, level: number): void {
    if (block <= 0 || block >= this.#media.blocks)
      throw new CorruptionError(block, 'node address outside of the region');
    if (!this.readsBad && (this.isCutOff(block) || this.isBad(block))) {
      if (this.changes <= this.#strictUpTo || this.#lost.has(block)) {
        throw new CorruptionError(block, `a node of tree ${treeId} lies on a bad block`);
      }
      this.met.push(block);
    }
    const bytes = this.#media.bytes(asPhys(block), 1);
    const words = this.#media.words(asPhys(block));
    const base = this.#media.wordIndex(asPhys(block));
    if (words[base + NODE.magic] !== NODE_MAGIC)
      throw new CorruptionError(block, 'no node (wrong magic number)');
    if (words[base + NODE.crc] !== blockChecksum(bytes, 'node'))
      throw new CorruptionError(block, 'wrong checksum');
    if (words[base + NODE.self] !== block) {
      throw new CorruptionError(block, `node was written for block ${words[base + NODE.self]}`);
    }
    if (words[base + NODE.uuid0] !== this.#uuid0 || words[base + NODE.uuid1] !== this.#uuid1) {
      throw new CorruptionError(block, 'node of another filesystem');
    }
    if (words[base + NODE.treeLevel] !== treeId + level * 256) return; // check() says it better
    const name = treeName(treeId);
    const fault =
      name === undefined
        ? 'belongs to no tree'
        : nodeFault({ spec: TREES[name], level, words, base, bytes }, this.#media.blocks);
    if (fault !== null) throw new CorruptionError(block, fault);
    if (!this.leadsTo(treeId, block, level))
      throw new CorruptionError(block, 'holds keys that are not sought here');
    this.#group(block)[block % META_GROUP_BLOCKS] |= VERIFIED;
  }

  /**
   * The block of a metadata group went bad or was healed: a bad one is not handed out, and a node on it is
   * checked again (and found bad) before its next use. Blocks outside of the groups are none of our business.
   */
  setBad(block: number, bad: boolean): void {
    const group = this.#groups.get(Math.floor(block / META_GROUP_BLOCKS));
    if (group === undefined) return;
    const i = block % META_GROUP_BLOCKS;
    if ((group[i] & OWNED) === 0) return;
    if (bad) {
      if ((group[i] & NOT_FREE) === OWNED) this.freeCount--;
      group[i] = (group[i] | BAD) & ~VERIFIED;
      this.epoch++;
    } else if ((group[i] & BAD) !== 0) {
      group[i] &= ~(BAD | VERIFIED);
      this.#becameFree(block, group);
    }
  }

  /** Whether the node was made by the running transaction and may be changed in place. */
  isCurrent(block: number): boolean {
    const words = this.#media.words(asPhys(block));
    const base = this.#media.wordIndex(asPhys(block));
    return (
      words[base + NODE.txidLo] === this.txid >>> 0 &&
      words[base + NODE.txidHi] === Math.floor(this.txid / 2 ** 32)
    );
  }

  /**
   * The window of a node, to be changed: the one way to do so. A node of the last commit must stay as it is until the
   * next one is durable, so the node must be of the running transaction.
   */
  writable(block: number): Uint32Array {
    if (!this.isCurrent(block)) broken(`node ${block} of a commit would be changed in place`);
    return this.#media.words(asPhys(block));
  }

  /** The group to take from: one until it is full, then the lowest, so that nodes gather at low addresses. */
  #candidate(): number | undefined {
    if (!this.#candidates.has(this.#current)) {
      this.#current = Number.POSITIVE_INFINITY;
      for (const index of this.#candidates) this.#current = Math.min(this.#current, index);
    }
    return this.#candidates.has(this.#current) ? this.#current : undefined;
  }

  /** The next node is taken from the lowest group. */
  rewind(): void {
    this.#current = Number.POSITIVE_INFINITY;
  }

  #take(): number {
    for (let index = this.#candidate(); index !== undefined; index = this.#candidate()) {
      const group = this.#groups.get(index);
      if (group !== undefined) {
        for (let i = 0; i < META_GROUP_BLOCKS; i++) {
          if ((group[i] & NOT_FREE) !== OWNED) continue;
          const block = index * META_GROUP_BLOCKS + i;
          if ((group[i] & DIRTY) === 0) this.#dirty.push(block);
          group[i] |= USED | VERIFIED | DIRTY;
          this.freeCount--;
          this.usedCount++;
          return block;
        }
      }
      this.#candidates.delete(index);
    }
    assert(false, 'metadata nodes ran out inside of a transaction: a reservation was too small');
  }

  #stamp(block: number, treeId: number, level: number): void {
    const words = this.#media.words(asPhys(block));
    const base = this.#media.wordIndex(asPhys(block));
    words[base + NODE.magic] = NODE_MAGIC;
    words[base + NODE.self] = block;
    words[base + NODE.treeLevel] = treeId + level * 256;
    words[base + NODE.txidLo] = this.txid >>> 0;
    words[base + NODE.txidHi] = Math.floor(this.txid / 2 ** 32);
    words[base + NODE.uuid0] = this.#uuid0;
    words[base + NODE.uuid1] = this.#uuid1;
  }

  /** A new empty node of the running transaction. */
  allocate(treeId: number, level: number): number {
    this.changes++;
    const block = this.#take();
    const words = this.#media.words(asPhys(block));
    const base = this.#media.wordIndex(asPhys(block));
    words.fill(0, base, base + WORDS_PER_BLOCK);
    words[base + NODE.heapTop] = BLOCK_SIZE;
    this.#stamp(block, treeId, level);
    return block;
  }

  /** The node itself when it is of the running transaction, else a copy of it in a new block. */
  shadow(block: number): number {
    if (this.isCurrent(block)) return block;
    const copy = this.#take();
    const from = this.#media.words(asPhys(block));
    const base = this.#media.wordIndex(asPhys(block));
    const to = this.#media.words(asPhys(copy));
    to.set(from.subarray(base, base + WORDS_PER_BLOCK), this.#media.wordIndex(asPhys(copy)));
    const treeLevel = from[base + NODE.treeLevel];
    this.#stamp(copy, treeLevel & 255, treeLevel >>> 8);
    this.#retire(block);
    return copy;
  }

  /** The node is not part of its tree any more. */
  release(block: number): void {
    if (!this.isCurrent(block)) {
      this.#retire(block);
      return;
    }
    const group = this.#group(block);
    group[block % META_GROUP_BLOCKS] &= ~(USED | VERIFIED);
    this.usedCount--;
    this.#becameFree(block, group);
  }

  /** The node is on a bad block and has no place in a tree any more. It is not read. */
  lose(block: number): void {
    this.#retire(block);
  }

  /** After internal nodes were lost: gives up every node in use that `reached` does not have. */
  loseUnreached(reached: ReadonlySet<number>): void {
    for (const [index, group] of this.#groups) {
      for (let i = 0; i < META_GROUP_BLOCKS; i++) {
        const block = index * META_GROUP_BLOCKS + i;
        if ((group[i] & USED) !== 0 && !reached.has(block)) this.#retire(block);
      }
    }
  }

  #becameFree(block: number, group: Uint8Array): void {
    if ((group[block % META_GROUP_BLOCKS] & NOT_FREE) !== OWNED) return;
    this.freeCount++;
    this.#candidates.add(Math.floor(block / META_GROUP_BLOCKS));
  }

  #retire(block: number): void {
    const group = this.#group(block);
    const i = block % META_GROUP_BLOCKS;
    if ((group[i] & USED) === 0) broken(`node ${block} is released twice`);
    group[i] = (group[i] & ~(USED | VERIFIED)) | PENDING;
    this.usedCount--;
    this.#pending.push(block);
  }

  /** Checksums all nodes of the running transaction and tells the media about them. */
  seal(): void {
    for (const block of this.#dirty) {
      const state = this.#group(block)[block % META_GROUP_BLOCKS];
      if ((state & USED) === 0) continue;
      const bytes = this.#media.bytes(asPhys(block), 1);
      const words = this.#media.words(asPhys(block));
      words[this.#media.wordIndex(asPhys(block)) + NODE.crc] = blockChecksum(bytes, 'node');
      this.#media.noteDirty(asPhys(block), 1);
    }
  }

  /** The transaction is durable: what the last one needed is free now. */
  committed(): void {
    for (const block of this.#dirty) this.#group(block)[block % META_GROUP_BLOCKS] &= ~DIRTY;
    for (const block of this.#pending) {
      const group = this.#group(block);
      group[block % META_GROUP_BLOCKS] &= ~PENDING;
      this.#becameFree(block, group);
    }
    this.#dirty = [];
    this.#pending = [];
  }
}
