import type { Bytes, Ino, PhysBlock, Time } from '../types.js';

/**
 * The engine as src/vfs, src/failure and src/control see it. Synchronous, single-threaded, no FUSE, no
 * process. Failures are FsError; a broken invariant is InvariantError, damage is CorruptionError.
 * Names are bytes (they need not be UTF-8).
 */
export interface Engine extends Namespace, FileData, Sharing, Space, Failure {
  /** Of the last poison(). */
  readonly damage: MetadataDamage;
  readonly info: EngineInfo;
  /** Reads the blocks of a range, up to the end of its first run of latent errors. Whole blocks. */
  scrub(physical: number, length: number): ScrubbedRange;
}

export interface EngineInfo {
  label: string;
  uuid: string;
  blockSize: number;
  blocks: number;
  readOnly: boolean;
  /** Of the last commit. */
  readonly txid: number;
  /** Why an earlier mount was shut down, when that is what ended the last one; else null. */
  readonly wasShutdown: string | null;
  /** Whether the last unmount before this mount was clean. */
  wasClean: boolean;
  shutdown: boolean;
}

/** An inode's attributes. getattr() fills one that the caller owns: nothing is allocated. */
export interface InodeAttr {
  ino: Ino;
  generation: number;
  /** File type and permissions, as st_mode. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** As the kernel encodes it (new_encode_dev). */
  rdev: number;
  size: Bytes;
  /** Allocated blocks of 4096 bytes; a shared block counts for each owner. */
  blocks: number;
  /** INODE_FLAG_*. */
  flags: number;
  atime: Time;
  mtime: Time;
  ctime: Time;
  btime: Time;
}

/** What to change; absent fields stay. ctime is set to now by every change unless given. */
export interface AttrChange {
  mode?: number;
  uid?: number;
  gid?: number;
  atime?: Time;
  mtime?: Time;
  ctime?: Time;
  flags?: number;
}

/** An extended attribute of a new inode. */
export interface NewXattr {
  name: Uint8Array;
  value: Uint8Array;
}

/** Whom an inode belongs to. */
export interface OwnerIds {
  readonly uid: number;
  readonly gid: number;
}

export interface NewInode {
  /** File type and permissions. */
  mode: number;
  uid: number;
  gid: number;
  rdev?: number;
  /** Symbolic links: the target. */
  target?: Uint8Array;
  /** INODE_FLAG_*. */
  flags?: number;
  /** Extended attributes that it has from the start, with different names. */
  xattrs?: readonly NewXattr[];
}

/** Called once an entry. Returns false to stop (the entry was not taken). The name is valid during the call only. */
export type DirVisitor = (name: Uint8Array, ino: Ino, type: number, nextCookie: number) => boolean;

export interface Namespace {
  /** 0 when there is no such entry. ENOTDIR when `dir` is none. "." and ".." are not stored: parentOf() knows. */
  lookup(dir: Ino, name: Uint8Array): Ino | 0;
  parentOf(dir: Ino): Ino;
  exists(ino: Ino): boolean;
  getattr(ino: Ino, out: InodeAttr): InodeAttr;
  setattr(ino: Ino, change: AttrChange): void;
  /** Sets atime only, without ctime (for relatime updates). */
  /**
   * Whether a read at `now` (seconds since 1970) sets atime, by relatime_need_update() of fs/inode.c: atime is not
   * after mtime and ctime, or a day old; never with INODE_FLAG_NOATIME.
   */
  atimeIsOld(ino: Ino, now: number): boolean;
  touchAtime(ino: Ino, atime: Time): void;
  /** Regular file, directory, device, FIFO, socket or symbolic link. EEXIST, ENOSPC, ENAMETOOLONG, ENOTDIR. */
  create(dir: Ino, name: Uint8Array, init: NewInode): Ino;
  /** An inode without a name (O_TMPFILE); it is an orphan until linked. */
  createUnlinked(init: NewInode): Ino;
  link(ino: Ino, dir: Ino, name: Uint8Array): void;
  /** Not for directories (EISDIR). The inode stays as an orphan until inactivate(). Returns its number. */
  unlink(dir: Ino, name: Uint8Array): Ino;
  rmdir(dir: Ino, name: Uint8Array): Ino;
  /**
   * flags: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. Returns the replaced inode or 0.
   * `whiteout`: whom a whiteout belongs to, root unless said otherwise.
   */
  rename(
    dir: Ino,
    name: Uint8Array,
    newDir: Ino,
    newName: Uint8Array,
    flags: number,
    whiteout?: OwnerIds,
  ): Ino | 0;
  /** Entries after `cookie` (0 = from the start) in cookie order; cookies are stable and survive a remount. */
  readdir(dir: Ino, cookie: number, visit: DirVisitor): void;
  readlink(ino: Ino): Uint8Array;
  /** The last user of an inode is gone: if it has no link any more, it and its blocks are freed. */
  inactivate(ino: Ino): void;
  getxattr(ino: Ino, name: Uint8Array): Uint8Array | null;
  /** flags: XATTR_CREATE 1 (EEXIST), XATTR_REPLACE 2 (ENODATA). */
  setxattr(ino: Ino, name: Uint8Array, value: Uint8Array, flags: number): void;
  removexattr(ino: Ino, name: Uint8Array): void;
  listxattr(ino: Ino): Uint8Array[];
  /**
   * Absolute paths within the filesystem ("/a/b"), lossy UTF-8, at most `max`; [] for an unlinked inode. `known` keeps
   * the paths of directories from call to call, for a caller that asks for many and changes nothing meanwhile.
   */
  paths(ino: Ino, max: number, known?: Map<number, string>): string[];
}

