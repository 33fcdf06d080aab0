import type { PageGate } from '../vfs/closing.js';
import { SHARED } from './bridge.js';

/** See PageGate. The core has the interface, the main thread the rest. */
export class SharedGate implements PageGate {
  readonly #shared: Int32Array;

  constructor(shared: Int32Array) {
    this.#shared = shared;
  }

  reset(): void {
    Atomics.store(this.#shared, SHARED.gate, 0);
  }

  current(): number {
    return Atomics.load(this.#shared, SHARED.gate) >> 1;
  }

  again(index: number): boolean {
    const before = Atomics.compareExchange(this.#shared, SHARED.gate, index * 2, index * 2 + 1);
    return before >> 1 === index;
  }

  /** Main: drops page after page, each until nobody has asked for it meanwhile. */
  pass(pages: number, drop: (index: number) => void): void {
    for (let index = 0; index < pages; index++) {
      do {
        Atomics.store(this.#shared, SHARED.gate, index * 2);
        drop(index);
      } while (Atomics.compareExchange(this.#shared, SHARED.gate, index * 2, (index + 1) * 2) !== index * 2);
    }
  }
}
