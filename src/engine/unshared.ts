import { UNSHARED_RUNS_MAX } from '../limits.js';
import type { Transaction } from './context.js';

/**
 * Blocks that lost all owners but one in the running transaction. After a crash the last commit is back, and
 * in it such a block is still shared: were it overwritten in place before the next commit, the owner that
 * had let go of it would come back with somebody else's data. Who writes in place settles first.
 *
 * A heap cache that is valid for one transaction. When it is full it says yes to every question.
 */
export class UnsharedRuns {
  readonly #trx: Transaction;
  #txid = -1;
  #count = 0;
  #full = false;
  readonly #from = new Float64Array(UNSHARED_RUNS_MAX);
  readonly #to = new Float64Array(UNSHARED_RUNS_MAX);

  constructor(trx: Transaction) {
    this.#trx = trx;
  }

  /** Notes runs as (start, length) pairs. */
  note(pairs: readonly number[]): void {
    this.#renew();
    for (let i = 0; i < pairs.length; i += 2) this.#add(pairs[i], pairs[i] + pairs[i + 1]);
  }

  /** Before a write in place, outside of any step: commits when the run may be shared in the last commit. */
  settle(start: number, length: number): void {
    this.#renew();
    if (this.#count === 0 || !this.#meets(start, start + length)) return;
    this.#trx.commit();
    this.#clear();
  }

  #add(from: number, to: number): void {
    const last = this.#count - 1;
    if (last >= 0 && this.#to[last] === from) {
      this.#to[last] = to;
    } else if (this.#count < UNSHARED_RUNS_MAX) {
      this.#from[this.#count] = from;
      this.#to[this.#count++] = to;
    } else {
      this.#full = true;
    }
  }

  #meets(from: number, to: number): boolean {
    for (let i = 0; i < this.#count; i++) {
      if (this.#from[i] < to && this.#to[i] > from) return true;
    }
    return this.#full;
  }

  #renew(): void {
    if (this.#txid !== this.#trx.txid) this.#clear();
  }

  #clear(): void {
    this.#txid = this.#trx.txid;
    this.#count = 0;
    this.#full = false;
  }
}
