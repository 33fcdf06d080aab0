import type { Command } from 'commander';
import type { ControlClient } from '../control/client.js';
import type { ExtentRecord } from '../control/codec.js';
import { EXTENT_FLAG } from '../control/protocol.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { type Column, printPages } from './output.js';

export interface ExtentEntry {
  fileOffset: number;
  physical: number;
  length: number;
  flags: string[];
}

const COLUMNS: readonly Column<ExtentEntry>[] = [
  { title: 'FILE OFFSET', align: 'right', width: 16, text: (extent) => `${extent.fileOffset}` },
  { title: 'PHYSICAL', align: 'right', width: 16, text: (extent) => `${extent.physical}` },
  { title: 'LENGTH', align: 'right', width: 16, text: (extent) => `${extent.length}` },
  { title: 'FLAGS', align: 'left', text: (extent) => extent.flags.join(',') || '-' },
];

export function registerExtents(program: Command, env: CliEnvironment): void {
  program
    .command('extents')
    .description('print where the bytes of a file are in the region')
    .argument('<file>', 'a file of the mount')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs extents /mnt/pmem/data --json')
    .action((file: string, options: { json?: boolean }) => runExtents(env, file, options.json === true));
}

async function runExtents(env: CliEnvironment, file: string, json: boolean): Promise<void> {
  const findings = () => ({
    EISDIR: 'it is a directory; name a file',
    EINVAL: 'it is no regular file; name one',
  });
  const task = { path: file, asked: `list the extents of ${file}`, findings };
  await onMount(env, task, (client) => printPages(env, json, COLUMNS, extentEntries(client)));
}

function* extentEntries(client: ControlClient): Generator<ExtentEntry[]> {
  for (const page of client.extents()) yield page.map(extentEntry);
}

function extentEntry({ fileOffset, physical, length, flags }: ExtentRecord): ExtentEntry {
  const names = Object.entries(EXTENT_FLAG).filter(([, bit]) => (flags & bit) !== 0);
  return { fileOffset, physical, length, flags: names.map(([name]) => name) };
}
