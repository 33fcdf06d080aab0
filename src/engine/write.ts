import { FsError } from '../errors.js';
import { asPhys, BLOCK_SIZE, blockOf, blocksFor, MAX_FILE_SIZE } from '../types.js';
import { copyInBlock, store, zero } from './blockdata.js';
import { type Mapping, newMapping } from './bmap.js';
import { badBlock, type DataCore, newRun } from './datacore.js';
import { EXT_UNWRITTEN } from './layout.js';
import { newCountRun } from './refcount.js';
import { INODE_RECORDS, MAP_RECORDS } from './remap.js';

/** Most records that taking the mark off a run of bad blocks changes, and the inode. */
const HEAL_RECORDS = MAP_RECORDS + 4;

/** One piece cannot be written; another may. */
const isPieceError = (error: unknown): error is FsError =>
  error instanceof FsError && (error.code === 'ENOSPC' || error.code === 'EIO');

/** One write(2) or one write-back while it runs. */
interface Request {
  ino: number;
  data: Buffer;
  /** File offset of data[0]. */
  offset: number;
  /** File offset where the write ends. */
  end: number;
  fromPageCache: boolean;
}

/**
 * Writes. What a block is decides where the bytes go:
 *
 *   written, one owner     in place: needs no space
 *   unwritten              in place, the rest of the block zeroed, then converted
 *   hole                   a new block, the rest zeroed
 *   shared                 a new block, the rest copied from the old one (copy-on-write)
 *   bad, one owner         in place if the whole block is written: flushed, then healed. Else EIO
 *   bad, shared            a new block if the whole block is written; the others keep the bad one. Else EIO
 *
 * A write-back from the page cache never heals: EIO for every bad block. One of a latent block with one owner is
 * stored, as a store to memory that nobody knows to be bad is; the block stays latent.
 */
export class Writer {
  readonly #core: DataCore;
  readonly #map = newMapping();
  readonly #count = newCountRun();
  readonly #run = newRun();

  constructor(core: DataCore) {
    this.#core = core;
  }

  /** See FileData.write(). */
  write(ino: number, offset: number, data: Buffer, length: number, fromPageCache: boolean): number {
    const core = this.#core;
    core.checkRange(offset, length, 'write');
    core.checkRegular(ino, 'write');
    const size = core.inodes.size(ino);
    const end = Math.min(offset + length, fromPageCache ? size : MAX_FILE_SIZE);
    if (length === 0 || (fromPageCache && offset >= end)) return 0;
    if (offset >= MAX_FILE_SIZE) core.checkEnd(offset + length, 'write');
    if (offset > size) core.zeroPastEof(ino, 'write');
    const request = { ino, data, offset, end, fromPageCache };
    return fromPageCache ? this.#writeBack(request) : this.#untilError(request);
  }

