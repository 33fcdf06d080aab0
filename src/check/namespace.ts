import type { EngineContext } from '../engine/context.js';
import { DIRENT_HEADER_BYTES, inoOf, isName } from '../engine/dir.js';
import { type NameHash, nameHash } from '../engine/hash.js';
import { INODE } from '../engine/layout.js';
import { DT_DIR, isDirectory, isValidMode, typeOf } from '../engine/mode.js';
import type { Cursor } from '../engine/tree.js';
import { CHECK_PROBLEMS_MAX, HASH_COLLISIONS_MAX } from '../limits.js';
import { MAX_INO, ROOT_INO } from '../types.js';
import { XattrCheck } from './xattr.js';

const NSEC_MAX = 999_999_999;

/**
 * Compares the trees of the namespace with each other: entries with the records that lead back, link and
 * entry counts, orphans, attributes, counters, and that every directory hangs below the root. Changes nothing.
 * Returns one sentence for each problem, at most CHECK_PROBLEMS_MAX; none when all is well.
 */
export function checkNamespace(ctx: EngineContext, hash: NameHash = nameHash): string[] {
  return new NamespaceCheck(ctx, hash).run();
}

class NamespaceCheck {
  readonly #ctx: EngineContext;
  readonly #hash: NameHash;
  readonly #problems: string[] = [];
  readonly #inode: Cursor;
  readonly #other: Cursor;
  readonly #dirent: Cursor;
  readonly #parent: Cursor;
  readonly #xattrs: XattrCheck;
  readonly #orphan: Cursor;
  /** Directories known to hang below the root. */
  readonly #reached = new Set<number>([ROOT_INO]);

  constructor(ctx: EngineContext, hash: NameHash) {
    this.#ctx = ctx;
    this.#hash = hash;
    this.#inode = ctx.trees.inode.cursor();
    this.#other = ctx.trees.inode.cursor();
    this.#dirent = ctx.trees.dirent.cursor();
    this.#parent = ctx.trees.parent.cursor();
    this.#xattrs = new XattrCheck(ctx, hash, (text) => this.#problem(text));
    this.#orphan = ctx.trees.orphan.cursor();
  }

