import { BLOCK_SIZE } from '../types.js';
import { WINDOW_SHIFT, type Windows } from './windows.js';

/** Blocks of one bitmap: one window of the region, 1 GiB in 32 KiB. */
const CHUNK_SHIFT = WINDOW_SHIFT;
const CHUNK_BLOCKS = 2 ** CHUNK_SHIFT;
const WORDS = CHUNK_BLOCKS / 32;

/** One window's bitmap and the span of words in it that may hold a set bit. */
interface Chunk {
  readonly index: number;
  readonly bits: Uint32Array;
  firstWord: number;
  endWord: number;
}

/**
 * The blocks written since the last flush, exactly: one bit a block, in bitmaps that appear with the first
 * write to their window and stay. At most 1/32768 of the region's size. Noting a block costs the same however
 * scattered the writes are, which a bounded list of ranges cannot promise without flushing more than was
 * written.
 */
export class DirtyBlocks {
  readonly #chunks: (Chunk | undefined)[];
  /** The chunks that hold a set bit. */
  readonly #dirty: Chunk[] = [];

  /** `blocks`: the size of the medium. */
  constructor(blocks: number) {
    this.#chunks = new Array(Math.ceil(blocks / CHUNK_BLOCKS));
  }

  get isEmpty(): boolean {
    return this.#dirty.length === 0;
  }

  /** The caller has checked that the run lies within the medium. */
  note(block: number, count: number): void {
    const end = block + count;
    for (let at = block; at < end; ) {
      const chunk = this.#chunkOf(at);
      const chunkEnd = Math.min(end, (chunk.index + 1) * CHUNK_BLOCKS);
      setBits(chunk, at - chunk.index * CHUNK_BLOCKS, chunkEnd - chunk.index * CHUNK_BLOCKS);
      at = chunkEnd;
    }
  }

  /**
   * Calls `visit` for each maximal run of noted blocks that lies in one window, ascending within a window,
   * and forgets the run. What a throwing visitor did not see stays noted.
   */
  drain(visit: (block: number, count: number) => void): void {
    for (let chunk = this.#dirty.at(-1); chunk !== undefined; chunk = this.#dirty.at(-1)) {
      drainChunk(chunk, visit);
      chunk.firstWord = WORDS;
      chunk.endWord = 0;
      this.#dirty.pop();
    }
  }

  #chunkOf(block: number): Chunk {
    const index = block >>> CHUNK_SHIFT;
    let chunk = this.#chunks[index];
    if (chunk === undefined) {
      chunk = { index, bits: new Uint32Array(WORDS), firstWord: WORDS, endWord: 0 };
      this.#chunks[index] = chunk;
    }
    if (chunk.endWord === 0) this.#dirty.push(chunk);
    return chunk;
  }
}

/** Sets the bits from `from` up to, not including, `end`. */
function setBits(chunk: Chunk, from: number, end: number): void {
  const first = from >>> 5;
  const last = (end - 1) >>> 5;
  const firstMask = 0xffff_ffff << (from & 31);
  const lastMask = 0xffff_ffff >>> (31 - ((end - 1) & 31));
  if (first === last) {
    chunk.bits[first] |= firstMask & lastMask;
  } else {
    chunk.bits[first] |= firstMask;
    if (last > first + 1) chunk.bits.fill(0xffff_ffff, first + 1, last);
    chunk.bits[last] |= lastMask;
  }
  chunk.firstWord = Math.min(chunk.firstWord, first);
  chunk.endWord = Math.max(chunk.endWord, last + 1);
}

function drainChunk(chunk: Chunk, visit: (block: number, count: number) => void): void {
  const base = chunk.index * CHUNK_BLOCKS;
  const limit = chunk.endWord * 32;
  let at = nextBit(chunk.bits, chunk.firstWord * 32, limit, 0);
  while (at < limit) {
    const end = nextBit(chunk.bits, at, limit, 0xffff_ffff);
    visit(base + at, end - at);
    clearBits(chunk.bits, at, end);
    at = nextBit(chunk.bits, end, limit, 0);
  }
}

/** The first bit from `from` on that is set (`flip` 0) or clear (`flip` all ones), or `limit`. */
function nextBit(bits: Uint32Array, from: number, limit: number, flip: number): number {
  let word = from >>> 5;
  let value = (bits[word] ^ flip) & (0xffff_ffff << (from & 31));
  while (value === 0) {
    word++;
    if (word * 32 >= limit) return limit;
    value = bits[word] ^ flip;
  }
  // The lowest set bit: 31 minus the leading zeroes of value & -value.
  return Math.min(limit, word * 32 + 31 - Math.clz32(value & -value));
}

function clearBits(bits: Uint32Array, from: number, end: number): void {
  for (let at = from; at < end; ) {
    const stop = Math.min(end, (Math.floor(at / 32) + 1) * 32);
    const mask = (0xffff_ffff << (at & 31)) & (0xffff_ffff >>> (31 - ((stop - 1) & 31)));
    bits[at >>> 5] &= ~mask;
    at = stop;
  }
}

/**
 * Hands every noted block to `flushLines` (native flushCacheLines, or a test's own) by window and byte range, and
 * forgets it. `windows` has the windows of a mapped region.
 */
export function flushDirtyLines(
  windows: Windows,
  dirty: DirtyBlocks,
  flushLines: (window: Buffer, offset: number, length: number) => void,
): void {
  dirty.drain((block, count) => {
    const window = windows.buffers[block >>> CHUNK_SHIFT];
    flushLines(window, (block % CHUNK_BLOCKS) * BLOCK_SIZE, count * BLOCK_SIZE);
  });
}
