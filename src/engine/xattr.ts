import { broken, CorruptionError, FsError } from '../errors.js';
import { HASH_COLLISIONS_MAX, XATTR_NAME_MAX_BYTES, XATTR_VALUE_MAX_BYTES } from '../limits.js';
import { readU32, sameBytes, writeU32 } from './bytes.js';
import type { EngineContext, Reservation } from './context.js';
import { type NameHash, nameHash } from './hash.js';
import type { InodeTable } from './inode.js';
import { type Cursor, PAYLOAD_MAX_BYTES, type Tree } from './tree.js';

export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

/** First chunk: length of the value (u32, low byte first), length of the name (u8), name, start of the value. */
export const XATTR_HEADER_BYTES = 5;
/** Chunks of one value are numbered in the low 8 bits of the key's last word. */
export const CHUNKS = 256;
/**
 * The target of a symbolic link is stored like a value without a name, under hash 0 and this sequence. The
 * sequences of attributes end below HASH_COLLISIONS_MAX, so no name can meet it.
 */
export const TARGET_HASH = 0;
export const TARGET_SEQ = 0xff_ffff;

/** Records that one step of removeAll() frees: no more than an unlink changes. */
const FREE_STEP_CHUNKS = 4;
const U32_MAX = 0xffff_ffff;

const NO_NAME = new Uint8Array(0);

/** Where an attribute is, or where it would go. */
interface XattrSlot {
  hash: number;
  /** Not found: the lowest free one; HASH_COLLISIONS_MAX when there is none. */
  seq: number;
  /** Bytes of the value. */
  length: number;
  chunks: number;
}

/** Records that a value takes. */
export function chunksFor(nameBytes: number, valueBytes: number): number {
  const room = PAYLOAD_MAX_BYTES - XATTR_HEADER_BYTES - nameBytes;
  return 1 + Math.ceil(Math.max(0, valueBytes - room) / PAYLOAD_MAX_BYTES);
}

/**
 * Extended attributes and the targets of symbolic links, keyed (inode, hash of the name, sequence * 256 +
 * chunk). An attribute is set or removed within one reservation (at most 105 records), so a commit sees the
 * old value or the new one. In a full filesystem the removal of a large one may be refused (ENOSPC).
 */
export class XattrTable {
  readonly #ctx: EngineContext;
  readonly #tree: Tree;
  readonly #inodes: InodeTable;
  readonly #hash: NameHash;
  readonly #cursor: Cursor;
  readonly #slot: XattrSlot = { hash: 0, seq: 0, length: 0, chunks: 0 };
  readonly #payload = new Uint8Array(PAYLOAD_MAX_BYTES);
  readonly #reservation: Reservation = { dataBlocks: 0, records: 0, freeing: false };

  constructor(ctx: EngineContext, inodes: InodeTable, hash: NameHash = nameHash) {
    this.#ctx = ctx;
    this.#tree = ctx.trees.xattr;
    this.#inodes = inodes;
    this.#hash = hash;
    this.#cursor = this.#tree.cursor();
  }

  /** A copy of the value, or null. An inode without attributes (nearly all) costs one look at the inode. */
  get(ino: number, name: Uint8Array): Uint8Array | null {
    if (this.#inodes.xattrs(ino) === 0) return null;
    const slot = this.#slot;
    return this.#find(ino, name, slot) ? this.#read(ino, slot.hash, slot.seq) : null;
  }

  /** Sets an attribute and ctime. ERANGE, EINVAL, E2BIG, EEXIST, ENODATA as setxattr(2); ENOSPC. */
  set(ino: number, name: Uint8Array, value: Uint8Array, flags: number): void {
    checkXattr(name, value, 'setxattr');
    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0 || flags === (XATTR_CREATE | XATTR_REPLACE)) {
      throw new FsError('EINVAL', 'setxattr', `flags ${flags}`);
    }
    const slot = this.#slot;
    this.#inodes.mode(ino);
    const exists = this.#find(ino, name, slot);
    if (exists && flags === XATTR_CREATE) throw new FsError('EEXIST', 'setxattr', 'the attribute exists');
    if (!exists && flags === XATTR_REPLACE) throw new FsError('ENODATA', 'setxattr', 'no such attribute');
    if (slot.seq >= HASH_COLLISIONS_MAX) {
      throw new FsError('ENOSPC', 'setxattr', `${HASH_COLLISIONS_MAX} names of inode ${ino} have this hash`);
    }
    const oldChunks = exists ? slot.chunks : 0;
    this.#reserve(oldChunks + chunksFor(name.length, value.length) + 1, false);
    this.#removeChunks(ino, slot.hash, slot.seq, oldChunks);
    this.#write(ino, slot.hash, slot.seq, name, value);
    this.#inodes.addXattrs(ino, exists ? 0 : 1);
  }

