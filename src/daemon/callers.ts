import { readFileSync } from 'node:fs';
import { INTERRUPT_CHECK_MS } from '../limits.js';

/** The word of signals pending for one thread; SIGKILL is signal 9. */
const SIGKILL_BIT = 1n << 8n;

/** /proc/TID/status (proc_pid_status(5)); null for a thread that is gone or in another pid namespace (0). */
function statusOf(tid: number): string | null {
  try {
    return readFileSync(`/proc/${tid}/status`, 'latin1');
  } catch {
    // As above: nothing is known of it.
    return null;
  }
}

/**
 * The supplementary groups of a thread: FUSE tells the daemon only one group. None for a thread that is gone: a
 * member's right is then not used.
 */
export function groupsOf(tid: number): readonly number[] {
  const line = /^Groups:([ \t\d]*)$/m.exec(statusOf(tid) ?? '')?.[1].trim() ?? '';
  return line === '' ? [] : line.split(/\s+/).map(Number);
}

/** No user or group (FUSE_INVALID_UIDGID, as -1 of chown(2)). */
const NO_ID = 0xffff_ffff;

/** The filesystem ids of a thread: what it makes and asks for is judged by them. Nobody's where it cannot be seen. */
export function idsOf(tid: number): { uid: number; gid: number } {
  const status = statusOf(tid) ?? '';
  // Real, effective, saved, filesystem.
  const last = (name: string): number =>
    Number(new RegExp(`^${name}:(?:\\s+\\d+){3}\\s+(\\d+)$`, 'm').exec(status)?.[1] ?? NO_ID);
  return { uid: last('Uid'), gid: last('Gid') };
}

/** Whether a fatal signal is pending in the thread: the kernel makes each one SIGKILL (complete_signal()). */
export function isKilled(tid: number): boolean {
  const pending = /^SigPnd:\s*([0-9a-f]+)$/m.exec(statusOf(tid) ?? '')?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & SIGKILL_BIT) !== 0n;
}

/**
 * The caller of the operation under way. A caller that was killed waits for its answer all the same, so a long
 * operation asks between its steps whether to go on. FUSE_INTERRUPT says less: the kernel sends it for every signal.
 */
export class CurrentCaller {
  /** 0 = nobody. */
  tid = 0;
  readonly #isKilled: (tid: number) => boolean;
  readonly #milliseconds: () => number;
  #next = 0;

  constructor(killed = isKilled, milliseconds = (): number => performance.now()) {
    this.#isKilled = killed;
    this.#milliseconds = milliseconds;
  }

  /** Looks every INTERRUPT_CHECK_MS at most. */
  isGone(): boolean {
    if (this.tid === 0) return false;
    const now = this.#milliseconds();
    if (now < this.#next) return false;
    this.#next = now + INTERRUPT_CHECK_MS;
    return this.#isKilled(this.tid);
  }
}
