import { broken, FsError } from '../errors.js';
import { COPY_WINDOW_BLOCKS, REFCOUNT_MAX } from '../limits.js';
import { asBlocks, asFileBlock, asIno, asPhys, BLOCK_SIZE } from '../types.js';
import { Bmap, FILE_BLOCKS_MAX, newFileExtent, newMapping } from './bmap.js';
import type { AllocatedRun, EngineContext } from './context.js';
import type { InodeTable } from './inode.js';
import { EXT_UNWRITTEN } from './layout.js';
import { newCountRun, Refcount } from './refcount.js';
import { Rmap } from './rmap.js';
import { UnsharedRuns } from './unshared.js';

/**
 * Records that one change of one piece touches at most. A piece is a run of blocks that is contiguous in the
 * file and in the region, with the same flags and the same number of owners.
 *
 * Map: bmap 3 (both neighbours), rmap 3, free space 2, inode 1. Unmap: bmap 2, rmap 2, refcount 5, free
 * space 2, inode 1. Replace and share: both, and 8 of the refcount where the old and the new run overlap.
 * Move: bmap 5, rmap 5, inode 1.
 */
export const MAP_RECORDS = 10;
const UNMAP_RECORDS = 14;
export const REPLACE_RECORDS = 32;
export const MOVE_RECORDS = 11;
/** A change of the inode alone. */
export const INODE_RECORDS = 1;

/**
 * The one place that changes which block a file range has: bmap, rmap, refcount, the inode's block count and
 * the free space change together here, within one step of the transaction.
 *
 * The order of every change: breakLayouts() for the whole range of the operation, reserve one step, change
 * one piece. Between two steps everything agrees, so that a commit may fall there.
 */
export class Remap {
  readonly bmap: Bmap;
  readonly rmap: Rmap;
  readonly refcount: Refcount;
  readonly unshared: UnsharedRuns;
  readonly #ctx: EngineContext;
  readonly #inodes: InodeTable;
  readonly #map = newMapping();
  readonly #extent = newFileExtent();
  readonly #whole = newFileExtent();
  readonly #run = newCountRun();
  readonly #merge = { left: 0, right: 0 };
  readonly #freed: number[] = [];
  readonly #single: number[] = [];
  /** The range that layouts were broken for last. */
  #brokenIno = 0;
  #brokenFrom = 0;
  #brokenTo = 0;

  constructor(ctx: EngineContext, inodes: InodeTable) {
    this.#ctx = ctx;
    this.#inodes = inodes;
    this.bmap = new Bmap(ctx.trees.bmap);
    this.rmap = new Rmap(ctx.trees.rmap);
    this.refcount = new Refcount(ctx.trees.refcount);
    this.unshared = new UnsharedRuns(ctx.trx);
  }

  /** Asks whoever maps or pins the range to let go of it. Throws what they throw, with nothing changed. */
  breakLayouts(ino: number, from: number, count: number): void {
    this.#ctx.layouts.breakLayouts(asIno(ino), asFileBlock(from), asBlocks(count));
    this.#brokenIno = ino;
    this.#brokenFrom = from;
    this.#brokenTo = from + count;
  }

  /** Reserves a step that takes no space, or gives some back. */
  step(records: number): void {
    this.#ctx.trx.reserve({ dataBlocks: 0, records, freeing: true });
  }

  /**
   * Reserves and takes up to `want` blocks near `goal`, in one run and one step; REPLACE_RECORDS are left to
   * change. With `partial` fewer are taken where there are not as many. ENOSPC with nothing changed.
   */
  allocate(goal: number, want: number, partial: boolean, out: AllocatedRun): void {
    const granted = this.#reserveBlocks(want, partial);
    this.#ctx.space.allocate(goal, granted, out);
    if (out.length <= 0 || out.length > granted)
      broken(`${out.length} blocks allocated, ${granted} asked for`);
  }

