import type { Command } from 'commander';
import type { ControlClient } from '../control/client.js';
import { WHOLE_DEVICE } from '../control/codec.js';
import type { OwnerDocument } from '../control/schema.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { type Column, printPages } from './output.js';
import { ownerText } from './owner-text.js';

export interface FsmapEntry {
  physical: number;
  length: number;
  owner: OwnerDocument;
  flags: string[];
}

const COLUMNS: readonly Column<FsmapEntry>[] = [
  { title: 'PHYSICAL', align: 'right', width: 16, text: (entry) => `${entry.physical}` },
  { title: 'LENGTH', align: 'right', width: 16, text: (entry) => `${entry.length}` },
  { title: 'FILE OFFSET', align: 'right', width: 16, text: fileOffsetText },
  { title: 'FLAGS', align: 'left', width: 12, text: (entry) => entry.flags.join(',') || '-' },
  { title: 'INODE', align: 'right', width: 10, text: inodeText },
  { title: 'OWNER', align: 'left', text: ({ owner }) => ownerText(owner) },
];

function fileOffsetText({ owner }: FsmapEntry): string {
  return owner.kind === 'file' ? `${owner.fileOffset}` : '-';
}

function inodeText({ owner }: FsmapEntry): string {
  return owner.kind === 'file' ? `${owner.ino}` : '-';
}

export function registerFsmap(program: Command, env: CliEnvironment): void {
  program
    .command('fsmap')
    .description('print the whole region in physical order, a shared extent once an owner')
    .argument('<dir>', 'the mount point or a path below it')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ rmapfs fsmap /mnt/pmem --json')
    .action((dir: string, options: { json?: boolean }) => runFsmap(env, dir, options.json === true));
}

async function runFsmap(env: CliEnvironment, dir: string, json: boolean): Promise<void> {
  const task = { path: dir, asked: `list the space of ${dir}` };
  await onMount(env, task, (client) => printPages(env, json, COLUMNS, fsmapEntries(client)));
}

function* fsmapEntries(client: ControlClient): Generator<FsmapEntry[]> {
  for (const page of client.owners(0, WHOLE_DEVICE)) yield page.map(entryOf);
}

function entryOf({ bad, ...owner }: OwnerDocument): FsmapEntry {
  const flags: string[] = [];
  if (owner.kind === 'file' && owner.shareCount > 1) flags.push('shared');
  if (owner.kind === 'file' && owner.unwritten) flags.push('unwritten');
  if (bad) flags.push('bad');
  if (owner.kind === 'file' && owner.fork === 'attr') flags.push('attr');
  return { physical: owner.physical, length: owner.length, owner, flags };
}
