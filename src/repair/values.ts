import { readU32 } from '../engine/bytes.js';
import { nameHash } from '../engine/hash.js';
import { isSymlink } from '../engine/mode.js';
import { CHUNKS, chunksFor, TARGET_HASH, TARGET_SEQ, XATTR_HEADER_BYTES } from '../engine/xattr.js';
import type { DraftRecord } from './draft.js';
import { faultOf, type Repair } from './state.js';

/** The records of one attribute, or of the target of a symbolic link. */
interface StoredValue {
  readonly ino: number;
  readonly hash: number;
  readonly seq: number;
  readonly chunks: DraftRecord[];
}

const isTarget = ({ hash, seq }: StoredValue): boolean => hash === TARGET_HASH && seq === TARGET_SEQ;

/** Goes through the values of all inodes. */
function* values(r: Repair): Generator<StoredValue> {
  let value: StoredValue | null = null;
  for (const record of r.drafts.xattr.records()) {
    const [ino, hash, place] = record.key;
    const seq = Math.floor(place / CHUNKS);
    if (value !== null && value.ino === ino && value.hash === hash && value.seq === seq) {
      value.chunks.push(record);
    } else {
      if (value !== null) yield value;
      value = { ino, hash, seq, chunks: [record] };
    }
  }
  if (value !== null) yield value;
}

/** Length of the value, or -1 when it is not whole. */
function lengthOf(r: Repair, value: StoredValue): number {
  if (value.chunks.some((chunk, i) => chunk.key[2] % CHUNKS !== i || faultOf(r, 'xattr', chunk) !== null))
    return -1;
  const parts = value.chunks.map((chunk) => Uint8Array.from(chunk.value));
  const [first] = parts;
  const [length, nameBytes] = [readU32(first), first[4]];
  const start = XATTR_HEADER_BYTES + nameBytes;
  const bytes = parts.reduce((sum, part) => sum + part.length, 0) - start;
  if (bytes !== length || parts.length !== chunksFor(nameBytes, length)) return -1;
  if (isTarget(value)) return length;
  return nameHash(first.subarray(XATTR_HEADER_BYTES, start)) === value.hash ? length : -1;
}

/**
 * Counts the attributes that are whole; what is left of others is removed. Returns the targets of symbolic links
 * whose inodes are gone, with their lengths.
 */
export function readValues(r: Repair): Map<number, number> {
  const ownerless = new Map<number, number>();
  const gone: StoredValue[] = [];
  for (const value of values(r)) {
    const facts = r.facts.get(value.ino);
    const length = lengthOf(r, value);
    if (length < 0) gone.push(value);
    else if (isTarget(value)) {
      if (facts === undefined) ownerless.set(value.ino, length);
      else facts.target = length;
    } else if (facts !== undefined) facts.xattrs++;
  }
  remove(r, gone, () => 'is not whole and is removed');
  return ownerless;
}

/** Removes what belongs to no inode, to one that was made again, or, a target, to no symbolic link. */
export function dropForeignValues(r: Repair): void {
  const gone: StoredValue[] = [];
  for (const value of values(r)) {
    const facts = r.facts.get(value.ino);
    const belongs = facts !== undefined && (isTarget(value) ? isSymlink(facts.mode) : !facts.made);
    if (!belongs) gone.push(value);
  }
  remove(r, gone, ({ ino }) => {
    const made = r.facts.get(ino)?.made;
    return made === undefined
      ? 'is removed with its inode'
      : made
        ? 'is removed: its inode was lost'
        : 'is removed';
  });
}

function remove(r: Repair, gone: readonly StoredValue[], why: (value: StoredValue) => string): void {
  for (const value of gone) {
    for (const { key } of value.chunks) r.drafts.xattr.remove(key);
    const what = isTarget(value) ? 'a target of a symbolic link' : `attribute ${value.hash}/${value.seq}`;
    r.actions.add('xattr', `inode ${value.ino}: ${what} ${why(value)}`, { ino: value.ino });
  }
}
