import type { Command } from 'commander';
import { bytesText, jsonOption, lengthOption, offsetOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount, outsideDevice } from './on-mount.js';
import { printPages } from './output.js';
import { OWNER_COLUMNS } from './owner-text.js';

interface Options {
  offset: number;
  length: number;
  json?: boolean;
}

export function registerOwners(program: Command, env: CliEnvironment): void {
  program
    .command('owners')
    .description('print the owners of a physical range')
    .argument('<dir>', 'the mount point or a path below it')
    .addOption(offsetOption('physical offset of the range, in bytes'))
    .addOption(lengthOption('length of the range, in bytes'))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs owners /mnt/pmem --offset 1M --length 64K')
    .action((dir: string, options: Options) => runOwners(env, dir, options));
}

async function runOwners(env: CliEnvironment, dir: string, options: Options): Promise<void> {
  const { offset, length } = options;
  const asked = `list the owners of ${bytesText(length)} at offset ${offset} of ${dir}`;
  await onMount(env, { path: dir, asked, findings: outsideDevice }, (client) =>
    printPages(env, options.json === true, OWNER_COLUMNS, client.owners(offset, length)),
  );
}
