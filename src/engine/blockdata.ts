import { FUSE_MAX_WRITE_BYTES } from '../limits.js';
import type { Media } from '../media/media.js';
import { asPhys, BLOCK_SIZE, blockOf, blocksFor } from '../types.js';

/**
 * Bytes in and out of runs of blocks, across the windows of the medium. Positions are bytes from the start of
 * block `start`. Nothing here is noted dirty: the caller notes the whole run once.
 */

/** What holes and unwritten blocks read as. Never written to. */
export const ZEROS = Buffer.alloc(FUSE_MAX_WRITE_BYTES);

/** The view of as many of the bytes as lie in one window: at least 1, at most `length`. */
function view(media: Media, start: number, position: number, length: number): Buffer {
  const skipped = blockOf(position);
  const block = asPhys(start + skipped);
  const inBlock = position - skipped * BLOCK_SIZE;
  const blocks = media.contiguous(block, blocksFor(inBlock + length));
  const bytes = Math.min(length, blocks * BLOCK_SIZE - inBlock);
  const whole = media.bytes(block, blocks);
  return bytes === whole.length ? whole : whole.subarray(inBlock, inBlock + bytes);
}

/** Stores data[from .. from + length). */
export function store(
  media: Media,
  start: number,
  position: number,
  data: Buffer,
  from: number,
  length: number,
): void {
  for (let done = 0; done < length; ) {
    const to = view(media, start, position + done, length - done);
    data.copy(to, 0, from + done, from + done + to.length);
    done += to.length;
  }
}

export function zero(media: Media, start: number, position: number, length: number): void {
  for (let done = 0; done < length; ) {
    const to = view(media, start, position + done, length - done);
    to.fill(0);
    done += to.length;
  }
}

/** Copies bytes of one block to the same place in another. */
export function copyInBlock(
  media: Media,
  source: number,
  target: number,
  position: number,
  length: number,
): void {
  if (length === 0) return;
  view(media, source, position, length).copy(view(media, target, position, length));
}

export function isZero(media: Media, start: number, position: number, length: number): boolean {
  for (let done = 0; done < length; ) {
    const at = view(media, start, position + done, Math.min(length - done, ZEROS.length));
    if (at.compare(ZEROS, 0, at.length) !== 0) return false;
    done += at.length;
  }
  return true;
}

export function equal(media: Media, a: number, b: number, position: number, length: number): boolean {
  for (let done = 0; done < length; ) {
    const left = view(media, a, position + done, length - done);
    const right = view(media, b, position + done, left.length);
    if (left.compare(right, 0, right.length, 0, right.length) !== 0) return false;
    done += right.length;
  }
  return true;
}
