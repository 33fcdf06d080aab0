import type { Clock, Time } from '../types.js';

/** The last fraction of a millisecond that is shown. */
const FRACTION_MAX = 0.999_999;

/**
 * CLOCK_REALTIME finer than a millisecond. Date.now() gives the millisecond, a monotonic clock where in it:
 * its offset is moved whenever it would lead out of that millisecond. So a step of the clock (settimeofday, NTP)
 * is followed at once, a drift of the two clocks never adds up, the time is less than a millisecond off, and it
 * goes backwards only when the clock is set back. Measured: 0.25 us more than Date.now() alone for each time set.
 */
export class FineClock implements Clock {
  readonly #wallMs: () => number;
  readonly #monotonicMs: () => number;
  /** What the monotonic clock showed at the start of the millisecond #base, as far as known. */
  #offset = 0;
  #base = 0;
  /** The last answer: rounding must not lead behind it. */
  #lastMs = 0;
  #lastFraction = 0;

  /** @param wallMs whole milliseconds since 1970 @param monotonicMs with a fraction, from any start */
  constructor(wallMs: () => number, monotonicMs: () => number) {
    this.#wallMs = wallMs;
    this.#monotonicMs = monotonicMs;
    this.#base = wallMs();
    this.#offset = monotonicMs();
  }

  seconds(): number {
    return Math.floor(this.#wallMs() / 1000);
  }

  now(into: Time): void {
    const ms = this.#wallMs();
    let fraction = this.#monotonicMs() - this.#offset - (ms - this.#base);
    if (fraction < 0) {
      this.#offset += fraction;
      fraction = 0;
    } else if (fraction > FRACTION_MAX) {
      this.#offset += fraction - FRACTION_MAX;
      fraction = FRACTION_MAX;
    }
    if (ms === this.#lastMs && fraction < this.#lastFraction) fraction = this.#lastFraction;
    this.#lastMs = ms;
    this.#lastFraction = fraction;
    into.sec = Math.floor(ms / 1000);
    into.nsec = (ms - into.sec * 1000) * 1_000_000 + Math.floor(fraction * 1_000_000);
  }
}

/** CLOCK_REALTIME. */
export const systemClock: Clock = new FineClock(Date.now, () => performance.now());
