import { WORDS_PER_BLOCK } from '../engine/layout.js';
import { assert } from '../errors.js';
import type { Media } from '../media/media.js';
import { asPhys, type PhysBlock } from '../types.js';

/**
 * A medium with other contents in some blocks, which are kept on the heap until they are written. What reads blocks
 * one by one sees the new contents.
 */
export class OverlayMedia implements Media {
  readonly blocks: number;
  readonly readOnly = true;
  readonly #base: Media;
  readonly #images = new Map<number, Uint32Array<ArrayBuffer>>();

  constructor(base: Media) {
    this.#base = base;
    this.blocks = base.blocks;
  }

  /** Zeroed new contents of a block, for the caller to fill. */
  replace(block: number): Uint32Array<ArrayBuffer> {
    const image = new Uint32Array(WORDS_PER_BLOCK);
    this.#images.set(block, image);
    return image;
  }

  /** Writes the new contents to the medium below and makes them durable. */
  write(): void {
    for (const [number, image] of this.#images) {
      const block = asPhys(number);
      this.#base.words(block).set(image, this.#base.wordIndex(block));
      this.#base.noteDirty(block, 1);
    }
    this.#base.flush();
  }

  words(block: PhysBlock): Uint32Array {
    return this.#images.get(block) ?? this.#base.words(block);
  }

  wordIndex(block: PhysBlock): number {
    return this.#images.has(block) ? 0 : this.#base.wordIndex(block);
  }

  bytes(block: PhysBlock, count: number): Buffer {
    const image = this.#images.get(block);
    if (image === undefined) return this.#base.bytes(block, count);
    assert(count === 1, 'new blocks are read one by one');
    return Buffer.from(image.buffer);
  }

  get windows(): readonly Buffer[] {
    return this.#base.windows;
  }

  windowOf(block: PhysBlock): number {
    return this.#base.windowOf(block);
  }

  contiguous(block: PhysBlock, count: number): number {
    return this.#base.contiguous(block, count);
  }

  noteDirty(): void {
    assert(false, 'an overlay is written as a whole');
  }

  flush(): void {}

  discard(): void {
    assert(false, 'a repair gives no storage back');
  }

  close(): void {}
}
