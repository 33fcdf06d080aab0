import type { MessagePort } from 'node:worker_threads';
import { CORE_WAKE_INTERVAL_MS } from '../limits.js';
import { SHARED, type ToCore } from './bridge.js';

/**
 * Main's end of the way to the core. The core sits in a blocking read: a message is posted and counted, then
 * the core's thread is interrupted, again and again until it says that it has handled the message (the signal
 * may come just before the core goes back to its read).
 */
export class CoreLink {
  readonly #port: MessagePort;
  readonly #shared: Int32Array;
  readonly #wakeThread: (tid: number) => void;
  readonly #waiting: { message: number; done: () => void }[] = [];
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** @param wakeThread interrupts a blocking system call of a thread of this process */
  constructor(port: MessagePort, shared: Int32Array, wakeThread: (tid: number) => void) {
    this.#port = port;
    this.#shared = shared;
    this.#wakeThread = wakeThread;
  }

  /** Whether the core has handled all that was posted. */
  get idle(): boolean {
    return this.#waiting.length === 0;
  }

  /** Resolves when the core has handled the message. It never does once the core has ended. */
  post(message: ToCore): Promise<void> {
    return new Promise((done) => {
      if (this.#closed) return;
      this.#port.postMessage(message);
      const number = Atomics.add(this.#shared, SHARED.posted, 1) + 1;
      this.#waiting.push({ message: number | 0, done });
      if (this.#timer === null) this.#wake();
    });
  }

  /** The core has ended: nothing is sent any more. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #wake(): void {
    this.#settle();
    if (this.idle) {
      this.#timer = null;
      return;
    }
    const tid = Atomics.load(this.#shared, SHARED.coreTid);
    // 0: the core has not come to its first read, before which it looks for messages.
    if (tid !== 0) this.#wakeThread(tid);
    this.#timer = setTimeout(() => this.#wake(), CORE_WAKE_INTERVAL_MS);
  }

  /** The counters wrap around at 2^31: only their difference counts. */
  #settle(): void {
    const ack = Atomics.load(this.#shared, SHARED.ack);
    while (this.#waiting.length > 0 && ((ack - this.#waiting[0].message) | 0) >= 0) {
      this.#waiting.shift()?.done();
    }
  }
}
