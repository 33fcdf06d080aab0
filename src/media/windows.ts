import { FsError, InvariantError } from '../errors.js';
import { WINDOW_BYTES } from '../limits.js';
import { BLOCK_SIZE, type PhysBlock } from '../types.js';

/** Blocks of a full window of a mapped region, as a power of two. */
export const WINDOW_SHIFT = Math.log2(WINDOW_BYTES / BLOCK_SIZE);

const WORDS_PER_BLOCK = BLOCK_SIZE / 4;

/**
 * An array of blocks in windows of 2^shift blocks each (the last may be shorter): the addressing that all
 * media share. A Buffer of Node 20 ends at 4 GiB, a region does not.
 *
 * `block >>> shift` is the unsigned shift: it is right for every u32, where `>>` is not.
 */
export class Windows {
  readonly blocks: number;
  readonly buffers: readonly Buffer<ArrayBuffer>[];
  readonly shift: number;
  readonly #words: readonly Uint32Array[];
  readonly #mask: number;

  /** `shift` is at most 20: word indexes of a window stay below 2^31. */
  constructor(buffers: readonly Buffer<ArrayBuffer>[], shift: number) {
    this.buffers = buffers;
    this.shift = shift;
    this.blocks = buffers.reduce((sum, buffer) => sum + buffer.length / BLOCK_SIZE, 0);
    this.#words = buffers.map((b) => new Uint32Array(b.buffer, b.byteOffset, b.length / 4));
    this.#mask = 2 ** shift - 1;
  }

  words(block: PhysBlock): Uint32Array {
    if (block >= this.blocks) throw outside(block, 1, this.blocks);
    return this.#words[block >>> this.shift];
  }

  windowOf(block: PhysBlock): number {
    return block >>> this.shift;
  }

  wordIndex(block: PhysBlock): number {
    return (block & this.#mask) * WORDS_PER_BLOCK;
  }

  bytes(block: PhysBlock, count: number): Buffer<ArrayBuffer> {
    const first = block & this.#mask;
    if (block + count > this.blocks || first + count > this.#mask + 1)
      throw outside(block, count, this.blocks);
    return this.buffers[block >>> this.shift].subarray(first * BLOCK_SIZE, (first + count) * BLOCK_SIZE);
  }

  contiguous(block: PhysBlock, count: number): number {
    return Math.min(count, this.#mask + 1 - (block & this.#mask));
  }

  /** Throws unless the blocks are of this medium. */
  check(block: PhysBlock, count: number): void {
    if (block + count > this.blocks) throw outside(block, count, this.blocks);
  }
}

/** The addressing half of a medium: what every medium over Windows does alike. */
export abstract class WindowedMedia {
  readonly blocks: number;
  protected readonly addressing: Windows;

  constructor(addressing: Windows) {
    this.addressing = addressing;
    this.blocks = addressing.blocks;
  }

  get windows(): readonly Buffer[] {
    return this.addressing.buffers;
  }

  words(block: PhysBlock): Uint32Array {
    return this.addressing.words(block);
  }

  wordIndex(block: PhysBlock): number {
    return this.addressing.wordIndex(block);
  }

  bytes(block: PhysBlock, count: number): Buffer {
    return this.addressing.bytes(block, count);
  }

  windowOf(block: PhysBlock): number {
    return this.addressing.windowOf(block);
  }

  contiguous(block: PhysBlock, count: number): number {
    return this.addressing.contiguous(block, count);
  }
}

function outside(block: number, count: number, blocks: number): InvariantError {
  return new InvariantError(
    `invariant broken: blocks ${block} + ${count} lie in one window of a medium of ${blocks} blocks`,
  );
}

/** The error of a change to a medium that was opened for reading. */
export function readOnlyError(name: string): FsError {
  return new FsError('EROFS', 'flush', `${name} was opened read-only`);
}
