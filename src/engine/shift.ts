import { FsError } from '../errors.js';
import { BLOCK_SIZE, blockOf, blocksFor, MAX_FILE_SIZE } from '../types.js';
import { FILE_BLOCKS_MAX, newFileExtent, newMapping } from './bmap.js';
import type { DataCore } from './datacore.js';
import { MOVE_RECORDS } from './remap.js';

/** FALLOC_FL_* of <linux/falloc.h>. */
export const FALLOC_COLLAPSE_RANGE = 8;
export const FALLOC_INSERT_RANGE = 32;

/**
 * fallocate(2) that moves the rest of the file: collapse and insert. The rules for offset and length are those
 * of fs/xfs/xfs_file.c. Costs O(extents of the range and behind it): blocks and their contents stay where they are.
 *
 *   collapse    |a|xx|b|c|  ->  |a|b|c|      first the hole, then from left to right
 *   insert      |a|b|c|     ->  |a|  |b|c|   from right to left
 *
 * One extent a step. Between two steps the maps agree and no byte of the file is lost, but the gap lies somewhere
 * behind its place: a crash right after a commit in between leaves it there (as in XFS). Commits come between
 * steps only where the moved extents fill a transaction.
 */
export class ShiftOps {
  readonly #core: DataCore;
  readonly #map = newMapping();
  readonly #extent = newFileExtent();

  constructor(core: DataCore) {
    this.#core = core;
  }

  /** Takes the range out of the file: what follows moves down. EINVAL where nothing would follow. */
  collapse(ino: number, offset: number, length: number): void {
    const { inodes, remap } = this.#core;
    const op = 'collapse';
    this.#check(ino, offset, length, op);
    const size = inodes.size(ino);
    if (offset + length >= size) {
      throw new FsError(
        'EINVAL',
        op,
        `the range ends at ${offset + length}, inode ${ino} at ${size}: truncate it`,
      );
    }
    const from = blockOf(offset);
    const count = blockOf(length);
    remap.breakLayouts(ino, from, FILE_BLOCKS_MAX - from);
    remap.unmap(ino, from, count);
    // Preallocated blocks past the end do not come into the file: XFS cuts the file to its new size.
    remap.unmapTail(ino, blocksFor(size), size);
    this.#moveDown(ino, from + count, count, size);
    if (inodes.size(ino) === size) {
      remap.step(MOVE_RECORDS);
      inodes.setSize(ino, size - length);
    }
    this.#core.finish(ino, 0);
  }

  /** Makes a hole at `offset`: what was there and behind moves up. EINVAL at the end of the file, EFBIG beyond. */
  insert(ino: number, offset: number, length: number): void {
    const { inodes, remap, bmap } = this.#core;
    const op = 'insert';
    this.#check(ino, offset, length, op);
    const size = inodes.size(ino);
    const count = blockOf(length);
    const last = bmap.last(ino, this.#extent) ? this.#extent.from + this.#extent.length : 0;
    if (size + length > MAX_FILE_SIZE || last + count > FILE_BLOCKS_MAX) {
      throw new FsError('EFBIG', op, `${length} bytes more in inode ${ino} of ${size} bytes are too many`);
    }
    if (offset >= size) {
      throw new FsError('EINVAL', op, `offset ${offset} is not before the end of inode ${ino}, ${size}`);
    }
    const from = blockOf(offset);
    remap.breakLayouts(ino, from, FILE_BLOCKS_MAX - from);
    this.#moveUp(ino, from, count, size);
    if (inodes.size(ino) === size) {
      remap.step(MOVE_RECORDS);
      inodes.setSize(ino, size + length);
    }
    this.#core.finish(ino, 0);
  }

  #check(ino: number, offset: number, length: number, op: string): void {
    this.#core.checkRange(offset, length, op);
    this.#core.checkRegular(ino, op);
    if (length > 0 && offset % BLOCK_SIZE === 0 && length % BLOCK_SIZE === 0) return;
    throw new FsError(
      'EINVAL',
      op,
      `offset ${offset} and length ${length} must be multiples of ${BLOCK_SIZE}`,
    );
  }

  /**
   * Every extent from block `first` on goes `count` blocks down. The size changes together with the block that
   * holds the end: what is in that block behind the end is never seen.
   */
  #moveDown(ino: number, first: number, count: number, size: number): void {
    const { inodes, remap, bmap } = this.#core;
    const end = blocksFor(size);
    for (let at = first; at < FILE_BLOCKS_MAX; ) {
      const { physical, length } = bmap.lookup(ino, at, this.#map);
      if (physical !== 0) {
        remap.step(MOVE_RECORDS);
        if (at + length >= end) inodes.setSize(ino, size - count * BLOCK_SIZE);
        remap.move(ino, at, length, at - count);
      }
      at += length;
    }
  }

  /** Every extent from block `first` on goes `count` blocks up, the last one first. The size as in moveDown(). */
  #moveUp(ino: number, first: number, count: number, size: number): void {
    const { inodes, remap, bmap } = this.#core;
    const extent = this.#extent;
    const end = blocksFor(size);
    let before = FILE_BLOCKS_MAX;
    while (before > 0 && bmap.lastBefore(ino, before, extent) && extent.from + extent.length > first) {
      const at = Math.max(extent.from, first);
      remap.step(MOVE_RECORDS);
      if (at < end) inodes.setSize(ino, size + count * BLOCK_SIZE);
      remap.move(ino, at, extent.from + extent.length - at, at + count);
      before = at;
    }
  }
}
