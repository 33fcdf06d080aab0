import type { NewInode } from '../engine/api.js';
import {
  INODE_FLAG_APPEND,
  INODE_FLAG_DAX,
  INODE_FLAG_NOATIME,
  INODE_FLAG_NODUMP,
} from '../engine/layout.js';
import { FsError } from '../errors.js';
import {
  fuse_batch_forget_in,
  fuse_forget_in,
  fuse_forget_one,
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_rename_in,
  fuse_rename2_in,
} from '../fuse/abi.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { SYMLINK_MAX_BYTES } from '../limits.js';
import type { Ino } from '../types.js';
import { noteAccess } from './access-times.js';
import { ACL_ACCESS, ACL_DEFAULT, createMasq } from './acl.js';
import { secondsOf } from './attributes.js';
import type { Operation, VfsContext } from './context.js';
import type { Inode } from './inode-cache.js';
import {
  isDirectory,
  isRegular,
  MODE_BITS,
  PERMISSION_BITS,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
} from './mode.js';
import { flagsOf, refuseFixed, refuseRemoval } from './rules.js';

/** Operations on names: lookup and what makes, moves and removes directory entries. */

const DOT = 0x2e;
const RENAME_KNOWN = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

/** Answers with the entry of `ino` and counts the lookup. */
function replyEntry(c: VfsContext, reply: Reply, ino: Ino): void {
  const attr = c.engine.getattr(ino, c.attr);
  reply.entry(attr, secondsOf(c.inodes.remember(ino), attr));
}

/** "." and "..", which an exported mount looks up; the node may be one that the kernel forgot long ago. */
function lookupDots(c: VfsContext, request: Request, reply: Reply, name: Uint8Array): boolean {
  if (name[0] !== DOT || name.length > 2 || (name.length === 2 && name[1] !== DOT)) return false;
  const ino = request.nodeid as Ino;
  if (!(ino <= 0xffff_ffff) || !c.engine.exists(ino)) {
    throw new FsError('ESTALE', 'lookup', `there is no inode ${ino}`);
  }
  replyEntry(c, reply, name.length === 1 ? ino : c.engine.parentOf(ino));
  return true;
}

export const lookup: Operation = (c, request, reply) => {
  const name = request.anyName(0);
  if (lookupDots(c, request, reply, name)) return;
  const ino = c.engine.lookup(c.inodes.known(request.nodeid).ino, name);
  if (ino === 0) reply.negativeEntry();
  else replyEntry(c, reply, ino);
};

export const forget: Operation = (c, request, reply) => {
  reply.leave();
  request.need(fuse_forget_in.size);
  c.inodes.forget(request.nodeid, request.u64(fuse_forget_in.at.nlookup));
};

export const batchForget: Operation = (c, request, reply) => {
  reply.leave();
  const count = request.u32(fuse_batch_forget_in.at.count);
  request.need(fuse_batch_forget_in.size + count * fuse_forget_one.size);
  for (let i = 0; i < count; i++) {
    const at = fuse_batch_forget_in.size + i * fuse_forget_one.size;
    c.inodes.forget(
      request.u64(at + fuse_forget_one.at.nodeid),
      request.u64(at + fuse_forget_one.at.nlookup),
    );
  }
};

/** What new inodes take from their directory, as in XFS (xfs_inode_inherit_flags). */
const INHERITED_FLAGS = INODE_FLAG_NODUMP | INODE_FLAG_NOATIME | INODE_FLAG_DAX;

/**
 * Owner, mode, ACLs and flags of a new inode. In a set-group-ID directory it takes the directory's group, and
 * a directory the bit as well (inode_init_owner in fs/inode.c). The directory's default ACL, or where it has
 * none the umask, limits the permissions (posix_acl_create in fs/posix_acl.c).
 */
export function newInode(
  c: VfsContext,
  request: Request,
  dir: Inode,
  asked: number,
  umask: number,
): NewInode {
  const parent = c.engine.getattr(dir.ino, c.attr);
  const takesGroup = (parent.mode & S_ISGID) !== 0;
  const isDir = isDirectory(asked);
  const mode = takesGroup && isDir ? asked | S_ISGID : asked;
  const init: NewInode = {
    mode,
    uid: request.uid,
    gid: takesGroup ? parent.gid : request.gid,
    flags: isDir || isRegular(asked) ? parent.flags & INHERITED_FLAGS : 0,
  };
  const stored = c.engine.getxattr(dir.ino, ACL_DEFAULT);
  if (stored === null) {
    init.mode = mode & ~(umask & PERMISSION_BITS);
    return init;
  }
  const defaultAcl = Buffer.from(stored);
  const made = createMasq(defaultAcl, mode);
  init.mode = made.mode;
  init.xattrs = [
    ...(made.access === null ? [] : [{ name: ACL_ACCESS, value: made.access }]),
    ...(isDir ? [{ name: ACL_DEFAULT, value: defaultAcl }] : []),
  ];
  return init;
}

/** A symbolic link: always 0777, without ACLs. */
function newSymlink(c: VfsContext, request: Request, dir: Inode, target: Uint8Array): NewInode {
  const parent = c.engine.getattr(dir.ino, c.attr);
  const gid = (parent.mode & S_ISGID) !== 0 ? parent.gid : request.gid;
  return { mode: S_IFLNK | 0o777, uid: request.uid, gid, target };
}

