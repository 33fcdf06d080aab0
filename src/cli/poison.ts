import { type Command, Option } from 'commander';
import { POISON_FLAG, POLICIES, type Policy } from '../control/protocol.js';
import type { PoisonDocument } from '../control/schema.js';
import { jsonOption, lengthOption, offsetOption, POLICY_NAMES } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { counted, formatTable, printJson } from './output.js';
import { OWNER_COLUMNS, VICTIM_COLUMNS } from './owner-text.js';
import {
  type ChoiceOptions,
  everyNthOption,
  isChoice,
  ownerOption,
  poisonByChoice,
  randomOption,
  seedOption,
} from './poison-choice.js';
import { poisonTarget, type TargetOptions } from './poison-target.js';

interface Options extends Partial<TargetOptions>, ChoiceOptions {
  policy?: Policy;
  latent?: boolean;
  json?: boolean;
}

const EXAMPLE = `
Examples:
  $ rmapfs poison /mnt/pmem --offset 1M --length 4096
  $ rmapfs poison --file /mnt/pmem/data --offset 8K --length 4K --policy late --json

Policies: early (SIGBUS to every process that has the page mapped and touched), late (unmap only),
kill (SIGKILL instead of SIGBUS), notify (events only). The nearest wins: --policy, the file's attribute
user.rmapfs.policy, the mount's.

By choice, among the blocks that hold data of files, or those of one file (--owner):
  $ rmapfs poison /mnt/pmem --random 3 --seed 7
  $ rmapfs poison /mnt/pmem --owner /mnt/pmem/data --every-nth 10`;

export function registerPoison(program: Command, env: CliEnvironment): void {
  program
    .command('poison')
    .description('make a range of the memory fail, and tell everyone whom it concerns')
    .argument('[dir]', 'the mount point or a path below it; the offset is physical')
    .option('--file <file>', 'a file of the mount; the offset is one in the file')
    .addOption(offsetOption('offset of the range, in bytes').makeOptionMandatory(false))
    .addOption(
      lengthOption(
        'length of the range, in bytes; 2^64-1 with offset 0 is the whole device',
      ).makeOptionMandatory(false),
    )
    .addOption(new Option('--policy <policy>', 'who is told (default: as mounted)').choices(POLICY_NAMES))
    .option('--latent', 'nobody notices until the range is read')
    .addOption(jsonOption())
    .addOption(randomOption())
    .addOption(seedOption())
    .addOption(everyNthOption())
    .addOption(ownerOption())
    .addHelpText('after', EXAMPLE)
    .action((dir: string | undefined, options: Options, command: Command) =>
      runPoison(env, dir, options, command),
    );
}

async function runPoison(
  env: CliEnvironment,
  dir: string | undefined,
  options: Options,
  command: Command,
): Promise<void> {
  if (isChoice(options)) return await poisonByChoice(env, dir, options, command);
  const { offset, length } = options;
  if (offset === undefined || length === undefined) {
    return command.error('error: give --offset and --length, or --random, --every-nth or --owner', {
      code: 'rmapfs.target',
    });
  }
  const target = poisonTarget(command, 'poison', dir, { ...options, offset, length });
  const report = await onMount(env, target.task, (client) =>
    client.poison({
      offset,
      length,
      flags: target.flags | (options.latent ? POISON_FLAG.latent : 0),
      policy: POLICIES.indexOf(options.policy ?? 'default'),
    }),
  );
  if (options.json) await printJson(env, report);
  else await env.write(reportText(report));
}

function reportText(report: PoisonDocument): string {
  const kind = report.latent ? 'latent: nobody was told' : 'known';
  let text = `poisoned ${report.length} bytes at physical offset ${report.physical} (${kind})\n`;
  if (report.newlyBad === 0)
    text = 'The range was bad already: nothing was changed, and nobody was told again.\n';
  text += `\n${counted(report.owners.length, 'owner')}\n${formatTable(OWNER_COLUMNS, report.owners)}`;
  const omitted = report.ownersOmitted ?? 0;
  if (omitted > 0) text += `and ${counted(omitted, 'owner')} more: rmapfs owners lists all of them\n`;
  text += `\n${counted(report.victims.length, 'victim')}\n`;
  if (report.victims.length > 0) text += formatTable(VICTIM_COLUMNS, report.victims);
  const unreadable = report.scan?.unreadable ?? 0;
  if (unreadable > 0) {
    text += `\nProcesses of other users that could not be looked at: ${unreadable}. A mount by root reaches them.\n`;
  }
  for (const { tree, physical } of report.metadata?.repaired ?? []) {
    text += `\nA node of the ${tree} tree at ${physical} was made again from the other trees; the mount goes on.\n`;
  }
  if (report.shutdown) {
    const why = report.metadata?.lost ?? 'metadata were hit';
    text += `\nThe filesystem has shut down: ${why}. Unmount it and run rmapfs fsck --repair on the region.\n`;
  }
  return text;
}
