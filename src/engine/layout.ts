import { BLOCK_SIZE } from '../types.js';

/**
 * The on-region format, version 1. docs/FORMAT.md describes it for a second implementation. Everything is
 * little-endian 32-bit words; a 64-bit value is two words, low word first. Blocks are 4096 bytes.
 */
export const FORMAT_VERSION = 1;
export const WORDS_PER_BLOCK = BLOCK_SIZE / 4;

/** "RMAPFS\0\1" as two words. */
export const SB_MAGIC_LO = 0x50414d52;
export const SB_MAGIC_HI = 0x01005346;

/** Word offsets in a superblock slot. Slot 0 is the first block of the region, slot 1 the last. */
export const SB = {
  magicLo: 0,
  magicHi: 1,
  version: 2,
  /** crc32 of the block with this word zero. */
  crc: 3,
  blockSize: 4,
  /** Size of the filesystem in blocks. */
  blocks: 5,
  /** Sequence of the transaction that wrote the slot: the valid slot with the higher one counts. */
  txidLo: 6,
  txidHi: 7,
  /** 16 bytes. */
  uuid: 8,
  /** Bit 0: unmounted cleanly. Bit 1: shut down after an error. */
  state: 12,
  /** Highest inode number handed out so far. */
  lastIno: 13,
  inodeCount: 14,
  /** Free data blocks (in the free-space tree). */
  freeBlocks: 15,
  /** Blocks owned by "metadata" (in chunks). */
  metaBlocks: 16,
  /** Seconds since 1970 of mkfs, low and high word. */
  createdLo: 17,
  createdHi: 18,
  slot: 19,
  /** LABEL_MAX_BYTES of UTF-8, zero padded. */
  label: 20,
  /** SHUTDOWN_REASON_MAX_BYTES of UTF-8, zero padded: why the filesystem was shut down. */
  shutdownReason: 36,
  /** Roots: TREE_SLOTS entries of ROOT_WORDS words. */
  roots: 64,
} as const;
export const SB_STATE_CLEAN = 1;
export const SB_STATE_SHUTDOWN = 2;
/** With a shutdown: what was lost to failed memory is metadata, and must be repaired before anything is changed. */
export const SB_STATE_LOST = 4;
/** A root entry: block (0 = empty tree), height (1 = the root is a leaf), record count low, high. */
export const ROOT_WORDS = 4;
export const TREE_SLOTS = 16;

/** "RMBN". */
export const NODE_MAGIC = 0x4e424d52;
/** Word offsets in a node's header. */
export const NODE = {
  magic: 0,
  /** crc32 of the block with this word zero. */
  crc: 1,
  /** The block's own number. */
  self: 2,
  /** Tree id, and level (0 = leaf) shifted by 8. */
  treeLevel: 3,
  count: 4,
  /** Variable-length leaves: byte offset in the block of the lowest payload. */
  heapTop: 5,
  /** Variable-length leaves: bytes of dead payloads. */
  heapDead: 6,
  txidLo: 8,
  txidHi: 9,
  /** The first two words of the filesystem's uuid: a node of an earlier mkfs is never taken for ours. */
  uuid0: 10,
  uuid1: 11,
} as const;
export const NODE_HEADER_WORDS = 16;
export const NODE_BODY_WORDS = WORDS_PER_BLOCK - NODE_HEADER_WORDS;

export interface TreeSpec {
  readonly id: number;
  readonly name: string;
  /** Words of the key, compared as unsigned numbers, first word first. */
  readonly keyWords: number;
  /** Words of the value; a variable-length tree has none but a payload of bytes. */
  readonly valueWords: number;
  readonly variable: boolean;
  /**
   * Internal entries carry the highest end (key word 0 + value word 0) below them, so that all records
   * that overlap a point are found in O(log n + found). XFS's "overlapping interval btree" does the same.
   */
  readonly augmented: boolean;
}

