import { INODE_FLAG_APPEND, INODE_FLAG_DAX, INODE_FLAG_IMMUTABLE } from '../engine/layout.js';
import { FsError } from '../errors.js';
import {
  FOPEN,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_READ_LOCKOWNER,
  FUSE_WRITE_CACHE,
  FUSE_WRITE_KILL_SUIDGID,
  FUSE_WRITE_LOCKOWNER,
  fuse_copy_file_range_in,
  fuse_create_in,
  fuse_fallocate_in,
  fuse_fsync_in,
  fuse_lseek_in,
  fuse_open_in,
  fuse_read_in,
  fuse_release_in,
  fuse_write_in,
} from '../fuse/abi.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { FUSE_MAX_WRITE_BYTES } from '../limits.js';
import { type Ino, MAX_FILE_SIZE } from '../types.js';
import { noteAccess } from './access-times.js';
import { secondsOf } from './attributes.js';
import type { Operation, VfsContext } from './context.js';
import type { Handle } from './handles.js';
import type { Inode } from './inode-cache.js';
import {
  FALLOC_FL_KEEP_SIZE,
  isDirectory,
  isRegular,
  MODE_BITS,
  O_EXCL,
  O_NOATIME,
  O_TRUNC,
  S_IFREG,
  SEEK_DATA,
  SEEK_HOLE,
} from './mode.js';
import { newInode } from './namespace.js';
import { dropPrivileges, flagsOf, refuseFixed, refuseOpen, withoutFsetid } from './rules.js';

/** Open files and their contents. */

/**
 * Cached pages stay across opens: what changes a file without the kernel's knowledge invalidates them. So they
 * do with direct I/O, where they are those of mappings: the kernel keeps both coherent (fuse_direct_io). With
 * strictatime they go at an open, or its reads would not reach the daemon.
 */
function openFlagsOf(c: VfsContext, inode: Inode): number {
  const direct = c.cache === 'none' || (c.cache === 'auto' && (flagsOf(c, inode) & INODE_FLAG_DAX) !== 0);
  if (direct) return FOPEN.KEEP_CACHE | FOPEN.DIRECT_IO;
  return c.accessTimes.files === 'strictatime' ? 0 : FOPEN.KEEP_CACHE;
}

/** The size of a COPY_FILE_RANGE answer is a u32; whole blocks below that. */
const COPY_ANSWER_MAX_BYTES = 0xffff_f000;

