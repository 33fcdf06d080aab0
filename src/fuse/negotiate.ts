import { errnoOf, FsError } from '../errors.js';
import { FUSE_MAX_BACKGROUND, FUSE_MAX_PAGES, FUSE_MAX_WRITE_BYTES } from '../limits.js';
import {
  FUSE_KERNEL_VERSION,
  FUSE_MINOR_MAX,
  FUSE_MINOR_MIN,
  fuse_init_in,
  fuse_init_out,
  INIT_FLAG,
  INIT_FLAG2,
} from './abi.js';
import type { Reply } from './reply.js';
import type { Request } from './request.js';

/** What was agreed on with the kernel. */
export interface Connection {
  minor: number;
  /** INIT_FLAG bits. */
  flags: number;
  /** INIT_FLAG2 bits. */
  flags2: number;
  maxReadahead: number;
}

/**
 * Asked for where the kernel offers it:
 * - ASYNC_READ, BIG_WRITES, MAX_PAGES: large and concurrent transfers.
 * - ATOMIC_O_TRUNC: open(O_TRUNC) is one request, with the word whether to drop set-id bits.
 * - EXPORT_SUPPORT: "." and ".." can be looked up, so handles from name_to_handle_at(2) survive eviction.
 * - PARALLEL_DIROPS: the kernel need not serialise lookups; the daemon answers one after the other anyway.
 * - DO_READDIRPLUS, READDIRPLUS_AUTO: `ls -l` is one round trip a page.
 * - CACHE_SYMLINKS, EXPLICIT_INVAL_DATA: the daemon is the only writer and invalidates what it changes.
 * - HANDLE_KILLPRIV_V2: the daemon drops set-id bits and security.capability when told so, and the kernel may
 *   remember that a file has none (S_NOSEC) instead of asking before each write.
 * - SETXATTR_EXT, INIT_EXT: the record sizes that abi.ts has.
 * - HAS_IOCTL_DIR: control ioctls on directories, the root above all.
 * - POSIX_ACL: the kernel decides by the ACLs that the daemon keeps as xattrs, and caches them.
 * - DONT_MASK: a default ACL takes the place of the umask, so the daemon applies either; see newInode().
 * - DIRECT_IO_ALLOW_MMAP (flags2): shared mappings stay possible on handles with direct I/O.
 * - ALLOW_IDMAP (flags2): idmapped mounts. Requests that make no inode then name no user: see callerOf().
 *
 * Never: WRITEBACK_CACHE (a write-back could not be told from a write(2), and would heal a bad block),
 * DAX, PASSTHROUGH, OVER_IO_URING (the blocking loop is the design), NO_OPEN and NO_OPENDIR (open
 * handles are the daemon's to know).
 */
const WANTED =
  INIT_FLAG.ASYNC_READ |
  INIT_FLAG.ATOMIC_O_TRUNC |
  INIT_FLAG.EXPORT_SUPPORT |
  INIT_FLAG.BIG_WRITES |
  INIT_FLAG.HAS_IOCTL_DIR |
  INIT_FLAG.DO_READDIRPLUS |
  INIT_FLAG.READDIRPLUS_AUTO |
  INIT_FLAG.PARALLEL_DIROPS |
  INIT_FLAG.MAX_PAGES |
  INIT_FLAG.CACHE_SYMLINKS |
  INIT_FLAG.EXPLICIT_INVAL_DATA |
  INIT_FLAG.HANDLE_KILLPRIV_V2 |
  INIT_FLAG.SETXATTR_EXT |
  INIT_FLAG.POSIX_ACL |
  INIT_FLAG.DONT_MASK |
  INIT_FLAG.INIT_EXT;
const WANTED2 = INIT_FLAG2.DIRECT_IO_ALLOW_MMAP | INIT_FLAG2.ALLOW_IDMAP;

/** As it is told to the user. */
const NEEDED = `${FUSE_KERNEL_VERSION}.${FUSE_MINOR_MIN} (Linux 5.4) or a later ${FUSE_KERNEL_VERSION}.x`;

/** Without these the daemon would work wrongly, not only slowly. All are older than FUSE_MINOR_MIN. */
const REQUIRED =
  INIT_FLAG.ATOMIC_O_TRUNC | INIT_FLAG.BIG_WRITES | INIT_FLAG.MAX_PAGES | INIT_FLAG.EXPLICIT_INVAL_DATA;

/**
 * Answers FUSE_INIT. Refuses, with EPROTO for the kernel and an FsError for the caller:
 * - another major version;
 * - a minor version below 31, Linux 5.4: the oldest kernel with long-term support that tells a write whether
 *   to drop set-id bits (7.31) and has MAX_PAGES and copy_file_range (7.28) and EXPLICIT_INVAL_DATA (7.30).
 */
export function negotiate(request: Request, reply: Reply): Connection {
  const at = fuse_init_in.at;
  // Before FUSE_INIT_EXT (7.36) the record ends with `flags`.
  request.need(at.flags2);
  const major = request.u32(at.major);
  const minor = request.u32(at.minor);
  const offered = request.u32(at.flags);
  if (major !== FUSE_KERNEL_VERSION || minor < FUSE_MINOR_MIN) {
    reply.error(errnoOf('EPROTO'));
    throw new FsError(
      'EPROTO',
      'negotiate',
      `the kernel speaks FUSE ${major}.${minor}; rmapfs needs ${NEEDED}`,
    );
  }
  if ((offered & REQUIRED) !== REQUIRED) {
    reply.error(errnoOf('EPROTO'));
    const missing = (REQUIRED & ~offered) >>> 0;
    throw new FsError('EPROTO', 'negotiate', `the kernel lacks FUSE_INIT flags 0x${missing.toString(16)}`);
  }
  const extended = (offered & INIT_FLAG.INIT_EXT) !== 0 && request.bodyBytes >= fuse_init_in.size;
  const connection: Connection = {
    minor: Math.min(minor, FUSE_MINOR_MAX),
    flags: offered & WANTED,
    flags2: extended ? request.u32(at.flags2) & WANTED2 : 0,
    maxReadahead: request.u32(at.max_readahead),
  };
  sendInit(reply, connection);
  return connection;
}

function sendInit(reply: Reply, connection: Connection): void {
  const at = fuse_init_out.at;
  const { body } = reply;
  body.fill(0, 0, fuse_init_out.size);
  body.writeUInt32LE(FUSE_KERNEL_VERSION, at.major);
  body.writeUInt32LE(connection.minor, at.minor);
  body.writeUInt32LE(connection.maxReadahead, at.max_readahead);
  body.writeUInt32LE(connection.flags >>> 0, at.flags);
  body.writeUInt16LE(FUSE_MAX_BACKGROUND, at.max_background);
  // Three quarters, the kernel's own proportion (FUSE_DEFAULT_CONGESTION_THRESHOLD).
  body.writeUInt16LE(Math.floor((FUSE_MAX_BACKGROUND * 3) / 4), at.congestion_threshold);
  body.writeUInt32LE(FUSE_MAX_WRITE_BYTES, at.max_write);
  body.writeUInt32LE(1, at.time_gran);
  body.writeUInt16LE(FUSE_MAX_PAGES, at.max_pages);
  body.writeUInt32LE(connection.flags2, at.flags2);
  reply.sendBody(fuse_init_out.size);
}
