import { FsError } from '../errors.js';
import { COMPARE_BLOCKS_AT_A_TIME, COPY_BYTES_PER_CALL_MAX } from '../limits.js';
import { BLOCK_SIZE, blockOf, blocksFor, MAX_FILE_SIZE } from '../types.js';
import type { ReadPlan } from './api.js';
import { equal, isZero } from './blockdata.js';
import { type Mapping, newMapping } from './bmap.js';
import { badBlock, type DataCore } from './datacore.js';
import type { SpaceOps } from './fallocate.js';
import { EXT_UNWRITTEN, INODE_FLAG_IMMUTABLE } from './layout.js';
import { newReadPlan, type Reader, segmentOf } from './read.js';
import { newCountRun } from './refcount.js';
import { REPLACE_RECORDS } from './remap.js';
import type { Writer } from './write.js';

/** A range of one file that takes over a range of another. Bytes; both offsets are on block borders. */
interface RemapRange {
  src: number;
  srcOffset: number;
  dst: number;
  dstOffset: number;
  /** Ends on a block border, or at the end of the source. */
  length: number;
}

/** Whether a mapping reads as zeros without looking at the region. */
const isHole = (map: Mapping): boolean => map.physical === 0 || (map.flags & EXT_UNWRITTEN) !== 0;
const isAligned = (offset: number): boolean => offset % BLOCK_SIZE === 0;
const overlap = (a: number, b: number, length: number): boolean => a < b + length && b < a + length;

/**
 * Sharing of ranges: clone, dedupe and copy_file_range. The rules for offsets and lengths are those of
 * generic_remap_file_range_prep() in the kernel's fs/remap_range.c.
 */
export class Reflink {
  readonly #core: DataCore;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #space: SpaceOps;
  readonly #from = newMapping();
  readonly #to = newMapping();
  readonly #count = newCountRun();
  readonly #plan: ReadPlan = newReadPlan();

  constructor(core: DataCore, reader: Reader, writer: Writer, space: SpaceOps) {
    this.#core = core;
    this.#reader = reader;
    this.#writer = writer;
    this.#space = space;
  }

  /** See Sharing.cloneRange(). ENOSPC leaves a part cloned: each block of the range is old or new. */
  clone(src: number, srcOffset: number, dst: number, dstOffset: number, asked: number): void {
    const op = 'clone';
    this.#checkFiles(src, srcOffset, dst, dstOffset, asked, op);
    const srcSize = this.#core.inodes.size(src);
    const toEnd = asked === 0;
    if (toEnd && srcOffset === srcSize) return;
    const length = toEnd ? srcSize - srcOffset : asked;
    if (length < 0 || srcOffset + length > srcSize) throw beyondEnd(src, srcOffset + length, srcSize, op);
    checkAligned(srcOffset, dstOffset, op);
    this.#core.checkEnd(dstOffset + length, op);
    const range = { src, srcOffset, dst, dstOffset, length };
    const whole = blocksFor(srcOffset + length) * BLOCK_SIZE - srcOffset;
    checkOverlap(range, whole, op);
    const dstSize = this.#core.inodes.size(dst);
    if (!isAligned(length) && (srcOffset + length !== srcSize || dstOffset + length < dstSize)) {
      throw new FsError('EINVAL', op, `length ${length} ends neither on a block border nor both files`);
    }
    if (dstOffset > dstSize) this.#core.zeroPastEof(dst, op);
    this.#remap(range, true, op);
    this.#core.finish(dst, dstOffset + length);
  }

