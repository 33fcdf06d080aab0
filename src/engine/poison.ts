import { FsError } from '../errors.js';
import { asBlocks, asPhys, BLOCK_SIZE, blockOf, blocksFor, type Time } from '../types.js';
import type { BadRange } from './api.js';
import type { BadRun } from './badblock.js';
import type { RunOf } from './context.js';
import type { DataCore } from './datacore.js';

/** One run of bad blocks with both neighbours, one run of the free space with what is left on both sides. */
const POISON_RECORDS = 8;

/** Marking blocks bad and good again; what that means for files and processes is src/failure's. */
export class PoisonOps {
  readonly #core: DataCore;
  readonly #now: Time = { sec: 0, nsec: 0 };
  readonly #run: RunOf = { is: false, length: 0 };

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
      const run = this.#core.bad.runFrom(at);
      const isBad = run !== null && run.from <= at;
      const end = Math.min(to, run === null ? to : isBad ? run.to : run.from);
      if (isBad && (latent || !run.latent)) {
        at = end;
        continue;
      }
      const length = this.#mark(at, end - at, isBad, { latent, since });
      marked += length;
      at += length;
    }
    ctx.trx.commit();
    return marked;
  }

  /** Takes all marks off the byte range and commits. Blocks that nobody owns are free again. */
  unpoison(physical: number, length: number): number {
    const { ctx, bad } = this.#core;
    const [from, to] = this.#range(physical, length, 'unpoison');
    let healed = 0;
    for (let next = from; next < to; ) {
      const at = bad.first(next, to - next, true);
      if (at < 0) break;
      const count = this.#heal(at, bad.lengthAt(at, to - at));
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

  /**
   * One step: marks blocks from `from` on, all latent or all good (`isBad`), as far as they are all free or all not.
   * Returns how many.
   */
  #mark(from: number, limit: number, isBad: boolean, kind: Pick<BadRun, 'latent' | 'since'>): number {
    const { ctx, bad, remap } = this.#core;
    // The reservation comes first: it may take free blocks for metadata.
    remap.step(POISON_RECORDS);
    const { is: isFree, length } = ctx.space.freeRun(from, limit, this.#run);
    if (isFree && !isBad) ctx.space.quarantine(asPhys(from), asBlocks(length));
    bad.mark({ from, to: from + length, ...kind });
    return length;
  }

  /** One step: takes the marks off blocks from `from` on, as far as they are alike. Returns how many. */
  #heal(from: number, limit: number): number {
    const { ctx, bad, remap } = this.#core;
    remap.step(POISON_RECORDS);
    const { is: isOwned, length: alike } = remap.rmap.ownedRun(from, from + limit, this.#run);
    const { is: isFree, length } = ctx.space.freeRun(from, alike, this.#run);
    bad.heal(from, from + length, 'unpoison');
    // What was freed since the last commit comes back with the next one.
    if (!isOwned && !isFree) ctx.space.restore(asPhys(from), asBlocks(length));
    return length;
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
