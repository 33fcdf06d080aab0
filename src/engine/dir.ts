import { assert, broken, CorruptionError, FsError } from '../errors.js';
import { HASH_COLLISIONS_MAX, NAME_MAX_BYTES } from '../limits.js';
import { asIno, type Ino } from '../types.js';
import type { DirVisitor } from './api.js';
import { readU32, writeU32 } from './bytes.js';
import type { EngineContext } from './context.js';
import { type NameHash, nameHash } from './hash.js';
import type { Cursor, Tree } from './tree.js';

/** Payload of an entry: inode number (u32, low byte first), DT_* type (u8), then the name. */
export const DIRENT_HEADER_BYTES = 5;

/**
 * Cookies below this one are not entries': 0 is the start, 1 and 2 stand for "." and "..". An entry's cookie
 * is COOKIE_BASE + hash * 256 + sequence: below 2^41, in the order of the keys, and as long-lived as the entry.
 */
const COOKIE_BASE = 3;
const SEQUENCES = 256;

const SLASH = 0x2f;
const DOT = 0x2e;

/** Where an entry is, or where it would go. */
export interface DirSlot {
  hash: number;
  /** Not found: the lowest free one; HASH_COLLISIONS_MAX when there is none. */
  seq: number;
  /** 0 when not found. */
  ino: number;
  /** DT_* */
  type: number;
}

export const newDirSlot = (): DirSlot => ({ hash: 0, seq: 0, ino: 0, type: 0 });

/**
 * The entries of all directories, keyed (directory, hash of the name, sequence). Entries whose names have the
 * same hash differ in the sequence, which stays theirs for life; that makes cookies stable.
 * The caller has checked that the directory is one, and has reserved.
 */
export class DirTable {
  readonly hash: NameHash;
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  /** readdir's own: its visitor may look names up. */
  readonly #walk: Cursor;
  #walking = false;
  readonly #payload = new Uint8Array(DIRENT_HEADER_BYTES + NAME_MAX_BYTES);

  constructor(ctx: EngineContext, hash: NameHash = nameHash) {
    this.hash = hash;
    this.#tree = ctx.trees.dirent;
    this.#cursor = this.#tree.cursor();
    this.#walk = this.#tree.cursor();
  }

  /** Fills `out` with the entry, or with the place for it. Returns whether it exists. */
  find(dir: number, name: Uint8Array, out: DirSlot): boolean {
    const cursor = this.#cursor;
    out.hash = this.hash(name);
    out.seq = 0;
    out.ino = 0;
    out.type = 0;
    let more = cursor.seek(dir, out.hash, 0, 0);
    while (more && cursor.key(0) === dir && cursor.key(1) === out.hash) {
      const seq = cursor.key(2);
      const payload = checkedPayload(cursor);
      if (sameName(payload, name)) {
        out.seq = seq;
        out.ino = inoOf(payload);
        out.type = payload[4];
        return true;
      }
      if (seq === out.seq) out.seq++;
      more = cursor.next();
    }
    return false;
  }

  add(dir: number, slot: DirSlot, name: Uint8Array, ino: number, type: number): void {
    if (slot.seq >= HASH_COLLISIONS_MAX) broken(`directory ${dir}: no sequence left for hash ${slot.hash}`);
    this.#tree.insertPayload(dir, slot.hash, slot.seq, 0, this.#pack(name, ino, type));
  }

  remove(dir: number, slot: DirSlot): void {
    const existed = this.#tree.remove(dir, slot.hash, slot.seq, 0);
    if (!existed) broken(`directory ${dir}: no entry ${slot.hash}/${slot.seq} to remove`);
  }

  /** Makes the entry name another inode. Its cookie stays. Costs two records. */
  replace(dir: number, slot: DirSlot, name: Uint8Array, ino: number, type: number): void {
    this.remove(dir, slot);
    this.#tree.insertPayload(dir, slot.hash, slot.seq, 0, this.#pack(name, ino, type));
  }

