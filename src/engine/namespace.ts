import { assert, broken, FsError } from '../errors.js';
import { NAME_MAX_BYTES, SYMLINK_MAX_BYTES } from '../limits.js';
import { asIno, type Ino, ROOT_INO, type Time } from '../types.js';
import type { AttrChange, DirVisitor, InodeAttr, Namespace, NewInode, OwnerIds } from './api.js';
import type { EngineContext } from './context.js';
import { checkName, newDirSlot } from './dir.js';
import { type NameHash, nameHash } from './hash.js';
import { type InodeTable, isValidTime } from './inode.js';
import {
  isDirectory,
  isRegular,
  isSymlink,
  isValidMode,
  PERMISSION_BITS,
  S_IFDIR,
  S_IFMT,
  typeOf,
} from './mode.js';
import { Renamer } from './rename.js';
import { NamespaceTables } from './tables.js';
import { checkXattr, chunksFor } from './xattr.js';

/** Entry, parent, directory, inode. A symbolic link's target and extended attributes come on top. */
const CREATE_RECORDS = 4;
/** Entry, parent, directory, inode, orphan. */
const LINK_RECORDS = 5;
const ROOT_MODE = S_IFDIR | 0o755;
const U32_MAX = 0xffff_ffff;

/** What the namespace needs of the data half. */
export interface NamespaceHooks {
  /** Drops all blocks of an inode, in steps with reservations of its own. */
  freeData(ino: Ino): void;
}

/**
 * Names, inodes and attributes. Each operation checks all it can refuse, then reserves, then changes: when
 * it throws FsError nothing has changed. inactivate() works in steps; between two the inode is a good orphan.
 *
 * Permissions, immutable flags and the inheritance of groups are the vfs's business.
 */
export class NamespaceOps implements Namespace {
  readonly #ctx: EngineContext;
  readonly #hooks: NamespaceHooks;
  readonly #tables: NamespaceTables;
  readonly #renamer: Renamer;
  readonly #slot = newDirSlot();

  /** `hash` is part of the format and given by tests only. */
  constructor(ctx: EngineContext, hooks: NamespaceHooks, hash: NameHash = nameHash) {
    this.#ctx = ctx;
    this.#hooks = hooks;
    this.#tables = new NamespaceTables(ctx, hash);
    this.#renamer = new Renamer(this.#tables);
  }

  get inodes(): InodeTable {
    return this.#tables.inodes;
  }

