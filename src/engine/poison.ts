import { FsError } from '../errors.js';
import { POISON_BLOCKS_PER_STEP } from '../limits.js';
import { asPhys, BLOCK_SIZE, blockOf, blocksFor, type Time } from '../types.js';
import type { BadRange } from './api.js';
import type { DataCore } from './datacore.js';

/** A badblock record for each block of a step and two neighbours, two of the free space for each block. */
const POISON_RECORDS = 3 * POISON_BLOCKS_PER_STEP + 4;

/** Marking blocks bad and good again; what that means for files and processes is src/failure's. */
export class PoisonOps {
  readonly #core: DataCore;
  readonly #now: Time = { sec: 0, nsec: 0 };

  constructor(core: DataCore) {
    this.#core = core;
  }

  /** Latent blocks are not known to be bad. */
  isBad(physical: number, length: number): boolean {
    const [from, to] = this.#range(physical, length, 'isBad');
    return this.#core.bad.first(from, to - from, false) >= 0;
  }

  /**
   * Marks all blocks that meet the byte range and commits. Free blocks leave the free space. Returns the
   * blocks that became bad; a latent one that becomes known counts, a known one stays as it is.
   */
  poison(physical: number, length: number, latent: boolean): number {
    const { ctx } = this.#core;
    const [from, to] = this.#range(physical, length, 'poison');
    ctx.clock.now(this.#now);
    const since = Math.max(0, this.#now.sec);
    let marked = 0;
    for (let at = from; at < to; ) {
      const end = Math.min(to, at + POISON_BLOCKS_PER_STEP);
      this.#core.remap.step(POISON_RECORDS);
      while (at < end) marked += this.#markOne(at++, latent, since);
    }
    ctx.trx.commit();
    return marked;
  }

  /** Takes all marks off the byte range and commits. Blocks that nobody owns are free again. */
  unpoison(physical: number, length: number): number {
    const { ctx, bad, remap } = this.#core;
    const [from, to] = this.#range(physical, length, 'unpoison');
    let healed = 0;
    for (let next = from; next < to; ) {
      const at = bad.first(next, to - next, true);
      if (at < 0) break;
      const count = bad.lengthAt(at, Math.min(to - at, POISON_BLOCKS_PER_STEP));
      remap.step(POISON_RECORDS);
      bad.heal(at, at + count, 'unpoison');
      for (let i = 0; i < count; i++) {
        if (!remap.rmap.isOwned(at + i)) ctx.space.restore(asPhys(at + i));
      }
      healed += count;
      next = at + count;
    }
    ctx.trx.commit();
    return healed;
  }

  /** Runs of bad blocks from the byte offset on; at most `max`. */
  list(from: number, max: number): BadRange[] {
    const found: BadRange[] = [];
    let at = blockOf(from);
    for (let run = this.#core.bad.runFrom(at); run !== null && found.length < max; ) {
      const start = Math.max(run.from, at);
      const { latent, since } = run;
      found.push({ physical: start * BLOCK_SIZE, length: (run.to - start) * BLOCK_SIZE, latent, since });
      at = run.to;
      run = this.#core.bad.runFrom(at);
    }
    return found;
  }

  /** Returns 1 when the block became bad or known to be. */
  #markOne(block: number, latent: boolean, since: number): number {
    const { ctx, bad } = this.#core;
    const wasBad = bad.first(block, 1, true) >= 0;
    if (wasBad && (latent || bad.first(block, 1, false) >= 0)) return 0;
    if (!wasBad && ctx.space.isFree(asPhys(block))) ctx.space.quarantine(asPhys(block));
    bad.mark({ from: block, to: block + 1, latent, since });
    return 1;
  }

  /** Blocks that meet the byte range. ENXIO outside the device; from 0 on 2^53 - 1 or more: all of it. */
  #range(physical: number, length: number, op: string): [from: number, to: number] {
    const { blocks } = this.#core.ctx.media;
    const size = blocks * BLOCK_SIZE;
    if (physical === 0 && length >= Number.MAX_SAFE_INTEGER) return [0, blocks];
    if (!Number.isInteger(physical) || !Number.isInteger(length) || physical < 0 || length <= 0) {
      throw new FsError('EINVAL', op, `offset ${physical}, length ${length}`);
    }
    if (physical + length > size) {
      throw new FsError('ENXIO', op, `offset ${physical}, length ${length}: the device has ${size} bytes`);
    }
    return [blockOf(physical), blocksFor(physical + length)];
  }
}
