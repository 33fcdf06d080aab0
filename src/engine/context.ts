import type { Media } from '../media/media.js';
import type { Blocks, Clock, FileBlock, Ino, PhysBlock } from '../types.js';
import type { TreeName } from './layout.js';
import type { Tree } from './tree.js';

/**
 * What the modules of the engine share. store.ts builds it; each module (inode.ts, dir.ts, bmap.ts ...) takes
 * it as its first argument or in its constructor.
 */
export interface EngineContext {
  readonly media: Media;
  readonly clock: Clock;
  readonly trees: Readonly<Record<TreeName, Tree>>;
  readonly trx: Transaction;
  readonly space: SpaceAllocator;
  readonly counters: Counters;
  readonly layouts: LayoutHooks;
  readonly bad: BadBlockIndex;
  /** Whether nobody waits any more for the operation under way: its caller was killed. Must be cheap. */
  readonly interrupted: () => boolean;
}

/** Counters that live in the superblock. They belong to the transaction: assign, and the commit writes them. */
export interface Counters {
  inodeCount: number;
  lastIno: number;
}

export interface Reservation {
  /** Data blocks that the step will allocate at most. */
  dataBlocks: number;
  /** Records that the step will insert, change or remove at most, over all trees. */
  records: number;
  /**
   * The step frees space (unlink, truncate, punch ...) or overwrites in place: it may use the reserve that
   * is kept so that a full filesystem can be emptied.
   */
  freeing: boolean;
}

/**
 * The running transaction. Every operation reserves before its first change, so that it cannot fail half
 * way; a long one works in steps of at most RECORDS_PER_STEP records and reserves before each, leaving the
 * filesystem consistent between two steps, because reserve() may commit.
 */
export interface Transaction {
  /** Number of the running transaction. */
  readonly txid: number;
  /** Whether there is anything to commit. */
  readonly dirty: boolean;
  /** Throws ENOSPC, EROFS, EIO (after a shutdown) with nothing changed. May commit. */
  reserve(r: Reservation): void;
  /** Commits all changes so far. Returns after they are durable. Does nothing when there is nothing to commit. */
  commit(): void;
}

/** Blocks that are alike: all are something, or none is. */
export interface RunOf {
  is: boolean;
  length: number;
}

export interface AllocatedRun {
  start: PhysBlock;
  length: Blocks;
}

/** The free space of the region. Bad blocks are never handed out. */
export interface SpaceAllocator {
  /** Blocks that can be allocated for data right now, without the metadata reserve. */
  readonly availableBlocks: number;
  readonly freeBlocks: number;
  /**
   * Takes a run of 1 .. want blocks, near or at `goal` where possible (0 = anywhere), and writes it to `out`.
   * The caller has reserved. The contents are what they were: the caller overwrites or zeroes them.
   */
  allocate(goal: number, want: number, out: AllocatedRun): void;
  /** Whether allocate() with this goal starts there. Pending frees do not count. */
  isAllocatable(block: number): boolean;
  /**
   * First of `length` free blocks in one run, or 0 where that cannot be found soon. Nothing is taken, but allocations
   * without a goal leave the window alone as long as there is free space beyond it.
   */
  findWindow(length: number): number;
  /** Gives a run back. It can be allocated again after the next commit. Bad blocks in it are left out. */
  free(start: PhysBlock, length: Blocks): void;
  /** Takes a run that freeRun() found out of the free space because it is bad. */
  quarantine(start: PhysBlock, length: Blocks): void;
  /** Puts blocks back that were taken out, or left out by free(), and are healed. freeRun() says they are not free. */
  restore(start: PhysBlock, length: Blocks): void;
  /**
   * Whether the block is free (pending frees count as free), and how many blocks from it on are alike, at most
   * `limit`: a part of one free run, of one pending run, or of what is between.
   */
  freeRun(block: number, limit: number, out: RunOf): RunOf;
  /** Whether the block is free (pending frees count as free). */
  isFree(block: PhysBlock): boolean;
}

/** Known and latent bad blocks, as a heap index over the badblock tree for the hot path. */
export interface BadBlockIndex {
  readonly count: number;
  /** First bad block in [from, from + length), or -1. Latent ones only when asked for. Fast when count is 0. */
  first(from: number, length: number, withLatent: boolean): number;
  /** How many blocks from the bad block `from` on lie in its run, at most `limit`. */
  lengthAt(from: number, limit: number): number;
}

/**
 * Who must be asked before a file range changes its blocks, and told after. Set by src/dax and src/vfs;
 * the default does nothing.
 */
export interface LayoutHooks {
  /** Before a change: whoever maps or pins the range lets go of it (break layouts), or this throws. */
  breakLayouts(ino: Ino, from: FileBlock, count: Blocks): void;
  /** After a change: the range has other blocks now. */
  remapped(ino: Ino, from: FileBlock, count: Blocks): void;
}
