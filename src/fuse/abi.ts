/**
 * The kernel's FUSE protocol as numbers: opcodes, flags and record layouts, under the names of
 * <linux/fuse.h>. test/fuse/abi.test.ts compiles a C program and compares every entry with the header.
 * Everything is little-endian; every record is padded to 64 bits, so fields follow each other without gaps.
 */

export const FUSE_KERNEL_VERSION = 7;
/** The oldest minor version this daemon works with; see negotiate.ts. */
export const FUSE_MINOR_MIN = 31;
/** The newest minor version this daemon knows. 7.45 came with Linux 6.18. */
export const FUSE_MINOR_MAX = 45;

export interface Layout<Field extends string> {
  /** Bytes of the whole record. */
  readonly size: number;
  /** Byte offset of each field. */
  readonly at: Readonly<Record<Field, number>>;
  /** Bytes of each field. */
  readonly width: Readonly<Record<Field, number>>;
}

/** Lays fields out one after the other. Takes their widths in bytes. */
function record<const Field extends string>(width: Record<Field, number>): Layout<Field> {
  const at = {} as Record<Field, number>;
  let size = 0;
  for (const field of Object.keys(width) as Field[]) {
    at[field] = size;
    size += width[field];
  }
  return { size, at, width };
}

export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  /** Since 7.39 (Linux 6.6). */
  STATX: 52,
  /** Since 7.45 (Linux 6.18). */
  COPY_FILE_RANGE_64: 53,
} as const;
/** Opcodes are below this. */
export const OPCODE_LIMIT = 64;

/** Names by opcode, for logs and statistics. */
export const OPCODE_NAMES: readonly string[] = (() => {
  const names: string[] = new Array(OPCODE_LIMIT).fill('');
  for (const [name, opcode] of Object.entries(OPCODE)) names[opcode] = name.toLowerCase();
  return names;
})();

/** FUSE_INIT flags below bit 32: fuse_init_in.flags. */
export const INIT_FLAG = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  HAS_IOCTL_DIR: 1 << 11,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  HANDLE_KILLPRIV: 1 << 19,
  POSIX_ACL: 1 << 20,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** FUSE_INIT flags from bit 32 on, shifted down: fuse_init_in.flags2. */
export const INIT_FLAG2 = {
  /** Since 7.39 (Linux 6.6): FUSE_DIRECT_IO_ALLOW_MMAP, bit 36. */
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  /** Since 7.41 (Linux 6.12): FUSE_ALLOW_IDMAP, bit 40. */
  ALLOW_IDMAP: 1 << 8,
} as const;

export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

export const FOPEN = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
} as const;

export const FUSE_OPEN_KILL_SUIDGID = 1 << 0;
export const FUSE_WRITE_CACHE = 1 << 0;
/** A write that goes by the page cache: O_DIRECT. */
export const FUSE_WRITE_LOCKOWNER = 1 << 1;
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2;
/** read_flags: the caller is a read(2) of its own, not the page cache (fuse_send_read in fs/fuse/file.c). */
export const FUSE_READ_LOCKOWNER = 1 << 1;
/** setxattr_flags: clear set-group-ID with the ACL (posix_acl_update_mode in fs/posix_acl.c). */
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0;
export const FUSE_IOCTL_DIR = 1 << 4;
export const FUSE_IOCTL_COMPAT = 1 << 0;
export const FUSE_ROOT_ID = 1;

export const NOTIFY = { INVAL_INODE: 2, INVAL_ENTRY: 3 } as const;

export const fuse_in_header = record({
  len: 4,
  opcode: 4,
  unique: 8,
  nodeid: 8,
  uid: 4,
  gid: 4,
  pid: 4,
  total_extlen: 2,
  padding: 2,
});
export const fuse_out_header = record({ len: 4, error: 4, unique: 8 });

export const fuse_attr = record({
  ino: 8,
  size: 8,
  blocks: 8,
  atime: 8,
  mtime: 8,
  ctime: 8,
  atimensec: 4,
  mtimensec: 4,
  ctimensec: 4,
  mode: 4,
  nlink: 4,
  uid: 4,
  gid: 4,
  rdev: 4,
  blksize: 4,
  flags: 4,
});
export const fuse_entry_out = record({
  nodeid: 8,
  generation: 8,
  entry_valid: 8,
  attr_valid: 8,
  entry_valid_nsec: 4,
  attr_valid_nsec: 4,
  attr: fuse_attr.size,
});
export const fuse_attr_out = record({ attr_valid: 8, attr_valid_nsec: 4, dummy: 4, attr: fuse_attr.size });

export const fuse_init_in = record({
  major: 4,
  minor: 4,
  max_readahead: 4,
  flags: 4,
  flags2: 4,
  unused: 44,
});
export const fuse_init_out = record({
  major: 4,
  minor: 4,
  max_readahead: 4,
  flags: 4,
  max_background: 2,
  congestion_threshold: 2,
  max_write: 4,
  time_gran: 4,
  max_pages: 2,
  map_alignment: 2,
  flags2: 4,
  unused: 28,
});

