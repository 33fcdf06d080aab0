import { assert } from '../../src/errors.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, type PhysBlock } from '../../src/types.js';
import { FrozenBlocks } from './frozen.js';

export interface CrashOptions {
  /** Bytes that reach the medium together or not at all: 64 (a cache line, the default), 8, or 4096. */
  granuleBytes?: 8 | 64 | 4096;
  /** Passed on to memoryMedia(), also for the images. */
  windowShift?: number;
  /** Called at the start of each flush, counted from 0: the place to look at the crash states before it. */
  beforeFlush?: (flush: number) => void;
  /** The flush of this number and all later ones throw instead. */
  failFromFlush?: number;
}

/** Which granules in doubt reached the medium: a seed for a random choice, or the choice itself. */
export type CrashChoice = { seed: number } | { mask: Uint8Array };

/**
 * A memory medium that knows what a loss of power could leave behind.
 *
 * The model, as exact as a medium can be that is written through views: a flush makes the noted blocks durable
 * and no others. Between flushes any granule that differs from its durable state may have reached the medium
 * or not, noted or not (a cache evicts lines as it likes, a page cache writes pages as it likes), each by
 * itself, in no order. A granule written twice since the last flush counts with its last contents only.
 */
export class CrashMedia implements Media {
  readonly blocks: number;
  readonly readOnly = false;
  /** Flushes so far. */
  flushes = 0;
  readonly #live: Media;
  readonly #durable: Buffer;
  readonly #noted = new Set<number>();
  readonly #options: CrashOptions;
  readonly #granule: number;
  readonly #frozen: FrozenBlocks;

  constructor(blocks: number, options: CrashOptions = {}, image?: Uint8Array) {
    this.blocks = blocks;
    this.#options = options;
    this.#granule = options.granuleBytes ?? 64;
    this.#live = memoryMedia(blocks, { ...windowOf(options), ...(image === undefined ? {} : { image }) });
    this.#frozen = new FrozenBlocks(this.#live);
    this.#frozen.flushed();
    this.#durable = image === undefined ? Buffer.alloc(blocks * BLOCK_SIZE) : Buffer.from(image);
  }

  words(block: PhysBlock): Uint32Array {
    return this.#live.words(block);
  }

  wordIndex(block: PhysBlock): number {
    return this.#live.wordIndex(block);
  }

  bytes(block: PhysBlock, count: number): Buffer {
    return this.#live.bytes(block, count);
  }

  get windows(): readonly Buffer[] {
    return this.#live.windows;
  }

  windowOf(block: PhysBlock): number {
    return this.#live.windowOf(block);
  }

  contiguous(block: PhysBlock, count: number): number {
    return this.#live.contiguous(block, count);
  }

  noteDirty(block: PhysBlock, count: number): void {
    this.#live.noteDirty(block, count);
    for (let i = 0; i < count; i++) this.#noted.add(block + i);
  }

  /** At once and in order: what a loss of power must not find missing is not to be discarded. */
  discard(block: PhysBlock, count: number): void {
    this.#live.discard(block, count);
    this.#durable.fill(0, block * BLOCK_SIZE, (block + count) * BLOCK_SIZE);
  }

  flush(): void {
    const number = this.flushes++;
    this.#frozen.check();
    this.#options.beforeFlush?.(number);
    if (number >= (this.#options.failFromFlush ?? Number.POSITIVE_INFINITY)) {
      throw new Error(`flush ${number} fails because the test says so`);
    }
    for (const block of this.#noted) this.#durable.set(this.#block(block), block * BLOCK_SIZE);
    this.#noted.clear();
    this.#frozen.flushed();
  }

  close(): void {}

  /** Byte offsets of the granules whose durable contents are in doubt, ascending. */
  undecided(): number[] {
    const offsets: number[] = [];
    for (let block = 0; block < this.blocks; block++) {
      const live = this.#block(block);
      const base = block * BLOCK_SIZE;
      if (live.equals(this.#durable.subarray(base, base + BLOCK_SIZE))) continue;
      for (let at = 0; at < BLOCK_SIZE; at += this.#granule) {
        const end = at + this.#granule;
        if (live.compare(this.#durable, base + at, base + end, at, end) !== 0) offsets.push(base + at);
      }
    }
    return offsets;
  }

  /**
   * What is on the medium after a loss of power now, as a medium of its own. A mask has one entry for each
   * offset of undecided(), not 0 where the new contents arrived.
   */
  crashImage(choice: CrashChoice): Media {
    this.#frozen.check();
    const offsets = this.undecided();
    const mask = 'mask' in choice ? choice.mask : randomMask(choice.seed, offsets.length);
    assert(mask.length === offsets.length, `a mask of ${offsets.length} entries, not ${mask.length}`);
    const image = Buffer.from(this.#durable);
    offsets.forEach((offset, i) => {
      if (mask[i] === 0) return;
      const live = this.#block(Math.floor(offset / BLOCK_SIZE));
      image.set(live.subarray(offset % BLOCK_SIZE, (offset % BLOCK_SIZE) + this.#granule), offset);
    });
    return memoryMedia(this.blocks, { ...windowOf(this.#options), image });
  }

  /**
   * Crash images, each with the name that makes it again: every one where at most `max` exist, otherwise the
   * two extremes (nothing, everything arrived) and random ones, `max` in all.
   */
  *crashImages(max: number, seed = 1): Generator<{ name: string; media: Media }> {
    const count = this.undecided().length;
    if (count < 31 && 2 ** count <= max) {
      for (let bits = 0; bits < 2 ** count; bits++) {
        const mask = Uint8Array.from({ length: count }, (_, i) => (bits >>> i) & 1);
        yield { name: `mask ${bits} of ${count} granules`, media: this.crashImage({ mask }) };
      }
      return;
    }
    yield { name: 'nothing arrived', media: this.crashImage({ mask: new Uint8Array(count) }) };
    yield { name: 'everything arrived', media: this.crashImage({ mask: new Uint8Array(count).fill(1) }) };
    for (let i = 0; i < max - 2; i++) {
      yield { name: `seed ${seed + i}`, media: this.crashImage({ seed: seed + i }) };
    }
  }

  #block(block: number): Buffer {
    return this.#live.bytes(asPhys(block), 1);
  }
}

function windowOf(options: CrashOptions): { windowShift?: number } {
  return options.windowShift === undefined ? {} : { windowShift: options.windowShift };
}

/** Each entry 0 or 1, with a share of ones that differs from seed to seed (few, half, or most arrive). */
function randomMask(seed: number, length: number): Uint8Array {
  const random = mulberry32(seed);
  const share = [0.05, 0.5, 0.95][Math.floor(random() * 3)];
  return Uint8Array.from({ length }, () => (random() < share ? 1 : 0));
}

/** A small generator with a 32-bit seed: 0 <= x < 1. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
