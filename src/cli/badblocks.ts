import type { Command } from 'commander';
import type { BadBlockRecord } from '../control/codec.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { type Column, printPages } from './output.js';
import { isOnMount, withUnmounted } from './region.js';

const COLUMNS: readonly Column<BadBlockRecord>[] = [
  { title: 'PHYSICAL', align: 'right', width: 16, text: (bad) => `${bad.physical}` },
  { title: 'LENGTH', align: 'right', width: 12, text: (bad) => `${bad.length}` },
  { title: 'LATENT', align: 'left', text: (bad) => (bad.latent ? 'yes' : 'no') },
  { title: 'SINCE', align: 'left', text: (bad) => new Date(bad.since * 1000).toISOString() },
];

export function registerBadBlocks(program: Command, env: CliEnvironment): void {
  program
    .command('badblocks')
    .description('print the bad ranges of a region')
    .argument('<dir|region>', 'the mount point or a path below it, or an unmounted region')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs badblocks /mnt/pmem --json')
    .action((path: string, options: { json?: boolean }) => runBadBlocks(env, path, options.json === true));
}

async function runBadBlocks(env: CliEnvironment, path: string, json: boolean): Promise<void> {
  const asked = `list the bad blocks of ${path}`;
  if (isOnMount(env, path, asked)) {
    await onMount(env, { path, asked }, (client) => printPages(env, json, COLUMNS, client.badBlocks()));
  } else {
    await withUnmounted(path, asked, (engine) => printPages(env, json, COLUMNS, badBlockPages(engine)));
  }
}

/** The list of an unmounted region, a page at a time. */
function* badBlockPages(engine: {
  badBlocks(from: number, max: number): BadBlockRecord[];
}): Generator<BadBlockRecord[]> {
  const most = 512;
  for (let from = 0; ; ) {
    const page = engine.badBlocks(from, most);
    if (page.length > 0) yield page;
    const final = page.at(-1);
    if (final === undefined || page.length < most) return;
    from = final.physical + final.length;
  }
}
