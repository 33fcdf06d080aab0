import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ControlClient } from '../control/client.js';
import type { Policy } from '../control/protocol.js';
import type { CliEnvironment } from './environment.js';
import { type FaultChoice, type FaultRun, runFaults } from './faults.js';
import { onMount } from './on-mount.js';
import { counted, formatTable, printJson } from './output.js';
import { newSeed, parseSeed } from './random.js';

/** The options of `poison` that choose blocks instead of naming a range. */
export interface ChoiceOptions {
  random?: number;
  seed?: number;
  everyNth?: number;
  owner?: string;
  file?: string;
  offset?: number;
  length?: number;
  policy?: Policy;
  latent?: boolean;
  json?: boolean;
}

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a number from 1 on.');
  return Number(text);
}

export const randomOption = (): Option =>
  new Option('--random <n>', 'so many blocks, chosen at random').argParser(parseCount);
export const seedOption = (): Option =>
  new Option('--seed <n>', 'the seed of --random (default: a new one, which is printed)').argParser(
    parseSeed,
  );
export const everyNthOption = (): Option =>
  new Option('--every-nth <n>', 'every nth block').argParser(parseCount);
export const ownerOption = (): Option =>
  new Option('--owner <path>', 'blocks of this file of the mount; alone: all of them');

export const isChoice = (options: ChoiceOptions): boolean =>
  options.random !== undefined ||
  options.seed !== undefined ||
  options.everyNth !== undefined ||
  options.owner !== undefined;

/** `rmapfs poison` with --random, --every-nth or --owner. */
export async function poisonByChoice(
  env: CliEnvironment,
  dir: string | undefined,
  options: ChoiceOptions,
  command: Command,
): Promise<void> {
  const { random, everyNth, owner } = options;
  const path = dir ?? owner;
  const wrong = wrongCombination(options, path);
  if (wrong !== null || path === undefined) {
    return command.error(`error: ${wrong}`, { code: 'rmapfs.target' });
  }
  const seed = options.seed ?? newSeed();
  const choice: FaultChoice = {
    ...(owner !== undefined && { owner }),
    ...(random !== undefined && { random: { count: random, seed } }),
    ...(everyNth !== undefined && { everyNth }),
  };
  const asked = `poison ${choiceText(choice)} of ${owner ?? path}`;
  const run = await onMount(env, { path, asked }, (client) =>
    withOwner(env, owner, asked, (file) => runFaults(client, file, choice, options, asked)),
  );
  const what = { ...(random !== undefined && { random, seed }), ...(everyNth && { everyNth }) };
  if (options.json) await printJson(env, { ...what, ...(owner !== undefined && { owner }), ...run });
  else await env.write(runText(choice, run));
}

function wrongCombination(options: ChoiceOptions, path: string | undefined): string | null {
  const { random, everyNth, seed, file, offset, length } = options;
  if (path === undefined) return 'name a DIR, or a file with --owner';
  if (file !== undefined || offset !== undefined || length !== undefined) {
    return '--file, --offset and --length name a range; they do not go with --random, --every-nth and --owner';
  }
  if (random !== undefined && everyNth !== undefined) return 'give one of --random and --every-nth';
  if (seed !== undefined && random === undefined) return '--seed goes with --random';
  return null;
}

/** Opens the file that blocks are chosen from, if there is one. */
export async function withOwner<T>(
  env: CliEnvironment,
  owner: string | undefined,
  asked: string,
  use: (file: ControlClient | null) => T,
): Promise<T> {
  if (owner === undefined) return use(null);
  const notRegular = { EISDIR: `${owner} is a directory; name a regular file` };
  const findings = () => ({ ...notRegular, EINVAL: notRegular.EISDIR });
  return await onMount(env, { path: owner, asked, findings }, use);
}

/** "3 blocks at random (seed 7)", "every block" ... */
function choiceText({ random, everyNth }: FaultChoice): string {
  if (random !== undefined) return `${counted(random.count, 'block')} at random (seed ${random.seed})`;
  return everyNth === undefined ? 'every block' : `every block whose number is a multiple of ${everyNth}`;
}

function runText(choice: FaultChoice, run: FaultRun): string {
  const of = choice.owner ?? 'the data of files';
  const bytes = run.ranges.reduce((sum, range) => sum + range.length, 0);
  const head = `poisoned ${choiceText(choice)} of ${counted(run.candidates, 'block')} of ${of}: ${bytes} bytes\n`;
  const rows = run.ranges.map((range, i) => ({ ...range, report: run.reports[i] }));
  return (
    head +
    formatTable(
      [
        { title: 'PHYSICAL', align: 'right', text: (row) => `${row.physical}` },
        { title: 'LENGTH', align: 'right', text: (row) => `${row.length}` },
        { title: 'OWNERS', align: 'right', text: (row) => `${row.report.owners.length}` },
        { title: 'VICTIMS', align: 'right', text: (row) => `${row.report.victims.length}` },
      ],
      rows,
    )
  );
}
