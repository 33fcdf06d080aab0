import { constants } from 'node:fs';

/** Bits of st_mode, of open(2), fallocate(2), lseek(2) and rename(2), as the kernel passes them. */

export const {
  S_IFMT,
  S_IFREG,
  S_IFDIR,
  S_IFLNK,
  S_IFCHR,
  S_IXGRP,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  O_TRUNC,
  O_APPEND,
  O_EXCL,
  O_NOATIME,
} = constants;

export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
/** Everything that chmod(2) may change. */
export const MODE_BITS = 0o7777;
/** Read, write and execute of owner, group and others. */
export const PERMISSION_BITS = 0o777;
export const O_ACCMODE = 3;

export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_COLLAPSE_RANGE = 8;
export const FALLOC_FL_INSERT_RANGE = 32;
export const FALLOC_FL_UNSHARE_RANGE = 64;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

export const isDirectory = (mode: number): boolean => (mode & S_IFMT) === S_IFDIR;
export const isRegular = (mode: number): boolean => (mode & S_IFMT) === S_IFREG;

/**
 * The mode without what a change of contents or owner takes away: set-user-id always, set-group-id where the
 * group may execute (without that bit it meant mandatory locking): setattr_should_drop_suidgid, fs/attr.c.
 */
export function withoutSetId(mode: number): number {
  const dropped = mode & ~S_ISUID;
  return (mode & S_IXGRP) !== 0 ? dropped & ~S_ISGID : dropped;
}
