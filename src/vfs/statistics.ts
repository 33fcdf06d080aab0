import { OPCODE_LIMIT, OPCODE_NAMES } from '../fuse/abi.js';

/**
 * One request in this many is timed: reading the clock twice costs 0.2 to 0.3 us, a few per cent of a
 * getattr. A power of two.
 */
const SAMPLE_EVERY = 16;

export interface OperationStatistics {
  count: number;
  errors: number;
  /** Requests whose time was taken. */
  sampled: number;
  /** Nanoseconds from dispatch to answer, over the sampled ones. */
  meanNanoseconds: number;
  maxNanoseconds: number;
}

/** Counters by opcode. Typed arrays: nothing is allocated for a request. */
export class Statistics {
  readonly #count = new Float64Array(OPCODE_LIMIT);
  readonly #errors = new Float64Array(OPCODE_LIMIT);
  readonly #sampled = new Float64Array(OPCODE_LIMIT);
  readonly #total = new Float64Array(OPCODE_LIMIT);
  readonly #max = new Float64Array(OPCODE_LIMIT);
  readonly #nanoseconds: () => number;
  #started = 0;
  #timed = false;

  /** @param nanoseconds a monotonic clock */
  constructor(nanoseconds: () => number) {
    this.#nanoseconds = nanoseconds;
  }

  begin(opcode: number): void {
    this.#timed = this.#count[opcode] % SAMPLE_EVERY === 0;
    this.#count[opcode] += 1;
    if (this.#timed) this.#started = this.#nanoseconds();
  }

  end(opcode: number, errno: number): void {
    if (errno !== 0) this.#errors[opcode] += 1;
    if (!this.#timed) return;
    const elapsed = this.#nanoseconds() - this.#started;
    this.#sampled[opcode] += 1;
    this.#total[opcode] += elapsed;
    if (elapsed > this.#max[opcode]) this.#max[opcode] = elapsed;
  }

  /** By the opcode's name; operations that never came are left out. */
  document(): Record<string, OperationStatistics> {
    const document: Record<string, OperationStatistics> = {};
    for (let opcode = 0; opcode < OPCODE_LIMIT; opcode++) {
      if (this.#count[opcode] === 0) continue;
      const sampled = this.#sampled[opcode];
      document[OPCODE_NAMES[opcode] || `opcode_${opcode}`] = {
        count: this.#count[opcode],
        errors: this.#errors[opcode],
        sampled,
        meanNanoseconds: sampled === 0 ? 0 : Math.round(this.#total[opcode] / sampled),
        maxNanoseconds: Math.round(this.#max[opcode]),
      };
    }
    return document;
  }
}