  /** As write(2): short where an error comes later than the first piece. */
  #untilError(request: Request): number {
    const { offset, end } = request;
    for (let at = offset; at < end; ) {
      try {
        at += this.#piece(request, at);
      } catch (error) {
        if (at > offset && isPieceError(error)) return at - offset;
        throw error;
      }
    }
    return end - offset;
  }

  /**
   * The kernel takes no notice of a short write-back, and for its pages there is no second one: every block that can be
   * stored is, and the first error is the answer, which fsync(2) and msync(2) then give.
   */
  #writeBack(request: Request): number {
    const { offset, end } = request;
    let failed: FsError | null = null;
    for (let at = offset; at < end; ) {
      try {
        at += this.#piece(request, at);
      } catch (error) {
        if (!isPieceError(error)) throw error;
        failed ??= error;
        at = (blockOf(at) + 1) * BLOCK_SIZE;
      }
    }
    if (failed !== null) throw failed;
    return end - offset;
  }

  /** Writes what falls into one piece of the file. Returns its bytes; throws with nothing changed. */
  #piece(request: Request, at: number): number {
    const { bmap, remap, bad } = this.#core;
    const first = blockOf(at);
    const map = bmap.lookup(request.ino, first, this.#map);
    let blocks = Math.min(map.length, blocksFor(request.end) - first);
    if (map.physical === 0) return this.#allocating(request, at, blocks, 0);
    const run = remap.refcount.runAt(map.physical, blocks, this.#count);
    const shared = run.count > 1;
    blocks = run.length;
    const badAt = bad.first(map.physical, blocks, true);
    if (badAt === map.physical) return this.#overBad(request, at, blocks, map, shared);
    if (badAt > 0) blocks = badAt - map.physical;
    if (shared) return this.#allocating(request, at, blocks, map.physical);
    return this.#inPlace(request, at, blocks, map);
  }

  /** The first block is bad: only writes of whole blocks, and none from the page cache. */
  #overBad(request: Request, at: number, blocks: number, map: Mapping, shared: boolean): number {
    const first = blockOf(at);
    const whole = Math.min(blocks, blockOf(request.end) - first);
    if (request.fromPageCache && !shared && this.#core.bad.first(map.physical, 1, false) < 0) {
      return this.#inPlace(request, at, this.#core.bad.lengthAt(map.physical, blocks), map);
    }
    if (request.fromPageCache || at !== first * BLOCK_SIZE || whole <= 0) {
      throw badBlock(request.ino, first, map.physical, 'write');
    }
    if (shared) return this.#allocating(request, at, whole, map.physical);
    return this.#heal(request, at, this.#core.bad.lengthAt(map.physical, whole), map);
  }

  #inPlace(request: Request, at: number, blocks: number, map: Mapping): number {
    const { remap } = this.#core;
    const { physical, flags } = map;
    const first = blockOf(at);
    const bytes = this.#bytesIn(request, at, blocks);
    remap.unshared.settle(physical, blocks);
    if ((flags & EXT_UNWRITTEN) === 0) {
      remap.step(INODE_RECORDS);
      this.#fill(request, at, bytes, physical, blocks);
    } else {
      remap.breakLayouts(request.ino, first, blocks);
      remap.step(MAP_RECORDS);
      this.#fillWhole(request, at, bytes, physical, blocks, 0);
      remap.convert(request.ino, first, blocks, 0);
    }
    this.#core.grown(request.ino, at + bytes);
    return bytes;
  }

  /** New blocks for a hole (`old` = 0) or a shared run. Takes as many as there are in one run. */
  #allocating(request: Request, at: number, blocks: number, old: number): number {
    const { remap } = this.#core;
    const { ino } = request;
    const first = blockOf(at);
    const run = this.#run;
    remap.breakLayouts(ino, first, blocks);
    const goal = old === 0 ? remap.goal(ino, first) : remap.copyGoal(ino, first, blocks);
    remap.allocate(goal, blocks, true, run);
    const bytes = this.#bytesIn(request, at, run.length);
    this.#fillWhole(request, at, bytes, run.start, run.length, old);
    if (old === 0) remap.map(ino, first, run.start, run.length, 0);
    else remap.replace(ino, first, run.start, run.length);
    this.#core.grown(ino, at + bytes);
    return bytes;
  }

  /**
   * Whole bad blocks of one owner. The new bytes are durable before the mark goes: a crash in between leaves
   * a bad block (an error), never the old contents.
   */
  #heal(request: Request, at: number, blocks: number, map: Mapping): number {
    const { ctx, remap, bad } = this.#core;
    const { physical, flags } = map;
    const bytes = blocks * BLOCK_SIZE;
    const first = blockOf(at);
    remap.unshared.settle(physical, blocks);
    if ((flags & EXT_UNWRITTEN) !== 0) remap.breakLayouts(request.ino, first, blocks);
    remap.step(HEAL_RECORDS);
    this.#fill(request, at, bytes, physical, blocks);
    ctx.media.flush();
    if ((flags & EXT_UNWRITTEN) !== 0) remap.convert(request.ino, first, blocks, 0);
    bad.heal(physical, physical + blocks, 'write');
    this.#core.grown(request.ino, at + bytes);
    return bytes;
  }

  /** Bytes of the request from `at` on that fall into `blocks` blocks. */
  #bytesIn(request: Request, at: number, blocks: number): number {
    return Math.min(request.end, (blockOf(at) + blocks) * BLOCK_SIZE) - at;
  }

  /** Stores the bytes into the run and nothing else. */
  #fill(request: Request, at: number, bytes: number, physical: number, blocks: number): void {
    const { media } = this.#core.ctx;
    const position = at - blockOf(at) * BLOCK_SIZE;
    store(media, physical, position, request.data, at - request.offset, bytes);
    media.noteDirty(asPhys(physical), blocks);
  }

  /** Gives the run all its contents: the bytes, and around them zeros or what the run `old` holds. */
  #fillWhole(
    request: Request,
    at: number,
    bytes: number,
    physical: number,
    blocks: number,
    old: number,
  ): void {
    const { media } = this.#core.ctx;
    const head = at - blockOf(at) * BLOCK_SIZE;
    const tailAt = (head + bytes) % BLOCK_SIZE;
    const tail = tailAt === 0 ? 0 : BLOCK_SIZE - tailAt;
    const last = blocks - 1;
    if (old === 0) {
      zero(media, physical, 0, head);
      zero(media, physical + last, tailAt, tail);
    } else {
      copyInBlock(media, old, physical, 0, head);
      copyInBlock(media, old + last, physical + last, tailAt, tail);
    }
    this.#fill(request, at, bytes, physical, blocks);
  }
}
