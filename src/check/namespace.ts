import type { EngineContext } from '../engine/context.js';
import { DIRENT_HEADER_BYTES, inoOf } from '../engine/dir.js';
import { type NameHash, nameHash } from '../engine/hash.js';
import { INODE } from '../engine/layout.js';
import { DT_DIR, isDirectory, typeOf } from '../engine/mode.js';
import { recordFault } from '../engine/record-fault.js';
import { ROOT_INO } from '../types.js';
import { Problems } from './problem.js';
import { areWhole, type CheckSubject, type ReadCursor, seekExact } from './subject.js';
import { XattrCheck } from './xattr.js';

/**
 * Compares the trees of the namespace with each other: entries with the records that lead back, link and
 * entry counts, orphans, attributes, counters, and that every directory hangs below the root. Changes nothing.
 * Returns one sentence for each problem, at most CHECK_PROBLEMS_MAX; none when all is well.
 */
export function checkNamespace(ctx: EngineContext, hash: NameHash = nameHash): string[] {
  const problems = new Problems();
  findInNamespace(ctx, problems, hash);
  return problems.texts();
}

/** The same for anything that has the trees, and with the problems as records. */
export function findInNamespace(subject: CheckSubject, problems: Problems, hash: NameHash = nameHash): void {
  new NamespaceCheck(subject, problems, hash).run();
}

class NamespaceCheck {
  readonly #subject: CheckSubject;
  readonly #hash: NameHash;
  readonly #problems: Problems;
  readonly #inode: ReadCursor;
  readonly #other: ReadCursor;
  readonly #dirent: ReadCursor;
  readonly #parent: ReadCursor;
  readonly #xattrs: XattrCheck;
  readonly #orphan: ReadCursor;
  /** Directories known to hang below the root. */
  readonly #reached = new Set<number>([ROOT_INO]);

  constructor(subject: CheckSubject, problems: Problems, hash: NameHash) {
    this.#subject = subject;
    this.#problems = problems;
    this.#hash = hash;
    const { trees } = subject;
    this.#inode = trees.inode.cursor();
    this.#other = trees.inode.cursor();
    this.#dirent = trees.dirent.cursor();
    this.#parent = trees.parent.cursor();
    this.#xattrs = new XattrCheck(subject, problems, hash);
    this.#orphan = trees.orphan.cursor();
  }

