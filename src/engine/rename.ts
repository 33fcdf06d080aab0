import { FsError } from '../errors.js';
import { asIno, type Ino } from '../types.js';
import type { OwnerIds } from './api.js';
import { checkName, newDirSlot } from './dir.js';
import { TOUCH_CTIME } from './inode.js';
import { DT_CHR, DT_DIR, S_IFCHR } from './mode.js';
import type { NamespaceTables } from './tables.js';

/** Flags of renameat2(2). */
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** Entries 4 (one replaced costs two), parents 4, both directories, source, target, whiteout, orphan. */
const MOVE_RECORDS = 14;
/** Two replaced entries, four parents, both directories, both inodes. */
const EXCHANGE_RECORDS = 12;

const ROOT_IDS: OwnerIds = { uid: 0, gid: 0 };

/** Where a rename takes place. */
interface Place {
  readonly dir: Ino;
  readonly name: Uint8Array;
}

/**
 * renameat2(2). The order of the checks is that of do_renameat2() and vfs_rename() in fs/namei.c. Times: both
 * directories' mtime and ctime, and the ctime of each inode that was moved, exchanged or replaced.
 */
export class Renamer {
  readonly #tables: NamespaceTables;
  readonly #src = newDirSlot();
  readonly #dst = newDirSlot();

  constructor(tables: NamespaceTables) {
    this.#tables = tables;
  }

  /** Returns the inode that lost the new name, or 0. */
  rename(from: Place, to: Place, flags: number, whiteout = ROOT_IDS): Ino | 0 {
    checkFlags(flags);
    checkName(from.name, 'rename');
    checkName(to.name, 'rename');
    this.#tables.checkLiveDirectory(from.dir, 'rename');
    this.#tables.checkLiveDirectory(to.dir, 'rename');
    this.#tables.findEntry(from.dir, from.name, this.#src, 'rename');
    const replaces = this.#tables.dirs.find(to.dir, to.name, this.#dst);
    if (replaces) this.#tables.modeOf(to.dir, this.#dst);
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    if (replaces && (flags & RENAME_NOREPLACE) !== 0) {
      throw new FsError('EEXIST', 'rename', 'the new name exists');
    }
    if (!replaces && exchange) {
      throw new FsError('ENOENT', 'rename', 'there is no entry to exchange with');
    }
    this.#checkNotBelow(this.#src.ino, this.#src.type, from.dir, to.dir);
    if (exchange) this.#checkNotBelow(this.#dst.ino, this.#dst.type, to.dir, from.dir);
    if (this.#src.ino === this.#dst.ino) return 0;
    if (exchange) return this.#exchange(from, to);
    return this.#move(from, to, (flags & RENAME_WHITEOUT) !== 0 ? whiteout : undefined);
  }

  #move(from: Place, to: Place, whiteout: OwnerIds | undefined): Ino | 0 {
    const tables = this.#tables;
    const src = this.#src;
    const dst = this.#dst;
    const replaced = dst.ino;
    const movesDir = src.type === DT_DIR ? 1 : 0;
    const replacesDir = dst.type === DT_DIR ? 1 : 0;
    if (replaced === 0) tables.checkRoom(to.dir, dst, 'rename');
    else this.#checkReplaceable();
    if (movesDir > replacesDir && from.dir !== to.dir) tables.checkLinks(to.dir, 'rename');
    const whiteoutIno = whiteout !== undefined ? tables.inodes.pickIno() : asIno(0);
    tables.reserve(MOVE_RECORDS, false);
    if (replaced !== 0) {
      tables.removeName(to.dir, dst);
      tables.dropLink(replaced, replacesDir === 1);
    }
    tables.addName(to.dir, dst, to.name, src.ino, src.type);
    tables.removeName(from.dir, src);
    if (whiteout !== undefined) this.#addWhiteout(from, whiteoutIno, whiteout);
    tables.inodes.entriesChanged(to.dir, 1, replaced === 0 ? 0 : 1, movesDir - replacesDir);
    tables.inodes.entriesChanged(from.dir, whiteout !== undefined ? 1 : 0, 1, -movesDir);
    tables.inodes.touch(src.ino, TOUCH_CTIME);
    return asIno(replaced);
  }

  /** A character device 0:0 under the old name: what overlayfs takes for "deleted here". */
  #addWhiteout(from: Place, ino: Ino, { uid, gid }: OwnerIds): void {
    this.#tables.inodes.add(ino, { mode: S_IFCHR, nlink: 1, uid, gid, rdev: 0, size: 0 });
    this.#tables.addName(from.dir, this.#src, from.name, ino, DT_CHR);
  }

  #exchange(from: Place, to: Place): 0 {
    const tables = this.#tables;
    const src = this.#src;
    const dst = this.#dst;
    const moreDirs = (src.type === DT_DIR ? 1 : 0) - (dst.type === DT_DIR ? 1 : 0);
    if (from.dir !== to.dir && moreDirs > 0) tables.checkLinks(to.dir, 'rename');
    if (from.dir !== to.dir && moreDirs < 0) tables.checkLinks(from.dir, 'rename');
    tables.reserve(EXCHANGE_RECORDS, false);
    tables.dirs.replace(from.dir, src, from.name, dst.ino, dst.type);
    tables.dirs.replace(to.dir, dst, to.name, src.ino, src.type);
    tables.parents.remove(src.ino, from.dir, src);
    tables.parents.remove(dst.ino, to.dir, dst);
    tables.parents.add(src.ino, to.dir, dst);
    tables.parents.add(dst.ino, from.dir, src);
    tables.inodes.entriesChanged(to.dir, 1, 1, moreDirs);
    tables.inodes.entriesChanged(from.dir, 1, 1, -moreDirs);
    tables.inodes.touch(src.ino, TOUCH_CTIME);
    tables.inodes.touch(dst.ino, TOUCH_CTIME);
    return 0;
  }

  /** A directory cannot go into itself or below. */
  #checkNotBelow(ino: number, type: number, oldDir: Ino, newDir: Ino): void {
    if (type !== DT_DIR || oldDir === newDir) return;
    if (this.#tables.parents.isWithin(newDir, ino)) {
      throw new FsError('EINVAL', 'rename', `directory ${ino} would move into itself`);
    }
  }

  #checkReplaceable(): void {
    const dst = this.#dst;
    const movesDir = this.#src.type === DT_DIR;
    const replacesDir = dst.type === DT_DIR;
    if (movesDir && !replacesDir) throw new FsError('ENOTDIR', 'rename', 'a directory over another file');
    if (!movesDir && replacesDir) throw new FsError('EISDIR', 'rename', 'another file over a directory');
    if (replacesDir && this.#tables.inodes.entries(dst.ino) > 0) {
      // XFS says EEXIST, which rename(2) allows as well as ENOTEMPTY.
      throw new FsError('EEXIST', 'rename', `directory ${dst.ino} is not empty`);
    }
  }
}

function checkFlags(flags: number): void {
  const known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
  const exchangeOnly = (flags & RENAME_EXCHANGE) !== 0 && flags !== RENAME_EXCHANGE;
  if ((flags & ~known) !== 0 || exchangeOnly) throw new FsError('EINVAL', 'rename', `flags ${flags}`);
}