  run(): string[] {
    if (!this.#hasInode(ROOT_INO)) this.#problem('there is no root directory');
    this.#checkInodes();
    this.#checkEntries();
    this.#checkParents();
    this.#checkOrphans();
    this.#xattrs.checkOwners();
    return this.#problems;
  }

  #checkInodes(): void {
    let highest = 0;
    for (let more = this.#inode.seek(0, 0, 0, 0); more; more = this.#inode.next()) {
      highest = this.#inode.key(0);
      this.#checkRecord(highest);
      if (isDirectory(this.#inode.value(INODE.mode))) this.#checkDirectory(highest);
      else this.#checkFile(highest);
      this.#xattrs.checkInode(this.#inode);
    }
    const { inodeCount, lastIno } = this.#ctx.counters;
    if (inodeCount !== this.#ctx.trees.inode.count) {
      this.#problem(
        `the superblock counts ${inodeCount} inodes, the tree has ${this.#ctx.trees.inode.count}`,
      );
    }
    if (lastIno < highest)
      this.#problem(`inode ${highest} is above the highest number given out, ${lastIno}`);
  }

  #checkRecord(ino: number): void {
    const record = this.#inode;
    const mode = record.value(INODE.mode);
    if (ino === 0 || ino > MAX_INO) this.#problem(`inode ${ino} has a number out of range`);
    if (!isValidMode(mode)) this.#problem(`inode ${ino} has mode 0${mode.toString(8)}`);
    for (const time of [INODE.atime, INODE.mtime, INODE.ctime, INODE.btime]) {
      if (record.value(time + 2) > NSEC_MAX)
        this.#problem(`inode ${ino} has a time with too many nanoseconds`);
    }
    const isOrphan = this.#orphan.seek(ino, 0, 0, 0) && this.#orphan.key(0) === ino;
    if ((record.value(INODE.nlink) === 0) !== isOrphan) {
      this.#problem(
        `inode ${ino} has ${record.value(INODE.nlink)} links and is ${isOrphan ? 'an' : 'no'} orphan`,
      );
    }
  }

  #checkDirectory(ino: number): void {
    let entries = 0;
    let subdirs = 0;
    let more = this.#dirent.seek(ino, 0, 0, 0);
    for (; more && this.#dirent.key(0) === ino; more = this.#dirent.next()) {
      entries++;
      if (this.#dirent.payload()[4] === DT_DIR) subdirs++;
    }
    const nlink = this.#inode.value(INODE.nlink);
    const counted = this.#inode.value(INODE.entries);
    if (counted !== entries) this.#problem(`directory ${ino} counts ${counted} entries but has ${entries}`);
    if (nlink === 0) {
      if (entries > 0) this.#problem(`directory ${ino} was removed but has ${entries} entries`);
      return;
    }
    if (nlink !== 2 + subdirs) {
      this.#problem(`directory ${ino} has ${nlink} links and ${subdirs} subdirectories`);
    }
    const names = this.#countParents(ino);
    if (names !== (ino === ROOT_INO ? 0 : 1)) this.#problem(`directory ${ino} has ${names} names`);
    this.#checkReached(ino);
  }

  #checkFile(ino: number): void {
    const nlink = this.#inode.value(INODE.nlink);
    const names = this.#countParents(ino);
    if (nlink !== names) this.#problem(`inode ${ino} has ${nlink} links but ${names} names`);
    if (ino === ROOT_INO) this.#problem('the root is no directory');
  }

  #countParents(ino: number): number {
    let count = 0;
    let more = this.#parent.seek(ino, 0, 0, 0);
    for (; more && this.#parent.key(0) === ino; more = this.#parent.next()) count++;
    return count;
  }

  /** Follows the parents of a directory up to one that is known to hang below the root. */
  #checkReached(ino: number): void {
    const way = new Set<number>();
    let at = ino;
    while (!this.#reached.has(at) && !way.has(at)) {
      way.add(at);
      if (!this.#parent.seek(at, 0, 0, 0) || this.#parent.key(0) !== at) break;
      at = this.#parent.key(1);
    }
    if (!this.#reached.has(at)) {
      this.#problem(`directory ${ino} does not hang below the root`);
      return;
    }
    for (const dir of way) this.#reached.add(dir);
  }

  #checkEntries(): void {
    let names = new Set<string>();
    let lastDir = -1;
    let lastHash = -1;
    for (let more = this.#dirent.seek(0, 0, 0, 0); more; more = this.#dirent.next()) {
      const dir = this.#dirent.key(0);
      const hash = this.#dirent.key(1);
      if (dir !== lastDir || hash !== lastHash) names = new Set();
      lastDir = dir;
      lastHash = hash;
      this.#checkEntry(dir, hash, this.#dirent.key(2), names);
    }
  }

  #checkEntry(dir: number, hash: number, seq: number, names: Set<string>): void {
    const where = `directory ${dir}, entry ${hash}/${seq}`;
    const payload = this.#dirent.payload();
    const name = payload.subarray(DIRENT_HEADER_BYTES);
    if (!isName(name)) {
      this.#problem(`${where}: ${payload.length} bytes that are no entry`);
      return;
    }
    const text = Buffer.from(name).toString('latin1');
    if (names.has(text)) this.#problem(`${where}: the name is there twice`);
    names.add(text);
    if (this.#hash(name) !== hash) this.#problem(`${where}: the name has another hash`);
    if (seq >= HASH_COLLISIONS_MAX) this.#problem(`${where}: sequence out of range`);
    if (!this.#hasInode(dir) || !isDirectory(this.#other.value(INODE.mode))) {
      this.#problem(`${where}: not in a directory`);
    }
    const ino = inoOf(payload);
    if (!this.#hasInode(ino) || typeOf(this.#other.value(INODE.mode)) !== payload[4]) {
      this.#problem(`${where}: names inode ${ino}, which is missing or of another type`);
    }
    const parent = this.#parent;
    const found = parent.seek(ino, dir, hash, seq);
    if (
      !found ||
      parent.key(0) !== ino ||
      parent.key(1) !== dir ||
      parent.key(2) !== hash ||
      parent.key(3) !== seq
    ) {
      this.#problem(`${where}: inode ${ino} has no record of this name`);
    }
  }

  #checkParents(): void {
    const dirent = this.#dirent;
    for (let more = this.#parent.seek(0, 0, 0, 0); more; more = this.#parent.next()) {
      const [ino, dir, hash, seq] = [0, 1, 2, 3].map((i) => this.#parent.key(i));
      const found = dirent.seek(dir, hash, seq, 0);
      if (!found || dirent.key(0) !== dir || dirent.key(1) !== hash || dirent.key(2) !== seq) {
        this.#problem(`inode ${ino} records a name ${hash}/${seq} in directory ${dir} that is not there`);
      } else if (inoOf(dirent.payload()) !== ino) {
        this.#problem(`inode ${ino} records a name ${hash}/${seq} in directory ${dir} that is another's`);
      }
    }
  }

  #checkOrphans(): void {
    for (let more = this.#orphan.seek(0, 0, 0, 0); more; more = this.#orphan.next()) {
      const ino = this.#orphan.key(0);
      if (!this.#hasInode(ino)) this.#problem(`orphan ${ino} has no inode`);
    }
  }

  #hasInode(ino: number): boolean {
    return this.#other.seek(ino, 0, 0, 0) && this.#other.key(0) === ino;
  }

  #problem(text: string): void {
    if (this.#problems.length < CHECK_PROBLEMS_MAX) this.#problems.push(text);
  }
}
