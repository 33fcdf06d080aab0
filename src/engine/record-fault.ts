import {
  EXTENT_MAX_BLOCKS,
  HASH_COLLISIONS_MAX,
  SYMLINK_MAX_BYTES,
  XATTR_VALUE_MAX_BYTES,
} from '../limits.js';
import { MAX_FILE_SIZE, MAX_INO } from '../types.js';
import { FILE_BLOCKS_MAX } from './bmap.js';
import { readU32 } from './bytes.js';
import { DIRENT_HEADER_BYTES, isName } from './dir.js';
import {
  BAD_LATENT,
  EXT_UNWRITTEN,
  INODE,
  INODE_FIRST_UNUSED,
  INODE_FLAGS,
  INODE_WORDS,
  META_GROUP_BLOCKS,
  OWNER_METADATA,
  OWNER_SUPERBLOCK,
  type TreeName,
} from './layout.js';
import { isDevice, isDirectory, isRegular, isSymlink, isValidMode } from './mode.js';
import { PAYLOAD_MAX_BYTES } from './tree.js';
import { CHUNKS, TARGET_HASH, TARGET_SEQ, XATTR_HEADER_BYTES } from './xattr.js';

/** A record as its validator sees it; a cursor that stands on it is one. */
export interface RecordView {
  /** Word i of the key. */
  key(i: number): number;
  /** Word i of the value. */
  value(i: number): number;
  /** The payload of a variable-length record. */
  payload(): Uint8Array;
}

const NSEC_MAX = 999_999_999;
/** Times lie within 2^53 seconds of 1970: their high word is a signed number of at most 21 bits. */
const SECONDS_HIGH_MAX = 2 ** 21;
const INODE_TIMES = [INODE.atime, INODE.mtime, INODE.ctime, INODE.btime] as const;

const isIno = (ino: number): boolean => ino > 0 && ino <= MAX_INO;

/** Whether blocks [start, start + length) can be used: there are some, and none is a superblock's. */
const isUsable = (start: number, length: number, blocks: number): boolean =>
  start > 0 && length > 0 && start + length < blocks;

/** Whether words of an inode record can be a time: its high word of seconds and its nanoseconds. */
export const isTime = (high: number, nanoseconds: number): boolean =>
  nanoseconds <= NSEC_MAX && (high | 0) >= -SECONDS_HIGH_MAX && (high | 0) < SECONDS_HIGH_MAX;

function inodeFault(r: RecordView): string | null {
  const mode = r.value(INODE.mode);
  if (!isIno(r.key(0))) return 'has a number out of range';
  if (!isValidMode(mode)) return `has mode 0${mode.toString(8)}`;
  for (const time of INODE_TIMES) {
    if (!isTime(r.value(time + 1), r.value(time + 2))) return 'has a time that is out of range';
  }
  const size = r.value(INODE.sizeHi) * 2 ** 32 + r.value(INODE.sizeLo);
  const most = isRegular(mode) ? MAX_FILE_SIZE : isSymlink(mode) ? SYMLINK_MAX_BYTES : 0;
  if (size > most) return `has a size of ${size} bytes`;
  const rdev = r.value(INODE.rdev);
  if (rdev !== 0 && !isDevice(mode)) return `has device number ${rdev} and is no device`;
  const unknown = r.value(INODE.flags) & ~INODE_FLAGS;
  if (unknown !== 0) return `has unknown flags 0x${(unknown >>> 0).toString(16)}`;
  const entries = r.value(INODE.entries);
  if (!isDirectory(mode) && (entries !== 0 || r.value(INODE.version) !== 0)) {
    return `counts ${entries} entries (${r.value(INODE.version)} ever) and is no directory`;
  }
  for (let i = INODE_FIRST_UNUSED; i < INODE_WORDS; i++) {
    if (r.value(i) !== 0) return `has ${r.value(i)} in the unused word ${i}`;
  }
  return null;
}

function direntFault(r: RecordView): string | null {
  const payload = r.payload();
  if (!isIno(r.key(0))) return `is in directory ${r.key(0)}, which cannot be`;
  if (r.key(2) >= HASH_COLLISIONS_MAX) return 'sequence out of range';
  if (payload.length <= DIRENT_HEADER_BYTES || !isName(payload.subarray(DIRENT_HEADER_BYTES))) {
    return `${payload.length} bytes that are no entry`;
  }
  if (!isIno(readU32(payload))) return `names inode ${readU32(payload)}, which cannot be`;
  return isValidMode(payload[4] << 12) ? null : `has type ${payload[4]}`;
}

function parentFault(r: RecordView): string | null {
  if (!isIno(r.key(0)) || !isIno(r.key(1))) return 'has an inode number out of range';
  return r.key(3) < HASH_COLLISIONS_MAX ? null : 'sequence out of range';
}

