import { broken } from '../errors.js';
import type { BadBlockIndex } from './context.js';
import type { EngineEvent } from './events.js';
import { BAD_LATENT } from './layout.js';
import type { Tree } from './tree.js';

/** A run of bad blocks [from, to) that became bad at the same time and are of the same kind. */
export interface BadRun {
  readonly from: number;
  readonly to: number;
  readonly latent: boolean;
  /** Seconds since 1970. */
  readonly since: number;
}

type HealedBy = Extract<EngineEvent, { type: 'healed' }>['by'];

const WORD = 2 ** 32;

/**
 * The bad blocks: records of the badblock tree, and a sorted copy of them on the heap for the hot path. Runs
 * do not overlap; runs that touch and agree in kind and time are one.
 */
export class BadBlocks implements BadBlockIndex {
  readonly #tree: Tree;
  readonly #value = new Uint32Array(4);
  /** Sorted by `from`. */
  #runs: BadRun[] = [];
  #count = 0;
  /** Told of known bad blocks [from, to) that are good again. */
  onHealed: (from: number, to: number, by: HealedBy) => void = () => {};

  /** Reads the tree. */
  constructor(tree: Tree) {
    this.#tree = tree;
    const cursor = tree.cursor();
    for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
      const from = cursor.key(0);
      const to = from + cursor.value(0);
      const since = cursor.value(3) * WORD + cursor.value(2);
      this.#runs.push({ from, to, latent: (cursor.value(1) & BAD_LATENT) !== 0, since });
      this.#count += to - from;
    }
  }

  /** Bad blocks, latent ones included. */
  get count(): number {
    return this.#count;
  }

  first(from: number, length: number, withLatent: boolean): number {
    if (this.#count === 0) return -1;
    const end = from + length;
    for (let i = this.#indexFrom(from); i < this.#runs.length && this.#runs[i].from < end; i++) {
      if (withLatent || !this.#runs[i].latent) return Math.max(from, this.#runs[i].from);
    }
    return -1;
  }

  /** How many blocks from the bad block `from` on lie in its run, at most `limit`. */
  lengthAt(from: number, limit: number): number {
    const run = this.#runs[this.#indexFrom(from)];
    if (run === undefined || run.from > from) broken(`block ${from} is not bad`);
    return Math.min(limit, run.to - from);
  }

  /** The first run that ends after `from`, or null. */
  runFrom(from: number): BadRun | null {
    return this.#runs[this.#indexFrom(from)] ?? null;
  }

  /** Within a step (two records and one for each run in the range): marks all blocks of [from, to). */
  mark(run: BadRun): void {
    if (run.from >= run.to) broken(`bad run ${run.from}..${run.to}`);
    this.clear(run.from, run.to);
    let { from, to } = run;
    const at = this.#indexFrom(from);
    const right = this.#runs[at];
    if (right !== undefined && right.from === to && sameKind(right, run)) {
      to = right.to;
      this.#drop(at);
    }
    const left = this.#runs[at - 1];
    if (left !== undefined && left.to === from && sameKind(left, run)) {
      from = left.from;
      this.#drop(at - 1);
    }
    this.#add(this.#indexFrom(from), { from, to, latent: run.latent, since: run.since });
  }

  /** Within a step (two records and one for each run in the range): takes all marks off [from, to). */
  clear(from: number, to: number): void {
    let at = this.#indexFrom(from);
    for (let run = this.#runs[at]; run !== undefined && run.from < to; run = this.#runs[at]) {
      this.#drop(at);
      if (run.from < from) this.#add(at++, { ...run, to: from });
      if (run.to > to) {
        this.#add(at, { ...run, from: to });
        return;
      }
    }
  }

  /** clear() because the blocks are good again. That of a latent one is no news: nobody knew of it. */
  heal(from: number, to: number, by: HealedBy): void {
    const known = this.first(from, to - from, false) >= 0;
    this.clear(from, to);
    if (known) this.onHealed(from, to, by);
  }

  /** Index of the first run that ends after `from`. */
  #indexFrom(from: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#runs[middle].to <= from) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #add(at: number, run: BadRun): void {
    this.#value[0] = run.to - run.from;
    this.#value[1] = run.latent ? BAD_LATENT : 0;
    this.#value[2] = run.since % WORD;
    this.#value[3] = Math.floor(run.since / WORD);
    this.#tree.insert(run.from, 0, 0, 0, this.#value);
    this.#runs.splice(at, 0, run);
    this.#count += run.to - run.from;
  }

  #drop(at: number): void {
    const [run] = this.#runs.splice(at, 1);
    const existed = this.#tree.remove(run.from, 0, 0, 0);
    if (!existed) broken(`the badblock tree has no record at ${run.from}`);
    this.#count -= run.to - run.from;
  }
}

const sameKind = (a: BadRun, b: BadRun): boolean => a.latent === b.latent && a.since === b.since;