  /**
   * See Sharing.dedupeRange(). A length that ends within a block before the end of the file is cut down to
   * whole blocks, and answered as if it had not been (so does the kernel). The times stay.
   */
  dedupe(src: number, srcOffset: number, dst: number, dstOffset: number, asked: number): number {
    const op = 'dedupe';
    this.#checkFiles(src, srcOffset, dst, dstOffset, asked, op);
    if (asked === 0) return 0;
    const srcSize = this.#core.inodes.size(src);
    const dstSize = this.#core.inodes.size(dst);
    if (srcOffset + asked > srcSize) throw beyondEnd(src, srcOffset + asked, srcSize, op);
    if (dstOffset + asked > dstSize) throw beyondEnd(dst, dstOffset + asked, dstSize, op);
    checkAligned(srcOffset, dstOffset, op);
    const toBothEnds = srcOffset + asked === srcSize && dstOffset + asked === dstSize;
    const length = toBothEnds ? asked : blockOf(asked) * BLOCK_SIZE;
    const range = { src, srcOffset, dst, dstOffset, length };
    checkOverlap(range, blocksFor(length) * BLOCK_SIZE, op);
    if (!this.#same(range, op)) return -1;
    this.#remap(range, false, op);
    return asked;
  }

  /**
   * See Sharing.copyRange(). Whole blocks at offsets that agree within the block are shared, and so is the
   * last block of the source where nothing follows it in the destination; the rest is copied, holes as holes.
   */
  copy(src: number, srcOffset: number, dst: number, dstOffset: number, asked: number): number {
    const op = 'copy_file_range';
    this.#checkFiles(src, srcOffset, dst, dstOffset, asked, op);
    const srcSize = this.#core.inodes.size(src);
    const within = Math.max(0, Math.min(asked, srcSize - srcOffset));
    const length = Math.min(within, Math.max(0, MAX_FILE_SIZE - dstOffset));
    if (within > 0 && length === 0) this.#core.checkEnd(dstOffset + within, op);
    const range = { src, srcOffset, dst, dstOffset, length };
    checkOverlap(range, length, op);
    if (length === 0) return 0;
    if (srcOffset % BLOCK_SIZE !== dstOffset % BLOCK_SIZE) return this.#copyBytes(range);
    const head = Math.min(length, blocksFor(srcOffset) * BLOCK_SIZE - srcOffset);
    const toEnds = srcOffset + length === srcSize && dstOffset + length >= this.#core.inodes.size(dst);
    const shareEnd = toEnds ? length : blockOf(srcOffset + length) * BLOCK_SIZE - srcOffset;
    const parts = [head, Math.max(head, shareEnd), length];
    return this.#copyParts(range, parts, op);
  }

  /** Copies up to parts[0], shares up to parts[1], copies up to parts[2]. Returns the bytes done. */
  #copyParts(range: RemapRange, parts: readonly number[], op: string): number {
    let done = 0;
    try {
      done = this.#copyBytes(advance(range, 0, parts[0]));
      if (done < parts[0]) return done;
      if (parts[1] > parts[0]) {
        const shared = advance(range, parts[0], parts[1]);
        if (shared.dstOffset > this.#core.inodes.size(range.dst)) this.#core.zeroPastEof(range.dst, op);
        this.#remap(shared, true, op);
        this.#core.finish(range.dst, shared.dstOffset + shared.length);
        done = parts[1];
      }
      return done + this.#copyBytes(advance(range, parts[1], parts[2]));
    } catch (error) {
      if (done > 0 && endsShort(error)) return done;
      throw error;
    }
  }

  /** Copies data, clears what lies under a hole. Short after COPY_BYTES_PER_CALL_MAX bytes of data. */
  #copyBytes(range: RemapRange): number {
    let done = 0;
    let copied = 0;
    try {
      while (done < range.length && copied < COPY_BYTES_PER_CALL_MAX) {
        this.#core.checkInterrupt('copy_file_range');
        const { src, srcOffset, dst, dstOffset, length } = advance(range, done, range.length);
        const block = blockOf(srcOffset);
        const map = this.#core.bmap.lookup(src, block, this.#from);
        const bytes = Math.min(length, (block + map.length) * BLOCK_SIZE - srcOffset);
        if (isHole(map)) {
          this.#space.clearTo(dst, dstOffset, dstOffset + bytes, 'copy_file_range');
          done += bytes;
          continue;
        }
        const wanted = Math.min(bytes, COPY_BYTES_PER_CALL_MAX - copied);
        const moved = this.#copyData(src, srcOffset, dst, dstOffset, wanted);
        done += moved;
        copied += moved;
        if (moved < wanted && moved < this.#plan.bytes) break;
      }
    } catch (error) {
      if (done > 0 && endsShort(error)) return done;
      throw error;
    }
    return done;
  }

  /** Copies what one read plan holds. Returns the bytes: fewer than planned where space ran out. */
  #copyData(src: number, srcOffset: number, dst: number, dstOffset: number, length: number): number {
    const plan = this.#plan;
    this.#reader.read(src, srcOffset, length, true, plan);
    let done = 0;
    for (let i = 0; i < plan.segments; i++) {
      const segment = segmentOf(this.#reader.sources, plan, i);
      const written = this.#writer.write(dst, dstOffset + done, segment, segment.length, false);
      done += written;
      if (written < segment.length) break;
    }
    return done;
  }

  /** The destination range gets the source's blocks; under holes and unwritten blocks it becomes a hole. */
  #remap(range: RemapRange, grow: boolean, op: string): void {
    const { bmap, remap, inodes } = this.#core;
    const { src, dst } = range;
    const blocks = blocksFor(range.length);
    const from = blockOf(range.srcOffset);
    const to = blockOf(range.dstOffset);
    if (blocks === 0) return;
    remap.breakLayouts(dst, to, blocks);
    for (let done = 0; done < blocks; ) {
      this.#core.checkInterrupt(op);
      const source = bmap.lookup(src, from + done, this.#from);
      let count = Math.min(source.length, blocks - done);
      if (isHole(source)) {
        remap.unmap(dst, to + done, count);
      } else {
        count = this.#sharePiece(dst, to + done, source, count, op);
        const end = Math.min(range.dstOffset + range.length, (to + done + count) * BLOCK_SIZE);
        if (grow && inodes.size(dst) < end) inodes.setSize(dst, end);
      }
      done += count;
    }
  }

  /** One step: the first blocks of `source`, as far as both sides are one piece. Returns how many. */
  #sharePiece(dst: number, at: number, source: Mapping, limit: number, op: string): number {
    const { bmap, remap } = this.#core;
    const { physical } = source;
    const target = bmap.lookup(dst, at, this.#to);
    let count = Math.min(limit, target.length);
    if (target.physical === physical) {
      // Shared already. The step is for the size.
      remap.step(REPLACE_RECORDS);
      return count;
    }
    if (target.physical !== 0) count = remap.refcount.runAt(target.physical, count, this.#count).length;
    count = remap.refcount.runAt(physical, count, this.#count).length;
    remap.checkShareable(physical, count, op);
    remap.step(REPLACE_RECORDS);
    remap.share(dst, at, physical, count);
    return count;
  }

  /** Whether both ranges hold the same bytes. EIO where a bad block would have to be read. */
  #same(range: RemapRange, op: string): boolean {
    for (let done = 0; done < range.length; ) {
      this.#core.checkInterrupt(op);
      const { src, srcOffset, dst, dstOffset, length } = advance(range, done, range.length);
      const a = this.#core.bmap.lookup(src, blockOf(srcOffset), this.#from);
      const b = this.#core.bmap.lookup(dst, blockOf(dstOffset), this.#to);
      let blocks = Math.min(blocksFor(length), a.length, b.length);
      if (!sameWithoutReading(a, b)) {
        blocks = this.#readable(src, blockOf(srcOffset), a, Math.min(blocks, COMPARE_BLOCKS_AT_A_TIME), op);
        blocks = this.#readable(dst, blockOf(dstOffset), b, blocks, op);
        if (!this.#sameData(a, b, Math.min(length, blocks * BLOCK_SIZE))) return false;
      }
      done += blocks * BLOCK_SIZE;
    }
    return true;
  }

  /** How many blocks of the mapping can be read before a bad one. EIO where that is none. */
  #readable(ino: number, at: number, map: Mapping, blocks: number, op: string): number {
    if (isHole(map)) return blocks;
    const bad = this.#core.bad.first(map.physical, blocks, true);
    if (bad === map.physical) throw badBlock(ino, at, bad, op);
    return bad < 0 ? blocks : bad - map.physical;
  }

  #sameData(a: Mapping, b: Mapping, length: number): boolean {
    const { media } = this.#core.ctx;
    if (isHole(a)) return isZero(media, b.physical, 0, length);
    if (isHole(b)) return isZero(media, a.physical, 0, length);
    return equal(media, a.physical, b.physical, 0, length);
  }

  #checkFiles(
    src: number,
    srcOffset: number,
    dst: number,
    dstOffset: number,
    length: number,
    op: string,
  ): void {
    this.#core.checkRange(srcOffset, length, op);
    this.#core.checkRange(dstOffset, length, op);
    this.#core.checkRegular(src, op);
    this.#core.checkRegular(dst, op);
    if ((this.#core.inodes.flags(dst) & INODE_FLAG_IMMUTABLE) !== 0) {
      throw new FsError('EPERM', op, `inode ${dst} is immutable`);
    }
  }
}

/** Errors that end a copy with what is done so far. */
function endsShort(error: unknown): boolean {
  return (
    error instanceof FsError && (error.code === 'ENOSPC' || error.code === 'EIO' || error.code === 'EINTR')
  );
}

function sameWithoutReading(a: Mapping, b: Mapping): boolean {
  return (isHole(a) && isHole(b)) || (a.physical === b.physical && !isHole(a));
}

/** The part [from, to) of a range. */
function advance(range: RemapRange, from: number, to: number): RemapRange {
  const { src, srcOffset, dst, dstOffset } = range;
  return { src, srcOffset: srcOffset + from, dst, dstOffset: dstOffset + from, length: to - from };
}

function checkAligned(srcOffset: number, dstOffset: number, op: string): void {
  if (isAligned(srcOffset) && isAligned(dstOffset)) return;
  throw new FsError('EINVAL', op, `offsets ${srcOffset} and ${dstOffset} must be multiples of ${BLOCK_SIZE}`);
}

function checkOverlap(range: RemapRange, length: number, op: string): void {
  if (range.src !== range.dst || !overlap(range.srcOffset, range.dstOffset, length)) return;
  throw new FsError('EINVAL', op, `ranges at ${range.srcOffset} and ${range.dstOffset} of one file overlap`);
}

function beyondEnd(ino: number, end: number, size: number, op: string): FsError {
  return new FsError('EINVAL', op, `the range ends at ${end}, inode ${ino} at ${size}`);
}