  /** Removes an attribute and sets ctime. ENODATA. */
  remove(ino: number, name: Uint8Array): void {
    checkXattrName(name, 'removexattr');
    const slot = this.#slot;
    this.#inodes.mode(ino);
    if (!this.#find(ino, name, slot)) throw new FsError('ENODATA', 'removexattr', 'no such attribute');
    this.#reserve(slot.chunks + 1, true);
    this.#removeChunks(ino, slot.hash, slot.seq, slot.chunks);
    this.#inodes.addXattrs(ino, -1);
  }

  /** Copies of all names, in the order of their hashes. */
  list(ino: number): Uint8Array[] {
    const names: Uint8Array[] = [];
    if (this.#inodes.xattrs(ino) === 0) return names;
    const cursor = this.#cursor;
    let more = cursor.seek(ino, 0, 0, 0);
    while (more && cursor.key(0) === ino) {
      const word = cursor.key(2);
      if (word % CHUNKS === 0 && Math.floor(word / CHUNKS) !== TARGET_SEQ)
        names.push(new Uint8Array(nameIn(cursor)));
      more = cursor.next();
    }
    return names;
  }

  /**
   * Frees all that is stored for an orphan, from the last record on, in steps of FREE_STEP_CHUNKS. Small steps,
   * so that the reserve of a full filesystem is enough for each; the orphan's values may be cut between two.
   */
  removeAll(ino: number): void {
    const cursor = this.#cursor;
    while (cursor.seekLE(ino, U32_MAX, U32_MAX, 0) && cursor.key(0) === ino) {
      this.#reserve(FREE_STEP_CHUNKS + 1, true);
      for (let i = 0; i < FREE_STEP_CHUNKS; i++) this.#removeLast(ino);
    }
  }

  /** Gives an inode an attribute that it does not have. The caller has checked and reserved. */
  writeNew(ino: number, name: Uint8Array, value: Uint8Array): void {
    const slot = this.#slot;
    const exists = this.#find(ino, name, slot);
    if (exists) broken(`inode ${ino} is made with one attribute twice`);
    this.#write(ino, slot.hash, slot.seq, name, value);
    this.#inodes.addXattrs(ino, 1);
  }

  /** Stores the target of a new symbolic link. The caller has reserved chunksFor(0, target.length) records. */
  writeTarget(ino: number, target: Uint8Array): void {
    this.#write(ino, TARGET_HASH, TARGET_SEQ, NO_NAME, target);
  }

  /** A copy of the target of a symbolic link. */
  readTarget(ino: number): Uint8Array {
    return this.#read(ino, TARGET_HASH, TARGET_SEQ);
  }

  /** Fills `slot` with the attribute, or with the place for it. Returns whether it exists. */
  #find(ino: number, name: Uint8Array, slot: XattrSlot): boolean {
    const cursor = this.#cursor;
    slot.hash = this.#hash(name);
    slot.seq = 0;
    let more = cursor.seek(ino, slot.hash, 0, 0);
    while (more && cursor.key(0) === ino && cursor.key(1) === slot.hash) {
      const seq = Math.floor(cursor.key(2) / CHUNKS);
      if (seq === TARGET_SEQ) return false;
      const found = nameIn(cursor);
      if (sameBytes(found, name)) {
        slot.seq = seq;
        slot.length = valueLengthIn(cursor);
        slot.chunks = chunksFor(name.length, slot.length);
        return true;
      }
      if (seq === slot.seq) slot.seq++;
      more = cursor.seek(ino, slot.hash, (seq + 1) * CHUNKS, 0);
    }
    return false;
  }

  #read(ino: number, hash: number, seq: number): Uint8Array {
    const cursor = this.#cursor;
    const first = seq * CHUNKS;
    if (!cursor.seek(ino, hash, first, 0) || !isAt(cursor, ino, hash, first)) throw damaged(ino, hash, seq);
    const nameBytes = nameIn(cursor).length;
    const value = new Uint8Array(valueLengthIn(cursor));
    const chunks = chunksFor(nameBytes, value.length);
    let part = cursor.payload().subarray(XATTR_HEADER_BYTES + nameBytes);
    let done = 0;
    for (let chunk = 1; ; chunk++) {
      if (done + part.length > value.length) throw damaged(ino, hash, seq);
      value.set(part, done);
      done += part.length;
      if (chunk === chunks) break;
      if (!cursor.next() || !isAt(cursor, ino, hash, first + chunk)) throw damaged(ino, hash, seq);
      part = cursor.payload();
    }
    if (done !== value.length) throw damaged(ino, hash, seq);
    return value;
  }

