import { FsError } from '../errors.js';
import { EXTENT_MAX_BLOCKS, UNSHARE_BLOCKS_PER_STEP } from '../limits.js';
import { BLOCK_SIZE, blockOf, blocksFor } from '../types.js';
import { copyInBlock } from './blockdata.js';
import { FILE_BLOCKS_MAX, newMapping } from './bmap.js';
import { badBlock, type DataCore, newRun } from './datacore.js';
import { TOUCH_CTIME, TOUCH_MTIME } from './inode.js';
import { EXT_UNWRITTEN } from './layout.js';
import { newCountRun } from './refcount.js';
import { INODE_RECORDS, MAP_RECORDS } from './remap.js';

/** FALLOC_FL_* of <linux/falloc.h>. */
const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;
const FALLOC_ZERO_RANGE = 16;
const FALLOC_UNSHARE_RANGE = 64;

function isKnown(action: number, keepSize: boolean): boolean {
  if (action === FALLOC_PUNCH_HOLE) return keepSize;
  return action === 0 || action === FALLOC_ZERO_RANGE || action === FALLOC_UNSHARE_RANGE;
}

/** truncate(2), and fallocate(2) but for the modes that move what follows (shift.ts). */
export class SpaceOps {
  readonly #core: DataCore;
  readonly #map = newMapping();
  readonly #count = newCountRun();
  readonly #run = newRun();

  constructor(core: DataCore) {
    this.#core = core;
  }

  /**
   * Sets the size. Down: the blocks beyond go, from the end backwards; EIO with nothing changed where the new
   * end falls into a bad block. Up: what is added reads as zeros. The times of a file
   * whose size stays do not move (xfs_setattr_size()); blocks past the end go all the same.
   */
  truncate(ino: number, size: number): void {
    const { inodes, remap } = this.#core;
    this.#core.checkRange(size, 0, 'truncate');
    this.#core.checkEnd(size, 'truncate');
    this.#core.checkRegular(ino, 'truncate');
    const old = inodes.size(ino);
    if (size > old) this.#core.zeroPastEof(ino, 'truncate');
    const keep = blocksFor(size);
    if (size <= old) {
      if (size < old && keep * BLOCK_SIZE !== size) this.#core.checkPart(ino, size, 'truncate');
      if (keep < FILE_BLOCKS_MAX) remap.breakLayouts(ino, keep, FILE_BLOCKS_MAX - keep);
      remap.unmapTail(ino, keep, size);
    }
    remap.step(INODE_RECORDS);
    inodes.setSize(ino, size);
    if (size !== old) inodes.touch(ino, TOUCH_MTIME | TOUCH_CTIME);
  }

  /** Takes all blocks off a file that is about to go. Its size becomes 0; the times stay. */
  freeData(ino: number): void {
    const { inodes, remap } = this.#core;
    remap.breakLayouts(ino, 0, FILE_BLOCKS_MAX);
    remap.unmapTail(ino, 0, 0);
    remap.step(INODE_RECORDS);
    inodes.setSize(ino, 0);
  }

  /** See FileData.fallocate(). As XFS does, ENOSPC leaves what was allocated so far; the size stays. */
  fallocate(ino: number, mode: number, offset: number, length: number): void {
    const core = this.#core;
    core.checkRange(offset, length, 'fallocate');
    if (length === 0) throw new FsError('EINVAL', 'fallocate', 'the length is 0');
    const keepSize = (mode & FALLOC_KEEP_SIZE) !== 0;
    const action = mode & ~FALLOC_KEEP_SIZE;
    if (!isKnown(action, keepSize))
      throw new FsError('EOPNOTSUPP', 'fallocate', `mode ${mode} is not supported`);
    core.checkEnd(offset + length, 'fallocate');
    core.checkRegular(ino, 'fallocate');
    const end = offset + length;
    if (action === FALLOC_PUNCH_HOLE) {
      this.#clear(ino, offset, end);
      core.finish(ino, 0);
      return;
    }
    const grows = !keepSize && end > core.inodes.size(ino);
    if (grows) core.zeroPastEof(ino, 'fallocate');
    const from = blockOf(offset);
    if (action === FALLOC_ZERO_RANGE) this.#zeroEdges(ino, offset, end);
    core.remap.breakLayouts(ino, from, blocksFor(end) - from);
    if (action === FALLOC_ZERO_RANGE) this.#empty(ino, blocksFor(offset), blockOf(end));
    if (action === FALLOC_UNSHARE_RANGE) this.#unshare(ino, from, blocksFor(end));
    this.#preallocate(ino, from, blocksFor(end));
    core.finish(ino, grows ? end : 0);
  }

