import fs from 'node:fs';
import { CompareError } from './programs.js';
import { Side } from './side.js';
import { isLost, judge } from './verdict.js';

/** A line of a script that both filesystems answered, and how. */
export interface Step {
  line: string;
  xfs: string;
  rmapfs: string;
  /** The id of the known difference (known.ts) when the answers are not the same. */
  known?: string;
}

/** The first line whose answers differ. */
export interface Mismatch extends Step {
  index: number;
  /** The daemon has ended: the answer says so. */
  daemonLost: boolean;
}

export interface ScriptResult {
  /** Every line up to and with the first that differs. */
  steps: Step[];
  mismatch: Mismatch | undefined;
}

/** Changes a line for rmapfs only. For tests of the comparison itself. */
export type Sabotage = (line: string) => string;

/** After such an answer the filesystem may be of no use any more. */
const BROKEN = /^-1 (ENOTCONN|ECONNABORTED|EIO|ESHUTDOWN)\b/;
const DAEMON_LOST = 'the daemon of rmapfs has ended';

/** Unmounts and mounts one side; its agent is in the directory of the script before and after. */
async function again(side: Side, name: string): Promise<void> {
  await side.run(['leave']);
  await side.remount();
  await side.run([`enter ${name}`]);
}

/** Two filesystems that are asked the same. */
export class Pair {
  readonly #base: string;
  readonly #xfs: Side;
  readonly #rmapfs: Side;
  readonly #sabotage: Sabotage;
  #made = false;
  #rounds = 0;
  #broken = false;

  private constructor(base: string, sabotage: Sabotage) {
    this.#base = base;
    [this.#xfs, this.#rmapfs] = Side.both(base);
    this.#sabotage = sabotage;
  }

  /** Both in a new directory of /dev/shm. */
  static async make(sabotage: Sabotage = (line) => line): Promise<Pair> {
    const pair = new Pair(fs.mkdtempSync(`/dev/shm/rmapfs-compare-${process.pid}-`), sabotage);
    try {
      await pair.#make();
      return pair;
    } catch (error) {
      await pair.remove();
      throw error;
    }
  }

  async #make(): Promise<void> {
    this.#made = true;
    await Promise.all([this.#xfs.make(), this.#rmapfs.make()]);
    this.#broken = false;
  }

  /** New filesystems, as if nothing had been done. */
  async renew(): Promise<void> {
    await Promise.all([this.#xfs.remove(), this.#rmapfs.remove()]);
    await this.#make();
  }

  /**
   * Runs a script in an empty directory of each filesystem, up to the first difference. The line "remount" unmounts
   * and mounts both.
   */
  async run(script: readonly string[]): Promise<ScriptResult> {
    if (this.#broken) await this.renew();
    const name = `round-${++this.#rounds}`;
    const steps: Step[] = [];
    try {
      const begun = await this.#ask([`begin ${name}`], [], 0);
      if (begun !== undefined) return { steps: [begun], mismatch: begun };
      let at = 0;
      while (at < script.length) {
        const end = script.indexOf('remount', at);
        const part = script.slice(at, end === -1 ? script.length : end);
        const mismatch = await this.#ask(part, steps, at);
        if (mismatch !== undefined) return { steps, mismatch: await this.#clear(name, mismatch) };
        at += part.length + 1;
        if (end === -1) continue;
        const step = await this.#remount(name);
        steps.push(step);
        if (step.rmapfs !== step.xfs) return { steps, mismatch: { ...step, index: end, daemonLost: false } };
      }
      const mismatch = await this.#ask([`end ${name}`], steps, script.length);
      if (steps.pop()?.xfs !== '0 0') this.#broken = true;
      if (mismatch !== undefined) this.#broken = true;
      return { steps: mismatch === undefined ? steps : [...steps, mismatch], mismatch };
    } catch (error) {
      this.#broken = true;
      throw error;
    }
  }

  /** Asks both, adds the answers to `steps`, and returns the first that differ. */
  async #ask(lines: readonly string[], steps: Step[], from: number): Promise<Mismatch | undefined> {
    const rmapfsLines = lines.map(this.#sabotage);
    const [ours, theirs] = await Promise.all([
      this.#rmapfs.run(rmapfsLines).catch((error: unknown) => this.#lost(error)),
      this.#xfs.run(lines),
    ]);
    for (const [i, line] of lines.entries()) {
      const step: Step = { line, xfs: theirs[i], rmapfs: ours[i] ?? 'no answer' };
      const verdict = judge(step, steps);
      if (verdict !== 'same' && verdict !== 'differs') step.known = verdict.known;
      steps.push(step);
      if (verdict !== 'differs') continue;
      if (BROKEN.test(step.rmapfs)) this.#broken = true;
      const daemonLost = isLost(step.rmapfs);
      if (daemonLost) step.rmapfs = `${DAEMON_LOST}: ${step.rmapfs}`;
      return { ...step, index: from + i, daemonLost };
    }
    return undefined;
  }

  /** An agent that does not answer is a difference like any other; the filesystems are made anew afterwards. */
  #lost(error: unknown): string[] {
    if (!(error instanceof CompareError)) throw error;
    this.#broken = true;
    return [error.message];
  }

  /** A daemon that cannot be unmounted or mounted again is a difference too. */
  async #remount(name: string): Promise<Step> {
    await again(this.#xfs, name);
    const rmapfs = await again(this.#rmapfs, name).then(
      () => '0 0',
      (error: unknown) => this.#lost(error)[0],
    );
    return { line: 'remount', xfs: '0 0', rmapfs };
  }

  /** After a difference the directory goes as well; where that cannot be, both filesystems are made anew. */
  async #clear(name: string, mismatch: Mismatch): Promise<Mismatch> {
    if (!this.#broken) {
      const ended = await this.#ask([`end ${name}`], [], 0);
      if (ended !== undefined) this.#broken = true;
    }
    return mismatch;
  }

  /** Takes everything away: agents, mounts, the daemon, files. */
  async remove(): Promise<void> {
    if (this.#made) await Promise.all([this.#xfs.remove(), this.#rmapfs.remove()]);
    this.#made = false;
    fs.rmSync(this.#base, { recursive: true, force: true });
  }
}
