import { DIRENT_HEADER_BYTES, inoOf } from '../engine/dir.js';
import { nameHash } from '../engine/hash.js';
import { DT_DIR, isDirectory, S_IFREG, typeOf } from '../engine/mode.js';
import { HASH_COLLISIONS_MAX } from '../limits.js';
import { ROOT_INO } from '../types.js';
import type { DraftRecord, Key, Value } from './draft.js';
import { isOrphan } from './inodes.js';
import { type Facts, faultOf, type Repair } from './state.js';

export const nameOf = (payload: Value): Uint8Array => Uint8Array.from(payload).subarray(DIRENT_HEADER_BYTES);
export const namedBy = (payload: Value): number => inoOf(Uint8Array.from(payload));

const placeText = ([dir, hash, seq]: Key): string => `directory ${dir}, entry ${hash}/${seq}`;

/** Removes what is no entry, and puts entries that stand in a wrong place into the right one. */
export function readEntries(r: Repair): void {
  const { dirent } = r.drafts;
  const gone: [key: Key, why: string][] = [];
  const misplaced: DraftRecord[] = [];
  let names = new Set<string>();
  let place = '';
  for (const record of dirent.records()) {
    const [dir, hash, seq] = record.key;
    if (place !== `${dir},${hash}`) names = new Set();
    place = `${dir},${hash}`;
    const name = nameOf(record.value);
    const text = Buffer.from(name).toString('latin1');
    // A wrong sequence or type is mended.
    const rest = { key: [dir, hash, 0], value: Uint8Array.from(record.value).fill(typeOf(S_IFREG), 4, 5) };
    const fault = faultOf(r, 'dirent', rest);
    if (fault !== null) gone.push([record.key, fault]);
    else if (nameHash(name) !== hash || seq >= HASH_COLLISIONS_MAX) misplaced.push(record);
    else if (names.has(text)) gone.push([record.key, 'it has the name of another one']);
    names.add(text);
  }
  for (const [key, why] of gone) removeEntry(r, key, why);
  for (const { key } of misplaced) dirent.remove(key);
  for (const { key, value } of misplaced) {
    const isThere = addEntry(r, key[0], nameOf(value), namedBy(value), value[4]);
    const what = isThere ? 'is put where its name belongs' : 'is removed: its name is there already';
    r.actions.add('dirent', `${placeText(key)} ${what}`, { ino: key[0] });
  }
}

export function removeEntry(r: Repair, key: Key, why: string): void {
  const payload = r.drafts.dirent.get(key);
  r.drafts.dirent.remove(key);
  const name = payload === undefined ? '' : ` ("${Buffer.from(nameOf(payload)).toString('utf8')}")`;
  r.actions.add('dirent', `${placeText(key)}${name} is removed: ${why}`, { ino: key[0] });
}

/** Returns whether the entry was added: false where the name is there, or where its hash is full. */
export function addEntry(r: Repair, dir: number, name: Uint8Array, ino: number, type: number): boolean {
  const { dirent } = r.drafts;
  const hash = nameHash(name);
  let free = -1;
  const end = Math.min(HASH_COLLISIONS_MAX, sequencesOf(r, dir, hash) + 1);
  for (let seq = 0; seq < end; seq++) {
    const payload = dirent.get([dir, hash, seq]);
    if (payload === undefined) free = free < 0 ? seq : free;
    else if (Buffer.from(nameOf(payload)).equals(name)) return false;
  }
  if (free < 0) return false;
  const payload = Buffer.alloc(DIRENT_HEADER_BYTES + name.length);
  payload.writeUInt32LE(ino, 0);
  payload[4] = type;
  payload.set(name, DIRENT_HEADER_BYTES);
  dirent.put([dir, hash, free], payload);
  const place = `${dir},${hash}`;
  r.sequences.set(place, Math.max(r.sequences.get(place) ?? 0, free + 1));
  return true;
}