  /** The bytes of [offset, end) become zeros: whole blocks a hole, parts of blocks by zeroing. */
  #clear(ino: number, offset: number, end: number): void {
    const { remap } = this.#core;
    this.#zeroEdges(ino, offset, end);
    const from = blocksFor(offset);
    const count = blockOf(end) - from;
    if (count <= 0) return;
    remap.breakLayouts(ino, from, count);
    remap.unmap(ino, from, count);
  }

  /** clear() for a copy of a hole: the file grows to `end` where it is shorter. */
  clearTo(ino: number, offset: number, end: number, op: string): void {
    if (offset > this.#core.inodes.size(ino)) this.#core.zeroPastEof(ino, op);
    this.#clear(ino, offset, end);
    this.#core.finish(ino, end);
  }

  /** The first and the last block of [offset, end), where it covers a part of them. EIO before any change. */
  #zeroEdges(ino: number, offset: number, end: number): void {
    const core = this.#core;
    const wholeFrom = blocksFor(offset) * BLOCK_SIZE;
    const wholeEnd = blockOf(end) * BLOCK_SIZE;
    if (wholeFrom > wholeEnd) {
      core.zeroPart(ino, offset, end, 'fallocate');
      return;
    }
    if (offset < wholeFrom) core.checkPart(ino, offset, 'fallocate');
    if (wholeEnd < end) core.checkPart(ino, wholeEnd, 'fallocate');
    if (offset < wholeFrom) core.zeroPart(ino, offset, wholeFrom, 'fallocate');
    if (wholeEnd < end) core.zeroPart(ino, wholeEnd, end, 'fallocate');
  }

  /**
   * Zeroes whole blocks [from, end) for a zero-range: what can stay is converted to unwritten, shared and bad
   * blocks are let go of (preallocate() fills the hole). Needs no space.
   */
  #empty(ino: number, from: number, end: number): void {
    const { bmap, remap, bad } = this.#core;
    for (let at = from; at < end; ) {
      this.#core.checkInterrupt('fallocate');
      const { physical, length, flags } = bmap.lookup(ino, at, this.#map);
      let blocks = Math.min(length, end - at);
      if (physical !== 0) {
        const run = remap.refcount.runAt(physical, blocks, this.#count);
        blocks = run.length;
        const badAt = bad.first(physical, blocks, true);
        if (badAt === physical) blocks = bad.lengthAt(physical, blocks);
        else if (badAt > 0) blocks = badAt - physical;
        if (badAt === physical || run.count > 1) {
          remap.unmapPiece(ino, at, blocks);
        } else if ((flags & EXT_UNWRITTEN) === 0) {
          remap.step(MAP_RECORDS);
          remap.convert(ino, at, blocks, EXT_UNWRITTEN);
        }
      }
      at += blocks;
    }
  }

  /** Gives the file blocks of its own for the shared ones of [from, end). EIO at the first bad one of them. */
  #unshare(ino: number, from: number, end: number): void {
    const { bmap, remap } = this.#core;
    for (let at = from; at < end; ) {
      this.#core.checkInterrupt('fallocate');
      const { physical, length } = bmap.lookup(ino, at, this.#map);
      let blocks = Math.min(length, end - at);
      if (physical !== 0) {
        const run = remap.refcount.runAt(physical, blocks, this.#count);
        blocks = run.count > 1 ? this.#copyPiece(ino, at, physical, run.length) : run.length;
      }
      at += blocks;
    }
  }

  /** One step: new blocks for (a part of) one shared piece. Returns how many. */
  #copyPiece(ino: number, at: number, physical: number, blocks: number): number {
    const { ctx, remap, bad } = this.#core;
    const run = this.#run;
    const badAt = bad.first(physical, blocks, true);
    if (badAt === physical) throw badBlock(ino, at, physical, 'fallocate');
    const good = badAt > 0 ? badAt - physical : blocks;
    remap.allocate(remap.goal(ino, at), Math.min(good, UNSHARE_BLOCKS_PER_STEP), true, run);
    for (let i = 0; i < run.length; i++) copyInBlock(ctx.media, physical + i, run.start + i, 0, BLOCK_SIZE);
    ctx.media.noteDirty(run.start, run.length);
    remap.replace(ino, at, run.start, run.length);
    return run.length;
  }

  /** Fills the holes of [from, end) with unwritten extents. ENOSPC for a hole larger than the space left. */
  #preallocate(ino: number, from: number, end: number): void {
    const { bmap, remap } = this.#core;
    const run = this.#run;
    for (let at = from; at < end; ) {
      this.#core.checkInterrupt('fallocate');
      const { physical, length } = bmap.lookup(ino, at, this.#map);
      let blocks = Math.min(length, end - at, EXTENT_MAX_BLOCKS);
      if (physical === 0) {
        remap.allocate(remap.goal(ino, at), blocks, false, run);
        blocks = run.length;
        remap.map(ino, at, run.start, blocks, EXT_UNWRITTEN);
      }
      at += blocks;
    }
  }
}
