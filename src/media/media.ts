import type { PhysBlock } from '../types.js';

/**
 * The medium below the engine: one array of 4096-byte blocks, mapped. Implementations: the mapped region
 * (region.ts) and a plain memory one for tests and simulation (memory.ts).
 *
 * Reads and writes go through the views; the media only has to know what was written (noteDirty) so that a
 * flush can be as narrow as the medium allows.
 */
export interface Media {
  /** Number of whole blocks of the medium. */
  readonly blocks: number;
  readonly readOnly: boolean;
  /** The 1024 words of a block. The view stays valid until close(); views are cached by window, not by block. */
  /** Word view of the window that holds `block`; index with wordIndex(block). */
  words(block: PhysBlock): Uint32Array;
  /** Index of the block's first word in the view that words(block) returns. */
  wordIndex(block: PhysBlock): number;
  /**
   * Bytes of `count` blocks from `block` on, as a Buffer that aliases the medium. The run must lie in one
   * window: ask contiguous() first.
   */
  bytes(block: PhysBlock, count: number): Buffer;
  /** The windows themselves, in order. */
  readonly windows: readonly Buffer[];
  /** Index of the window that holds `block`; the block begins there at byte 4 * wordIndex(block). */
  windowOf(block: PhysBlock): number;
  /** How many of the `count` blocks from `block` on lie in the same window (at least 1). */
  contiguous(block: PhysBlock, count: number): number;
  /** Says that the blocks were written and must be durable after the next flush(). */
  noteDirty(block: PhysBlock, count: number): void;
  /** Makes all that was noted durable, as far as the medium can. Throws a coded error when it cannot. */
  flush(): void;
  /**
   * Gives the storage of blocks back, at once and for good: they read as zeros. EOPNOTSUPP where the medium cannot.
   */
  discard(block: PhysBlock, count: number): void;
  close(): void;
}