  /** Makes the root directory of an empty filesystem. */
  mkRoot(uid: number, gid: number): Ino {
    assert(this.#ctx.trees.inode.count === 0, 'mkRoot on a filesystem that has inodes');
    this.#tables.reserve(1, false);
    this.inodes.add(ROOT_INO, { mode: ROOT_MODE, nlink: 2, uid, gid, rdev: 0, size: 0 });
    return ROOT_INO;
  }

  lookup(dir: Ino, name: Uint8Array): Ino | 0 {
    this.#tables.checkDirectory(dir, 'lookup');
    if (name.length > NAME_MAX_BYTES) throw new FsError('ENAMETOOLONG', 'lookup', `${name.length} bytes`);
    this.#tables.dirs.find(dir, name, this.#slot);
    return asIno(this.#slot.ino);
  }

  /** The root's parent is the root. ENOENT for a directory that was removed. */
  parentOf(dir: Ino): Ino {
    this.#tables.checkLiveDirectory(dir, 'parentOf');
    const parent = this.#tables.parents.parentOf(dir);
    if (parent === 0) broken(`directory ${dir} is in use but has no parent record`);
    return parent;
  }

  exists(ino: Ino): boolean {
    return this.inodes.exists(ino);
  }

  getattr(ino: Ino, out: InodeAttr): InodeAttr {
    return this.inodes.read(ino, out);
  }

  setattr(ino: Ino, change: AttrChange): void {
    checkChange(change);
    const inodes = this.inodes;
    const mode = inodes.mode(ino);
    if (Object.keys(change).length === 0) return;
    this.#tables.reserve(1, true);
    if (change.mode !== undefined) inodes.setMode(ino, (mode & S_IFMT) | (change.mode & PERMISSION_BITS));
    if (change.uid !== undefined || change.gid !== undefined) inodes.setOwner(ino, change.uid, change.gid);
    if (change.flags !== undefined) inodes.setFlags(ino, change.flags);
    if (change.atime !== undefined) inodes.setAtime(ino, change.atime);
    if (change.mtime !== undefined) inodes.setMtime(ino, change.mtime);
    inodes.setCtime(ino, change.ctime);
  }

  atimeIsOld(ino: Ino, now: number): boolean {
    return this.inodes.atimeIsOld(ino, now);
  }

  touchAtime(ino: Ino, atime: Time): void {
    checkTime(atime);
    this.inodes.mode(ino);
    this.#tables.reserve(1, true);
    this.inodes.setAtime(ino, atime);
  }

  create(dir: Ino, name: Uint8Array, init: NewInode): Ino {
    const tables = this.#tables;
    const slot = this.#slot;
    checkName(name, 'create');
    checkInit(init);
    tables.checkLiveDirectory(dir, 'create');
    if (tables.dirs.find(dir, name, slot)) throw new FsError('EEXIST', 'create', 'the name exists');
    tables.checkRoom(dir, slot, 'create');
    const isDir = isDirectory(init.mode);
    if (isDir) tables.checkLinks(dir, 'create');
    const ino = this.inodes.pickIno();
    tables.reserve(CREATE_RECORDS + extraRecords(init), false);
    this.#addInode(ino, init, isDir ? 2 : 1);
    tables.addName(dir, slot, name, ino, typeOf(init.mode));
    this.inodes.entriesChanged(dir, 1, 0, isDir ? 1 : 0);
    return ino;
  }

  /** Regular files only (EINVAL), as O_TMPFILE makes them. */
  createUnlinked(init: NewInode): Ino {
    checkInit(init);
    if (!isRegular(init.mode)) throw new FsError('EINVAL', 'createUnlinked', 'not a regular file');
    const ino = this.inodes.pickIno();
    this.#tables.reserve(2 + extraRecords(init), false);
    this.#addInode(ino, init, 0);
    this.#tables.orphans.add(ino);
    return ino;
  }

  /** EPERM for a directory, EEXIST, EMLINK. An orphan becomes an ordinary file again. */
  link(ino: Ino, dir: Ino, name: Uint8Array): void {
    const tables = this.#tables;
    const slot = this.#slot;
    checkName(name, 'link');
    const mode = this.inodes.mode(ino);
    if (isDirectory(mode)) throw new FsError('EPERM', 'link', `inode ${ino} is a directory`);
    tables.checkLiveDirectory(dir, 'link');
    if (tables.dirs.find(dir, name, slot)) throw new FsError('EEXIST', 'link', 'the name exists');
    tables.checkRoom(dir, slot, 'link');
    tables.checkLinks(ino, 'link');
    tables.reserve(LINK_RECORDS, false);
    if (this.inodes.nlink(ino) === 0) tables.orphans.remove(ino);
    this.inodes.addLinks(ino, 1);
    tables.addName(dir, slot, name, ino, typeOf(mode));
    this.inodes.entriesChanged(dir, 1, 0, 0);
  }

  unlink(dir: Ino, name: Uint8Array): Ino {
    checkName(name, 'unlink');
    this.#tables.checkDirectory(dir, 'unlink');
    const mode = this.#tables.findEntry(dir, name, this.#slot, 'unlink');
    if (isDirectory(mode)) throw new FsError('EISDIR', 'unlink', `inode ${this.#slot.ino} is a directory`);
    return this.#removeEntry(dir, false);
  }

  rmdir(dir: Ino, name: Uint8Array): Ino {
    checkName(name, 'rmdir');
    this.#tables.checkDirectory(dir, 'rmdir');
    const mode = this.#tables.findEntry(dir, name, this.#slot, 'rmdir');
    const ino = this.#slot.ino;
    if (!isDirectory(mode)) throw new FsError('ENOTDIR', 'rmdir', `inode ${ino} is no directory`);
    if (this.inodes.entries(ino) > 0) {
      throw new FsError('ENOTEMPTY', 'rmdir', `directory ${ino} is not empty`);
    }
    return this.#removeEntry(dir, true);
  }

  rename(
    dir: Ino,
    name: Uint8Array,
    newDir: Ino,
    newName: Uint8Array,
    flags: number,
    whiteout?: OwnerIds,
  ): Ino | 0 {
    return this.#renamer.rename({ dir, name }, { dir: newDir, name: newName }, flags, whiteout);
  }

  readdir(dir: Ino, cookie: number, visit: DirVisitor): void {
    this.#tables.checkDirectory(dir, 'readdir');
    this.#tables.dirs.read(dir, cookie, visit);
  }

  /** EINVAL when the inode is no symbolic link. */
  readlink(ino: Ino): Uint8Array {
    if (!isSymlink(this.inodes.mode(ino))) {
      throw new FsError('EINVAL', 'readlink', `inode ${ino} is no symbolic link`);
    }
    return this.#tables.xattrs.readTarget(ino);
  }

  inactivate(ino: Ino): void {
    const mode = this.inodes.mode(ino);
    if (this.inodes.nlink(ino) > 0) return;
    if (isRegular(mode)) this.#hooks.freeData(ino);
    this.#tables.xattrs.removeAll(ino);
    this.#tables.reserve(2, true);
    this.inodes.remove(ino);
    this.#tables.orphans.remove(ino);
  }

  /** Frees what the last mount left unlinked but in use. Returns the number of inodes. */
  reclaimOrphans(): number {
    return this.#tables.orphans.reclaim((ino) => this.inactivate(ino));
  }

  getxattr(ino: Ino, name: Uint8Array): Uint8Array | null {
    return this.#tables.xattrs.get(ino, name);
  }

  setxattr(ino: Ino, name: Uint8Array, value: Uint8Array, flags: number): void {
    this.#tables.xattrs.set(ino, name, value, flags);
  }

  removexattr(ino: Ino, name: Uint8Array): void {
    this.#tables.xattrs.remove(ino, name);
  }

  listxattr(ino: Ino): Uint8Array[] {
    return this.#tables.xattrs.list(ino);
  }

  paths(ino: Ino, max: number, known = new Map<number, string>()): string[] {
    const found = this.#tables.parents.paths(ino, max, known);
    // ENOENT for an inode that does not exist; a name tells that it does.
    if (found.length === 0) this.inodes.mode(ino);
    return found;
  }

  /** Removes the entry that #slot stands on. */
  #removeEntry(dir: Ino, isDir: boolean): Ino {
    this.#tables.reserve(LINK_RECORDS, true);
    this.#tables.removeName(dir, this.#slot);
    this.inodes.entriesChanged(dir, 0, 1, isDir ? -1 : 0);
    return this.#tables.dropLink(this.#slot.ino, isDir);
  }

  #addInode(ino: Ino, init: NewInode, nlink: number): void {
    this.inodes.add(ino, {
      mode: init.mode,
      nlink,
      uid: init.uid,
      gid: init.gid,
      rdev: init.rdev ?? 0,
      size: init.target?.length ?? 0,
    });
    if (init.flags) this.inodes.setFlags(ino, init.flags);
    if (init.target !== undefined) this.#tables.xattrs.writeTarget(ino, init.target);
    for (const { name, value } of init.xattrs ?? []) this.#tables.xattrs.writeNew(ino, name, value);
  }
}