/**
 * Filled by read(): runs of the region (and of a page of zeros) that together hold the bytes. The table has
 * SEGMENTS_MAX entries of SEGMENT_WORDS words: index in `readSources`, byte offset there, bytes.
 */
export interface ReadPlan {
  readonly table: Int32Array;
  segments: number;
  bytes: number;
}

export interface FileData {
  /** What the segments of a ReadPlan lie in: the windows of the region, then zeros. */
  readonly readSources: readonly Buffer[];
  /**
   * Plans a read without copying. Ends at the end of the file. A bad block: EIO, or, with `mayBeShort` and
   * good bytes before it, those bytes only. Does not touch atime.
   */
  read(ino: Ino, offset: number, length: number, mayBeShort: boolean, out: ReadPlan): void;
  /**
   * Writes the bytes of data[0 .. length), extends the file, sets mtime and ctime.
   * `fromPageCache`: a write-back of mapped pages: it never extends the file and never heals a bad block (EIO).
   * Returns the number of bytes written (short where a bad block or lack of space stops it after a part). A write-back
   * is never short: it stores every block that it can, and then throws the first EIO or ENOSPC.
   */
  write(ino: Ino, offset: number, data: Buffer, length: number, fromPageCache: boolean): number;
  truncate(ino: Ino, size: number): void;
  /** Linux FALLOC_FL_* bits; EOPNOTSUPP for combinations that are not supported. */
  fallocate(ino: Ino, mode: number, offset: number, length: number): void;
  /** SEEK_DATA 3, SEEK_HOLE 4, as lseek(2): ENXIO past the end. */
  seek(ino: Ino, offset: number, whence: number): number;
  /** Everything durable: commits. */
  fsync(ino: Ino): void;
}

export interface Extent {
  fileOffset: number;
  /** Byte offset in the region. */
  physical: number;
  /** Bytes. */
  length: number;
  shared: boolean;
  unwritten: boolean;
  bad: boolean;
}

export interface Sharing {
  /** FICLONERANGE with the rules of the kernel's generic_remap_file_range_prep; length 0 = to the source's end. */
  cloneRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): void;
  /** One destination of FIDEDUPERANGE. Returns bytes shared, or -1 where the ranges differ. */
  dedupeRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number;
  /** copy_file_range: aligned parts are shared, the rest is copied. Returns the bytes copied. */
  copyRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number;
  /** Extents that meet [offset, offset + length), split where sharing or badness changes, at most `max`. */
  extents(ino: Ino, offset: number, length: number, max: number): Extent[];
}

export interface SpaceUse {
  blocks: number;
  /** Blocks that data may take, without the reserve; free nodes that can be given back to them included. */
  available: number;
  /** Blocks that hold nothing: free ones, and free nodes of metadata chunks. */
  free: number;
  /** Physical blocks with two owners and more. */
  shared: number;
  /** Blocks that sharing saves: the sum of (owners - 1). */
  saved: number;
  bad: number;
  /** Nodes of the trees. */
  metadata: number;
  inodes: number;
}