  /** The name of an entry as lossy UTF-8, or null when there is no such entry. */
  nameText(dir: number, hash: number, seq: number): string | null {
    const cursor = this.#cursor;
    if (!cursor.seek(dir, hash, seq, 0)) return null;
    if (cursor.key(0) !== dir || cursor.key(1) !== hash || cursor.key(2) !== seq) return null;
    return checkedPayload(cursor).toString('utf8', DIRENT_HEADER_BYTES);
  }

  /** Visits the entries after `cookie`. The visitor may read the filesystem, but neither change it nor nest. */
  read(dir: number, cookie: number, visit: DirVisitor): void {
    if (!Number.isSafeInteger(cookie) || cookie < 0) broken(`readdir cookie ${cookie}`);
    const from = Math.max(0, cookie - COOKIE_BASE + 1);
    if (from >= 2 ** 32 * SEQUENCES) return;
    assert(!this.#walking, 'readdir within readdir');
    this.#walking = true;
    try {
      this.#visitFrom(dir, Math.floor(from / SEQUENCES), from % SEQUENCES, visit);
    } finally {
      this.#walking = false;
    }
  }

  #visitFrom(dir: number, hash: number, seq: number, visit: DirVisitor): void {
    const cursor = this.#walk;
    let more = cursor.seek(dir, hash, seq, 0);
    while (more && cursor.key(0) === dir) {
      const payload = checkedPayload(cursor);
      const name = payload.subarray(DIRENT_HEADER_BYTES);
      const cookie = cookieOf(cursor.key(1), cursor.key(2));
      if (!visit(name, asIno(inoOf(payload)), payload[4], cookie)) return;
      more = cursor.next();
    }
  }

  #pack(name: Uint8Array, ino: number, type: number): Uint8Array {
    const payload = this.#payload;
    writeU32(payload, ino);
    payload[4] = type;
    payload.set(name, DIRENT_HEADER_BYTES);
    return payload.subarray(0, DIRENT_HEADER_BYTES + name.length);
  }
}

export const cookieOf = (hash: number, seq: number): number => COOKIE_BASE + hash * SEQUENCES + seq;

/** The inode number in an entry's payload. */
export const inoOf = (payload: Uint8Array): Ino => asIno(readU32(payload));

/**
 * The rules for a name in a change: 1 .. 255 bytes, any but NUL and '/', not "." or "..".
 * ENOENT for the empty name, ENAMETOOLONG, EINVAL.
 */
export function checkName(name: Uint8Array, op: string): void {
  if (name.length === 0) throw new FsError('ENOENT', op, 'the name is empty');
  if (name.length > NAME_MAX_BYTES) {
    throw new FsError('ENAMETOOLONG', op, `a name of ${name.length} bytes, at most ${NAME_MAX_BYTES}`);
  }
  if (!isName(name)) throw new FsError('EINVAL', op, 'the name is "." or "..", or holds a NUL or a slash');
}

/** Whether bytes can be the name of an entry. */
export function isName(name: Uint8Array): boolean {
  if (name.length === 0 || name.length > NAME_MAX_BYTES) return false;
  for (let i = 0; i < name.length; i++) if (name[i] === 0 || name[i] === SLASH) return false;
  if (name[0] !== DOT) return true;
  return name.length > 2 || (name.length === 2 && name[1] !== DOT);
}

function checkedPayload(cursor: Cursor): Buffer {
  const payload = cursor.payload();
  if (payload.length <= DIRENT_HEADER_BYTES || payload.length > DIRENT_HEADER_BYTES + NAME_MAX_BYTES) {
    throw new CorruptionError(-1, `directory ${cursor.key(0)}: an entry of ${payload.length} bytes`);
  }
  return payload;
}

function sameName(payload: Uint8Array, name: Uint8Array): boolean {
  if (payload.length !== DIRENT_HEADER_BYTES + name.length) return false;
  for (let i = 0; i < name.length; i++) if (payload[DIRENT_HEADER_BYTES + i] !== name[i]) return false;
  return true;
}
