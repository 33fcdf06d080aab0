import type { DirVisitor } from '../engine/api.js';
import { FsError } from '../errors.js';
import { fuse_fsync_in, fuse_open_in, fuse_read_in } from '../fuse/abi.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { FUSE_READDIR_MAX_BYTES } from '../limits.js';
import { type Ino, ROOT_INO } from '../types.js';
import { noteAccess } from './access-times.js';
import { secondsOf } from './attributes.js';
import type { Operation, VfsContext } from './context.js';
import { isDirectory, O_NOATIME } from './mode.js';

/** Open directories. */

const DT_DIR = 4;
const DOT = Buffer.from('.');
const DOTDOT = Buffer.from('..');
/** Offsets 0 and 1 are before "." and ".."; an entry's offset is its engine's cookie plus this. */
const FIRST_COOKIE = 2;

/**
 * No FOPEN_CACHE_DIR: the kernel then serves listings from its own copy for as long as the directory is not
 * changed through it, which readdirplus and the long entry timeouts give already.
 */
export const opendir: Operation = (c, request, reply) => {
  request.need(fuse_open_in.size);
  const inode = c.inodes.known(request.nodeid);
  // The root can be opened after a shutdown too: it is the way to the control ioctls.
  if (inode.ino !== ROOT_INO && !isDirectory(c.engine.getattr(inode.ino, c.attr).mode)) {
    throw new FsError('ENOTDIR', 'opendir', `inode ${inode.ino} is no directory`);
  }
  reply.open(c.handles.open(inode, request.u32(fuse_open_in.at.flags), true).fh, 0);
};

/** An entry's attributes for readdirplus; null where they cannot be read: the later lookup says why. */
function attrOrNull(c: VfsContext, ino: Ino): typeof c.attr | null {
  try {
    return c.engine.getattr(ino, c.attr);
  } catch {
    return null;
  }
}

/** Adds one of "." and "..", which the engine does not store and which count as no lookup. */
function addDots(c: VfsContext, dir: Ino, offset: number, plus: boolean): boolean {
  for (let at = offset; at < FIRST_COOKIE; at++) {
    const name = at === 0 ? DOT : DOTDOT;
    if (!c.dirents.fits(name.length, plus)) return false;
    const ino = at === 0 ? dir : c.engine.parentOf(dir);
    if (plus) c.dirents.addPlus(name, ino, DT_DIR, at + 1, null);
    else c.dirents.add(name, ino, DT_DIR, at + 1);
  }
  return true;
}

function list(c: VfsContext, request: Request, reply: Reply, plus: boolean): void {
  request.need(fuse_read_in.size);
  const at = fuse_read_in.at;
  const handle = c.handles.get(request.u64(at.fh), request.nodeid);
  if (!handle.directory) throw new FsError('ENOTDIR', 'readdir', `handle ${handle.fh} is a file's`);
  const dir = handle.inode.ino;
  const offset = request.u64(at.offset);
  if (!Number.isSafeInteger(offset)) throw new FsError('EINVAL', 'readdir', `offset ${offset}`);
  const { dirents } = c;
  dirents.begin(Math.min(request.u32(at.size), FUSE_READDIR_MAX_BYTES));
  const visit: DirVisitor = (name, ino, type, nextCookie) => {
    if (!dirents.fits(name.length, plus)) return false;
    if (!plus) {
      dirents.add(name, ino, type, nextCookie + FIRST_COOKIE);
      return true;
    }
    const found = attrOrNull(c, ino);
    // Such attributes are asked for when they are wanted.
    const attr = found !== null && secondsOf(c.inodes.find(ino), found) === undefined ? found : null;
    dirents.addPlus(name, ino, type, nextCookie + FIRST_COOKIE, attr);
    if (attr !== null) c.inodes.remember(ino);
    return true;
  };
  if (addDots(c, dir, offset, plus)) c.engine.readdir(dir, Math.max(0, offset - FIRST_COOKIE), visit);
  reply.sendBody(dirents.used);
  if ((handle.flags & O_NOATIME) === 0) noteAccess(c, dir, c.accessTimes.directories);
}

export const readdir: Operation = (c, request, reply) => list(c, request, reply, false);
export const readdirplus: Operation = (c, request, reply) => list(c, request, reply, true);

export const fsyncdir: Operation = (c, request, reply) => {
  request.need(fuse_fsync_in.size);
  c.engine.fsync(c.handles.get(request.u64(fuse_fsync_in.at.fh), request.nodeid).inode.ino);
  reply.empty();
};