export const fuse_forget_in = record({ nlookup: 8 });
export const fuse_forget_one = record({ nodeid: 8, nlookup: 8 });
export const fuse_batch_forget_in = record({ count: 4, dummy: 4 });
export const fuse_getattr_in = record({ getattr_flags: 4, dummy: 4, fh: 8 });
export const fuse_mknod_in = record({ mode: 4, rdev: 4, umask: 4, padding: 4 });
export const fuse_mkdir_in = record({ mode: 4, umask: 4 });
export const fuse_rename_in = record({ newdir: 8 });
export const fuse_rename2_in = record({ newdir: 8, flags: 4, padding: 4 });
export const fuse_link_in = record({ oldnodeid: 8 });
export const fuse_setattr_in = record({
  valid: 4,
  padding: 4,
  fh: 8,
  size: 8,
  lock_owner: 8,
  atime: 8,
  mtime: 8,
  ctime: 8,
  atimensec: 4,
  mtimensec: 4,
  ctimensec: 4,
  mode: 4,
  unused4: 4,
  uid: 4,
  gid: 4,
  unused5: 4,
});
export const fuse_open_in = record({ flags: 4, open_flags: 4 });
export const fuse_create_in = record({ flags: 4, mode: 4, umask: 4, open_flags: 4 });
export const fuse_open_out = record({ fh: 8, open_flags: 4, padding: 4 });
export const fuse_release_in = record({ fh: 8, flags: 4, release_flags: 4, lock_owner: 8 });
export const fuse_read_in = record({
  fh: 8,
  offset: 8,
  size: 4,
  read_flags: 4,
  lock_owner: 8,
  flags: 4,
  padding: 4,
});
export const fuse_write_in = record({
  fh: 8,
  offset: 8,
  size: 4,
  write_flags: 4,
  lock_owner: 8,
  flags: 4,
  padding: 4,
});
export const fuse_write_out = record({ size: 4, padding: 4 });
export const fuse_kstatfs = record({
  blocks: 8,
  bfree: 8,
  bavail: 8,
  files: 8,
  ffree: 8,
  bsize: 4,
  namelen: 4,
  frsize: 4,
  padding: 4,
  spare: 24,
});
export const fuse_fsync_in = record({ fh: 8, fsync_flags: 4, padding: 4 });
export const fuse_setxattr_in = record({ size: 4, flags: 4, setxattr_flags: 4, padding: 4 });
/** What a kernel sends that was not asked for, or does not have, FUSE_SETXATTR_EXT. */
export const FUSE_COMPAT_SETXATTR_IN_SIZE = 8;
export const fuse_getxattr_in = record({ size: 4, padding: 4 });
export const fuse_getxattr_out = record({ size: 4, padding: 4 });
export const fuse_interrupt_in = record({ unique: 8 });
export const fuse_ioctl_in = record({ fh: 8, flags: 4, cmd: 4, arg: 8, in_size: 4, out_size: 4 });
export const fuse_ioctl_out = record({ result: 4, flags: 4, in_iovs: 4, out_iovs: 4 });
export const fuse_fallocate_in = record({ fh: 8, offset: 8, length: 8, mode: 4, padding: 4 });
/** The name follows, padded with zeros to 8 bytes. */
export const fuse_dirent = record({ ino: 8, off: 8, namelen: 4, type: 4 });
export const fuse_lseek_in = record({ fh: 8, offset: 8, whence: 4, padding: 4 });
export const fuse_lseek_out = record({ offset: 8 });
export const fuse_copy_file_range_in = record({
  fh_in: 8,
  off_in: 8,
  nodeid_out: 8,
  fh_out: 8,
  off_out: 8,
  len: 8,
  flags: 8,
});
export const fuse_syncfs_in = record({ padding: 8 });
export const fuse_notify_inval_inode_out = record({ ino: 8, off: 8, len: 8 });
export const fuse_notify_inval_entry_out = record({ parent: 8, namelen: 4, flags: 4 });

/** Records newer than a 7.38 header: from include/uapi/linux/fuse.h of Linux 6.18. */
export const fuse_copy_file_range_out = record({ bytes_copied: 8 });
export const fuse_statx_in = record({ getattr_flags: 4, reserved: 4, fh: 8, sx_flags: 4, sx_mask: 4 });
/** "Bit-for-bit compatible with the statx(2) ABI", which the test compares it with. */
export const fuse_statx = record({
  mask: 4,
  blksize: 4,
  attributes: 8,
  nlink: 4,
  uid: 4,
  gid: 4,
  mode: 2,
  spare0: 2,
  ino: 8,
  size: 8,
  blocks: 8,
  attributes_mask: 8,
  atime: 16,
  btime: 16,
  ctime: 16,
  mtime: 16,
  rdev_major: 4,
  rdev_minor: 4,
  dev_major: 4,
  dev_minor: 4,
  spare2: 112,
});
export const fuse_statx_out = record({
  attr_valid: 8,
  attr_valid_nsec: 4,
  flags: 4,
  spare: 16,
  stat: fuse_statx.size,
});

/** fuse_dirent and fuse_direntplus are padded to this. */
export const DIRENT_ALIGN = 8;
