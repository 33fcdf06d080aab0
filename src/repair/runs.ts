import { type Run, RunCounter } from '../engine/runs.js';

/** Runs of blocks in physical order that can be searched. */
export class RunIndex {
  readonly runs: readonly Run[];

  /** The runs in order, none overlapping another. */
  constructor(runs: Iterable<Run>) {
    this.runs = [...runs];
  }

  /** From extents in any order, which may overlap. */
  static of(extents: Iterable<{ readonly start: number; readonly length: number }>): RunIndex {
    const list = [...extents];
    const counter = new RunCounter();
    for (const { start, length } of list) counter.add(start, length);
    counter.finish();
    return new RunIndex(counter);
  }

  /** Most owners that a block of [start, end) has. */
  most(start: number, end: number): number {
    let most = 0;
    for (const run of this.within(start, end)) most = Math.max(most, run.count);
    return most;
  }

  /** The runs that meet [start, end). */
  *within(start: number, end: number): Generator<Run> {
    let low = 0;
    let high = this.runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.runs[middle].end <= start) low = middle + 1;
      else high = middle;
    }
    for (; low < this.runs.length && this.runs[low].start < end; low++) yield this.runs[low];
  }

  /** What lies between the runs, within [from, to). */
  *gaps(from: number, to: number): Generator<{ start: number; end: number }> {
    let at = from;
    for (const run of this.within(from, to)) {
      if (run.start > at) yield { start: at, end: run.start };
      at = Math.max(at, run.end);
    }
    if (at < to) yield { start: at, end: to };
  }
}
