import { PTRACE_STOP_WAIT_MS } from '../limits.js';
import { deliverSigbus, type NativeError } from '../native.js';
import type { Sigbus, SigbusOutcome, Signaller, SignalOutcome } from './deliver.js';

/** Signals to real processes: ptrace(2) through the addon, and kill(2). */
export class NativeSignaller implements Signaller {
  readonly #sleep = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

  sigbus({ pid, tid, startTicks, code, address, lsb }: Sigbus): SigbusOutcome {
    try {
      // Addresses above 2^53 are multiples of the page size, and so exact; the addon takes them as BigInt.
      const exact = Number.isSafeInteger(address) ? address : BigInt(address);
      const { result } = deliverSigbus(pid, tid, code, exact, lsb, PTRACE_STOP_WAIT_MS, startTicks);
      return result === 'no-stop' ? 'stuck' : result;
    } catch (error) {
      return outcomeOf(error);
    }
  }

  plain(pid: number, signal: 'SIGBUS' | 'SIGKILL'): SignalOutcome {
    try {
      process.kill(pid, signal);
      return 'delivered';
    } catch (error) {
      return outcomeOf(error);
    }
  }

  pause(milliseconds: number): void {
    Atomics.wait(this.#sleep, 0, 0, milliseconds);
  }
}

function outcomeOf(error: unknown): SignalOutcome {
  const { code } = error as Partial<NativeError>;
  if (code === undefined) throw error;
  return code === 'ESRCH' ? 'ended' : { errno: code };
}
