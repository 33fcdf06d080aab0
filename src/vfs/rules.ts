import { INODE_FLAG_APPEND, INODE_FLAG_IMMUTABLE } from '../engine/layout.js';
import { FsError } from '../errors.js';
import type { VfsContext } from './context.js';
import type { Inode } from './inode-cache.js';
import { MODE_BITS, O_ACCMODE, O_APPEND, O_RDONLY, O_TRUNC, S_ISGID, S_ISUID, withoutSetId } from './mode.js';

/** Rules that several operations share: immutable and append-only files and set-id bits. */

const CAPABILITY_XATTR = Buffer.from('security.capability');

export function flagsOf(c: VfsContext, inode: Inode): number {
  if (inode.flags < 0) inode.flags = c.engine.getattr(inode.ino, c.attr).flags;
  return inode.flags;
}

/** EPERM for an inode that is immutable, or append-only as well with `append`. */
export function refuseFixed(c: VfsContext, inode: Inode, op: string, append: boolean): void {
  const fixed = append ? INODE_FLAG_IMMUTABLE | INODE_FLAG_APPEND : INODE_FLAG_IMMUTABLE;
  if ((flagsOf(c, inode) & fixed) !== 0) refuse(op, inode.ino);
}

function refuse(op: string, ino: number): never {
  throw new FsError('EPERM', op, `inode ${ino} is immutable or append-only`);
}

/** may_delete() of fs/namei.c: neither the directory nor the victim may be append-only or immutable. */
export function refuseRemoval(c: VfsContext, dir: Inode, name: Uint8Array, op: string): void {
  refuseFixed(c, dir, op, true);
  const victim = c.engine.lookup(dir.ino, name);
  if (victim === 0) return;
  const known = c.inodes.find(victim);
  const flags = known !== undefined ? flagsOf(c, known) : c.engine.getattr(victim, c.attr).flags;
  if ((flags & (INODE_FLAG_IMMUTABLE | INODE_FLAG_APPEND)) !== 0) refuse(op, victim);
}

/** may_open() of fs/namei.c: no writing to an immutable file, only appending to an append-only one. */
export function refuseOpen(c: VfsContext, inode: Inode, openFlags: number): void {
  const truncates = (openFlags & O_TRUNC) !== 0;
  if ((openFlags & O_ACCMODE) === O_RDONLY && !truncates) return;
  const appends = (openFlags & O_APPEND) !== 0 && !truncates;
  refuseFixed(c, inode, 'open', !appends);
}

/** The ids of a request's caller. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** The thread; 0 when it is in another pid namespace. */
  readonly pid: number;
}

/** FUSE_INVALID_UIDGID: the request does not say whose it is. */
const NO_ID = 0xffff_ffff;

/**
 * Whose request it is. Where idmapped mounts are allowed the kernel tells that only of those that make an inode (in
 * fuse_get_req); of the others its thread does, which waits for the answer. A thread that cannot be seen is nobody's.
 */
export function callerOf(c: VfsContext, { uid, gid, pid }: Caller): Caller {
  return uid === NO_ID ? { ...c.idsOf(pid), pid } : { uid, gid, pid };
}

/**
 * The caller, unless it is root. These requests do not say whether the caller has CAP_FSETID, so only root counts as
 * one who has.
 */
export function withoutFsetid(c: VfsContext, request: Caller): Caller | null {
  const caller = callerOf(c, request);
  return caller.uid === 0 ? null : caller;
}

/**
 * The mode after a change of contents or owner. Set-group-ID of a file that its group may not execute stays for root
 * and the group's members only: setattr_should_drop_sgid() of fs/attr.c.
 */
export function modeAfter(c: VfsContext, mode: number, group: number, request: Caller): number {
  const after = withoutSetId(mode);
  if ((after & S_ISGID) === 0) return after;
  const { uid, gid, pid } = callerOf(c, request);
  if (uid === 0 || gid === group || c.groupsOf(pid).includes(group)) return after;
  return after & ~S_ISGID;
}

/**
 * Before the contents change: drops security.capability, and the set-id bits unless `caller` is null: the kernel
 * asks for it when the caller lacks CAP_FSETID.
 */
export function dropPrivileges(c: VfsContext, inode: Inode, caller: Caller | null): void {
  if (inode.plain) return;
  const { mode, gid } = c.engine.getattr(inode.ino, c.attr);
  if (c.engine.getxattr(inode.ino, CAPABILITY_XATTR) !== null) {
    c.engine.removexattr(inode.ino, CAPABILITY_XATTR);
  }
  const after = caller !== null ? modeAfter(c, mode, gid, caller) : mode;
  if (after !== mode) c.engine.setattr(inode.ino, { mode: after });
  inode.plain = (after & MODE_BITS & (S_ISUID | S_ISGID)) === 0;
}

/** Whether `name` can hold privileges that a write must drop. */
export const isCapability = (name: Uint8Array): boolean => CAPABILITY_XATTR.equals(name);
