import type {
  AllocatedRun,
  BadBlockIndex,
  Counters,
  EngineContext,
  LayoutHooks,
  Reservation,
  RunOf,
  SpaceAllocator,
  Transaction,
} from '../../src/engine/context.js';
import { BAD_LATENT, TREES, type TreeName, type TreeSpec } from '../../src/engine/layout.js';
import type { Tree } from '../../src/engine/tree.js';
import { assert, FsError } from '../../src/errors.js';
import type { Media } from '../../src/media/media.js';
import {
  asBlocks,
  asPhys,
  BLOCK_SIZE,
  type Blocks,
  type Clock,
  type PhysBlock,
  type Time,
} from '../../src/types.js';
import { MemTree } from '../model/mem-tree.js';
import { FrozenBlocks } from './frozen.js';

/** A clock that stands still until it is moved. */
export class FakeClock implements Clock {
  sec = 1_000_000_000;
  nsec = 0;

  now(into: Time): void {
    into.sec = this.sec;
    into.nsec = this.nsec;
  }

  seconds(): number {
    return this.sec;
  }

  set(sec: number, nsec = 0): void {
    this.sec = sec;
    this.nsec = nsec;
  }

  /** One second on. */
  tick(): void {
    this.sec++;
  }
}

/** Blocks on the heap, in windows of `windowBlocks` so that code that straddles windows is found out. */
export class HeapMedia implements Media {
  readonly blocks: number;
  readonly readOnly = false;
  readonly windowBlocks: number;
  /** Blocks noted dirty since the last flush. */
  readonly dirty = new Set<number>();
  readonly windows: Buffer[] = [];
  readonly frozen = new FrozenBlocks(this);
  readonly #words: Uint32Array[] = [];

  constructor(blocks: number, windowBlocks: number) {
    this.blocks = blocks;
    this.windowBlocks = windowBlocks;
    for (let at = 0; at < blocks; at += windowBlocks) {
      const store = new ArrayBuffer(Math.min(windowBlocks, blocks - at) * BLOCK_SIZE);
      this.windows.push(Buffer.from(store));
      this.#words.push(new Uint32Array(store));
    }
  }

  words(block: PhysBlock): Uint32Array {
    this.#check(block, 1);
    return this.#words[Math.floor(block / this.windowBlocks)];
  }

  wordIndex(block: PhysBlock): number {
    return (block % this.windowBlocks) * (BLOCK_SIZE / 4);
  }

  bytes(block: PhysBlock, count: number): Buffer {
    this.#check(block, count);
    assert(this.contiguous(block, count) === count, `run ${block}+${count} straddles two windows`);
    const start = (block % this.windowBlocks) * BLOCK_SIZE;
    return this.windows[Math.floor(block / this.windowBlocks)].subarray(start, start + count * BLOCK_SIZE);
  }

  windowOf(block: PhysBlock): number {
    return Math.floor(block / this.windowBlocks);
  }

  contiguous(block: PhysBlock, count: number): number {
    return Math.min(count, this.windowBlocks - (block % this.windowBlocks));
  }

  noteDirty(block: PhysBlock, count: number): void {
    this.#check(block, count);
    for (let i = 0; i < count; i++) this.dirty.add(block + i);
  }

  flush(): void {
    this.frozen.check();
    this.dirty.clear();
    this.frozen.flushed();
  }

  discard(): void {
    assert(false, 'nobody trims this medium');
  }

  close(): void {}

  #check(block: number, count: number): void {
    assert(
      count > 0 && block >= 0 && block + count <= this.blocks,
      `blocks ${block}+${count} of ${this.blocks}`,
    );
  }
}

/** First-fit allocation over a byte map; frees become allocatable with the next commit. */
export class FakeSpace implements SpaceAllocator {
  static readonly #USED = 0;
  static readonly #FREE = 1;
  static readonly #PENDING = 2;
  static readonly #BAD = 3;
  /** One byte a block. */
  readonly #state: Uint8Array;
  /** Data blocks that the running step may still take. */
  reserved = 0;

  /** `firstFree`: the blocks below are in use for ever (superblock, metadata). */
  constructor(blocks: number, firstFree: number) {
    this.#state = new Uint8Array(blocks).fill(FakeSpace.#FREE, firstFree);
  }

  get availableBlocks(): number {
    return this.#count(FakeSpace.#FREE);
  }

  get freeBlocks(): number {
    return this.#count(FakeSpace.#FREE) + this.#count(FakeSpace.#PENDING);
  }