/** Checks the flags, truncates for O_TRUNC and makes the handle. */
function openInode(c: VfsContext, inode: Inode, request: Request, flags: number, openFlags: number): Handle {
  const { mode } = c.engine.getattr(inode.ino, c.attr);
  if (isDirectory(mode)) throw new FsError('EISDIR', 'open', `inode ${inode.ino} is a directory`);
  if (!isRegular(mode)) throw new FsError('EINVAL', 'open', `inode ${inode.ino} is no regular file`);
  refuseOpen(c, inode, flags);
  if ((flags & O_TRUNC) !== 0) {
    dropPrivileges(c, inode, (openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0 ? request : null);
    c.engine.truncate(inode.ino, 0);
    // O_TRUNC sets the times of an empty file too.
    c.clock.now(c.now);
    c.engine.setattr(inode.ino, { mtime: c.now });
  }
  return c.handles.open(inode, flags, false);
}

export const open: Operation = (c, request, reply) => {
  request.need(fuse_open_in.size);
  const at = fuse_open_in.at;
  const inode = c.inodes.known(request.nodeid);
  const handle = openInode(c, inode, request, request.u32(at.flags), request.u32(at.open_flags));
  // What the kernel has kept of the attributes so far is not to be kept any longer.
  if (inode.mappers === 1 && secondsOf(inode, c.engine.getattr(inode.ino, c.attr)) !== undefined) {
    c.outbox.dropAttributes([inode.ino]);
  }
  reply.open(handle.fh, openFlagsOf(c, inode));
};

/** Opens a just made inode: no permission and no flag can forbid it. */
function replyCreated(c: VfsContext, reply: Reply, ino: Ino, flags: number): void {
  const inode = c.inodes.remember(ino);
  const handle = c.handles.open(inode, flags, false);
  const openFlags = openFlagsOf(c, inode);
  const attr = c.engine.getattr(ino, c.attr);
  reply.created(attr, handle.fh, openFlags, secondsOf(inode, attr));
}

export const create: Operation = (c, request, reply) => {
  const at = fuse_create_in.at;
  const name = request.name(fuse_create_in.size);
  const dir = c.inodes.known(request.nodeid);
  const flags = request.u32(at.flags);
  const existing = c.engine.lookup(dir.ino, name);
  if (existing !== 0) {
    if ((flags & O_EXCL) !== 0) throw new FsError('EEXIST', 'create', 'the name is taken');
    const inode = c.inodes.remember(existing);
    try {
      const handle = openInode(c, inode, request, flags, request.u32(at.open_flags));
      const openFlags = openFlagsOf(c, inode);
      const attr = c.engine.getattr(existing, c.attr);
      reply.created(attr, handle.fh, openFlags, secondsOf(inode, attr));
    } finally {
      // The kernel was told of nothing: the lookup does not count.
      if (!reply.done) c.inodes.forget(existing, 1);
    }
    return;
  }
  refuseFixed(c, dir, 'create', false);
  const mode = (request.u32(at.mode) & MODE_BITS) | S_IFREG;
  replyCreated(
    c,
    reply,
    c.engine.create(dir.ino, name, newInode(c, request, dir, mode, request.u32(at.umask))),
    flags,
  );
};

/** O_TMPFILE. The name in the request is a placeholder ("/"). */
export const tmpfile: Operation = (c, request, reply) => {
  request.need(fuse_create_in.size);
  const at = fuse_create_in.at;
  const dir = c.inodes.known(request.nodeid);
  if (!isDirectory(c.engine.getattr(dir.ino, c.attr).mode)) {
    throw new FsError('ENOTDIR', 'tmpfile', `inode ${dir.ino} is no directory`);
  }
  const mode = (request.u32(at.mode) & MODE_BITS) | S_IFREG;
  const ino = c.engine.createUnlinked(newInode(c, request, dir, mode, request.u32(at.umask)));
  replyCreated(c, reply, ino, request.u32(at.flags));
};

/** RELEASE and RELEASEDIR. The kernel has no use for an error. */
export const release: Operation = (c, request, reply) => {
  request.need(fuse_release_in.size);
  const handle = c.handles.get(request.u64(fuse_release_in.at.fh), request.nodeid);
  reply.empty();
  c.handles.close(handle);
};

/** Pages are about to be filled or written through in the kernel's cache. Throws Parked where they have to wait. */
function notePages(c: VfsContext, inode: Inode, offset: number, length: number, isWrite: boolean): void {
  c.layouts.touch(inode.ino, offset, length, isWrite);
  inode.cached = true;
  if (inode.mappers > 0) inode.stored = true;
}

/**
 * Page-cache reads are whole or EIO: the kernel takes a short answer for the end of the file. A direct read
 * may stop before a bad block. The open flags do not tell them apart (a mapping reads by the same handle),
 * but only a direct read names its caller.
 */
export const read: Operation = (c, request, reply) => {
  request.need(fuse_read_in.size);
  const at = fuse_read_in.at;
  const { inode } = c.handles.get(request.u64(at.fh), request.nodeid);
  const offset = request.u64(at.offset);
  const flags = request.u32(at.flags);
  const direct = (request.u32(at.read_flags) & FUSE_READ_LOCKOWNER) !== 0;
  const { plan } = c;
  plan.segments = 0;
  plan.bytes = 0;
  if (offset < MAX_FILE_SIZE) {
    const length = Math.min(request.u32(at.size), FUSE_MAX_WRITE_BYTES, MAX_FILE_SIZE - offset);
    if (!direct) notePages(c, inode, offset, length, false);
    c.engine.read(inode.ino, offset, length, direct, plan);
  }
  reply.data(plan.segments, plan.bytes);
  if ((flags & O_NOATIME) === 0) noteAccess(c, inode.ino, c.accessTimes.files);
};

/**
 * A write-back of mapped pages (FUSE_WRITE_CACHE) comes with a guessed handle, on behalf of nobody: set-id
 * bits stay, and it never heals a bad block. The engine sets mtime and ctime in either case: without the
 * write-back cache the kernel keeps no times of its own (S_NOCMTIME).
 *
 * O_APPEND: the kernel has chosen the offset from its own size, under the inode's lock. It is exact, because
 * every change of the size passes through this mount or drops the kernel's copy.
 *
 * A file that has become immutable since it was opened can be written to, as on XFS: open(2) is where it is refused.
 */
export const write: Operation = (c, request, reply) => {
  request.need(fuse_write_in.size);
  const at = fuse_write_in.at;
  const size = request.u32(at.size);
  request.need(fuse_write_in.size + size);
  const { inode } = c.handles.get(request.u64(at.fh), request.nodeid);
  const offset = request.u64(at.offset);
  if (offset >= MAX_FILE_SIZE) throw new FsError('EFBIG', 'write', `at offset ${offset}`);
  const length = Math.min(size, MAX_FILE_SIZE - offset);
  const writeFlags = request.u32(at.write_flags);
  const fromPageCache = (writeFlags & FUSE_WRITE_CACHE) !== 0;
  if ((writeFlags & (FUSE_WRITE_CACHE | FUSE_WRITE_LOCKOWNER)) === 0)
    notePages(c, inode, offset, length, true);
  if (!fromPageCache) dropPrivileges(c, inode, (writeFlags & FUSE_WRITE_KILL_SUIDGID) !== 0 ? request : null);
  reply.count(c.engine.write(inode.ino, offset, request.writeData, length, fromPageCache));
};

export const fsync: Operation = (c, request, reply) => {
  request.need(fuse_fsync_in.size);
  const handle = c.handles.get(request.u64(fuse_fsync_in.at.fh), request.nodeid);
  c.engine.fsync(handle.inode.ino);
  reply.empty();
};

export const syncfs: Operation = (c, _request, reply) => {
  c.engine.commit();
  reply.empty();
};

/** A range of a file that is written or allocated. EINVAL when empty, EFBIG beyond the largest file. */
function checkRange(op: string, offset: number, length: number): void {
  if (length === 0) throw new FsError('EINVAL', op, 'an empty range');
  if (offset + length > MAX_FILE_SIZE) throw new FsError('EFBIG', op, `${length} bytes at offset ${offset}`);
}

/** Everything but preallocation changes what an append-only file has already. */
function refuseAllocation(c: VfsContext, inode: Inode, mode: number): void {
  const flags = flagsOf(c, inode);
  const changes = (mode & ~FALLOC_FL_KEEP_SIZE) !== 0;
  if ((flags & INODE_FLAG_IMMUTABLE) !== 0 || ((flags & INODE_FLAG_APPEND) !== 0 && changes)) {
    throw new FsError('EPERM', 'fallocate', `inode ${inode.ino} is immutable or append-only`);
  }
}

export const fallocate: Operation = (c, request, reply) => {
  request.need(fuse_fallocate_in.size);
  const at = fuse_fallocate_in.at;
  const { inode } = c.handles.get(request.u64(at.fh), request.nodeid);
  const offset = request.u64(at.offset);
  const length = request.u64(at.length);
  const mode = request.u32(at.mode);
  checkRange('fallocate', offset, length);
  refuseAllocation(c, inode, mode);
  dropPrivileges(c, inode, withoutFsetid(c, request));
  c.engine.fallocate(inode.ino, mode, offset, length);
  reply.empty();
};

export const lseek: Operation = (c, request, reply) => {
  request.need(fuse_lseek_in.size);
  const at = fuse_lseek_in.at;
  const { inode } = c.handles.get(request.u64(at.fh), request.nodeid);
  const whence = request.u32(at.whence);
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) {
    throw new FsError('EINVAL', 'lseek', `whence ${whence} is the kernel's own`);
  }
  c.layouts.settle([inode]);
  const offset = request.u64(at.offset);
  if (offset > MAX_FILE_SIZE) throw new FsError('ENXIO', 'lseek', `offset ${offset} is past the end`);
  reply.offset(c.engine.seek(inode.ino, offset, whence));
};

