import { assert } from '../errors.js';
import { asPhys, BLOCK_SIZE, type PhysBlock } from '../types.js';
import type { Media } from './media.js';
import { readOnlyError, WINDOW_SHIFT, WindowedMedia, Windows } from './windows.js';

export interface MemoryOptions {
  /** Window size as a power of two of blocks, 0 .. 18: a small one lets a small medium have many windows. */
  windowShift?: number;
  readOnly?: boolean;
  /** Contents to start from: whole blocks, copied. Zeroes without it. */
  image?: Uint8Array;
}

/** A medium in plain memory, for tests and simulation. It forgets all when it is dropped. */
class MemoryMedia extends WindowedMedia implements Media {
  readonly readOnly: boolean;

  constructor(windows: Windows, readOnly: boolean) {
    super(windows);
    this.readOnly = readOnly;
  }

  noteDirty(block: PhysBlock, count: number): void {
    if (this.readOnly) throw readOnlyError('the memory medium');
    this.addressing.check(block, count);
  }

  /** Memory is as durable as it gets the moment it is written. */
  flush(): void {}

  discard(block: PhysBlock, count: number): void {
    if (this.readOnly) throw readOnlyError('the memory medium');
    for (let done = 0; done < count; ) {
      const at = asPhys(block + done);
      const length = this.contiguous(at, count - done);
      this.bytes(at, length).fill(0);
      done += length;
    }
  }

  close(): void {}
}

/** A medium of `blocks` zeroed blocks (or of the image's contents) in plain memory. */
export function memoryMedia(blocks: number, options: MemoryOptions = {}): Media {
  const { windowShift = WINDOW_SHIFT, readOnly = false, image } = options;
  assert(blocks > 0 && windowShift >= 0 && windowShift <= WINDOW_SHIFT, 'memoryMedia: size and window');
  assert(
    image === undefined || image.length === blocks * BLOCK_SIZE,
    'memoryMedia: the image has all blocks',
  );
  const windowBlocks = 2 ** windowShift;
  const buffers: Buffer<ArrayBuffer>[] = [];
  for (let first = 0; first < blocks; first += windowBlocks) {
    const length = Math.min(windowBlocks, blocks - first) * BLOCK_SIZE;
    const buffer = Buffer.from(new ArrayBuffer(length));
    if (image !== undefined) buffer.set(image.subarray(first * BLOCK_SIZE, first * BLOCK_SIZE + length));
    buffers.push(buffer);
  }
  return new MemoryMedia(new Windows(buffers, windowShift), readOnly);
}
