import createDebug from 'debug';
import type { Policy } from '../control/protocol.js';
import type { VictimDocument } from '../control/schema.js';
import { SIGBUS_HANDLER_WAIT_MS } from '../limits.js';
import { BLOCK_SHIFT } from '../types.js';
import type { Look, ProcessState, ProcessTable } from './procfs.js';
import type { Victim } from './victims.js';

const debug = createDebug('rmapfs:failure:deliver');

/** How a signal went; with an errno, nothing was sent. */
export type SignalOutcome = 'delivered' | 'ended' | { errno: string };

/**
 * How a SIGBUS with an address went. "blocked" and "stuck": a signal without an address waits in the process
 * until it unblocks SIGBUS, or comes back from a wait in the kernel that cannot be interrupted.
 */
export type SigbusOutcome = SignalOutcome | 'awaited' | 'blocked' | 'stuck';

/** What a SIGBUS of a memory failure says, and whom it is for. */
export interface Sigbus {
  pid: number;
  tid: number;
  /** See ProcessState.startTicks. */
  startTicks: number;
  /** si_code. */
  code: number;
  /** si_addr. */
  address: number;
  /** si_addr_lsb. */
  lsb: number;
}

/** Sends signals to other processes. Passed in, so that a test can record them. */
export interface Signaller {
  /** A SIGBUS as the kernel sends it, to one thread. */
  sigbus(sigbus: Sigbus): SigbusOutcome;
  /** A signal without an address, as kill(2) sends it. */
  plain(pid: number, signal: 'SIGBUS' | 'SIGKILL'): SignalOutcome;
  /** Does nothing for a while. */
  pause(milliseconds: number): void;
}

/** si_code values of SIGBUS, from <asm-generic/siginfo.h>: action optional, the page was not accessed. */
const BUS_MCEERR_AO = 5;

/** What was done for one victim; the rest of its row in the report is the victim itself. */
type Delivery = Pick<VictimDocument, 'signal' | 'code' | 'means' | 'result'>;

const NOT_SENT = { signal: 'none', code: 'none', means: 'none' } as const;

/**
 * Tells every victim, in order, as its policy says. The counterpart of the kernel's kill_procs():
 * - early: SIGBUS, BUS_MCEERR_AO (a kernel with vm.memory_failure_early_kill = 1)
 * - late:  nobody; the next touch of the page meets the error (the same with early_kill = 0)
 * - kill:  SIGKILL to each process, once
 * - notify: nobody; the report is all
 */
export function killProcs(
  victims: readonly Victim[],
  policyOf: (victim: Victim) => Policy,
  table: ProcessTable,
  signaller: Signaller,
): VictimDocument[] {
  const killer = new Killer(table, signaller);
  return victims.map((victim) => {
    const delivery = killer.tell(victim, policyOf(victim));
    debug('pid %d page %d of inode %d: %o', victim.pid, victim.fileOffset, victim.ino, delivery);
    return toDocument(victim, delivery);
  });
}

class Killer {
  readonly #table: ProcessTable;
  readonly #signaller: Signaller;
  readonly #killed = new Set<number>();
  /** Processes that have been told of a page, and may be in their handler now, where SIGBUS is blocked. */
  readonly #told = new Set<number>();

  constructor(table: ProcessTable, signaller: Signaller) {
    this.#table = table;
    this.#signaller = signaller;
  }

  tell(victim: Victim, policy: Policy): Delivery {
    if (policy === 'late' || policy === 'notify') return { ...NOT_SENT, result: `policy ${policy}` };
    const state = this.#killed.has(victim.pid) ? 'ended' : this.#inspect(victim);
    if (state === 'ended') return { ...NOT_SENT, result: 'ended' };
    if (policy === 'kill') return this.#sigkill(victim);
    if (state !== 'unreadable' && state.sigbusIgnored) {
      return { ...NOT_SENT, result: 'ignored: the process ignores SIGBUS' };
    }
    const merges = state !== 'unreadable' && state.sigbusBlocked && state.sigbusPending;
    return merges ? { ...NOT_SENT, result: 'merged: a SIGBUS is pending already' } : this.#sigbus(victim);
  }

  /**
   * The process as it is now. One that was told a moment ago is given time to return from its handler, so
   * that it gets the address of its next page too: a second signal would wait there without one.
   */
  #inspect(victim: Victim): ProcessState | Exclude<Look, 'ok'> {
    for (let waited = 0; ; waited++) {
      const state = this.#table.inspect(victim.pid);
      if (typeof state === 'string') return state;
      // The pid may belong to another process by now: only the start time tells.
      if (state.startTicks !== victim.startTicks) return 'ended';
      if (!state.sigbusBlocked || !this.#told.has(victim.pid)) return state;
      if (waited === SIGBUS_HANDLER_WAIT_MS) {
        this.#told.delete(victim.pid);
        return state;
      }
      this.#signaller.pause(1);
    }
  }

  /** The means in their order: siginfo by ptrace, plain SIGBUS, SIGKILL. */
  #sigbus(victim: Victim): Delivery {
    const { pid, tid, startTicks, address } = victim;
    const sigbus = { pid, tid, startTicks, code: BUS_MCEERR_AO, address, lsb: BLOCK_SHIFT };
    const outcome = this.#signaller.sigbus(sigbus);
    if (outcome === 'ended') return { ...NOT_SENT, result: 'ended' };
    if (outcome === 'delivered') {
      this.#told.add(pid);
      return { signal: 'SIGBUS', code: 'BUS_MCEERR_AO', means: 'ptrace', result: outcome };
    }
    const pending = { signal: 'SIGBUS', code: 'SI_TKILL', means: 'kill' } as const;
    if (outcome === 'awaited') return { ...pending, result: 'delivered' };
    if (outcome === 'blocked') return { ...pending, result: 'pending: the process blocks SIGBUS' };
    if (outcome === 'stuck') return { ...pending, result: 'pending: the process waits in the kernel' };
    debug('pid %d: no siginfo by ptrace (%s)', pid, outcome.errno);
    const plain = this.#signaller.plain(pid, 'SIGBUS');
    if (typeof plain !== 'string') return this.#sigkill(victim);
    if (plain === 'ended') return { ...NOT_SENT, result: plain };
    return { signal: 'SIGBUS', code: 'SI_USER', means: 'kill', result: plain };
  }

  #sigkill(victim: Victim): Delivery {
    const outcome = this.#signaller.plain(victim.pid, 'SIGKILL');
    if (outcome === 'ended') return { ...NOT_SENT, result: outcome };
    if (outcome !== 'delivered') return { ...NOT_SENT, result: `failed: ${outcome.errno}` };
    this.#killed.add(victim.pid);
    return { signal: 'SIGKILL', code: 'SI_USER', means: 'sigkill', result: outcome };
  }
}

function toDocument(victim: Victim, delivery: Delivery): VictimDocument {
  return {
    pid: victim.pid,
    tid: victim.tid,
    comm: victim.comm,
    ino: victim.ino,
    fileOffset: victim.fileOffset,
    address: `0x${victim.address.toString(16)}`,
    lsb: BLOCK_SHIFT,
    ...delivery,
  };
}