  allocate(goal: number, want: number, out: AllocatedRun): void {
    assert(want > 0, 'allocation of nothing');
    let start = this.#state.indexOf(FakeSpace.#FREE, goal);
    if (start < 0) start = this.#state.indexOf(FakeSpace.#FREE);
    assert(start >= 0, 'allocation without free space: not reserved');
    let length = 0;
    while (length < want && this.#state[start + length] === FakeSpace.#FREE) length++;
    assert(length <= this.reserved, `allocation of ${length} blocks with ${this.reserved} reserved`);
    this.reserved -= length;
    this.#state.fill(FakeSpace.#USED, start, start + length);
    out.start = asPhys(start);
    out.length = asBlocks(length);
  }

  isAllocatable(block: number): boolean {
    return this.#state[block] === FakeSpace.#FREE;
  }

  findWindow(length: number): number {
    for (let start = 1; start + length <= this.#state.length; start++) {
      if (this.#state.subarray(start, start + length).every((state) => state === FakeSpace.#FREE))
        return start;
    }
    return 0;
  }

  free(start: PhysBlock, length: Blocks): void {
    for (let block: number = start; block < start + length; block++) {
      const state = this.#state[block];
      if (state === FakeSpace.#BAD) continue;
      assert(state === FakeSpace.#USED, `double free of block ${block}`);
      this.#state[block] = FakeSpace.#PENDING;
    }
  }

  quarantine(start: PhysBlock, length: Blocks): void {
    for (let block: number = start; block < start + length; block++) {
      assert(this.isFree(asPhys(block)), `quarantine of block ${block}, which is not free`);
      this.#state[block] = FakeSpace.#BAD;
    }
  }

  restore(start: PhysBlock, length: Blocks): void {
    for (let block: number = start; block < start + length; block++) {
      assert(this.#state[block] === FakeSpace.#BAD, `restore of block ${block}, which is not in quarantine`);
      this.#state[block] = FakeSpace.#FREE;
    }
  }

  freeRun(block: number, limit: number, out: RunOf): RunOf {
    out.is = this.isFree(asPhys(block));
    out.length = 1;
    while (out.length < limit && this.isFree(asPhys(block + out.length)) === out.is) out.length++;
    return out;
  }

  isFree(block: PhysBlock): boolean {
    return this.#state[block] === FakeSpace.#FREE || this.#state[block] === FakeSpace.#PENDING;
  }

  /** Makes pending frees allocatable. */
  committed(): void {
    for (let i = 0; i < this.#state.length; i++) {
      if (this.#state[i] === FakeSpace.#PENDING) this.#state[i] = FakeSpace.#FREE;
    }
  }

  #count(wanted: number): number {
    let count = 0;
    for (const state of this.#state) if (state === wanted) count++;
    return count;
  }
}

/**
 * A transaction that keeps its users honest: a change without a reservation, or of more records than
 * reserved, throws InvariantError. A record that is changed twice in one step counts once.
 */
class FakeTransaction implements Transaction {
  txid = 1;
  dirty = false;
  /** Reservations made so far, failed ones included. */
  reserves = 0;
  commits = 0;
  /** Number of the reserve (counted from now, 1 = the next one) that throws ENOSPC; 0 = none. */
  failReserveIn = 0;
  /** Every reserve commits first, as a full transaction would. */
  commitOnReserve = false;
  /** Called at every reserve that does not fail: between two steps all must be consistent. */
  onReserve: () => void = () => {};
  /** Off: changes need no reservation (for setting a scene by hand). */
  enforce = true;
  /** Most records that one step has changed so far. */
  mostRecords = 0;
  readonly #space: FakeSpace;
  #budget = 0;
  readonly #touched = new Set<string>();

  constructor(space: FakeSpace) {
    this.#space = space;
  }

  reserve(r: Reservation): void {
    this.reserves++;
    if (this.failReserveIn > 0 && --this.failReserveIn === 0) {
      throw new FsError('ENOSPC', 'reserve', 'this reservation was chosen to fail');
    }
    if (this.commitOnReserve) this.commit();
    if (r.dataBlocks > this.#space.availableBlocks) this.commit();
    if (r.dataBlocks > this.#space.availableBlocks) {
      throw new FsError('ENOSPC', 'reserve', `${r.dataBlocks} blocks asked for`);
    }
    this.onReserve();
    this.#budget = r.records;
    this.#space.reserved = r.dataBlocks;
    this.#touched.clear();
  }

  commit(): void {
    if (!this.dirty) return;
    this.dirty = false;
    this.txid++;
    this.commits++;
    this.#space.committed();
  }

  /** Called by the trees. */
  noteChange(tree: string, key: readonly number[]): void {
    this.dirty = true;
    this.#touched.add(`${tree} ${key}`);
    this.mostRecords = Math.max(this.mostRecords, this.#touched.size);
    if (!this.enforce) return;
    assert(
      this.#touched.size <= this.#budget,
      `${this.#touched.size} records changed with ${this.#budget} reserved: ${[...this.#touched].join('; ')}`,
    );
  }
}

/** Bad blocks, straight from the badblock tree. */
class TreeBadBlocks implements BadBlockIndex {
  readonly #tree: MemTree;

  constructor(tree: MemTree) {
    this.#tree = tree;
  }

  get count(): number {
    return this.#tree.count;
  }

  lengthAt(from: number, limit: number): number {
    for (const { key, value } of this.#tree.records) {
      if (key[0] <= from && from < key[0] + value[0]) return Math.min(limit, key[0] + value[0] - from);
    }
    return 0;
  }

  first(from: number, length: number, withLatent: boolean): number {
    for (const { key, value } of this.#tree.records) {
      if (!withLatent && (value[1] & BAD_LATENT) !== 0) continue;
      if (key[0] < from + length && key[0] + value[0] > from) return Math.max(from, key[0]);
    }
    return -1;
  }
}

/** An EngineContext whose parts a test can reach as what they are. */
export interface MemContext extends EngineContext {
  readonly media: HeapMedia;
  readonly clock: FakeClock;
  readonly trees: Readonly<Record<TreeName, MemTree>>;
  readonly trx: FakeTransaction;
  readonly space: FakeSpace;
  readonly counters: Counters;
  readonly layouts: LayoutHooks;
  readonly interrupted: () => boolean;
}

export interface MemContextOptions {
  /** Size of the medium; 256 unless given. */
  blocks?: number;
  /** Blocks in a window of the medium; all unless given. */
  windowBlocks?: number;
  /** Blocks at the start that are never free; 8 unless given. */
  firstFree?: number;
}

/** An empty engine over MemTrees, heap blocks and a fake transaction. */
export function memContext(options: MemContextOptions = {}): MemContext {
  const blocks = options.blocks ?? 256;
  const space = new FakeSpace(blocks, options.firstFree ?? 8);
  const trx = new FakeTransaction(space);
  const trees = {} as Record<TreeName, MemTree>;
  for (const name of Object.keys(TREES) as TreeName[]) {
    const tree = new MemTree(TREES[name]);
    tree.onChange = (key) => trx.noteChange(name, key);
    trees[name] = tree;
  }
  return {
    // The last block is a superblock.
    media: new HeapMedia(blocks + 1, options.windowBlocks ?? blocks + 1),
    clock: new FakeClock(),
    trees,
    trx,
    space,
    counters: { inodeCount: 0, lastIno: 0 },
    layouts: { breakLayouts: () => {}, remapped: () => {} },
    interrupted: () => false,
    bad: new TreeBadBlocks(trees.badblock),
  };
}

/** The trees of the namespace. */
const NAMESPACE_TREES: readonly TreeName[] = ['inode', 'dirent', 'parent', 'xattr', 'orphan'];

/** All records of the trees and the counters, for comparing whole states. */
export function dumpContext(ctx: EngineContext, names = Object.keys(TREES) as TreeName[]): string[] {
  const lines = names.flatMap((name) => dumpTree(ctx.trees[name], TREES[name]));
  lines.push(`counters ${ctx.counters.inodeCount} ${ctx.counters.lastIno}`);
  return lines;
}

/** As dumpContext(), without the trees that a real store changes by itself. */
export const dumpNamespace = (ctx: EngineContext): string[] => dumpContext(ctx, [...NAMESPACE_TREES]);

function dumpTree(tree: Tree, spec: TreeSpec): string[] {
  const lines: string[] = [];
  const cursor = tree.cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const key = Array.from({ length: spec.keyWords }, (_, i) => cursor.key(i));
    const value = spec.variable
      ? Buffer.from(cursor.payload()).toString('hex')
      : Array.from({ length: spec.valueWords }, (_, i) => cursor.value(i)).join(',');
    lines.push(`${spec.name} ${key.join(',')} = ${value}`);
  }
  return lines;
}
