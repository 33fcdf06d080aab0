import {
  isDirectory,
  isSymlink,
  PERMISSION_BITS,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../engine/mode.js';
import { MAX_INO, ROOT_INO } from '../types.js';
import { isOrphan } from './inodes.js';
import { namedBy } from './names.js';
import { type Facts, madeFacts, type Repair } from './state.js';

const ROOT_MODE = S_IFDIR | 0o755;
/** Of what is made again nobody but root learns more than before. */
const MADE_PERMISSIONS = { file: 0o600, directory: 0o700, link: 0o777 } as const;

/** What was found of inodes beside their records. */
export interface Traces {
  /** Entries of each directory. */
  readonly entries: ReadonlyMap<number, number>;
  /** Lengths of the targets of symbolic links without an inode. */
  readonly targets: ReadonlyMap<number, number>;
  /** Numbers of inodes without a record that have blocks. */
  readonly files: ReadonlySet<number>;
}

/**
 * Decides which inodes there will be and of which type: those with a record, with a type that what belongs to them
 * does not contradict, and those of which more than the record is left.
 */
export function settleInodes(r: Repair, traces: Traces): void {
  const named = namedTypes(r);
  for (const [ino, facts] of r.facts) {
    const type = typeFor(facts, traces.entries.get(ino) ?? 0, named.get(ino) ?? 0);
    if (type !== (facts.mode & S_IFMT)) retype(r, ino, facts, type);
  }
  for (const [ino, facts] of r.facts) dropUseless(r, ino, facts);
  for (const ino of traces.entries.keys()) makeAgain(r, ino, S_IFDIR | MADE_PERMISSIONS.directory);
  for (const ino of traces.files) makeAgain(r, ino, S_IFREG | MADE_PERMISSIONS.file);
  for (const [ino, length] of traces.targets) {
    const facts = makeAgain(r, ino, S_IFLNK | MADE_PERMISSIONS.link);
    if (facts !== null) facts.target = length;
  }
  const root = r.facts.get(ROOT_INO);
  if (root === undefined) r.facts.set(ROOT_INO, madeFacts(ROOT_MODE));
  else if (root.made) root.mode = ROOT_MODE;
  else if (!isDirectory(root.mode)) retype(r, ROOT_INO, root, S_IFDIR);
}

/** Types that entries give to inodes that say none themselves. */
function namedTypes(r: Repair): Map<number, number> {
  const types = new Map<number, number>();
  if (![...r.facts.values()].some(({ mode }) => mode === 0)) return types;
  for (const { value } of r.drafts.dirent.records()) {
    const type = (value[4] * 4096) & S_IFMT;
    if (value[4] < 16 && r.facts.get(namedBy(value))?.mode === 0) types.set(namedBy(value), type);
  }
  return types;
}

/** The type that fits to what the inode has: that cannot belong to another type. */
function typeFor(facts: Facts, entries: number, named: number): number {
  const { mode, storedEntries, storedSize, target, blocks } = facts;
  const isUnknown = mode === 0;
  if (isDirectory(mode) && entries > 0) return S_IFDIR;
  if (entries > 0 && (isUnknown || storedEntries > 0)) return S_IFDIR;
  if (blocks > 0) return S_IFREG;
  if (target >= 0 && (isUnknown || storedSize === target)) return S_IFLNK;
  return isUnknown ? named : mode & S_IFMT;
}

function retype(r: Repair, ino: number, facts: Facts, type: number): void {
  const permissions = facts.mode === 0 ? MADE_PERMISSIONS.file : facts.mode & PERMISSION_BITS;
  facts.mode = type === 0 ? 0 : type | permissions;
  if (type !== 0) r.actions.add('inode', `inode ${ino} has the type 0${type.toString(8)} again`, { ino });
}

/** What says nothing of itself, and a symbolic link that leads nowhere, goes. */
function dropUseless(r: Repair, ino: number, facts: Facts): void {
  const isTargetLost = isSymlink(facts.mode) && facts.target < 0 && !isOrphan(ino, facts);
  if (ino === ROOT_INO || (facts.mode !== 0 && !isTargetLost)) return;
  r.facts.delete(ino);
  r.drafts.inode.remove([ino]);
  const why = isTargetLost ? 'a symbolic link whose target is lost' : 'of no known type';
  r.actions.add('inode', `inode ${ino}, ${why}, is removed`, { ino });
}

function makeAgain(r: Repair, ino: number, mode: number): Facts | null {
  if (ino === 0 || ino > MAX_INO || r.facts.has(ino)) return null;
  const facts = madeFacts(mode);
  r.facts.set(ino, facts);
  return facts;
}