function make(c: VfsContext, request: Request, reply: Reply, name: Uint8Array, init: NewInode): void {
  const dir = c.inodes.known(request.nodeid);
  replyEntry(c, reply, c.engine.create(dir.ino, name, init));
}

/** The directory of a request that adds an entry. EPERM when it is immutable. */
function growingDirectory(c: VfsContext, request: Request, op: string): Inode {
  const dir = c.inodes.known(request.nodeid);
  refuseFixed(c, dir, op, false);
  return dir;
}

export const mknod: Operation = (c, request, reply) => {
  const at = fuse_mknod_in.at;
  const name = request.name(fuse_mknod_in.size);
  const dir = growingDirectory(c, request, 'mknod');
  const asked = request.u32(at.mode);
  // A mode without a type is a regular file, as mknod(2) says.
  const mode = (asked & S_IFMT) === 0 ? asked | S_IFREG : asked & (S_IFMT | MODE_BITS);
  if (isDirectory(mode)) throw new FsError('EPERM', 'mknod', 'a directory is made by mkdir');
  const init = newInode(c, request, dir, mode, request.u32(at.umask));
  init.rdev = request.u32(at.rdev);
  make(c, request, reply, name, init);
};

export const mkdir: Operation = (c, request, reply) => {
  const name = request.name(fuse_mkdir_in.size);
  const dir = growingDirectory(c, request, 'mkdir');
  const { at } = fuse_mkdir_in;
  const mode = (request.u32(at.mode) & MODE_BITS) | S_IFDIR;
  make(c, request, reply, name, newInode(c, request, dir, mode, request.u32(at.umask)));
};

export const symlink: Operation = (c, request, reply) => {
  const name = request.name(0);
  const target = request.string(name.length + 1);
  if (target.length === 0) throw new FsError('ENOENT', 'symlink', 'an empty target');
  if (target.length > SYMLINK_MAX_BYTES) {
    throw new FsError('ENAMETOOLONG', 'symlink', `a target of ${target.length} bytes`);
  }
  const dir = growingDirectory(c, request, 'symlink');
  make(c, request, reply, name, newSymlink(c, request, dir, target));
};

export const readlink: Operation = (c, request, reply) => {
  const inode = c.inodes.known(request.nodeid);
  if ((c.engine.getattr(inode.ino, c.attr).mode & S_IFMT) !== S_IFLNK) {
    throw new FsError('EINVAL', 'readlink', `inode ${inode.ino} is no symbolic link`);
  }
  reply.bytes(c.engine.readlink(inode.ino));
  noteAccess(c, inode.ino, c.accessTimes.files);
};

export const unlink: Operation = (c, request, reply) => {
  const name = request.name(0);
  const dir = c.inodes.known(request.nodeid);
  refuseRemoval(c, dir, name, 'unlink');
  const ino = c.engine.unlink(dir.ino, name);
  reply.empty();
  c.inodes.unlinked(ino);
};

export const rmdir: Operation = (c, request, reply) => {
  const name = request.name(0);
  const dir = c.inodes.known(request.nodeid);
  refuseRemoval(c, dir, name, 'rmdir');
  const ino = c.engine.rmdir(dir.ino, name);
  reply.empty();
  c.inodes.unlinked(ino);
};

export const link: Operation = (c, request, reply) => {
  const name = request.name(fuse_link_in.size);
  const dir = growingDirectory(c, request, 'link');
  const inode = c.inodes.known(request.u64(fuse_link_in.at.oldnodeid));
  refuseFixed(c, inode, 'link', true);
  c.engine.link(inode.ino, dir.ino, name);
  replyEntry(c, reply, inode.ino);
};

/** RENAME and RENAME2: old and new name follow the record of `recordBytes` bytes. */
function move(c: VfsContext, request: Request, reply: Reply, recordBytes: number, flags: number): void {
  if ((flags & ~RENAME_KNOWN) !== 0) throw new FsError('EINVAL', 'rename', `unknown flags ${flags}`);
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  if (exchange && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0) {
    throw new FsError('EINVAL', 'rename', 'EXCHANGE goes with no other flag');
  }
  const name = request.name(recordBytes);
  const newName = request.name(recordBytes + name.length + 1);
  const dir = c.inodes.known(request.nodeid);
  const newDir = c.inodes.known(request.u64(fuse_rename_in.at.newdir));
  refuseRemoval(c, dir, name, 'rename');
  // An append-only directory takes new names, but gives none away.
  if ((flagsOf(c, newDir) & INODE_FLAG_APPEND) !== 0 && c.engine.lookup(newDir.ino, newName) === 0) {
    refuseFixed(c, newDir, 'rename', false);
  } else {
    refuseRemoval(c, newDir, newName, 'rename');
  }
  // As XFS makes it (xfs_rename_alloc_whiteout): its group is that of a set-group-ID directory the name goes to.
  const whiteout = (flags & RENAME_WHITEOUT) !== 0 ? newInode(c, request, newDir, S_IFCHR, 0) : undefined;
  const replaced = c.engine.rename(dir.ino, name, newDir.ino, newName, flags, whiteout);
  reply.empty();
  if (replaced !== 0) c.inodes.unlinked(replaced);
}

export const rename: Operation = (c, request, reply) => {
  move(c, request, reply, fuse_rename_in.size, 0);
};

export const rename2: Operation = (c, request, reply) => {
  request.need(fuse_rename2_in.size);
  move(c, request, reply, fuse_rename2_in.size, request.u32(fuse_rename2_in.at.flags));
};
