import type { AttrChange, InodeAttr } from '../engine/api.js';
import { INODE_FLAG_APPEND, INODE_FLAG_IMMUTABLE } from '../engine/layout.js';
import { FsError } from '../errors.js';
import { FATTR, fuse_getattr_in, fuse_setattr_in, fuse_statx_in } from '../fuse/abi.js';
import { FLEETING, type Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { NAME_MAX_BYTES } from '../limits.js';
import { BLOCK_SIZE, type Ino, MAX_FILE_SIZE, ROOT_INO, type Time } from '../types.js';
import { ACL_ACCESS, chmodMasq } from './acl.js';
import type { Operation, VfsContext } from './context.js';
import type { Inode } from './inode-cache.js';
import { isDirectory, MODE_BITS, S_IFMT } from './mode.js';
import { dropPrivileges, flagsOf, modeAfter, refuseFixed } from './rules.js';

/** getattr, setattr, statx, statfs. */

const AT = fuse_setattr_in.at;
/** What says nothing of a change by itself. */
const FATTR_ASIDE = FATTR.FH | FATTR.LOCKOWNER | FATTR.KILL_SUIDGID;
const NSEC_PER_SEC = 1_000_000_000;
/** uid_t and gid_t -1 mean "unchanged" to the system calls and are never an owner. */
const NO_ID = 0xffff_ffff;

/**
 * The root has attributes after a shutdown too, those of its last answer: it is the way to the control ioctls, and the
 * daemon looks at it before anybody can use the mount.
 */
function attrOf(c: VfsContext, ino: Ino): InodeAttr {
  if (ino !== ROOT_INO) return c.engine.getattr(ino, c.attr);
  return c.engine.info.shutdown ? c.rootAttr : c.engine.getattr(ino, c.rootAttr);
}

/**
 * Whether stores through a mapping give the file blocks, which the kernel's copy of its attributes does not know:
 * someone may have one, and the file has fewer blocks than bytes.
 */
const canGain = (inode: Inode | undefined, { blocks, size }: InodeAttr): boolean =>
  inode !== undefined && inode.mappers > 0 && blocks * BLOCK_SIZE < size;

/** How long the kernel may keep these attributes of an inode; undefined: as long as it wants. */
export const secondsOf = (inode: Inode | undefined, attr: InodeAttr): number | undefined =>
  canGain(inode, attr) ? FLEETING : undefined;

/** The attributes, with the blocks of all that was stored. */
function settledAttr(c: VfsContext, inode: Inode): InodeAttr {
  const attr = attrOf(c, inode.ino);
  if (canGain(inode, attr)) c.layouts.settle([inode]);
  return attr;
}

export const getattr: Operation = (c, request, reply) => {
  request.need(fuse_getattr_in.size);
  const inode = c.inodes.known(request.nodeid);
  const attr = settledAttr(c, inode);
  reply.attr(attr, secondsOf(inode, attr));
};

export const statx: Operation = (c, request, reply) => {
  request.need(fuse_statx_in.size);
  const inode = c.inodes.known(request.nodeid);
  const attr = settledAttr(c, inode);
  reply.statx(attr, secondsOf(inode, attr));
};

export const statfs: Operation = (c, _request, reply) => {
  const space = c.engine.space();
  reply.statfs({
    blocks: space.blocks,
    free: space.free,
    available: space.available,
    files: space.inodes + space.available,
    // Inodes have no table of their own: each free block could at least hold one more.
    filesFree: space.available,
    nameMax: NAME_MAX_BYTES,
  });
};

/**
 * may_setattr() of fs/attr.c: a fixed file keeps mode, owner and times; "now" as a time is allowed for an
 * append-only one. Its size is as fixed, but ftruncate(2) of a descriptor that was open before works on an immutable
 * file, as on XFS.
 */
function refuseChange(c: VfsContext, inode: Inode, valid: number): void {
  const flags = flagsOf(c, inode);
  if ((flags & (INODE_FLAG_IMMUTABLE | INODE_FLAG_APPEND)) === 0) return;
  const explicit =
    ((valid & FATTR.ATIME) !== 0 && (valid & FATTR.ATIME_NOW) === 0) ||
    ((valid & FATTR.MTIME) !== 0 && (valid & FATTR.MTIME_NOW) === 0);
  if ((valid & FATTR.SIZE) !== 0 && (valid & FATTR.FH) !== 0 && (flags & INODE_FLAG_APPEND) === 0) return;
  const strict = explicit || (valid & (FATTR.MODE | FATTR.UID | FATTR.GID | FATTR.SIZE)) !== 0;
  refuseFixed(c, inode, 'setattr', strict);
}

/** truncate(2) and ftruncate(2). */
function resize(c: VfsContext, inode: Inode, request: Request, valid: number): void {
  const size = request.u64(AT.size);
  if (size > MAX_FILE_SIZE) throw new FsError('EFBIG', 'setattr', `a size of ${size} bytes`);
  dropPrivileges(c, inode, (valid & FATTR.KILL_SUIDGID) !== 0 ? request : null);
  const unchanged = c.engine.getattr(inode.ino, c.attr).size === size;
  c.engine.truncate(inode.ino, size);
  // ftruncate(2) sets the times even when the size stays; the kernel leaves that to the filesystem.
  if (unchanged && (valid & FATTR.FH) !== 0) {
    c.clock.now(c.now);
    c.engine.setattr(inode.ino, { mtime: c.now });
  }
}

function timeOf(c: VfsContext, request: Request, now: boolean, sec: number, nsec: number): Time {
  if (now) {
    const time = { sec: 0, nsec: 0 };
    c.clock.now(time);
    return time;
  }
  const time = { sec: request.i64(sec), nsec: request.u32(nsec) };
  if (time.nsec >= NSEC_PER_SEC)
    throw new FsError('EINVAL', 'setattr', `${time.nsec} ns is no part of a second`);
  if (!Number.isSafeInteger(time.sec)) {
    // As timestamp_truncate() of the kernel does with what a filesystem cannot hold.
    time.sec = Math.max(Number.MIN_SAFE_INTEGER, Math.min(time.sec, Number.MAX_SAFE_INTEGER));
    time.nsec = 0;
  }
  return time;
}

function idOf(request: Request, at: number): number {
  const id = request.u32(at);
  if (id === NO_ID) throw new FsError('EINVAL', 'setattr', 'uid or gid -1');
  return id;
}

/** Mode, owner and times of the request, or null when it has none of them. */
function changeOf(c: VfsContext, inode: Inode, request: Request, valid: number): AttrChange | null {
  const change: AttrChange = {};
  if ((valid & FATTR.UID) !== 0) change.uid = idOf(request, AT.uid);
  if ((valid & FATTR.GID) !== 0) change.gid = idOf(request, AT.gid);
  // chown(path, -1, -1) comes as a request to change nothing: it sets ctime and drops set-id bits all the same.
  const nothing = (valid & ~FATTR_ASIDE) === 0;
  const owner = nothing || change.uid !== undefined || change.gid !== undefined;
  if (owner || (valid & FATTR.MODE) !== 0) {
    const { mode, gid } = c.engine.getattr(inode.ino, c.attr);
    let next = (valid & FATTR.MODE) !== 0 ? (mode & S_IFMT) | (request.u32(AT.mode) & MODE_BITS) : mode;
    // chown(2) drops the set-id bits of everything but a directory, whoever calls it. So does what the kernel asks for
    // before a change of contents (file_remove_privs), of which only this answer tells it the mode.
    if (owner && !isDirectory(mode)) next = modeAfter(c, next, gid, request);
    if (next !== mode) change.mode = next;
    else if (!owner || nothing) change.mode = mode;
  }
  if ((valid & FATTR.ATIME) !== 0) {
    change.atime = timeOf(c, request, (valid & FATTR.ATIME_NOW) !== 0, AT.atime, AT.atimensec);
  }
  if ((valid & FATTR.MTIME) !== 0) {
    change.mtime = timeOf(c, request, (valid & FATTR.MTIME_NOW) !== 0, AT.mtime, AT.mtimensec);
  }
  return Object.keys(change).length > 0 ? change : null;
}

/** chmod(2) changes the access ACL as well, before the mode: when there is no space for it nothing changes. */
function chmodAcl(c: VfsContext, inode: Inode, mode: number): void {
  const acl = c.engine.getxattr(inode.ino, ACL_ACCESS);
  if (acl !== null) c.engine.setxattr(inode.ino, ACL_ACCESS, chmodMasq(Buffer.from(acl), mode), 0);
}

/**
 * FATTR_CTIME comes only with the write-back cache, which is never negotiated: the engine sets ctime. Handles
 * and lock owners are not looked at: there are no mandatory locks.
 */
export const setattr: Operation = (c, request, reply: Reply) => {
  request.need(fuse_setattr_in.size);
  const inode = c.inodes.known(request.nodeid);
  const valid = request.u32(AT.valid);
  refuseChange(c, inode, valid);
  const change = changeOf(c, inode, request, valid);
  if ((valid & FATTR.SIZE) !== 0) resize(c, inode, request, valid);
  if (change !== null) {
    if (change.uid !== undefined || change.gid !== undefined) dropPrivileges(c, inode, null);
    inode.plain = false;
    if (change.mode !== undefined && (valid & FATTR.MODE) !== 0) chmodAcl(c, inode, change.mode);
    c.engine.setattr(inode.ino, change);
  }
  const attr = c.engine.getattr(inode.ino, c.attr);
  reply.attr(attr, secondsOf(inode, attr));
};