/** Records of a symbolic link's target and of the extended attributes. */
function extraRecords(init: NewInode): number {
  let records = init.target === undefined ? 0 : chunksFor(0, init.target.length);
  for (const { name, value } of init.xattrs ?? []) records += chunksFor(name.length, value.length);
  return records;
}

const isU32 = (n: number): boolean => Number.isInteger(n) && n >= 0 && n <= U32_MAX;

/** EINVAL; for a symbolic link's target ENOENT (empty) and ENAMETOOLONG, as symlink(2). */
function checkInit(init: NewInode): void {
  if (!isValidMode(init.mode)) throw new FsError('EINVAL', 'create', `mode ${init.mode.toString(8)}`);
  if (!isU32(init.uid) || !isU32(init.gid) || !isU32(init.rdev ?? 0) || !isU32(init.flags ?? 0)) {
    throw new FsError('EINVAL', 'create', `owner ${init.uid}:${init.gid}, device ${init.rdev}`);
  }
  for (const { name, value } of init.xattrs ?? []) checkXattr(name, value, 'create');
  const target = init.target;
  if (isSymlink(init.mode) !== (target !== undefined)) {
    throw new FsError('EINVAL', 'create', 'a target goes with symbolic links, and with nothing else');
  }
  if (target === undefined) return;
  if (target.length === 0) throw new FsError('ENOENT', 'create', 'the target is empty');
  if (target.length > SYMLINK_MAX_BYTES) {
    throw new FsError(
      'ENAMETOOLONG',
      'create',
      `a target of ${target.length} bytes, at most ${SYMLINK_MAX_BYTES}`,
    );
  }
  if (target.includes(0)) throw new FsError('EINVAL', 'create', 'the target holds a NUL');
}

function checkChange(change: AttrChange): void {
  for (const word of [change.mode, change.uid, change.gid, change.flags]) {
    if (word !== undefined && !isU32(word)) throw new FsError('EINVAL', 'setattr', `value ${word}`);
  }
  for (const time of [change.atime, change.mtime, change.ctime]) if (time !== undefined) checkTime(time);
}

function checkTime(time: Time): void {
  if (!isValidTime(time)) throw new FsError('EINVAL', 'setattr', `time ${time.sec} s ${time.nsec} ns`);
}
