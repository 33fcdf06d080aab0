import { Worker } from 'node:worker_threads';

/**
 * A test that waits in a system call on a mount whose daemon hangs cannot be ended by a timer of its own
 * thread. This thread kills the daemon after `limitMs`: the calls then fail, the test fails, and the run goes
 * on.
 */
export class Watchdog {
  readonly #pid = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;

  constructor(limitMs: number) {
    const code = `
      const { workerData: { pid, limitMs } } = require('node:worker_threads');
      setTimeout(() => {
        const victim = Atomics.load(pid, 0);
        require('node:fs').writeSync(2, 'watchdog: a test used its mount for more than ' + limitMs +
          ' ms; killing the daemon ' + victim + '\\n');
        if (victim > 0) process.kill(victim, 'SIGKILL');
      }, limitMs);`;
    this.#worker = new Worker(code, { eval: true, workerData: { pid: this.#pid, limitMs } });
    this.#worker.unref();
  }

  /** The daemon to kill; 0 for none. */
  set daemon(pid: number) {
    Atomics.store(this.#pid, 0, pid);
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}
