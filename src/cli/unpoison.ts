import type { Command } from 'commander';
import { jsonOption, lengthOption, offsetOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { printJson } from './output.js';
import { poisonTarget, type TargetOptions } from './poison-target.js';

interface Options extends TargetOptions {
  json?: boolean;
}

export function registerUnpoison(program: Command, env: CliEnvironment): void {
  program
    .command('unpoison')
    .description('take poison away without writing; the old contents are back')
    .argument('[dir]', 'the mount point or a path below it; the offset is physical')
    .option('--file <file>', 'a file of the mount; the offset is one in the file')
    .addOption(offsetOption('offset of the range, in bytes'))
    .addOption(lengthOption('length of the range, in bytes; 2^64-1 with offset 0 is the whole device'))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs unpoison /mnt/pmem --offset 1M --length 4096')
    .action((dir: string | undefined, options: Options, command: Command) =>
      runUnpoison(env, dir, options, command),
    );
}

async function runUnpoison(
  env: CliEnvironment,
  dir: string | undefined,
  options: Options,
  command: Command,
): Promise<void> {
  const target = poisonTarget(command, 'unpoison', dir, options);
  const { offset, length } = options;
  const cleared = await onMount(env, target.task, (client) =>
    client.unpoison({ offset, length, flags: target.flags }),
  );
  if (options.json) await printJson(env, { cleared });
  else await env.write(`${cleared} bytes were bad and are not any more\n`);
}