function xattrFault(r: RecordView): string | null {
  const payload = r.payload();
  const seq = Math.floor(r.key(2) / CHUNKS);
  const isTarget = r.key(1) === TARGET_HASH && seq === TARGET_SEQ;
  if (!isIno(r.key(0))) return `belongs to inode ${r.key(0)}, which cannot be`;
  if (!isTarget && seq >= HASH_COLLISIONS_MAX) return 'sequence out of range';
  if (r.key(2) % CHUNKS !== 0) return payload.length > 0 ? null : 'an empty chunk';
  const nameBytes = payload.length >= XATTR_HEADER_BYTES ? payload[4] : 0;
  const start = XATTR_HEADER_BYTES + nameBytes;
  if (payload.length < start) return `a first chunk of ${payload.length} bytes`;
  if (isTarget !== (nameBytes === 0)) return `a name of ${nameBytes} bytes`;
  if (payload.subarray(XATTR_HEADER_BYTES, start).includes(0)) return 'a NUL in its name';
  const length = readU32(payload);
  if (length > (isTarget ? SYMLINK_MAX_BYTES : XATTR_VALUE_MAX_BYTES)) return `a value of ${length} bytes`;
  const expected = Math.min(PAYLOAD_MAX_BYTES, start + length);
  return payload.length === expected ? null : `a first chunk of ${payload.length} bytes, not ${expected}`;
}

/** Of an extent in bmap or rmap. */
function extentFault(
  [ino, from, physical, length, flags]: readonly [number, number, number, number, number],
  blocks: number,
): string | null {
  if ((flags & ~EXT_UNWRITTEN) !== 0) return `unknown flags ${flags}`;
  const isInFile = length <= EXTENT_MAX_BLOCKS && from + length <= FILE_BLOCKS_MAX;
  return isIno(ino) && isInFile && isUsable(physical, length, blocks) ? null : 'out of range';
}

function rmapFault(r: RecordView, blocks: number): string | null {
  const [start, owner, from, length, flags] = [r.key(0), r.key(1), r.key(2), r.value(0), r.value(1)];
  if (owner <= MAX_INO) return extentFault([owner, from, start, length, flags], blocks);
  const isSlot = owner === OWNER_SUPERBLOCK && (start === 0 || start === blocks - 1) && length === 1;
  const isChunk = owner === OWNER_METADATA && chunkFault(start, length, blocks) === null;
  return (isSlot || isChunk) && from === 0 && flags === 0 ? null : 'a special owner without reason';
}

function refcountFault(r: RecordView, blocks: number): string | null {
  if (!isUsable(r.key(0), r.value(0), blocks)) return `${r.value(0)} blocks, which is out of range`;
  return r.value(1) >= 2 ? null : `${r.value(1)} owners`;
}

function badblockFault(r: RecordView, blocks: number): string | null {
  const [length, flags] = [r.value(0), r.value(1)];
  if (length === 0 || r.key(0) + length > blocks) return `has ${length} blocks`;
  if ((flags & ~BAD_LATENT) !== 0) return `has unknown flags ${flags}`;
  return r.value(3) < SECONDS_HIGH_MAX ? null : 'has a time that is out of range';
}

function chunkFault(start: number, length: number, blocks: number): string | null {
  const isInGroup = (start % META_GROUP_BLOCKS) + length <= META_GROUP_BLOCKS;
  return isInGroup && isUsable(start, length, blocks) ? null : `${length} blocks are no chunk`;
}

type Validator = (record: RecordView, blocks: number) => string | null;

const VALIDATORS: Readonly<Record<TreeName, Validator>> = {
  inode: inodeFault,
  dirent: direntFault,
  parent: parentFault,
  xattr: xattrFault,
  bmap: (r, blocks) => extentFault([r.key(0), r.key(1), r.value(0), r.value(1), r.value(2)], blocks),
  rmap: rmapFault,
  refcount: refcountFault,
  free: (r, blocks) => (isUsable(r.key(0), r.value(0), blocks) ? null : `has ${r.value(0)} blocks`),
  badblock: badblockFault,
  orphan: (r) => (isIno(r.key(0)) ? null : 'has a number out of range'),
  chunk: (r, blocks) => chunkFault(r.key(0), r.value(0), blocks),
};

/**
 * What is wrong with a record by itself in a filesystem of `blocks` blocks, or null. The one place that says so: the
 * engine asks when it loads a node, fsck for each record, and a repair keeps and makes none of which this complains.
 * What other records say is not looked at.
 */
export const recordFault = (tree: TreeName, record: RecordView, blocks: number): string | null =>
  VALIDATORS[tree](record, blocks);

/** Words of the key and the value that say where the run of a record begins and how long it is: these may not meet. */
const RUNS: Partial<Record<TreeName, { readonly key: number; readonly length: number }>> = {
  bmap: { key: 1, length: 1 },
  refcount: { key: 0, length: 0 },
  free: { key: 0, length: 0 },
  badblock: { key: 0, length: 0 },
  chunk: { key: 0, length: 0 },
};

/** Where the run of a record ends, in blocks of the region or (bmap) of the file; 0 in trees without runs. */
export function runEnd(tree: TreeName, r: RecordView): number {
  const run = RUNS[tree];
  return run === undefined ? 0 : r.key(run.key) + r.value(run.length);
}

/** Whether the run of a record begins before `end`, that of the record before it (of the same file). */
export function meets(tree: TreeName, r: RecordView, end: number): boolean {
  const run = RUNS[tree];
  return run !== undefined && r.key(run.key) < end;
}
