/** Blocks [start, end) with `count` owners, at least 1. */
export interface Run {
  start: number;
  end: number;
  count: number;
}

/**
 * Counts the owners of blocks: takes extents in any order and gives the maximal runs of blocks with equal counts
 * in physical order. Memory: at most four words for each extent; time O(n log n).
 */
export class RunCounter implements Iterable<Run> {
  #starts: Uint32Array = new Uint32Array(1024);
  /** Last blocks, not ends: those can be 2^32. */
  #lasts: Uint32Array = new Uint32Array(1024);
  #length = 0;

  add(start: number, length: number): void {
    if (this.#length === this.#starts.length) {
      this.#starts = grown(this.#starts);
      this.#lasts = grown(this.#lasts);
    }
    this.#starts[this.#length] = start;
    this.#lasts[this.#length++] = start + length - 1;
  }

  /** After the last add(), before the first iteration. */
  finish(): void {
    this.#starts = this.#starts.subarray(0, this.#length).sort();
    this.#lasts = this.#lasts.subarray(0, this.#length).sort();
  }

  *[Symbol.iterator](): Generator<Run> {
    const [starts, lasts] = [this.#starts, this.#lasts];
    const total = this.#length;
    let run: Run | null = null;
    let count = 0;
    let at = 0;
    for (let s = 0, e = 0; e < total; ) {
      const end = lasts[e] + 1;
      const next = s < total ? Math.min(starts[s], end) : end;
      if (count > 0 && next > at) {
        if (run !== null && run.end === at && run.count === count) run.end = next;
        else {
          if (run !== null) yield run;
          run = { start: at, end: next, count };
        }
      }
      at = next;
      for (; s < total && starts[s] === at; s++) count++;
      for (; e < total && lasts[e] + 1 === at; e++) count--;
    }
    if (run !== null) yield run;
  }
}

function grown(words: Uint32Array): Uint32Array {
  const more = new Uint32Array(words.length * 2);
  more.set(words);
  return more;
}
