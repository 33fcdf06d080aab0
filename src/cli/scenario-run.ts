import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient } from '../control/client.js';
import { POISON_FLAG, POLICIES } from '../control/protocol.js';
import { SCENARIO_POLL_MS, SCENARIO_WAIT_MS } from '../limits.js';
import { requireWholeBlocks } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { failure } from './errors.js';
import { type FaultChoice, runFaults } from './faults.js';
import { onMount } from './on-mount.js';
import { withOwner } from './poison-choice.js';
import { sample } from './random.js';
import type { Scenario, ScenarioStep } from './scenario-schema.js';

type StepOf<Name extends ScenarioStep['do']> = Extract<ScenarioStep, { do: Name }>;
type ChoiceStep = StepOf<'poison-random' | 'poison-every-nth' | 'poison-owner'>;

/** A step as it was done, with all that it needs to be done again. */
export interface StepDone {
  step: number;
  do: ScenarioStep['do'];
  [field: string]: unknown;
}

/** Runs the steps of a scenario on a mount, one after the other. The first that fails ends it. */
export class ScenarioRun {
  readonly #env: CliEnvironment;
  readonly #client: ControlClient;
  readonly #dir: string;
  /** Seeds of the poison-random steps that have none, by step. */
  readonly #seeds: readonly number[];
  /** Of the events that were read. */
  #cursor: number;
  readonly #events = new Map<string, number>();

  constructor(env: CliEnvironment, client: ControlClient, dir: string, scenario: Scenario, seed: number) {
    this.#env = env;
    this.#client = client;
    this.#dir = dir;
    this.#seeds = sample(scenario.steps.length, 2 ** 32, seed);
    this.#cursor = newestEvent(client);
  }

  /** @param index of the step, from 0 on */
  async run(step: ScenarioStep, index: number): Promise<StepDone> {
    const asked = `do step ${index + 1} (${step.do})`;
    const done = await this.#do(step, index, asked);
    return { step: index + 1, ...step, ...done };
  }

  async #do(step: ScenarioStep, index: number, asked: string): Promise<object> {
    switch (step.do) {
      case 'poison':
        return await this.#onRange(step, asked, (client, flags) => {
          const latent = step.latent ? POISON_FLAG.latent : 0;
          const policy = POLICIES.indexOf(step.policy ?? 'default');
          const { offset, length } = step;
          return { report: client.poison({ offset, length, flags: flags | latent, policy }) };
        });
      case 'unpoison':
        return await this.#onRange(step, asked, (client, flags) => {
          const { offset, length } = step;
          return { cleared: client.unpoison({ offset, length, flags }) };
        });
      case 'poison-random':
      case 'poison-every-nth':
      case 'poison-owner':
        return await this.#choose(step, this.#seeds[index], asked);
      case 'wait':
        await sleep(step.ms);
        return {};
      case 'wait-file':
        return await this.#until(step, asked, () => existsSync(this.#path(step.path)));
      case 'wait-event':
        return await this.#until(step, asked, () => this.#sawEvents(step));
      case 'wait-process':
        return await this.#waitProcess(step, asked);
    }
  }

  /** A range of the region, or of a file. */
  async #onRange<T>(
    step: StepOf<'poison' | 'unpoison'>,
    asked: string,
    use: (client: ControlClient, flags: number) => T,
  ): Promise<T> {
    requireWholeBlocks(asked, step.offset, step.length);
    if (step.file === undefined) return use(this.#client, 0);
    const task = { path: this.#path(step.file), asked };
    return await onMount(this.#env, task, (client) => use(client, POISON_FLAG.file));
  }

  async #choose(step: ChoiceStep, ownSeed: number, asked: string): Promise<object> {
    const owner = step.owner === undefined ? undefined : this.#path(step.owner);
    const seed = step.do === 'poison-random' ? (step.seed ?? ownSeed) : undefined;
    const choice: FaultChoice = {
      ...(step.do === 'poison-random' && { random: { count: step.count, seed: seed ?? ownSeed } }),
      ...(step.do === 'poison-every-nth' && { everyNth: step.n }),
    };
    const manner = {
      ...(step.policy !== undefined && { policy: step.policy }),
      ...(step.latent !== undefined && { latent: step.latent }),
    };
    const run = await withOwner(this.#env, owner, asked, (file) =>
      runFaults(this.#client, file, choice, manner, asked),
    );
    return seed === undefined ? run : { seed, ...run };
  }

  #sawEvents({ type, count = 1 }: StepOf<'wait-event'>): boolean {
    const page = this.#client.events(this.#cursor, SCENARIO_POLL_MS);
    this.#cursor = page.cursor;
    for (const event of page.events) {
      this.#events.set(event.type, (this.#events.get(event.type) ?? 0) + event.count);
    }
    return (this.#events.get(type) ?? 0) >= count;
  }

  async #waitProcess(step: StepOf<'wait-process'>, asked: string): Promise<object> {
    const { pid, pidFile } = step;
    if ((pid === undefined) === (pidFile === undefined)) {
      throw failure(asked, 'it has not one of pid and pidFile; give one of them');
    }
    const waited = pid ?? this.#pidIn(this.#path(pidFile ?? ''), asked);
    await this.#until(step, asked, () => hasEnded(waited));
    return { pid: waited };
  }

  #pidIn(file: string, asked: string): number {
    const text = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
    if (/^[1-9][0-9]*$/.test(text)) return Number(text);
    throw failure(asked, `${file} holds no pid; wait for the file before this step`);
  }

  async #until(step: { timeoutMs?: number | undefined }, asked: string, probe: () => boolean) {
    const limitMs = step.timeoutMs ?? SCENARIO_WAIT_MS;
    const end = performance.now() + limitMs;
    while (!probe()) {
      if (performance.now() > end) {
        throw failure(asked, `it did not happen within ${limitMs} ms; give it a larger timeoutMs`);
      }
      await sleep(SCENARIO_POLL_MS);
    }
    return {};
  }

  #path(path: string): string {
    return resolve(this.#dir, path);
  }
}

/** The cursor behind everything so far. */
function newestEvent(client: ControlClient): number {
  for (let cursor = 0; ; ) {
    const page = client.events(cursor, 0);
    if (page.cursor === cursor) return cursor;
    cursor = page.cursor;
  }
}

/** A process that is a zombie has ended: only its parent has not looked yet. */
function hasEnded(pid: number): boolean {
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return true;
    throw error;
  }
}
