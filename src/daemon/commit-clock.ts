/** How often the core's read is interrupted once a commit is due: one signal can fall just before a read. */
const WAKE_AGAIN_MS = 20;

/**
 * When the core commits: `interval` milliseconds after the first change that is not durable, whatever else it is asked
 * for and whoever else is busy. While it serves it looks at the clock after each request; while it waits for one, a
 * timer of its own thread interrupts its read.
 */
export class CommitClock {
  readonly #interval: number;
  readonly #now: () => number;
  readonly #setTimer: (firstMs: number, everyMs: number) => void;
  /** On the clock of `now`; infinite without changes. */
  #deadline = Number.POSITIVE_INFINITY;

  /**
   * @param now a monotonic clock, in milliseconds
   * @param setTimer interrupts the calling thread's blocking system calls after `firstMs`, and every `everyMs` from
   * then on, until it is called again; never with 0
   */
  constructor(interval: number, now: () => number, setTimer: (firstMs: number, everyMs: number) => void) {
    this.#interval = interval;
    this.#now = now;
    this.#setTimer = setTimer;
  }

  /** Whether it is time. Cheap. */
  get due(): boolean {
    return this.#deadline !== Number.POSITIVE_INFINITY && this.#now() >= this.#deadline;
  }

  /** To be told after each request whether there are changes that are not durable. Cheap. */
  changed(dirty: boolean): void {
    if (dirty === (this.#deadline !== Number.POSITIVE_INFINITY)) return;
    this.#deadline = dirty ? this.#now() + this.#interval : Number.POSITIVE_INFINITY;
    if (dirty) this.#setTimer(this.#interval, WAKE_AGAIN_MS);
    else this.#setTimer(0, 0);
  }

  /** To be told when the commit that was due has been made, or has failed. */
  done(): void {
    this.changed(false);
  }
}