  #write(ino: number, hash: number, seq: number, name: Uint8Array, value: Uint8Array): void {
    const payload = this.#payload;
    writeU32(payload, value.length);
    payload[4] = name.length;
    payload.set(name, XATTR_HEADER_BYTES);
    const start = XATTR_HEADER_BYTES + name.length;
    let done = Math.min(value.length, PAYLOAD_MAX_BYTES - start);
    payload.set(value.subarray(0, done), start);
    const first = seq * CHUNKS;
    this.#tree.insertPayload(ino, hash, first, 0, payload.subarray(0, start + done));
    for (let chunk = 1; done < value.length; chunk++) {
      const part = value.subarray(done, done + PAYLOAD_MAX_BYTES);
      this.#tree.insertPayload(ino, hash, first + chunk, 0, part);
      done += part.length;
    }
  }

  #removeChunks(ino: number, hash: number, seq: number, chunks: number): void {
    for (let chunk = 0; chunk < chunks; chunk++) {
      const existed = this.#tree.remove(ino, hash, seq * CHUNKS + chunk, 0);
      if (!existed) broken(`inode ${ino}: attribute ${hash}/${seq} has no chunk ${chunk} of ${chunks}`);
    }
  }

  /** Removes the last record of an inode, if there is one. */
  #removeLast(ino: number): void {
    const cursor = this.#cursor;
    if (!cursor.seekLE(ino, U32_MAX, U32_MAX, 0) || cursor.key(0) !== ino) return;
    const word = cursor.key(2);
    this.#tree.remove(ino, cursor.key(1), word, 0);
    if (word % CHUNKS === 0 && Math.floor(word / CHUNKS) !== TARGET_SEQ) this.#inodes.addXattrs(ino, -1);
  }

  #reserve(records: number, freeing: boolean): void {
    this.#reservation.records = records;
    this.#reservation.freeing = freeing;
    this.#ctx.trx.reserve(this.#reservation);
  }
}

/** The rules for an attribute's name: 1 .. 255 bytes without NUL. ERANGE, EINVAL. */
function checkXattrName(name: Uint8Array, op: string): void {
  if (name.length === 0 || name.length > XATTR_NAME_MAX_BYTES) {
    throw new FsError('ERANGE', op, `an attribute name of ${name.length} bytes`);
  }
  if (name.includes(0)) throw new FsError('EINVAL', op, 'the attribute name holds a NUL');
}

/** The rules for an attribute. ERANGE, EINVAL, E2BIG. */
export function checkXattr(name: Uint8Array, value: Uint8Array, op: string): void {
  checkXattrName(name, op);
  if (value.length > XATTR_VALUE_MAX_BYTES) {
    throw new FsError('E2BIG', op, `${value.length} bytes, at most ${XATTR_VALUE_MAX_BYTES}`);
  }
}

/** Length of the value whose first chunk the cursor is on. */
function valueLengthIn(cursor: Cursor): number {
  const length = readU32(firstChunk(cursor));
  if (length > XATTR_VALUE_MAX_BYTES) {
    throw damaged(cursor.key(0), cursor.key(1), Math.floor(cursor.key(2) / CHUNKS));
  }
  return length;
}

/** Name of the attribute whose first chunk the cursor is on, valid until the next change. */
function nameIn(cursor: Cursor): Uint8Array {
  const payload = firstChunk(cursor);
  return payload.subarray(XATTR_HEADER_BYTES, XATTR_HEADER_BYTES + payload[4]);
}

function firstChunk(cursor: Cursor): Uint8Array {
  const payload = cursor.payload();
  const whole = payload.length >= XATTR_HEADER_BYTES && payload.length >= XATTR_HEADER_BYTES + payload[4];
  if (cursor.key(2) % CHUNKS !== 0 || !whole) {
    throw damaged(cursor.key(0), cursor.key(1), Math.floor(cursor.key(2) / CHUNKS));
  }
  return payload;
}

const isAt = (cursor: Cursor, ino: number, hash: number, word: number): boolean =>
  cursor.key(0) === ino && cursor.key(1) === hash && cursor.key(2) === word;

const damaged = (ino: number, hash: number, seq: number): CorruptionError =>
  new CorruptionError(-1, `inode ${ino}: the chunks of attribute ${hash}/${seq} do not fit together`);
