import { broken, FsError, InvariantError } from '../errors.js';
import { asBytes, asIno, type Ino, MAX_FILE_SIZE, MAX_INO, ROOT_INO, type Time } from '../types.js';
import type { InodeAttr } from './api.js';
import type { EngineContext } from './context.js';
import { INODE, INODE_FLAG_NOATIME, INODE_WORDS } from './layout.js';
import { isDirectory } from './mode.js';
import type { Cursor, Tree } from './tree.js';

/** Which times touch() sets to now. */
const TOUCH_ATIME = 1;
export const TOUCH_MTIME = 2;
export const TOUCH_CTIME = 4;

const WORD = 2 ** 32;
const U32_MAX = WORD - 1;
const NSEC_MAX = 999_999_999;
const DAY_SECONDS = 86_400;

export interface InodeInit {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  /** Bytes. */
  size: number;
}

/**
 * The inode table. Reads and changes the words of a record through one reused cursor: nothing is allocated.
 * The caller has reserved one record for each inode that it changes. An inode that does not exist is ESTALE:
 * whoever names it holds a number that is no longer one.
 */
export class InodeTable {
  readonly #ctx: EngineContext;
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  readonly #record = new Uint32Array(INODE_WORDS);
  readonly #now: Time = { sec: 0, nsec: 0 };
  /** Where the search for a free number goes on once the counter is used up. Only ever goes round forward. */
  #nextGap = ROOT_INO + 1;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
    this.#tree = ctx.trees.inode;
    this.#cursor = this.#tree.cursor();
  }

  exists(ino: number): boolean {
    // One operation asks for several fields of one inode.
    if (this.#cursor.isAt(ino)) return true;
    return ino <= MAX_INO && this.#cursor.seek(ino, 0, 0, 0) && this.#cursor.key(0) === ino;
  }

  /** File type and permissions. */
  mode(ino: number): number {
    return this.#at(ino).value(INODE.mode);
  }

  nlink(ino: number): number {
    return this.#at(ino).value(INODE.nlink);
  }

  /** Bytes. */
  size(ino: number): number {
    const cursor = this.#at(ino);
    return cursor.value(INODE.sizeHi) * WORD + cursor.value(INODE.sizeLo);
  }

  /** Sets the size in bytes and nothing else; 0 .. MAX_FILE_SIZE. */
  setSize(ino: number, size: number): void {
    if (!Number.isInteger(size) || size < 0 || size > MAX_FILE_SIZE) {
      throw new InvariantError(`inode ${ino}: size ${size}`);
    }
    const cursor = this.#at(ino);
    cursor.set(INODE.sizeLo, size % WORD);
    cursor.set(INODE.sizeHi, Math.floor(size / WORD));
  }

  /** Allocated blocks of 4096 bytes. */
  blocks(ino: number): number {
    return this.#at(ino).value(INODE.blocks);
  }

  /** Adds `delta` (may be negative) to the number of allocated blocks. */
  addBlocks(ino: number, delta: number): void {
    this.#add(this.#at(ino), INODE.blocks, delta);
  }

  /** INODE_FLAG_* */
  flags(ino: number): number {
    return this.#at(ino).value(INODE.flags);
  }

  setFlags(ino: number, flags: number): void {
    this.#at(ino).set(INODE.flags, flags);
  }

  /** Directories: number of entries. */
  entries(ino: number): number {
    return this.#at(ino).value(INODE.entries);
  }

  /** Number of extended attributes. */
  xattrs(ino: number): number {
    return this.#at(ino).value(INODE.xattrs);
  }

  /** Sets the times named by `which` (TOUCH_*) to now. */
  touch(ino: number, which: number): void {
    this.#ctx.clock.now(this.#now);
    this.#touchAt(this.#at(ino), which);
  }

  setMode(ino: number, mode: number): void {
    this.#at(ino).set(INODE.mode, mode);
  }

  /** An absent owner or group stays. */
  setOwner(ino: number, uid: number | undefined, gid: number | undefined): void {
    const cursor = this.#at(ino);
    if (uid !== undefined) cursor.set(INODE.uid, uid);
    if (gid !== undefined) cursor.set(INODE.gid, gid);
  }

  /** See Namespace.atimeIsOld(). */
  atimeIsOld(ino: number, now: number): boolean {
    const cursor = this.#at(ino);
    if ((cursor.value(INODE.flags) & INODE_FLAG_NOATIME) !== 0) return false;
    return (
      !isAfter(cursor, INODE.atime, INODE.mtime) ||
      !isAfter(cursor, INODE.atime, INODE.ctime) ||
      now - secondsAt(cursor, INODE.atime) >= DAY_SECONDS
    );
  }

  setAtime(ino: number, time: Time): void {
    writeTime(this.#at(ino), INODE.atime, time);
  }

  setMtime(ino: number, time: Time): void {
    writeTime(this.#at(ino), INODE.mtime, time);
  }

  /** Sets ctime to `time`, or to now. */
  setCtime(ino: number, time: Time | undefined): void {
    if (time === undefined) this.touch(ino, TOUCH_CTIME);
    else writeTime(this.#at(ino), INODE.ctime, time);
  }

  /** Adds to the link count and sets ctime. Returns the new count. */
  addLinks(ino: number, delta: number): number {
    this.#ctx.clock.now(this.#now);
    const cursor = this.#at(ino);
    this.#add(cursor, INODE.nlink, delta);
    this.#touchAt(cursor, TOUCH_CTIME);
    return cursor.value(INODE.nlink);
  }

  /** A directory was removed: its parent's entry and its own "." are gone. Sets ctime. */
  clearLinks(ino: number): void {
    this.addLinks(ino, -this.nlink(ino));
  }

  /** Adds to the number of extended attributes (0 = a value was replaced) and sets ctime. */
  addXattrs(ino: number, delta: number): void {
    this.#ctx.clock.now(this.#now);
    const cursor = this.#at(ino);
    this.#add(cursor, INODE.xattrs, delta);
    this.#touchAt(cursor, TOUCH_CTIME);
  }

  /**
   * A directory's entries changed: `added` and `removed` names, `subdirs` more (or fewer) directories among
   * them. Sets mtime and ctime.
   */
  entriesChanged(dir: number, added: number, removed: number, subdirs: number): void {
    this.#ctx.clock.now(this.#now);
    const cursor = this.#at(dir);
    if (!isDirectory(cursor.value(INODE.mode))) broken(`inode ${dir} has entries but is no directory`);
    this.#add(cursor, INODE.entries, added - removed);
    this.#add(cursor, INODE.nlink, subdirs);
    cursor.set(INODE.version, (cursor.value(INODE.version) + added) % WORD);
    this.#touchAt(cursor, TOUCH_MTIME | TOUCH_CTIME);
  }

  /** Fills `out` with the attributes. Allocates nothing. */
  read(ino: Ino, out: InodeAttr): InodeAttr {
    const record = this.#record;
    this.#at(ino).read(record);
    out.ino = ino;
    out.generation = record[INODE.generation];
    out.mode = record[INODE.mode];
    out.nlink = record[INODE.nlink];
    out.uid = record[INODE.uid];
    out.gid = record[INODE.gid];
    out.rdev = record[INODE.rdev];
    out.size = asBytes(record[INODE.sizeHi] * WORD + record[INODE.sizeLo]);
    out.blocks = record[INODE.blocks];
    out.flags = record[INODE.flags];
    unpackTime(record, INODE.atime, out.atime);
    unpackTime(record, INODE.mtime, out.mtime);
    unpackTime(record, INODE.ctime, out.ctime);
    unpackTime(record, INODE.btime, out.btime);
    return out;
  }

  /**
   * A number that no inode has; nothing is changed. The counter goes first, so that numbers are used again
   * only after all were used once. ENOSPC when all are taken.
   */
  pickIno(): Ino {
    if (this.#ctx.counters.lastIno < MAX_INO) return asIno(this.#ctx.counters.lastIno + 1);
    const found = this.#gapFrom(this.#nextGap) || this.#gapFrom(ROOT_INO + 1);
    if (found === 0) throw new FsError('ENOSPC', 'create', 'all inode numbers are in use');
    return asIno(found);
  }

  /**
   * Adds an inode under a number from pickIno() with all four times set to now. Its generation is the
   * transaction's number: a number is never given out twice within one transaction (see pickIno and
   * #nextGap), so that two committed inodes never share number and generation.
   */
  add(ino: Ino, init: InodeInit): void {
    this.#ctx.clock.now(this.#now);
    const record = this.#record.fill(0);
    record[INODE.mode] = init.mode;
    record[INODE.nlink] = init.nlink;
    record[INODE.uid] = init.uid;
    record[INODE.gid] = init.gid;
    record[INODE.rdev] = init.rdev;
    record[INODE.generation] = this.#ctx.trx.txid % WORD;
    record[INODE.sizeLo] = init.size % WORD;
    record[INODE.sizeHi] = Math.floor(init.size / WORD);
    for (const at of [INODE.atime, INODE.mtime, INODE.ctime, INODE.btime]) packTime(this.#now, record, at);
    this.#tree.insert(ino, 0, 0, 0, record);
    if (this.#ctx.counters.lastIno === MAX_INO) this.#nextGap = ino + 1;
    this.#ctx.counters.lastIno = Math.max(this.#ctx.counters.lastIno, ino);
    this.#ctx.counters.inodeCount++;
  }

  /** Removes the record of an inode that has no links, blocks or attributes any more. */
  remove(ino: Ino): void {
    const cursor = this.#at(ino);
    if (cursor.value(INODE.nlink) !== 0) broken(`inode ${ino} is freed with links`);
    if (cursor.value(INODE.blocks) !== 0) broken(`inode ${ino} is freed with blocks`);
    if (cursor.value(INODE.xattrs) !== 0) broken(`inode ${ino} is freed with attributes`);
    this.#tree.remove(ino, 0, 0, 0);
    this.#ctx.counters.inodeCount--;
  }

  /** First number >= `from` without an inode, or 0. */
  #gapFrom(from: number): number {
    let candidate = from;
    let more = candidate <= MAX_INO && this.#cursor.seek(candidate, 0, 0, 0);
    while (more && this.#cursor.key(0) === candidate) {
      candidate++;
      more = this.#cursor.next();
    }
    return candidate <= MAX_INO ? candidate : 0;
  }

  /** The cursor on the inode's record. */
  #at(ino: number): Cursor {
    if (!this.exists(ino)) throw noSuchInode(ino);
    return this.#cursor;
  }

  #add(cursor: Cursor, word: number, delta: number): void {
    const sum = cursor.value(word) + delta;
    if (sum < 0 || sum > U32_MAX) {
      throw new InvariantError(`inode ${cursor.key(0)}: word ${word} becomes ${sum}`);
    }
    if (delta !== 0) cursor.set(word, sum);
  }

  #touchAt(cursor: Cursor, which: number): void {
    if ((which & TOUCH_ATIME) !== 0) writeTime(cursor, INODE.atime, this.#now);
    if ((which & TOUCH_MTIME) !== 0) writeTime(cursor, INODE.mtime, this.#now);
    if ((which & TOUCH_CTIME) !== 0) writeTime(cursor, INODE.ctime, this.#now);
  }
}

/** Whether a time can be stored: whole seconds within 2^53 and nanoseconds below one second. */
export function isValidTime(time: Time): boolean {
  return (
    Number.isSafeInteger(time.sec) && Number.isInteger(time.nsec) && time.nsec >= 0 && time.nsec <= NSEC_MAX
  );
}

/** Seconds are a signed 64-bit number in two words, low first. */
function packTime(time: Time, record: Uint32Array, at: number): void {
  if (!isValidTime(time)) throw new InvariantError(`time ${time.sec}.${time.nsec}`);
  record[at] = lowWord(time.sec);
  record[at + 1] = highWord(time.sec);
  record[at + 2] = time.nsec;
}

function writeTime(cursor: Cursor, at: number, time: Time): void {
  if (!isValidTime(time)) throw new InvariantError(`time ${time.sec}.${time.nsec}`);
  cursor.set(at, lowWord(time.sec));
  cursor.set(at + 1, highWord(time.sec));
  cursor.set(at + 2, time.nsec);
}

function unpackTime(record: Uint32Array, at: number, into: Time): void {
  into.sec = (record[at + 1] | 0) * WORD + record[at];
  into.nsec = record[at + 2];
}

const secondsAt = (cursor: Cursor, at: number): number =>
  (cursor.value(at + 1) | 0) * WORD + cursor.value(at);

/** Whether the time at word `a` of the record is later than the one at word `b`. */
function isAfter(cursor: Cursor, a: number, b: number): boolean {
  const seconds = secondsAt(cursor, a) - secondsAt(cursor, b);
  return seconds !== 0 ? seconds > 0 : cursor.value(a + 2) > cursor.value(b + 2);
}

/** Two's complement: the low word of a negative number counts up from the floor of its high word. */
const lowWord = (sec: number): number => sec - Math.floor(sec / WORD) * WORD;
const highWord = (sec: number): number => Math.floor(sec / WORD) >>> 0;

const noSuchInode = (ino: number): FsError => new FsError('ESTALE', 'inode', `there is no inode ${ino}`);
