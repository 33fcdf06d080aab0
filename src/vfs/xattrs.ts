import { FsError } from '../errors.js';
import {
  FUSE_COMPAT_SETXATTR_IN_SIZE,
  FUSE_SETXATTR_ACL_KILL_SGID,
  fuse_getxattr_in,
  fuse_setxattr_in,
} from '../fuse/abi.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { XATTR_LIST_MAX_BYTES, XATTR_NAME_MAX_BYTES, XATTR_VALUE_MAX_BYTES } from '../limits.js';
import { ACL_ACCESS, ACL_DEFAULT, checkAcl, equivMode } from './acl.js';
import type { Operation, VfsContext } from './context.js';
import { checkPolicyXattr } from './file-policy.js';
import type { Inode } from './inode-cache.js';
import { PERMISSION_BITS, S_ISGID } from './mode.js';
import { callerOf, isCapability, refuseFixed } from './rules.js';

/**
 * Extended attributes of the namespaces user, trusted and security, and POSIX ACLs; who may see and change
 * them is checked by the kernel (fs/xattr.c), but for the names of trusted ones in a list.
 *
 * getxattr must never answer ENOSYS: the kernel would stop asking for all names. What keeps
 * security.capability from costing a round trip at every write is FUSE_HANDLE_KILLPRIV_V2, see negotiate.ts.
 */

const TRUSTED = 'trusted.';
const NAMESPACES = ['user.', 'security.', TRUSTED];
const NUL = Buffer.alloc(1);

const isAcl = (name: Uint8Array): boolean => ACL_ACCESS.equals(name) || ACL_DEFAULT.equals(name);
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

/** The name at `at`. EOPNOTSUPP outside the known namespaces, EINVAL for one with nothing after it. */
function nameAt(request: Request, at: number): Buffer {
  const name = request.string(at);
  if (name.length === 0 || name.length > XATTR_NAME_MAX_BYTES) {
    throw new FsError('ERANGE', 'xattr', `a name of ${name.length} bytes`);
  }
  const text = name.toString('latin1');
  if (NAMESPACES.includes(text)) throw new FsError('EINVAL', 'xattr', `no name after ${text}`);
  const known = NAMESPACES.some((prefix) => text.startsWith(prefix)) || isAcl(name);
  if (!known) throw new FsError('EOPNOTSUPP', 'xattr', `the namespace of ${text}`);
  return name;
}

/** Answers with `value`, or with its size when the caller has asked for that (size 0). */
function sized(reply: Reply, asked: number, value: Uint8Array): void {
  if (asked === 0) {
    reply.count(value.length);
    return;
  }
  if (asked < value.length) throw new FsError('ERANGE', 'xattr', `${value.length} bytes do not fit ${asked}`);
  reply.bytes(value);
}

export const getxattr: Operation = (c, request, reply) => {
  const name = nameAt(request, fuse_getxattr_in.size);
  const inode = c.inodes.known(request.nodeid);
  const value = c.engine.getxattr(inode.ino, name);
  if (value === null) throw new FsError('ENODATA', 'getxattr', `inode ${inode.ino} has no such attribute`);
  sized(reply, request.u32(fuse_getxattr_in.at.size), value);
};

/** The bytes of fuse_setxattr_in: fixed by what was negotiated. */
function setxattrBytes(c: VfsContext): number {
  return c.setxattrExt ? fuse_setxattr_in.size : FUSE_COMPAT_SETXATTR_IN_SIZE;
}

export const setxattr: Operation = (c, request, reply) => {
  const record = setxattrBytes(c);
  const name = nameAt(request, record);
  const size = request.u32(fuse_setxattr_in.at.size);
  if (size > XATTR_VALUE_MAX_BYTES) throw new FsError('E2BIG', 'setxattr', `a value of ${size} bytes`);
  const value = request.bytes(record + name.length + 1, size);
  const flags = request.u32(fuse_setxattr_in.at.flags);
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) {
    throw new FsError('EINVAL', 'setxattr', `unknown flags ${flags}`);
  }
  const inode = c.inodes.known(request.nodeid);
  refuseFixed(c, inode, 'setxattr', true);
  if (isCapability(name)) inode.plain = false;
  if (isAcl(name)) checkAcl(value);
  checkPolicyXattr(name, value);
  if (ACL_ACCESS.equals(name)) {
    const setFlags = c.setxattrExt ? request.u32(fuse_setxattr_in.at.setxattr_flags) : 0;
    setAccessAcl(c, inode, value, (setFlags & FUSE_SETXATTR_ACL_KILL_SGID) !== 0);
  } else {
    c.engine.setxattr(inode.ino, name, value, flags);
  }
  reply.empty();
};

/** An ACL that is not there is as good as removed (xfs_set_acl): the kernel sends an empty one as a removal. */
function removeAcl(c: VfsContext, inode: Inode, name: Uint8Array): void {
  if (c.engine.getxattr(inode.ino, name) !== null) c.engine.removexattr(inode.ino, name);
}

/**
 * The mode follows the access ACL, and one that says no more than the mode can is not kept
 * (posix_acl_update_mode in fs/posix_acl.c).
 */
function setAccessAcl(c: VfsContext, inode: Inode, acl: Buffer, killSetGid: boolean): void {
  const { bits, extended } = equivMode(acl);
  const { mode } = c.engine.getattr(inode.ino, c.attr);
  if (extended) c.engine.setxattr(inode.ino, ACL_ACCESS, acl, 0);
  else removeAcl(c, inode, ACL_ACCESS);
  const kept = killSetGid ? mode & ~S_ISGID : mode;
  c.engine.setattr(inode.ino, { mode: (kept & ~PERMISSION_BITS) | bits });
}

export const removexattr: Operation = (c, request, reply) => {
  const name = nameAt(request, 0);
  const inode = c.inodes.known(request.nodeid);
  refuseFixed(c, inode, 'removexattr', true);
  if (isAcl(name)) removeAcl(c, inode, name);
  else c.engine.removexattr(inode.ino, name);
  reply.empty();
};

/** Names, each with its NUL. Those of trusted attributes are for root only, as in every kernel filesystem. */
export const listxattr: Operation = (c, request, reply) => {
  request.need(fuse_getxattr_in.size);
  const inode = c.inodes.known(request.nodeid);
  const isRoot = callerOf(c, request).uid === 0;
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for (const name of c.engine.listxattr(inode.ino)) {
    const text = Buffer.from(name);
    if (!isRoot && text.toString('latin1').startsWith(TRUSTED)) continue;
    parts.push(text, NUL);
    bytes += text.length + 1;
  }
  if (bytes > XATTR_LIST_MAX_BYTES) throw new FsError('E2BIG', 'listxattr', `names of ${bytes} bytes`);
  sized(reply, request.u32(fuse_getxattr_in.at.size), Buffer.concat(parts, bytes));
};
