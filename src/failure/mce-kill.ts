import type { Policy } from '../control/protocol.js';
import { FsError } from '../errors.js';
import { MCE_KILL_PROCESSES_MAX } from '../limits.js';
import type { ProcessTable } from './procfs.js';
import type { Victim } from './victims.js';

/** What a process may ask for itself; the values are PR_MCE_KILL's in prctl(2). */
export const MCE_KILL_POLICY = { late: 0, early: 1, default: 2 } as const;

interface Choice {
  policy: 'early' | 'late';
  startTicks: number;
}

/**
 * Which processes have asked to be told of failed memory early, or late, for themselves. The kernel's PR_MCE_KILL
 * cannot be read from outside, so they tell it here, too. A choice ends with its process; a child does not inherit it.
 */
export class MceKillChoices {
  readonly #table: ProcessTable;
  readonly #byPid = new Map<number, Choice>();

  constructor(table: ProcessTable) {
    this.#table = table;
  }

  /**
   * @param tid any thread of the process: the choice is that of all
   * @param choice one of MCE_KILL_POLICY; EINVAL for others
   */
  set(tid: number, choice: number): void {
    const policy = Object.entries(MCE_KILL_POLICY).find(([, value]) => value === choice)?.[0];
    if (policy === undefined) throw new FsError('EINVAL', 'mce-kill', `there is no choice ${choice}`);
    const thread = this.#table.inspect(tid);
    if (typeof thread === 'string')
      throw new FsError('ESRCH', 'mce-kill', `thread ${tid} cannot be looked at`);
    const process = thread.tgid === tid ? thread : this.#table.inspect(thread.tgid);
    if (typeof process === 'string')
      throw new FsError('ESRCH', 'mce-kill', `process ${thread.tgid} has ended`);
    this.#byPid.delete(process.tgid);
    if (policy !== 'early' && policy !== 'late') return;
    if (this.#byPid.size >= MCE_KILL_PROCESSES_MAX) this.#forgetEnded();
    if (this.#byPid.size >= MCE_KILL_PROCESSES_MAX) {
      throw new FsError('ENOSPC', 'mce-kill', `${this.#byPid.size} processes have asked already`);
    }
    this.#byPid.set(process.tgid, { policy, startTicks: process.startTicks });
  }

  /** What holds for a process under a policy. Only between early and late has it a say, as in the kernel. */
  apply(policy: Policy, victim: Pick<Victim, 'pid' | 'startTicks'>): Policy {
    if (policy !== 'early' && policy !== 'late') return policy;
    const choice = this.#byPid.get(victim.pid);
    return choice?.startTicks === victim.startTicks ? choice.policy : policy;
  }

  #forgetEnded(): void {
    for (const [pid, { startTicks }] of this.#byPid) {
      const state = this.#table.inspect(pid);
      const lives = state !== 'ended' && (state === 'unreadable' || state.startTicks === startTicks);
      if (!lives) this.#byPid.delete(pid);
    }
  }
}
