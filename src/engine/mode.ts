/** File types in st_mode, as in inode(7). */
export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
const S_IFSOCK = 0o140000;
/** Permissions with set-user-ID, set-group-ID and the sticky bit. */
export const PERMISSION_BITS = 0o7777;

/** The DT_* value of a mode, as dirent records and readdir(3) have it. */
export const typeOf = (mode: number): number => (mode & S_IFMT) >>> 12;
export const DT_DIR = typeOf(S_IFDIR);
export const DT_CHR = typeOf(S_IFCHR);

export const isDirectory = (mode: number): boolean => (mode & S_IFMT) === S_IFDIR;
export const isRegular = (mode: number): boolean => (mode & S_IFMT) === S_IFREG;
export const isDevice = (mode: number): boolean => (mode & S_IFMT) === S_IFCHR || (mode & S_IFMT) === S_IFBLK;
export const isSymlink = (mode: number): boolean => (mode & S_IFMT) === S_IFLNK;

/** Whether a mode has a known file type and no bits beyond type and permissions. */
export function isValidMode(mode: number): boolean {
  if (!Number.isInteger(mode) || mode < 0 || mode > (S_IFMT | PERMISSION_BITS)) return false;
  switch (mode & S_IFMT) {
    case S_IFIFO:
    case S_IFCHR:
    case S_IFDIR:
    case S_IFBLK:
    case S_IFREG:
    case S_IFLNK:
    case S_IFSOCK:
      return true;
    default:
      return false;
  }
}
