import { assert } from '../errors.js';
import { newControl, SEGMENT_WORDS, SEGMENTS_MAX, tableOf } from '../exchange.js';
import { FUSE_MAX_WRITE_BYTES } from '../limits.js';
import { asPhys, BLOCK_SIZE, blockOf, blocksFor } from '../types.js';
import type { ReadPlan } from './api.js';
import { ZEROS } from './blockdata.js';
import { newMapping } from './bmap.js';
import { badBlock, type DataCore } from './datacore.js';
import { EXT_UNWRITTEN } from './layout.js';

/** A plan of its own; the channel's shares the table of the channel's control record. */
export const newReadPlan = (): ReadPlan => ({ table: tableOf(newControl()), segments: 0, bytes: 0 });

/** Segment `i` of a plan as a view. */
export function segmentOf(sources: readonly Buffer[], plan: ReadPlan, i: number): Buffer {
  const at = i * SEGMENT_WORDS;
  const offset = plan.table[at + 1];
  return sources[plan.table[at]].subarray(offset, offset + plan.table[at + 2]);
}

/** Plans reads: runs of the region, and of zeros for holes and unwritten blocks. Copies nothing. */
export class Reader {
  readonly sources: readonly Buffer[];
  readonly #core: DataCore;
  /** Index of the zeros among the sources. */
  readonly #zeros: number;
  readonly #map = newMapping();

  constructor(core: DataCore) {
    this.#core = core;
    const { windows } = core.ctx.media;
    this.sources = [...windows, ZEROS];
    this.#zeros = windows.length;
  }

  /**
   * See FileData.read(). One plan holds at most FUSE_MAX_WRITE_BYTES, so that it has at most one segment for
   * each block and one more for an unaligned start: less than SEGMENTS_MAX.
   */
  read(ino: number, offset: number, length: number, mayBeShort: boolean, out: ReadPlan): void {
    this.#core.checkRange(offset, length, 'read');
    out.segments = 0;
    out.bytes = 0;
    const end = Math.min(offset + Math.min(length, FUSE_MAX_WRITE_BYTES), this.#core.inodes.size(ino));
    for (let at = offset; at < end; ) {
      const planned = this.#piece(ino, at, end, out);
      if (planned === 0) {
        if (mayBeShort && out.bytes > 0) return;
        out.segments = 0;
        out.bytes = 0;
        throw badBlock(ino, blockOf(at), this.#map.physical, 'read');
      }
      at += planned;
    }
  }

  /** Plans what lies in one extent or hole. Returns its bytes, 0 where the first block is bad. */
  #piece(ino: number, at: number, end: number, out: ReadPlan): number {
    const block = blockOf(at);
    const map = this.#core.bmap.lookup(ino, block, this.#map);
    const inBlock = at - block * BLOCK_SIZE;
    let bytes = Math.min(end - at, map.length * BLOCK_SIZE - inBlock);
    if (map.physical === 0 || (map.flags & EXT_UNWRITTEN) !== 0) {
      append(out, this.#zeros, 0, bytes);
    } else {
      const bad = this.#core.bad.first(map.physical, blocksFor(inBlock + bytes), true);
      if (bad >= 0) bytes = Math.max(0, (bad - map.physical) * BLOCK_SIZE - inBlock);
      this.#runs(map.physical, inBlock, bytes, out);
    }
    out.bytes += bytes;
    return bytes;
  }

  /** `position`: bytes from the start of block `physical`, less than a block. */
  #runs(physical: number, position: number, bytes: number, out: ReadPlan): void {
    const { media } = this.#core.ctx;
    let block = asPhys(physical);
    let inBlock = position;
    for (let left = bytes; left > 0; ) {
      const blocks = media.contiguous(block, blocksFor(inBlock + left));
      const run = Math.min(left, blocks * BLOCK_SIZE - inBlock);
      append(out, media.windowOf(block), media.wordIndex(block) * 4 + inBlock, run);
      left -= run;
      block = asPhys(block + blocks);
      inBlock = 0;
    }
  }
}

function append(out: ReadPlan, source: number, offset: number, bytes: number): void {
  assert(out.segments < SEGMENTS_MAX, 'a read has fewer segments than an answer can have');
  const at = out.segments * SEGMENT_WORDS;
  out.table[at] = source;
  out.table[at + 1] = offset;
  out.table[at + 2] = bytes;
  out.segments++;
}