  run(): void {
    if (this.#lacksInode(ROOT_INO)) {
      this.#problems.add('inode', 'there is no root directory', { ino: ROOT_INO });
    }
    this.#checkInodes();
    this.#checkEntries();
    this.#checkParents();
    this.#checkOrphans();
    this.#xattrs.checkOwners();
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
    const { inodeCount, lastIno } = this.#subject.counters;
    const { count } = this.#subject.trees.inode;
    if (inodeCount !== count && areWhole(this.#subject, 'inode')) {
      this.#problems.add('superblock', `the superblock counts ${inodeCount} inodes, the tree has ${count}`);
    }
    if (lastIno < highest) {
      const text = `inode ${highest} is above the highest number given out, ${lastIno}`;
      this.#problems.add('superblock', text, { ino: highest });
    }
  }

  #checkRecord(ino: number): void {
    const fault = recordFault('inode', this.#inode, this.#subject.media.blocks);
    if (fault !== null) this.#inodeProblem(ino, `inode ${ino} ${fault}`);
    if (!areWhole(this.#subject, 'orphan')) return;
    const isOrphan = seekExact(this.#orphan, [ino]);
    const links = this.#inode.value(INODE.nlink);
    if ((links === 0) !== isOrphan) {
      const text = `inode ${ino} has ${links} links and is ${isOrphan ? 'an' : 'no'} orphan`;
      this.#problems.add('orphan', text, { ino });
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
    if (areWhole(this.#subject, 'dirent')) {
      if (counted !== entries) {
        this.#inodeProblem(ino, `directory ${ino} counts ${counted} entries but has ${entries}`);
      }
      if (nlink > 0 && nlink !== 2 + subdirs) {
        this.#inodeProblem(ino, `directory ${ino} has ${nlink} links and ${subdirs} subdirectories`);
      }
    }
    if (nlink === 0) {
      if (entries > 0) this.#inodeProblem(ino, `directory ${ino} was removed but has ${entries} entries`);
      return;
    }
    if (!areWhole(this.#subject, 'parent')) return;
    const names = this.#countParents(ino);
    if (names !== (ino === ROOT_INO ? 0 : 1)) {
      this.#problems.add('parent', `directory ${ino} has ${names} names`, { ino });
    }
    this.#checkReached(ino);
  }

  #checkFile(ino: number): void {
    if (ino === ROOT_INO) this.#inodeProblem(ino, 'the root is no directory');
    if (!areWhole(this.#subject, 'parent')) return;
    const nlink = this.#inode.value(INODE.nlink);
    const names = this.#countParents(ino);
    if (nlink !== names) this.#inodeProblem(ino, `inode ${ino} has ${nlink} links but ${names} names`);
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
      this.#problems.add('parent', `directory ${ino} does not hang below the root`, { ino });
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
    const payload = this.#dirent.payload();
    const name = payload.subarray(DIRENT_HEADER_BYTES);
    const bad = (text: string): void => {
      this.#problems.add('dirent', `directory ${dir}, entry ${hash}/${seq}: ${text}`, { ino: dir });
    };
    const fault = recordFault('dirent', this.#dirent, this.#subject.media.blocks);
    if (fault !== null) {
      bad(fault);
      return;
    }
    const text = Buffer.from(name).toString('latin1');
    if (names.has(text)) bad('the name is there twice');
    names.add(text);
    if (this.#hash(name) !== hash) bad('the name has another hash');
    if (!this.#modeFits(dir, isDirectory)) bad('not in a directory');
    const ino = inoOf(payload);
    if (!this.#modeFits(ino, (mode) => typeOf(mode) === payload[4])) {
      bad(`names inode ${ino}, which is missing or of another type`);
    }
    if (areWhole(this.#subject, 'parent') && !seekExact(this.#parent, [ino, dir, hash, seq])) {
      const told = `directory ${dir}, entry ${hash}/${seq}: inode ${ino} has no record of this name`;
      this.#problems.add('parent', told, { ino });
    }
  }

  #checkParents(): void {
    const dirent = this.#dirent;
    for (let more = this.#parent.seek(0, 0, 0, 0); more; more = this.#parent.next()) {
      const [ino, dir, hash, seq] = [0, 1, 2, 3].map((i) => this.#parent.key(i));
      const what = `inode ${ino} records a name ${hash}/${seq} in directory ${dir}`;
      const fault = recordFault('parent', this.#parent, this.#subject.media.blocks);
      if (fault !== null) this.#problems.add('parent', `${what}: ${fault}`, { ino });
      else if (!seekExact(dirent, [dir, hash, seq])) {
        if (areWhole(this.#subject, 'dirent')) {
          this.#problems.add('parent', `${what} that is not there`, { ino });
        }
      } else if (inoOf(dirent.payload()) !== ino) {
        this.#problems.add('parent', `${what} that is another's`, { ino });
      }
    }
  }

  #checkOrphans(): void {
    for (let more = this.#orphan.seek(0, 0, 0, 0); more; more = this.#orphan.next()) {
      const ino = this.#orphan.key(0);
      const fault = recordFault('orphan', this.#orphan, this.#subject.media.blocks);
      if (fault !== null) this.#problems.add('orphan', `orphan ${ino} ${fault}`, { ino });
      else if (this.#lacksInode(ino)) this.#problems.add('orphan', `orphan ${ino} has no inode`, { ino });
    }
  }

  /** Puts #other on the inode's record. */
  #hasInode(ino: number): boolean {
    return seekExact(this.#other, [ino]);
  }

  /** Whether the inode exists (or may exist, where a part of the tree is lost) and has such a mode. */
  #modeFits(ino: number, fits: (mode: number) => boolean): boolean {
    if (!this.#hasInode(ino)) return !areWhole(this.#subject, 'inode');
    return fits(this.#other.value(INODE.mode));
  }

  /** Whether it is certain that there is no such inode. */
  #lacksInode(ino: number): boolean {
    return !this.#hasInode(ino) && areWhole(this.#subject, 'inode');
  }

  #inodeProblem(ino: number, text: string): void {
    this.#problems.add('inode', text, { ino });
  }
}