const spec = (
  id: number,
  name: string,
  keyWords: number,
  valueWords: number,
  extra: Partial<TreeSpec> = {},
): TreeSpec => ({ id, name, keyWords, valueWords, variable: false, augmented: false, ...extra });

export const INODE_WORDS = 32;

/** The trees. Ids are the slots in the superblock's root table. */
export const TREES = {
  /** (ino) -> inode record, see INODE. */
  inode: spec(1, 'inode', 1, INODE_WORDS),
  /** (directory, hash, sequence) -> payload: ino u32, file type u8 (DT_*), name bytes. */
  dirent: spec(2, 'dirent', 3, 0, { variable: true }),
  /** (ino, directory, hash, sequence) -> nothing: every link of an inode, so that its paths can be found. */
  parent: spec(3, 'parent', 4, 0),
  /** (ino, hash, sequence << 8 | chunk) -> payload, see xattr.ts. Also holds the targets of symbolic links. */
  xattr: spec(4, 'xattr', 3, 0, { variable: true }),
  /** (ino, file block) -> physical, length, flags. */
  bmap: spec(5, 'bmap', 2, 3),
  /** (physical, owner, file block) -> length, flags. */
  rmap: spec(6, 'rmap', 3, 2, { augmented: true }),
  /** (physical) -> length, count. Only where count >= 2. */
  refcount: spec(7, 'refcount', 1, 2),
  /** (physical) -> length. */
  free: spec(8, 'free', 1, 1),
  /** (physical) -> length, flags, since seconds low, since seconds high. */
  badblock: spec(9, 'badblock', 1, 4),
  /** (ino): inodes without a link that are still in use; reclaimed at mount. */
  orphan: spec(10, 'orphan', 1, 0),
  /** (physical) -> length: the chunks that metadata nodes are taken from. */
  chunk: spec(11, 'chunk', 1, 1),
} as const;

export type TreeName = keyof typeof TREES;

/** Flags of bmap and rmap records. */
export const EXT_UNWRITTEN = 1;
/** The range belongs to the attribute fork (kept free: version 1 holds all attributes in the xattr tree). */
export const EXT_ATTR_FORK = 2;

/** Flags of badblock records. */
export const BAD_LATENT = 1;

/** Special owners of the reverse map. */
export const OWNER_SUPERBLOCK = 0xffff_ffff;
export const OWNER_METADATA = 0xffff_fffe;

/** Word offsets in an inode record. Times: seconds low, seconds high (signed 64 bit), nanoseconds. */
export const INODE = {
  mode: 0,
  nlink: 1,
  uid: 2,
  gid: 3,
  rdev: 4,
  generation: 5,
  sizeLo: 6,
  sizeHi: 7,
  /** Allocated data blocks, shared ones counted in full. */
  blocks: 8,
  /** INODE_FLAG_* */
  flags: 9,
  atime: 10,
  mtime: 13,
  ctime: 16,
  btime: 19,
  /** Directories: number of entries without "." and "..". */
  entries: 22,
  /** Number of extended attributes. */
  xattrs: 23,
  /** Directories: number of entries ever added (low word): a change counter. */
  version: 24,
} as const;
/** From this word on an inode record is zero. */
export const INODE_FIRST_UNUSED = 25;

/** Inode flags: the bits of FS_IOC_GETFLAGS where one exists (ioctl_iflags(2)). */
export const INODE_FLAG_IMMUTABLE = 0x10;
export const INODE_FLAG_APPEND = 0x20;
export const INODE_FLAG_NODUMP = 0x40;
export const INODE_FLAG_NOATIME = 0x80;
/** FS_XFLAG_DAX as asked for by the user. */
export const INODE_FLAG_DAX = 0x0200_0000;
/** All flags that an inode can have. */
export const INODE_FLAGS =
  INODE_FLAG_IMMUTABLE | INODE_FLAG_APPEND | INODE_FLAG_NODUMP | INODE_FLAG_NOATIME | INODE_FLAG_DAX;

/** Metadata nodes come from groups of this many blocks, aligned to their size. */
export const META_GROUP_BLOCKS = 64;
