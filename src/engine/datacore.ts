import { FsError } from '../errors.js';
import { asBlocks, asPhys, BLOCK_SIZE, blockOf, blocksFor, MAX_FILE_SIZE } from '../types.js';
import type { BadBlocks } from './badblock.js';
import { copyInBlock, isZero, zero } from './blockdata.js';
import { type Bmap, newMapping } from './bmap.js';
import type { AllocatedRun, EngineContext } from './context.js';
import { type InodeTable, TOUCH_CTIME, TOUCH_MTIME } from './inode.js';
import { EXT_UNWRITTEN } from './layout.js';
import { isDirectory, isRegular } from './mode.js';
import { newCountRun } from './refcount.js';
import { INODE_RECORDS, Remap } from './remap.js';

export const newRun = (): AllocatedRun => ({ start: asPhys(0), length: asBlocks(0) });

/** What the operations on file data share: the maps, and the care for parts of a block. */
export class DataCore {
  readonly ctx: EngineContext;
  readonly inodes: InodeTable;
  readonly bad: BadBlocks;
  readonly remap: Remap;
  readonly bmap: Bmap;
  readonly #map = newMapping();
  readonly #count = newCountRun();
  readonly #run = newRun();

  constructor(ctx: EngineContext, inodes: InodeTable, bad: BadBlocks) {
    this.ctx = ctx;
    this.inodes = inodes;
    this.bad = bad;
    this.remap = new Remap(ctx, inodes);
    this.bmap = this.remap.bmap;
  }

  /** EISDIR or EINVAL unless the inode is a regular file. */
  checkRegular(ino: number, op: string): void {
    const mode = this.inodes.mode(ino);
    if (isDirectory(mode)) throw new FsError('EISDIR', op, `inode ${ino} is a directory`);
    if (!isRegular(mode)) throw new FsError('EINVAL', op, `inode ${ino} is no regular file`);
  }

  /** EINVAL unless offset and length are whole numbers from 0 on. */
  checkRange(offset: number, length: number, op: string): void {
    const fine = Number.isInteger(offset) && offset >= 0 && Number.isInteger(length) && length >= 0;
    if (!fine) throw new FsError('EINVAL', op, `offset ${offset}, length ${length}`);
  }

  /** EFBIG where a range ends beyond the largest file. */
  checkEnd(end: number, op: string): void {
    if (end <= MAX_FILE_SIZE) return;
    throw new FsError('EFBIG', op, `the range ends at byte ${end}, the largest file has ${MAX_FILE_SIZE}`);
  }

  /** A step that sets mtime and ctime and, where `size` is larger than the file's, the size. */
  finish(ino: number, size: number): void {
    this.remap.step(INODE_RECORDS);
    this.grown(ino, size);
  }

  /** The same within the caller's step. */
  grown(ino: number, size: number): void {
    if (size > this.inodes.size(ino)) this.inodes.setSize(ino, size);
    this.inodes.touch(ino, TOUCH_MTIME | TOUCH_CTIME);
  }

  /**
   * Before the file grows past its end otherwise than by a write right at it: what lies between the end of
   * the file and the end of its last block becomes zeros. That part may hold anything (what a truncate left,
   * what was stored there through a mapping) and is never visible while the end is where it is.
   */
  zeroPastEof(ino: number, op: string): void {
    const size = this.inodes.size(ino);
    const end = blocksFor(size) * BLOCK_SIZE;
    if (end > size) this.zeroPart(ino, size, end, op);
  }

  /**
   * Zeroes bytes [from, to) of one block; a shared block is copied first. Nothing is done where they are
   * zero: a hole, an unwritten block, zeros. EIO for a bad block, ENOSPC for a copy, with nothing changed.
   */
  zeroPart(ino: number, from: number, to: number, op: string): void {
    const at = blockOf(from);
    const { physical, flags } = this.bmap.lookup(ino, at, this.#map);
    if (physical === 0 || (flags & EXT_UNWRITTEN) !== 0) return;
    this.checkGood(ino, at, physical, op);
    const { media, trx } = this.ctx;
    const position = from - at * BLOCK_SIZE;
    const length = to - from;
    if (isZero(media, physical, position, length)) return;
    if (this.remap.refcount.runAt(physical, 1, this.#count).count === 1) {
      this.remap.unshared.settle(physical, 1);
      trx.reserve({ dataBlocks: 0, records: 0, freeing: true });
      zero(media, physical, position, length);
      media.noteDirty(asPhys(physical), 1);
      return;
    }
    this.remap.breakLayouts(ino, at, 1);
    const run = this.#run;
    this.remap.allocate(this.remap.goal(ino, at), 1, false, run);
    copyInBlock(media, physical, run.start, 0, BLOCK_SIZE);
    zero(media, run.start, position, length);
    media.noteDirty(run.start, 1);
    this.remap.replace(ino, at, run.start, 1);
  }

  /** EIO where a part of a block would be read or changed and the block is bad. Changes nothing. */
  checkPart(ino: number, offset: number, op: string): void {
    const at = blockOf(offset);
    const { physical, flags } = this.bmap.lookup(ino, at, this.#map);
    if (physical !== 0 && (flags & EXT_UNWRITTEN) === 0) this.checkGood(ino, at, physical, op);
  }

  /**
   * EINTR between two steps of a long operation whose caller was killed. XFS ends clone, dedupe and fallocate in the
   * same way, for a fatal signal only; punch, truncate, collapse and insert go on to their end.
   */
  checkInterrupt(op: string): void {
    if (this.ctx.interrupted()) throw new FsError('EINTR', op, 'the caller was killed');
  }

  checkGood(ino: number, at: number, physical: number, op: string): void {
    if (this.bad.first(physical, 1, true) >= 0) throw badBlock(ino, at, physical, op);
  }
}

/** EIO because of a bad block, which may be a latent one. */
export class BadBlockError extends FsError {
  /** In the region. */
  readonly block: number;

  constructor(op: string, detail: string, block: number) {
    super('EIO', op, detail);
    this.block = block;
  }
}

export function badBlock(ino: number, at: number, physical: number, op: string): BadBlockError {
  return new BadBlockError(op, `block ${at} of inode ${ino} lies in the bad block ${physical}`, physical);
}
