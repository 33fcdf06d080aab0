import type { Command } from 'commander';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { humanSize, printJson } from './output.js';

const HELP = `
The region becomes a sparse file: a store that finds no room on its filesystem later ends the mount.
fstrim(8) does the same.

Example:
  # rmapfs trim /mnt/pmem`;

export function registerTrim(program: Command, env: CliEnvironment): void {
  program
    .command('trim')
    .description('give the storage of free blocks back to what the region lies on')
    .argument('<dir>', 'the mount point or a path below it')
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action(async (dir: string, options: { json?: boolean }) => {
      const asked = `trim ${dir}`;
      const trimmed = await onMount(env, { path: dir, asked }, (client) => client.trim());
      if (options.json === true) return printJson(env, { trimmed });
      await env.write(`${dir}: ${humanSize(trimmed)} (${trimmed} bytes) given back\n`);
    });
}