export type Owner =
  | {
      kind: 'file';
      ino: Ino;
      /** Bytes. */
      fileOffset: number;
      /** Byte offset in the region and length of the part that meets the query. */
      physical: number;
      length: number;
      fork: 'data' | 'attr';
      unwritten: boolean;
      shareCount: number;
    }
  | { kind: 'metadata'; physical: number; length: number; tree: string }
  | { kind: 'superblock'; physical: number; length: number }
  | { kind: 'free'; physical: number; length: number };

export interface Space {
  space(): SpaceUse;
  /** Makes everything so far durable. */
  commit(): void;
  /** Whether commit() would have something to do. */
  readonly dirty: boolean;
  /**
   * Commits, and gives the storage of free runs of at least `least` bytes that lie within the range back to what the
   * region lies on. Returns the bytes. EOPNOTSUPP, EROFS, EINTR.
   */
  trim(physical: number, length: number, least: number): number;
  /** Gives the filesystem another label, durably. EINVAL: too long, or with NUL in it; EROFS. */
  relabel(label: string): void;
  /** An operation begins. */
  begin(): void;
  /** Whether metadata were changed since begin(): an operation that failed without can be repeated. */
  readonly changed: boolean;
  /**
   * Blocks with a latent error in metadata that an operation came upon when it had begun to change something: it was
   * brought to its end first. Whoever tells of them takes them out.
   */
  readonly met: number[];
  /** Ends a mount: commits with the clean mark, unless it was shut down. The engine cannot be used afterwards. */
  close(): void;
  /**
   * Stops all changes and reads after an error that cannot be repaired. Later operations throw EIO. Returns the reason,
   * with what went wrong when it was to be written down in the region.
   */
  shutdown(reason: string): string;
  /**
   * Owners of every block of [physical, physical + length), in physical order, a shared extent once an owner
   * (clipped to the range). The visitor returns false to stop; `after` continues a query: records at or
   * before that position are passed over.
   */
  owners(physical: number, length: number, visit: (owner: Owner) => boolean, after?: OwnerCursor): void;
  /**
   * Owners of the blocks from `place` up to block `end`, at most that of the device, in pages of any length: moves
   * `place` over each one that the visitor takes (it returns true). In physical order; owners of one physical offset in
   * an order of their own. Returns whether all were visited.
   */
  ownersFrom(place: OwnerPlace, end: number, visit: (owner: Owner) => boolean): boolean;
}

/**
 * How far ownersFrom() has come, in blocks: at block `at`, or, where `end` is not 0, within the shared blocks
 * [at, end), before the rmap record (start, owner, from).
 */
export interface OwnerPlace {
  at: number;
  end: number;
  start: number;
  owner: number;
  from: number;
}

/** A position in the order of owners(): physical offset, then owner, then file offset. Bytes. */
export interface OwnerCursor {
  physical: number;
  ino: number;
  fileOffset: number;
}

export interface BadRange {
  physical: number;
  length: number;
  latent: boolean;
  /** Seconds since 1970. */
  since: number;
}

/** What a failure did to the metadata in its range. */
export type MetadataDamage = {
  /** Tree nodes that were made again, from what other trees say, at other places. Bytes. */
  repaired: { tree: string; physical: number; length: number }[];
  /**
   * Why the filesystem cannot go on, or null. Nothing can be changed from then on: it is to be shut down when the
   * owners of data in the range were told.
   */
  lost: string | null;
};

/** What scrub() read, in bytes. */
export interface ScrubbedRange {
  /** From the start on, including the latent errors. */
  length: number;
  /** The run of latent errors that it came upon, or null. It is as latent as before. */
  latent: { physical: number; length: number } | null;
  /** Metadata whose checksum or contents are wrong. */
  damaged: { physical: number; tree: string; detail: string }[];
}

export interface Failure {
  /** Whether a block of the byte range is known to be bad. */
  isBad(physical: number, length: number): boolean;
  /**
   * Marks blocks bad (whole blocks that meet the range) and commits. ENXIO outside the device. Returns newly bad
   * blocks. Metadata in the range are made again where that can be done: see `damage`.
   */
  poison(physical: number, length: number, latent: boolean): number;
  /** Takes the mark away; the contents stay. Returns blocks that were bad. */
  unpoison(physical: number, length: number): number;
  badBlocks(from: number, max: number): BadRange[];
}

export type { PhysBlock };
