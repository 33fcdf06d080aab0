import { broken } from '../errors.js';
import { REFCOUNT_MAX } from '../limits.js';
import type { Cursor, Tree } from './tree.js';

/** A run of blocks with one and the same number of owners. */
export interface CountRun {
  /** Owners of each block: 1 where the tree has no record. */
  count: number;
  length: number;
}

/** How many blocks are shared. */
export interface SharedBlocks {
  /** Physical blocks with two owners and more. */
  shared: number;
  /** The sum of (owners - 1) over them. */
  saved: number;
}

export const newCountRun = (): CountRun => ({ count: 1, length: 0 });

/**
 * Counts of owners: (physical) -> (length, count), only where the count is 2 or more. Runs are maximal: two
 * records that touch have different counts. A block without a record has one owner, or none: the bmap knows.
 */
export class Refcount {
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  readonly #value = new Uint32Array(2);
  readonly #run = newCountRun();
  #totals: SharedBlocks | null = null;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#cursor = tree.cursor();
  }

  /** The run of equal count that starts at `at`, cut at `limit` blocks. */
  runAt(at: number, limit: number, out: CountRun): CountRun {
    if (limit <= 0) broken(`run of ${limit} blocks at ${at}`);
    out.count = 1;
    out.length = limit;
    const cursor = this.#cursor;
    let more: boolean;
    if (cursor.seekLE(at, 0, 0, 0)) {
      const rest = cursor.key(0) + cursor.value(0) - at;
      if (rest > 0) {
        out.count = cursor.value(1);
        out.length = Math.min(limit, rest);
        return out;
      }
      more = cursor.next();
    } else {
      more = cursor.seek(at, 0, 0, 0);
    }
    if (more) out.length = Math.min(limit, cursor.key(0) - at);
    return out;
  }

  /** The run of equal count that ends before `end`, cut at `limit` blocks. */
  runBefore(end: number, limit: number, out: CountRun): CountRun {
    if (limit <= 0 || limit > end) broken(`run of ${limit} blocks before ${end}`);
    out.count = 1;
    out.length = limit;
    const cursor = this.#cursor;
    if (!cursor.seekLE(end - 1, 0, 0, 0)) return out;
    const recordEnd = cursor.key(0) + cursor.value(0);
    if (recordEnd >= end) {
      out.count = cursor.value(1);
      out.length = Math.min(limit, end - cursor.key(0));
    } else {
      out.length = Math.min(limit, end - recordEnd);
    }
    return out;
  }

  /**
   * Physical blocks with two owners and more, and the sum of (owners - 1) over them. O(records) the first time; then
   * every change keeps the sums.
   */
  totals(): Readonly<SharedBlocks> {
    if (this.#totals !== null) return this.#totals;
    const totals = { shared: 0, saved: 0 };
    const cursor = this.#cursor;
    for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
      totals.shared += cursor.value(0);
      totals.saved += cursor.value(0) * (cursor.value(1) - 1);
    }
    this.#totals = totals;
    return totals;
  }

  /** One more owner for each block. The caller has made sure that no count goes above REFCOUNT_MAX. */
  increase(start: number, length: number): void {
    for (let at = start; at < start + length; ) {
      const { count, length: run } = this.runAt(at, start + length - at, this.#run);
      if (count >= REFCOUNT_MAX) broken(`block ${at} has too many owners`);
      this.#replace(at, run, count, count + 1);
      at += run;
    }
  }

  /**
   * One owner fewer for each block. Appends (start, length) pairs to `freed` for the runs that have no owner
   * left and to `unshared` for those that have one left.
   */
  decrease(start: number, length: number, freed: number[], unshared: number[]): void {
    for (let at = start; at < start + length; ) {
      const { count, length: run } = this.runAt(at, start + length - at, this.#run);
      if (count === 1) freed.push(at, run);
      else this.#replace(at, run, count, count - 1);
      if (count === 2) unshared.push(at, run);
      at += run;
    }
  }

  /** Gives the run, which has `old` owners all along, `count` owners (at least 1). */
  #replace(start: number, length: number, old: number, count: number): void {
    if (old >= 2) this.#cut(start, length);
    if (count >= 2) this.#insert(start, length, count);
    if (this.#totals === null) return;
    this.#totals.shared += length * (Number(count >= 2) - Number(old >= 2));
    this.#totals.saved += length * (count - old);
  }

  #cut(start: number, length: number): void {
    const cursor = this.#cursor;
    if (!cursor.seekLE(start, 0, 0, 0)) broken(`refcount has no record at block ${start}`);
    const from = cursor.key(0);
    const end = from + cursor.value(0);
    const count = cursor.value(1);
    if (end < start + length) broken(`refcount run ${start}+${length} is not within one record`);
    if (from < start) cursor.set(0, start - from);
    else this.#tree.remove(start, 0, 0, 0);
    if (end > start + length) {
      this.#tree.insert(start + length, 0, 0, 0, this.#fill(end - start - length, count));
    }
  }

  #insert(start: number, length: number, count: number): void {
    const cursor = this.#cursor;
    let from = start;
    let end = start + length;
    if (cursor.seek(end, 0, 0, 0) && cursor.key(0) === end && cursor.value(1) === count) {
      const right = end;
      end += cursor.value(0);
      this.#tree.remove(right, 0, 0, 0);
    }
    if (cursor.seekLE(start, 0, 0, 0)) {
      const leftEnd = cursor.key(0) + cursor.value(0);
      if (leftEnd > start) broken(`refcount record at block ${start} exists already`);
      if (leftEnd === start && cursor.value(1) === count) from = cursor.key(0);
    }
    const value = this.#fill(end - from, count);
    if (from < start) this.#tree.update(from, 0, 0, 0, value);
    else this.#tree.insert(start, 0, 0, 0, value);
  }

  #fill(length: number, count: number): Uint32Array {
    this.#value[0] = length;
    this.#value[1] = count;
    return this.#value;
  }
}
