import { crc32 } from 'node:zlib';
import { CorruptionError } from '../errors.js';
import { asPhys, BLOCK_SIZE, blockOf } from '../types.js';
import type { Owner, ScrubbedRange } from './api.js';
import type { BadBlocks } from './badblock.js';
import type { DataOps } from './data.js';
import type { Store } from './store.js';
import { readSlot } from './superblock.js';

/**
 * Reads a part of the region: data that files own, tree nodes and superblocks with their checksums. Free blocks are not
 * touched (in a sparse region that would allocate them); what is known of them says the list of bad blocks, which
 * stands for the medium. Stops at the first run of latent errors.
 */
export class Scrubber {
  readonly #store: Store;
  readonly #bad: BadBlocks;
  readonly #data: DataOps;

  constructor(store: Store, bad: BadBlocks, data: DataOps) {
    this.#store = store;
    this.#bad = bad;
    this.#data = data;
  }

  /** See Engine.scrub(). */
  scrub(physical: number, length: number): ScrubbedRange {
    const { blocks } = this.#store.superblock;
    const first = blockOf(physical);
    const end = Math.min(blocks, first + blockOf(length));
    const latent = this.#firstLatent(first, end);
    const stop = latent === null ? end : latent.from;
    const damaged: ScrubbedRange['damaged'] = [];
    if (stop > first) {
      this.#data.owners(first * BLOCK_SIZE, (stop - first) * BLOCK_SIZE, (owner) => {
        this.#read(owner, damaged);
        return true;
      });
    }
    if (latent === null) return { length: (end - first) * BLOCK_SIZE, latent: null, damaged };
    const run = { physical: latent.from * BLOCK_SIZE, length: (latent.to - latent.from) * BLOCK_SIZE };
    return { length: (latent.to - first) * BLOCK_SIZE, latent: run, damaged };
  }

  #firstLatent(first: number, end: number): { from: number; to: number } | null {
    for (
      let run = this.#bad.runFrom(first);
      run !== null && run.from < end;
      run = this.#bad.runFrom(run.to)
    ) {
      if (run.latent) return { from: Math.max(run.from, first), to: Math.min(run.to, end) };
    }
    return null;
  }

  /** A slot that was never written is no damage. */
  #checkSlot(block: number): void {
    const slot = readSlot(this.#store.context.media, block === 0 ? 0 : 1, block);
    if (slot.kind === 'torn') throw new CorruptionError(block, slot.why);
  }

  #read(owner: Owner, damaged: ScrubbedRange['damaged']): void {
    if (owner.kind === 'free' || (owner.kind === 'file' && owner.unwritten)) return;
    const { media } = this.#store.context;
    const end = blockOf(owner.physical + owner.length);
    for (let block = blockOf(owner.physical); block < end; block++) {
      if (this.#bad.first(block, 1, true) >= 0) continue;
      try {
        if (owner.kind === 'file') crc32(media.bytes(asPhys(block), 1));
        else if (owner.kind === 'superblock') this.#checkSlot(block);
        else this.#store.nodes.recheck(block);
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        const tree = owner.kind === 'metadata' ? owner.tree : 'superblock';
        damaged.push({ physical: block * BLOCK_SIZE, tree, detail: error.message });
      }
    }
  }
}
