import { FsError } from '../errors.js';
import { BLOCK_SIZE, blockOf, blocksFor } from '../types.js';
import type { Extent } from './api.js';
import { FILE_BLOCKS_MAX, newMapping } from './bmap.js';
import type { DataCore } from './datacore.js';
import { EXT_UNWRITTEN } from './layout.js';
import { newCountRun } from './refcount.js';

/** lseek(2). */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** What lseek(2) and FIEMAP ask: where the extents are. */
export class ExtentQueries {
  readonly #core: DataCore;
  readonly #map = newMapping();
  readonly #count = newCountRun();

  constructor(core: DataCore) {
    this.#core = core;
  }

  /** See FileData.seek(). Exact: unwritten blocks are holes, the end of the file is a hole. */
  seek(ino: number, offset: number, whence: number): number {
    const size = this.#core.inodes.size(ino);
    const wantsData = whence === SEEK_DATA;
    if (!(wantsData || whence === SEEK_HOLE)) throw new FsError('EINVAL', 'lseek', `whence ${whence}`);
    if (offset < 0 || offset >= size) throw pastEnd(offset, size);
    const end = blocksFor(size);
    for (let at = blockOf(offset); at < end; ) {
      const { physical, length, flags } = this.#core.bmap.lookup(ino, at, this.#map);
      const isData = physical !== 0 && (flags & EXT_UNWRITTEN) === 0;
      if (isData === wantsData) return Math.max(offset, at * BLOCK_SIZE);
      at += length;
    }
    if (wantsData) throw pastEnd(offset, size);
    return size;
  }

  /** See Sharing.extents(). Cut at the range's block borders; extents past the end of the file too. */
  list(ino: number, offset: number, length: number, max: number): Extent[] {
    const { bmap, remap, bad } = this.#core;
    this.#core.checkRange(offset, 0, 'extents');
    const found: Extent[] = [];
    const end = Math.min(blocksFor(offset + length), FILE_BLOCKS_MAX);
    for (let at = blockOf(offset); at < end && found.length < max; ) {
      const { physical, length: whole, flags } = bmap.lookup(ino, at, this.#map);
      let blocks = Math.min(whole, end - at);
      if (physical !== 0) {
        const run = remap.refcount.runAt(physical, blocks, this.#count);
        const badAt = bad.first(physical, run.length, false);
        blocks = run.length;
        if (badAt === physical) blocks = bad.lengthAt(physical, blocks);
        else if (badAt > 0) blocks = badAt - physical;
        found.push({
          fileOffset: at * BLOCK_SIZE,
          physical: physical * BLOCK_SIZE,
          length: blocks * BLOCK_SIZE,
          shared: run.count > 1,
          unwritten: (flags & EXT_UNWRITTEN) !== 0,
          bad: badAt === physical,
        });
      }
      at += blocks;
    }
    return found;
  }
}

function pastEnd(offset: number, size: number): FsError {
  return new FsError('ENXIO', 'lseek', `nothing to find at or after offset ${offset} of ${size} bytes`);
}
