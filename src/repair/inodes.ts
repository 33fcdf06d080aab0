import { INODE, INODE_FIRST_UNUSED, INODE_FLAGS, INODE_WORDS } from '../engine/layout.js';
import { isDevice, isDirectory, isRegular, isSymlink, isValidMode } from '../engine/mode.js';
import { isTime } from '../engine/record-fault.js';
import { BLOCK_SIZE, blocksFor, MAX_FILE_SIZE, MAX_INO, ROOT_INO } from '../types.js';
import type { Value } from './draft.js';
import { type Facts, madeFacts, type Repair } from './state.js';

const WORD = 2 ** 32;
const TIMES = [INODE.atime, INODE.mtime, INODE.ctime, INODE.btime] as const;

const sizeOf = (record: Value): number => record[INODE.sizeHi] * WORD + record[INODE.sizeLo];

/** Takes in the records that can be read. One with an impossible number is dropped. */
export function readInodes(r: Repair): void {
  const { inode } = r.drafts;
  const impossible: number[] = [];
  for (const { key, value } of inode.records()) {
    const [ino] = key;
    if (ino === 0 || ino > MAX_INO) impossible.push(ino);
    else {
      r.facts.set(ino, {
        ...madeFacts(soundMode(value[INODE.mode])),
        made: false,
        storedLinks: value[INODE.nlink],
        storedBlocks: value[INODE.blocks],
        storedEntries: value[INODE.entries],
        storedSize: sizeOf(value),
      });
    }
  }
  for (const ino of impossible) {
    inode.remove([ino]);
    r.actions.add('inode', `the record of inode ${ino}, a number that cannot be, is removed`, { ino });
  }
}

/** The mode, without bits that cannot be; 0 when it has no type. */
function soundMode(mode: number): number {
  return [mode, mode % 65_536].find(isValidMode) ?? 0;
}

/** An orphan stays one: nobody names it, and its record says so. */
export const isOrphan = (ino: number, facts: Facts): boolean =>
  ino !== ROOT_INO && !facts.made && facts.storedLinks === 0 && facts.names === 0 && facts.entries === 0;

/** Writes what is known of each inode into its record. */
export function writeInodes(r: Repair): void {
  const { inode } = r.drafts;
  for (const [ino, facts] of r.facts) {
    const stored = inode.get([ino]);
    const record = stored === undefined || facts.made ? newRecord(r) : Array.from(stored);
    mendRecord(ino, facts, record);
    // That lost+found is made was said.
    if (facts.made && ino !== r.lostAndFound) r.actions.add('inode', madeText(ino, facts), { ino });
    if (!facts.made && stored !== undefined) {
      const changes = Object.entries(INODE).filter(([, word]) => stored[word] !== record[word]);
      const texts = changes.map(([field, word]) => `${field} ${stored[word]} -> ${record[word]}`);
      if (texts.length > 0) r.actions.add('inode', `inode ${ino}: ${texts.join(', ')}`, { ino });
    }
    inode.put([ino], record);
  }
}

function madeText(ino: number, { mode, blocks, entries }: Facts): string {
  const what = isDirectory(mode)
    ? `a directory with ${entries} entries`
    : isSymlink(mode)
      ? 'a symbolic link'
      : `a file with ${blocks} blocks`;
  return `inode ${ino} was lost: it is made again as ${what}, owned by root`;
}

function newRecord(r: Repair): number[] {
  const record = new Array<number>(INODE_WORDS).fill(0);
  record[INODE.generation] = r.txid % WORD;
  for (const time of TIMES) {
    record[time] = r.now % WORD;
    record[time + 1] = Math.floor(r.now / WORD);
  }
  return record;
}

function mendRecord(ino: number, facts: Facts, record: number[]): void {
  const { mode } = facts;
  record[INODE.mode] = mode;
  record[INODE.blocks] = facts.blocks;
  record[INODE.xattrs] = facts.xattrs;
  record[INODE.flags] = (record[INODE.flags] & INODE_FLAGS) >>> 0;
  if (!isDevice(mode)) record[INODE.rdev] = 0;
  const size = mendedSize(facts);
  record[INODE.sizeLo] = size % WORD;
  record[INODE.sizeHi] = Math.floor(size / WORD);
  if (isDirectory(mode)) {
    record[INODE.entries] = facts.entries;
    if (facts.made) record[INODE.version] = facts.entries;
    record[INODE.nlink] = isOrphan(ino, facts) ? 0 : 2 + facts.subdirs;
  } else {
    record[INODE.entries] = 0;
    record[INODE.version] = 0;
    record[INODE.nlink] = facts.names;
  }
  for (const time of TIMES) {
    if (!isTime(record[time + 1], record[time + 2])) record.fill(0, time, time + 3);
  }
  record.fill(0, INODE_FIRST_UNUSED);
}

/** A file never ends before its last written block: what lies there is its own. */
function mendedSize({ mode, storedSize, target, writtenEnd, end, made }: Facts): number {
  if (isSymlink(mode)) return Math.max(target, 0);
  if (!isRegular(mode)) return 0;
  if (made) return end * BLOCK_SIZE;
  const isSound = storedSize <= MAX_FILE_SIZE && blocksFor(storedSize) >= writtenEnd;
  return isSound ? storedSize : writtenEnd * BLOCK_SIZE;
}

/** Each inode without a link, and nothing else, is an orphan. */
export function writeOrphans(r: Repair): void {
  const { orphan } = r.drafts;
  const gone = [...orphan.records()].filter(({ key }) => {
    const facts = r.facts.get(key[0]);
    return facts === undefined || !isOrphan(key[0], facts);
  });
  for (const { key } of gone) {
    orphan.remove(key);
    r.actions.add('orphan', `inode ${key[0]} is no orphan`, { ino: key[0] });
  }
  for (const [ino, facts] of r.facts) {
    if (!isOrphan(ino, facts) || orphan.has([ino])) continue;
    orphan.put([ino], []);
    r.actions.add('orphan', `inode ${ino} is an orphan: the next mount frees it`, { ino });
  }
}
