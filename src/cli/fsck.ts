import type { Command } from 'commander';
import type { Problem } from '../check/problem.js';
import { checkRegion, type RegionCheck } from '../check/region.js';
import type { Action } from '../repair/actions.js';
import { type RepairResult, repairRegion } from '../repair/repair.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { CommandError, CommandStatus } from './errors.js';
import { counted, printJson } from './output.js';
import { systemClock, withRegion } from './region.js';

interface Options {
  repair?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

/** Of a repair, as in fsck(8). A check ends with 0 or 1, wrong usage of either with 2 as of every command. */
const STATUS = { repaired: 1, left: 4, failed: 8 } as const;

const EXAMPLE = `
The region must not be mounted. The status of a check is 0 when the region is clean, 1 when there are problems.
That of a repair is 0 when there was nothing to do, 1 when all was repaired, 4 when problems are left (or were
found, with --dry-run), 8 when it could not be done.

Examples:
  # rmapfs fsck /dev/shm/region --json
  # rmapfs fsck --repair --dry-run /dev/shm/region
  # rmapfs fsck --repair /dev/shm/region`;

export function registerFsck(program: Command, env: CliEnvironment): void {
  program
    .command('fsck')
    .description('check or repair an unmounted region')
    .argument('<region>', 'a region that is not mounted')
    .option('--repair', 'repair it; what nothing leads to any more goes to /lost+found')
    .option('-n, --dry-run', 'say what a repair would do, and change nothing')
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLE)
    .action((region: string, options: Options) =>
      options.repair === true || options.dryRun === true
        ? repair(env, region, options)
        : check(env, region, options),
    );
}

async function check(env: CliEnvironment, region: string, options: Options): Promise<void> {
  await withRegion(region, `check ${region}`, { readOnly: true }, (media) => {
    const found = checkRegion(media);
    media.checkStillThere();
    return reportCheck(env, region, found, options);
  });
}

async function reportCheck(
  env: CliEnvironment,
  region: string,
  found: RegionCheck,
  options: Options,
): Promise<void> {
  const { problems, omitted } = found;
  const clean = problems.length === 0;
  if (options.json === true) await printJson(env, { clean, problems, omitted });
  else await env.write(`${problems.map(lineOf).join('')}${region}: ${verdict(problems, omitted)}\n`);
  if (!clean) throw new CommandStatus(1);
}

async function repair(env: CliEnvironment, region: string, options: Options): Promise<void> {
  const dryRun = options.dryRun === true;
  const asked = `repair ${region}`;
  let result: RepairResult;
  try {
    result = await withRegion(region, asked, { readOnly: dryRun }, (media) =>
      repairRegion(media, { dryRun, now: systemClock.seconds() }),
    );
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    env.warn(`rmapfs: ${error.message}\n`);
    throw new CommandStatus(STATUS.failed);
  }
  await reportRepair(env, region, result, options);
}

async function reportRepair(
  env: CliEnvironment,
  region: string,
  result: RepairResult,
  options: Options,
): Promise<void> {
  const { problems, actions, left } = result;
  const dryRun = options.dryRun === true;
  const found = problems.length + actions.length > 0;
  if (options.json === true) {
    const { omittedProblems, omittedActions } = result;
    const clean = left.length === 0 && !(dryRun && found);
    await printJson(env, {
      clean,
      dryRun,
      problems,
      omitted: omittedProblems,
      actions,
      omittedActions,
      left,
    });
  } else await env.write(repairText(region, result, dryRun));
  if (left.length > 0 || (dryRun && found)) throw new CommandStatus(STATUS.left);
  if (found) throw new CommandStatus(STATUS.repaired);
}

function repairText(region: string, result: RepairResult, dryRun: boolean): string {
  const { problems, omittedProblems, actions, omittedActions, left, written } = result;
  if (problems.length + actions.length === 0) return `${region}: clean\n`;
  const unlisted = omittedActions > 0 ? `, ${omittedActions} of them not listed` : '';
  const steps = `${counted(actions.length + omittedActions, 'step')}${unlisted}`;
  const end =
    left.length > 0
      ? `${written ? 'not all was repaired' : 'it cannot be repaired and was left as it is'}: ${verdict(left, 0)}`
      : dryRun
        ? `it would be repaired in ${steps}; nothing was changed`
        : `repaired in ${steps}`;
  const heading = `${region}: ${verdict(problems, omittedProblems)}\n`;
  return `${heading}${[...actions, ...left].map(lineOf).join('')}${region}: ${end}\n`;
}

function verdict(problems: readonly Problem[], omitted: number): string {
  if (problems.length === 0) return 'clean';
  const found = counted(problems.length + omitted, 'problem');
  return `${found}${omitted > 0 ? `, ${omitted} of them not listed` : ''}`;
}

function lineOf({ kind, detail, physical, path }: Problem | Action): string {
  const places = [
    ...(physical === undefined ? [] : [`offset ${physical}`]),
    ...(path === undefined ? [] : [path]),
  ];
  return `${kind}: ${detail}${places.length > 0 ? ` (${places.join(', ')})` : ''}\n`;
}
