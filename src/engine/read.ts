import { FUSE_MAX_WRITE_BYTES } from '../limits.js';
import { BLOCK_SIZE, blockOf, blocksFor } from '../types.js';
import type { ReadPlan } from './api.js';
import { view, ZEROS } from './blockdata.js';
import { newMapping } from './bmap.js';
import { badBlock, type DataCore } from './datacore.js';
import { EXT_UNWRITTEN } from './layout.js';

/** Plans reads: views of the region, and of zeros for holes and unwritten blocks. Copies nothing. */
export class Reader {
  readonly #core: DataCore;
  readonly #map = newMapping();

  constructor(core: DataCore) {
    this.#core = core;
  }

  /**
   * See FileData.read(). One plan holds at most FUSE_MAX_WRITE_BYTES, so that it has at most one segment for
   * each block and one more for an unaligned start.
   */
  read(ino: number, offset: number, length: number, mayBeShort: boolean, out: ReadPlan): void {
    this.#core.checkRange(offset, length, 'read');
    out.segments.length = 0;
    out.bytes = 0;
    const end = Math.min(offset + Math.min(length, FUSE_MAX_WRITE_BYTES), this.#core.inodes.size(ino));
    for (let at = offset; at < end; ) {
      const planned = this.#piece(ino, at, end, out);
      if (planned === 0) {
        if (mayBeShort && out.bytes > 0) return;
        out.segments.length = 0;
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
      out.segments.push(ZEROS.subarray(0, bytes));
    } else {
      const bad = this.#core.bad.first(map.physical, blocksFor(inBlock + bytes), true);
      if (bad >= 0) bytes = Math.max(0, (bad - map.physical) * BLOCK_SIZE - inBlock);
      this.#views(map.physical, inBlock, bytes, out);
    }
    out.bytes += bytes;
    return bytes;
  }

  #views(physical: number, position: number, bytes: number, out: ReadPlan): void {
    for (let done = 0; done < bytes; ) {
      const part = view(this.#core.ctx.media, physical, position + done, bytes - done);
      out.segments.push(part);
      done += part.length;
    }
  }
}