/** Copies for both forms of copy_file_range. Returns the bytes copied, at most `most`. */
function copyRange(c: VfsContext, request: Request, most: number): number {
  request.need(fuse_copy_file_range_in.size);
  const at = fuse_copy_file_range_in.at;
  const from = c.handles.get(request.u64(at.fh_in), request.nodeid);
  const to = c.handles.get(request.u64(at.fh_out), request.u64(at.nodeid_out));
  if (request.u64(at.flags) !== 0) throw new FsError('EINVAL', 'copy_file_range', 'unknown flags');
  const srcOffset = request.u64(at.off_in);
  const dstOffset = request.u64(at.off_out);
  if (dstOffset >= MAX_FILE_SIZE) throw new FsError('EFBIG', 'copy_file_range', `to offset ${dstOffset}`);
  if (srcOffset >= MAX_FILE_SIZE) return 0;
  refuseFixed(c, to.inode, 'copy_file_range', false);
  const length = Math.min(request.u64(at.len), most, MAX_FILE_SIZE - dstOffset);
  dropPrivileges(c, to.inode, withoutFsetid(c, request));
  return c.engine.copyRange(from.inode.ino, srcOffset, to.inode.ino, dstOffset, length);
}

export const copyFileRange: Operation = (c, request, reply) => {
  reply.count(copyRange(c, request, COPY_ANSWER_MAX_BYTES));
};

export const copyFileRange64: Operation = (c, request, reply) => {
  reply.offset(copyRange(c, request, MAX_FILE_SIZE));
};
