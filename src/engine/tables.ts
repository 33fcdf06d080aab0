import { CorruptionError, FsError } from '../errors.js';
import { HASH_COLLISIONS_MAX, LINK_MAX } from '../limits.js';
import { asIno, type Ino } from '../types.js';
import type { EngineContext, Reservation } from './context.js';
import { type DirSlot, DirTable } from './dir.js';
import type { NameHash } from './hash.js';
import { InodeTable } from './inode.js';
import { isDirectory, typeOf } from './mode.js';
import { OrphanTable } from './orphan.js';
import { ParentTable } from './parent.js';
import { XattrTable } from './xattr.js';

/**
 * The tables of the namespace, and the changes of one name that several operations share. Each of those keeps
 * dirent, parent, link count and orphan list in step; the caller has reserved.
 */
export class NamespaceTables {
  readonly inodes: InodeTable;
  readonly dirs: DirTable;
  readonly parents: ParentTable;
  readonly xattrs: XattrTable;
  readonly orphans: OrphanTable;
  readonly #ctx: EngineContext;
  readonly #reservation: Reservation = { dataBlocks: 0, records: 0, freeing: false };

  constructor(ctx: EngineContext, hash: NameHash) {
    this.#ctx = ctx;
    this.inodes = new InodeTable(ctx);
    this.dirs = new DirTable(ctx, hash);
    this.parents = new ParentTable(ctx, this.dirs);
    this.xattrs = new XattrTable(ctx, this.inodes, hash);
    this.orphans = new OrphanTable(ctx);
  }

  reserve(records: number, freeing: boolean): void {
    this.#reservation.records = records;
    this.#reservation.freeing = freeing;
    this.#ctx.trx.reserve(this.#reservation);
  }

  /** ENOTDIR unless `dir` is a directory. */
  checkDirectory(dir: Ino, op: string): void {
    if (!isDirectory(this.inodes.mode(dir))) throw new FsError('ENOTDIR', op, `inode ${dir} is no directory`);
  }

  /** ENOTDIR, and ENOENT for a directory that was removed: it gets no new entries. */
  checkLiveDirectory(dir: Ino, op: string): void {
    this.checkDirectory(dir, op);
    if (this.inodes.nlink(dir) === 0) throw new FsError('ENOENT', op, `directory ${dir} was removed`);
  }

  /** Fills `slot` with an entry that must exist (ENOENT). Returns the mode of its inode. */
  findEntry(dir: Ino, name: Uint8Array, slot: DirSlot, op: string): number {
    if (!this.dirs.find(dir, name, slot)) {
      throw new FsError('ENOENT', op, `directory ${dir} has no entry of this name`);
    }
    return this.modeOf(dir, slot);
  }

  /** Mode of the inode that an entry names; entry and inode must agree on the type. */
  modeOf(dir: Ino, slot: DirSlot): number {
    const mode = this.inodes.exists(slot.ino) ? this.inodes.mode(slot.ino) : 0;
    if (typeOf(mode) !== slot.type) {
      throw new CorruptionError(
        -1,
        `directory ${dir}: an entry of type ${slot.type} names inode ${slot.ino}`,
      );
    }
    return mode;
  }

  /** ENOSPC when the directory holds HASH_COLLISIONS_MAX names with the hash of the one to add. */
  checkRoom(dir: Ino, slot: DirSlot, op: string): void {
    if (slot.seq < HASH_COLLISIONS_MAX) return;
    throw new FsError('ENOSPC', op, `${HASH_COLLISIONS_MAX} names in directory ${dir} have this hash`);
  }

  /** EMLINK when the inode (a directory that gets a subdirectory, or a file) has LINK_MAX links. */
  checkLinks(ino: Ino, op: string): void {
    if (this.inodes.nlink(ino) < LINK_MAX) return;
    throw new FsError('EMLINK', op, `inode ${ino} has ${LINK_MAX} links`);
  }

  /** Adds an entry and the record that leads back to it. The link count is the caller's. */
  addName(dir: Ino, slot: DirSlot, name: Uint8Array, ino: number, type: number): void {
    this.dirs.add(dir, slot, name, ino, type);
    this.parents.add(ino, dir, slot);
  }

  removeName(dir: Ino, slot: DirSlot): void {
    this.dirs.remove(dir, slot);
    this.parents.remove(slot.ino, dir, slot);
  }

  /** Takes one link from an inode (all from a directory: it has one name). The last one makes it an orphan. */
  dropLink(ino: number, isDir: boolean): Ino {
    if (isDir) this.inodes.clearLinks(ino);
    else this.inodes.addLinks(ino, -1);
    if (this.inodes.nlink(ino) === 0) this.orphans.add(ino);
    return asIno(ino);
  }
}
