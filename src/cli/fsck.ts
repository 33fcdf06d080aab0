import type { Command } from 'commander';
import type { Problem } from '../check/problem.js';
import { checkRegion, type RegionCheck } from '../check/region.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { CommandStatus, failure } from './errors.js';
import { counted, printJson } from './output.js';
import { withRegion } from './region.js';

interface Options {
  repair?: boolean;
  json?: boolean;
}

const EXAMPLE = `
The region must not be mounted. The status is 0 when it is clean, 1 when there are problems.

Example:
  # rmapfs fsck /dev/shm/region --json`;

export function registerFsck(program: Command, env: CliEnvironment): void {
  program
    .command('fsck')
    .description('check an unmounted region')
    .argument('<region>', 'a region that is not mounted')
    .option('--repair', 'repair what can be repaired')
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLE)
    .action((region: string, options: Options) => runFsck(env, region, options));
}

async function runFsck(env: CliEnvironment, region: string, options: Options): Promise<void> {
  const asked = `check ${region}`;
  if (options.repair === true) {
    throw failure(
      asked,
      'this version repairs nothing; run it without --repair, and copy the files elsewhere',
    );
  }
  await withRegion(region, asked, { readOnly: true }, (media) =>
    report(env, region, checkRegion(media), options),
  );
}

async function report(
  env: CliEnvironment,
  region: string,
  check: RegionCheck,
  options: Options,
): Promise<void> {
  const { problems, omitted } = check;
  const clean = problems.length === 0;
  if (options.json === true) await printJson(env, { clean, problems, omitted });
  else {
    const found = counted(problems.length + omitted, 'problem');
    const verdict = clean ? 'clean' : `${found}${omitted > 0 ? `, ${omitted} of them not listed` : ''}`;
    await env.write(`${problems.map(problemText).join('')}${region}: ${verdict}\n`);
  }
  if (problems.some((problem) => !problem.repaired)) throw new CommandStatus(1);
}

function problemText({ kind, detail, physical, path }: Problem): string {
  const places = [
    ...(physical === undefined ? [] : [`offset ${physical}`]),
    ...(path === undefined ? [] : [path]),
  ];
  return `${kind}: ${detail}${places.length > 0 ? ` (${places.join(', ')})` : ''}\n`;
}