/** No entry of this hash has this sequence or a higher one. */
function sequencesOf(r: Repair, dir: number, hash: number): number {
  const cursor = r.scan.trees.dirent.cursor();
  const found = cursor.seekLE(dir, hash, 0xffff_ffff, 0);
  const isSame = found && cursor.key(0) === dir && cursor.key(1) === hash;
  return Math.max(isSame ? cursor.key(2) + 1 : 0, r.sequences.get(`${dir},${hash}`) ?? 0);
}

/** How many entries each directory has, whether that exists or not. */
export function countEntries(r: Repair): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { key } of r.drafts.dirent.records()) counts.set(key[0], (counts.get(key[0]) ?? 0) + 1);
  return counts;
}

/** Why an entry cannot stay, or null. `facts` are those of what it names. */
function fault(r: Repair, dir: number, ino: number, facts: Facts | undefined): string | null {
  const own = r.facts.get(dir);
  if (own === undefined || !isDirectory(own.mode)) return 'it is in no directory';
  if (facts === undefined) return `it names inode ${ino}, which is gone`;
  if (facts.made) return `it names inode ${ino}, which was lost and is in lost+found now`;
  return ino === ROOT_INO ? 'it names the root' : null;
}

/**
 * Removes entries that name nothing, gives the others the type of what they name, and counts them. A directory keeps
 * one name: the one that its parent record tells of.
 */
export function settleEntries(r: Repair): void {
  const { dirent, parent } = r.drafts;
  const gone: [key: Key, why: string][] = [];
  const retyped: DraftRecord[] = [];
  const directories = new Map<number, Key>();
  const second = 'it is a second name of a directory';
  for (const { key, value } of dirent.records()) {
    const ino = namedBy(value);
    const facts = r.facts.get(ino);
    const why = fault(r, key[0], ino, facts);
    if (why !== null || facts === undefined) {
      gone.push([key, why ?? '']);
      continue;
    }
    const other = directories.get(ino);
    if (other !== undefined) {
      const isTold = parent.has([ino, ...key]) && !parent.has([ino, ...other]);
      gone.push([isTold ? other : key, second]);
      if (!isTold) continue;
    }
    if (isDirectory(facts.mode)) directories.set(ino, key);
    const type = typeOf(facts.mode);
    if (value[4] !== type) retyped.push({ key, value: Uint8Array.from(value).fill(type, 4, 5) });
  }
  for (const { key, value } of retyped) {
    dirent.put(key, value);
    r.actions.add('dirent', `${placeText(key)}: type ${value[4]}, as inode ${namedBy(value)} has`);
  }
  for (const [key, why] of gone) removeEntry(r, key, why);
}

/** Counts what the entries name. */
export function countNames(r: Repair): void {
  for (const facts of r.facts.values()) {
    facts.names = 0;
    facts.parent = 0;
    facts.entries = 0;
    facts.subdirs = 0;
  }
  for (const { key, value } of r.drafts.dirent.records()) {
    const dir = r.facts.get(key[0]);
    const facts = r.facts.get(namedBy(value));
    if (dir === undefined || facts === undefined) continue;
    dir.entries++;
    facts.names++;
    if (value[4] !== DT_DIR) continue;
    dir.subdirs++;
    facts.parent = key[0];
  }
}

/** Makes the parent records those of the entries. */
export function writeParents(r: Repair): void {
  const { dirent, parent } = r.drafts;
  const gone: Key[] = [];
  for (const { key } of parent.records()) {
    const payload = dirent.get(key.slice(1));
    if (payload === undefined || namedBy(payload) !== key[0]) gone.push(key);
  }
  const added: Key[] = [];
  for (const { key, value } of dirent.records()) {
    const own = [namedBy(value), ...key];
    if (!parent.has(own)) added.push(own);
  }
  for (const key of gone) parent.remove(key);
  for (const key of added) parent.put(key, []);
  if (gone.length + added.length > 0) {
    r.actions.add('parent', `parent: ${added.length} records added, ${gone.length} removed`);
  }
}

/** Whether nothing leads to the inode and it is not to be freed either. */
export const isUnnamed = (ino: number, facts: Facts): boolean =>
  ino !== ROOT_INO && facts.names === 0 && !isOrphan(ino, facts);