  /** The region block where file block `at` would best lie: after the one before it. 0 = anywhere. */
  goal(ino: number, at: number): number {
    if (at === 0) return 0;
    const before = this.bmap.lookup(ino, at - 1, this.#map);
    return before.physical === 0 ? 0 : before.physical + 1;
  }

  /**
   * The region block for the copy of file block `at`, which is shared: after the one before it, or where the copy of
   * another block of its window leaves room for it, or in a free window. So a window whose blocks are copied one by
   * one, in any order, is one extent again. XFS does the same with its hint cowextsize (32 blocks by default), but
   * takes the whole window at once; here nothing is taken. 0 = anywhere.
   */
  copyGoal(ino: number, at: number, count: number): number {
    const { space } = this.#ctx;
    const after = this.goal(ino, at);
    if (after !== 0 && space.isAllocatable(after)) return after;
    const beside = this.#besideCopy(ino, at);
    if (beside > 0 && space.isAllocatable(beside)) return beside;
    if (count >= COPY_WINDOW_BLOCKS) return 0;
    const window = space.findWindow(COPY_WINDOW_BLOCKS);
    return window === 0 ? 0 : window + (at % COPY_WINDOW_BLOCKS);
  }

  /** Where block `at` would lie if it continued the unshared extent before or behind its own; 0 without one. */
  #besideCopy(ino: number, at: number): number {
    const start = at - (at % COPY_WINDOW_BLOCKS);
    const own = this.#extent;
    if (!this.bmap.lastBefore(ino, at + 1, own)) return 0;
    const end = own.from + own.length;
    if (end < start + COPY_WINDOW_BLOCKS && end < FILE_BLOCKS_MAX) {
      const { physical } = this.bmap.lookup(ino, end, this.#map);
      if (physical !== 0 && this.refcount.runAt(physical, 1, this.#run).count === 1) {
        return physical - (end - at);
      }
    }
    if (own.from <= start || !this.bmap.lastBefore(ino, own.from, own)) return 0;
    const last = own.physical + own.length - 1;
    if (own.from + own.length <= start || this.refcount.runAt(last, 1, this.#run).count > 1) return 0;
    return own.physical + (at - own.from);
  }

  /** Within a step: a run that was just allocated, into a hole. */
  map(ino: number, from: number, physical: number, length: number, flags: number): void {
    this.#link(ino, from, physical, length, flags);
    this.#told(ino, from, length);
  }

  /** Within a step: a run that was just allocated and filled, in place of (a part of) one written piece. */
  replace(ino: number, from: number, physical: number, length: number): void {
    this.#unlink(ino, from, length);
    this.#link(ino, from, physical, length, 0);
    this.#told(ino, from, length);
  }

  /** Within a step: (a part of) one unshared piece becomes written (flags 0) or unwritten (EXT_UNWRITTEN). */
  convert(ino: number, from: number, length: number, flags: number): void {
    const physical = this.bmap.lookup(ino, from, this.#map).physical;
    if (this.refcount.runAt(physical, length, this.#run).count !== 1)
      broken(`shared block ${physical} converted`);
    this.#cut(ino, from, length);
    this.#insert(ino, from, physical, length, flags);
    this.#told(ino, from, length);
  }

  /**
   * Within a step: the written run `physical` of another file (or of another place in this one) becomes the
   * contents of the piece or hole at `from`. No block of the run has REFCOUNT_MAX owners.
   */
  share(ino: number, from: number, physical: number, length: number): void {
    // The old blocks go first. The source owns its own ones, so that none of them is freed here.
    if (this.bmap.lookup(ino, from, this.#map).physical !== 0) this.#unlink(ino, from, length);
    this.refcount.increase(physical, length);
    this.#link(ino, from, physical, length, 0);
    this.#told(ino, from, length);
  }

  /**
   * Within a step: (a part of) one extent becomes the contents of the hole at `to`. The blocks and their owners
   * stay, so that pieces do not matter.
   */
  move(ino: number, from: number, length: number, to: number): void {
    const physical = this.#cut(ino, from, length);
    this.#insert(ino, to, physical, length, this.#whole.flags);
    this.#told(ino, from, length);
    this.#told(ino, to, length);
  }

  /** In steps: the range becomes a hole. Costs O(extents in the range). */
  unmap(ino: number, from: number, count: number): void {
    const end = from + count;
    for (let at = from; at < end; ) {
      const { physical, length } = this.bmap.lookup(ino, at, this.#map);
      const within = Math.min(length, end - at);
      if (physical === 0) {
        at += within;
        continue;
      }
      const piece = this.refcount.runAt(physical, within, this.#run).length;
      this.unmapPiece(ino, at, piece);
      at += piece;
    }
  }

  /** One step: (a part of) one piece becomes a hole. */
  unmapPiece(ino: number, from: number, length: number): void {
    this.step(UNMAP_RECORDS);
    this.#unlink(ino, from, length);
    this.#told(ino, from, length);
  }

  /**
   * In steps, from the end backwards: everything from block `keep` on is unmapped. The size shrinks with each
   * step (never below `size`), so that no written block ever lies beyond it.
   */
  unmapTail(ino: number, keep: number, size: number): void {
    const last = this.#extent;
    while (this.bmap.last(ino, last) && last.from + last.length > keep) {
      const from = Math.max(last.from, keep);
      const end = last.physical + last.length;
      const piece = this.refcount.runBefore(end, last.from + last.length - from, this.#run).length;
      const start = last.from + last.length - piece;
      this.step(UNMAP_RECORDS);
      this.#unlink(ino, start, piece);
      const shrunk = Math.max(size, start * BLOCK_SIZE);
      if (this.#inodes.size(ino) > shrunk) this.#inodes.setSize(ino, shrunk);
      this.#told(ino, start, piece);
    }
  }

  /** EMLINK where one more owner is more than a block can have. */
  checkShareable(physical: number, length: number, op: string): void {
    const { count } = this.refcount.runAt(physical, length, this.#run);
    if (count >= REFCOUNT_MAX) {
      throw new FsError('EMLINK', op, `block ${physical} has ${count} owners, the most a block can have`);
    }
  }

  #reserveBlocks(want: number, partial: boolean): number {
    const { trx, space } = this.#ctx;
    for (let granted = want; ; ) {
      try {
        trx.reserve({ dataBlocks: granted, records: REPLACE_RECORDS, freeing: false });
        return granted;
      } catch (error) {
        const isFull = error instanceof FsError && error.code === 'ENOSPC';
        // The nodes that the step needs come out of the same space, and only the transaction knows how many: half of
        // it is taken until it fits. The caller comes back for more.
        const fewer = space.availableBlocks < granted ? space.availableBlocks : granted >>> 1;
        if (!partial || !isFull || fewer === 0) throw error;
        granted = fewer;
      }
    }
  }

  #link(ino: number, from: number, physical: number, length: number, flags: number): void {
    this.#insert(ino, from, physical, length, flags);
    this.#inodes.addBlocks(ino, length);
  }

  #insert(ino: number, from: number, physical: number, length: number, flags: number): void {
    if ((flags & ~EXT_UNWRITTEN) !== 0) broken(`extent flags ${flags}`);
    this.#checkBroken(ino, from, length);
    this.bmap.insert(ino, from, physical, length, flags, this.#merge);
    this.rmap.insert(ino, from, physical, length, flags, this.#merge);
  }

  #unlink(ino: number, from: number, length: number): void {
    const physical = this.#cut(ino, from, length);
    this.#inodes.addBlocks(ino, -length);
    this.#freed.length = 0;
    this.#single.length = 0;
    this.refcount.decrease(physical, length, this.#freed, this.#single);
    this.unshared.note(this.#single);
    for (let i = 0; i < this.#freed.length; i += 2) {
      this.#ctx.space.free(asPhys(this.#freed[i]), asBlocks(this.#freed[i + 1]));
    }
  }

  /** Takes the range out of bmap and rmap. Returns its first block. */
  #cut(ino: number, from: number, length: number): number {
    this.#checkBroken(ino, from, length);
    const whole = this.#whole;
    this.bmap.cut(ino, from, length, whole);
    this.rmap.cut(ino, from, length, whole);
    return whole.physical + (from - whole.from);
  }

  #checkBroken(ino: number, from: number, length: number): void {
    const asked = ino === this.#brokenIno && from >= this.#brokenFrom && from + length <= this.#brokenTo;
    if (!asked) broken(`inode ${ino}: blocks ${from}+${length} change and nobody was asked`);
    if (from + length > FILE_BLOCKS_MAX) broken(`inode ${ino}: blocks ${from}+${length}`);
  }

  #told(ino: number, from: number, length: number): void {
    this.#ctx.layouts.remapped(asIno(ino), asFileBlock(from), asBlocks(length));
  }
}
