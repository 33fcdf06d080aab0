import type { Command } from 'commander';
import type { ControlClient } from '../control/client.js';
import type { FsmapRecord } from '../control/codec.js';
import { OwnerNames } from '../control/owner-names.js';
import { FSMAP_FLAG, FSMAP_OWNER } from '../control/protocol.js';
import type { OwnerDocument } from '../control/schema.js';
import { TREES } from '../engine/layout.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { onMount } from './on-mount.js';
import { type Column, printPages } from './output.js';
import { ownerText } from './owner-text.js';

/** `owner` also says "unknown" for a range that an earlier repair could not attribute. */
type FsmapOwner = OwnerDocument | { kind: 'unknown'; physical: number; length: number };

export interface FsmapEntry {
  physical: number;
  length: number;
  owner: FsmapOwner;
  flags: string[];
}

const FLAG_NAMES: readonly [number, string][] = [
  [FSMAP_FLAG.shared, 'shared'],
  [FSMAP_FLAG.unwritten, 'unwritten'],
  [FSMAP_FLAG.bad, 'bad'],
  [FSMAP_FLAG.attrFork, 'attr'],
];

const COLUMNS: readonly Column<FsmapEntry>[] = [
  { title: 'PHYSICAL', align: 'right', width: 16, text: (entry) => `${entry.physical}` },
  { title: 'LENGTH', align: 'right', width: 16, text: (entry) => `${entry.length}` },
  { title: 'FILE OFFSET', align: 'right', width: 16, text: fileOffsetText },
  { title: 'FLAGS', align: 'left', width: 12, text: (entry) => entry.flags.join(',') || '-' },
  { title: 'INODE', align: 'right', width: 10, text: inodeText },
  {
    title: 'OWNER',
    align: 'left',
    text: ({ owner }) => (owner.kind === 'unknown' ? '[unknown]' : ownerText(owner)),
  },
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
  const names = new OwnerNames(client);
  for (const page of client.fsmap()) {
    yield page.map((record) => ({
      physical: record.physical,
      length: record.length,
      owner: fsmapOwner(record, names),
      flags: FLAG_NAMES.filter(([bit]) => (record.flags & bit) !== 0).map(([, name]) => name),
    }));
  }
}

function fsmapOwner(record: FsmapRecord, names: OwnerNames): FsmapOwner {
  const { physical, length } = record;
  switch (record.owner) {
    case FSMAP_OWNER.superblock:
      return { kind: 'superblock', physical, length };
    case FSMAP_OWNER.metadata:
      return { kind: 'metadata', physical, length, tree: treeName(record.detail) };
    case FSMAP_OWNER.unknown:
      return { kind: 'unknown', physical, length };
    case FSMAP_OWNER.free:
      return { kind: 'free', physical, length };
    default:
      return fileOwner(record, names);
  }
}

function fileOwner(record: FsmapRecord, names: OwnerNames): FsmapOwner {
  const { paths, open } = names.of(record.owner);
  return {
    kind: 'file',
    ino: record.owner,
    paths,
    fileOffset: record.fileOffset,
    physical: record.physical,
    length: record.length,
    fork: (record.flags & FSMAP_FLAG.attrFork) !== 0 ? 'attr' : 'data',
    shareCount: record.detail,
    open,
  };
}

const TREE_NAMES = new Map(Object.values(TREES).map((tree) => [tree.id, tree.name]));

/** The tree that a metadata block belongs to; "unused" for one that is reserved for nodes. */
function treeName(id: number): string {
  return TREE_NAMES.get(id) ?? (id === 0 ? 'unused' : `tree ${id}`);
}
