/**
 * The units of the whole program as branded numbers, so that a file block is never taken for a
 * physical one. All are plain numbers at run time.
 */
declare const brand: unique symbol;
type Brand<Name extends string> = number & { readonly [brand]: Name };

/** Inode number: 1 (the root) .. {@link MAX_INO}. */
export type Ino = Brand<'Ino'>;
/** A block of the region, counted from its start: 0 .. 2^32 - 1. */
export type PhysBlock = Brand<'PhysBlock'>;
/** A block of a file, counted from its start: 0 .. 2^32 - 1. */
export type FileBlock = Brand<'FileBlock'>;
/** A number of blocks. */
export type Blocks = Brand<'Blocks'>;
/** A number of bytes or a byte offset, below 2^53. */
export type Bytes = Brand<'Bytes'>;

export const asIno = (n: number): Ino => n as Ino;
export const asPhys = (n: number): PhysBlock => n as PhysBlock;
export const asFileBlock = (n: number): FileBlock => n as FileBlock;
export const asBlocks = (n: number): Blocks => n as Blocks;
export const asBytes = (n: number): Bytes => n as Bytes;

export const BLOCK_SIZE = 4096;
export const BLOCK_SHIFT = 12;

/** The root directory's inode number, as FUSE demands it (FUSE_ROOT_ID). */
export const ROOT_INO = 1 as Ino;
/** Inode numbers above this one are special owners in the reverse map. */
export const MAX_INO = 0xffff_ffef as Ino;

/** Largest file size and offset in bytes: file block numbers are u32, so 16 TiB. */
export const MAX_FILE_SIZE = 2 ** 32 * BLOCK_SIZE;

/**
 * Whether read(2) and write(2) may be answered by the kernel's page cache: `auto` unless the file has the dax
 * flag, `none` never, `always` for every file. Mappings work in each.
 */
export const CACHE_POLICIES = ['auto', 'none', 'always'] as const;
export type CachePolicy = (typeof CACHE_POLICIES)[number];

/** A point in time: whole seconds since 1970 (may be negative) and 0 .. 999,999,999 nanoseconds. */
export interface Time {
  sec: number;
  nsec: number;
}

/** Where the engine and the vfs get the time from; passed in so that a test can run from a seed. */
export interface Clock {
  now(into: Time): void;
  /** Whole seconds since 1970, cheaper. */
  seconds(): number;
}

/** The block that holds byte `offset`. Works above 2^31, where shifts do not. */
export const blockOf = (offset: number): number => Math.floor(offset / BLOCK_SIZE);
/** The number of blocks that hold `bytes` bytes from a block's start. */
export const blocksFor = (bytes: number): number => Math.ceil(bytes / BLOCK_SIZE);
