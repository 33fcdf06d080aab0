import {
  closeSync,
  fstatSync,
  ftruncateSync,
  constants as open,
  openSync,
  type Stats,
  statfsSync,
  unlinkSync,
} from 'node:fs';
import { type ErrnoName, FsError } from '../errors.js';
import { REGION_MAX_BYTES, REGION_MIN_BYTES, WINDOW_BYTES } from '../limits.js';
import { cacheFlushKind, constants, fallocate, flock, hasCode } from '../native.js';
import { BLOCK_SIZE } from '../types.js';
import { claimPlaces } from './below.js';
import { blockDevice, daxDevice } from './sysfs.js';
import { plantedBy } from './trust.js';

export interface RegionOptions {
  readOnly: boolean;
  /**
   * Creates the file, or gives an existing regular file this size in bytes (whatever it held); on a device,
   * uses its first `size` bytes. Not together with readOnly. A file gets all of its blocks, and ENOSPC when there are
   * not as many, unless it is to be sparse: then a full filesystem below it is the end of the mount.
   */
  create?: { size: number; sparse: boolean };
}

export type RegionKind = 'file' | 'block' | 'devdax';

/** A region that is open and locked, and whose size is known and allowed. */
export interface OpenedRegion {
  readonly path: string;
  readonly fd: number;
  readonly kind: RegionKind;
  /** A multiple of the block size; a partial block at the end is left out. */
  readonly bytes: number;
  /** A file of a filesystem that keeps everything in memory. */
  readonly isMemory: boolean;
  /** Closes it and gives up its locks. */
  close(): void;
  /** Closes it again, and takes away a file that this open created. */
  abandon(): void;
}

/** f_type of statfs(2), from <linux/magic.h>. */
const MEMORY_FILESYSTEMS = new Set([0x0102_1994 /* tmpfs */, 0x8584_58f6 /* ramfs */]);

/**
 * Opens and locks a region and finds its size. Nothing is changed before the lock is held, and nothing at all when
 * an argument is wrong.
 */
export function openRegionFile(path: string, options: RegionOptions): OpenedRegion {
  const { readOnly, create } = options;
  if (create !== undefined) {
    if (readOnly) throw regionError('EINVAL', `${path} cannot be created read-only`);
    checkSize(path, create.size);
  }
  let { fd, isCreated } = openFile(path, options);
  let isLocked = false;
  const claims: number[] = [];
  const close = (): void => {
    for (const one of [fd, ...claims]) closeSync(one);
  };
  const abandon = (): void => {
    close();
    // Without the lock the file may already be another one's.
    if (isCreated && isLocked) unlinkSync(path);
  };
  try {
    const kind = kindOf(path, fstatSync(fd));
    if (kind === 'file' && !readOnly && !isCreated) refusePlanted(path, fstatSync(fd));
    if (kind === 'block' && !readOnly) fd = claimBlockDevice(path, fd);
    lock(path, fd, readOnly, claims);
    isLocked = true;
    if (create !== undefined && kind === 'file') resize(path, fd, create);
    const bytes = usableBytes(path, fstatSync(fd), kind, create?.size);
    const isMemory = kind === 'file' && MEMORY_FILESYSTEMS.has(statfsSync(`/proc/self/fd/${fd}`).type);
    return { path, fd, kind, bytes, isMemory, close, abandon };
  } catch (error) {
    abandon();
    throw asRegionError(error, path);
  }
}

/** The region's own error for one of the system's: the same code, and a sentence that names the region. */
export function asRegionError(error: unknown, path: string): unknown {
  if (error instanceof FsError || !(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  return regionError(code as ErrnoName, `${path} cannot be used: ${error.message}`);
}

function regionError(code: ErrnoName, detail: string): FsError {
  return new FsError(code, 'region', detail);
}

/**
 * O_NONBLOCK keeps a FIFO from blocking us for ever; it means nothing to files and devices. The mode is
 * private: a region holds the files of all users of the mount.
 */
function openFile(path: string, options: RegionOptions): { fd: number; isCreated: boolean } {
  const flags = (options.readOnly ? open.O_RDONLY : open.O_RDWR) | open.O_NONBLOCK;
  try {
    return { fd: openSync(path, flags), isCreated: false };
  } catch (error) {
    if (hasCode(error, 'EISDIR')) throw notARegion(path, 'a directory', 'EISDIR');
    if (!hasCode(error, 'ENOENT')) throw asRegionError(error, path);
    if (options.create === undefined) {
      throw regionError('ENOENT', `${path} does not exist; rmapfs mkfs creates a region`);
    }
  }
  try {
    return { fd: openSync(path, flags | open.O_CREAT | open.O_EXCL, 0o600), isCreated: true };
  } catch (error) {
    throw asRegionError(error, path);
  }
}

/** Gives a file its size and, unless it is to be sparse, its blocks. After an error it has the size of before. */
function resize(path: string, fd: number, { size, sparse }: { size: number; sparse: boolean }): void {
  const before = fstatSync(fd).size;
  ftruncateSync(fd, size);
  if (sparse) return;
  try {
    fallocate(fd, 0, 0, size);
  } catch (error) {
    ftruncateSync(fd, Math.min(before, size));
    if (hasCode(error, 'ENOSPC')) throw regionError('ENOSPC', noRoom(path, fd, size));
    if (!hasCode(error, 'ENOTSUP')) throw error;
    throw regionError(
      'ENOTSUP',
      `${path} cannot be given its blocks by its filesystem (fallocate); --sparse does without`,
    );
  }
}

function noRoom(path: string, fd: number, size: number): string {
  const { bavail, bsize } = statfsSync(`/proc/self/fd/${fd}`);
  const advice = '--sparse takes blocks as they are used';
  return `${path} has no room for ${size} bytes: its filesystem has ${bavail * bsize} left; ${advice}`;
}

function kindOf(path: string, stat: Stats): RegionKind {
  if (stat.isFile()) return 'file';
  if (stat.isBlockDevice()) return 'block';
  if (stat.isDirectory()) throw notARegion(path, 'a directory', 'EISDIR');
  if (stat.isCharacterDevice()) {
    if (daxDevice(stat.rdev) !== null) return 'devdax';
    throw notARegion(path, 'a character device that is no devdax', 'EINVAL');
  }
  throw notARegion(path, stat.isFIFO() ? 'a FIFO' : 'a socket', 'EINVAL');
}

function refusePlanted(path: string, stat: Stats): void {
  const why = plantedBy(path, stat, process.geteuid?.() ?? 0);
  if (why !== null) throw regionError('EACCES', `${why}; remove it, or use a place of your own`);
}

function notARegion(path: string, what: string, code: ErrnoName): FsError {
  return regionError(code, `${path} is ${what}: a region is a file, a block device or a devdax device`);
}

/**
 * Opens the block device again with O_EXCL, which the kernel refuses while a filesystem on it is mounted or
 * another driver holds it (open(2)). The flock alone would not see those.
 */
function claimBlockDevice(path: string, fd: number): number {
  try {
    const claimed = openSync(`/proc/self/fd/${fd}`, open.O_RDWR | open.O_EXCL);
    closeSync(fd);
    return claimed;
  } catch (error) {
    if (hasCode(error, 'EBUSY')) throw inUse(path);
    throw error;
  }
}

/**
 * One writer or any number of readers. Readers are refused beside a writer because it reuses freed blocks: they
 * would see a tree change under them. It holds for the region by whatever way it is opened: itself, a loop device of
 * it, a partition.
 */
function lock(path: string, fd: number, readOnly: boolean, claims: number[]): void {
  try {
    flock(fd, (readOnly ? constants.LOCK_SH : constants.LOCK_EX) | constants.LOCK_NB);
    claims.push(...claimPlaces(fd, readOnly));
  } catch (error) {
    if (hasCode(error, 'EAGAIN') || hasCode(error, 'EBUSY')) throw inUse(path);
    throw error;
  }
}

function inUse(path: string): FsError {
  return regionError('EBUSY', `${path} is in use: it is mounted, or another command is working on it`);
}

function usableBytes(path: string, stat: Stats, kind: RegionKind, limit: number | undefined): number {
  const { bytes, align } = geometryOf(path, stat, kind);
  if (limit !== undefined && limit > bytes) {
    throw regionError('EINVAL', `${path} has ${bytes} bytes, which is less than the ${limit} asked for`);
  }
  if (WINDOW_BYTES % align !== 0) {
    throw regionError('EINVAL', `${path} is mapped in units of ${align} bytes, more than ${WINDOW_BYTES}`);
  }
  const usable = Math.floor((limit ?? bytes) / align) * align;
  checkSize(path, usable);
  return usable;
}

function geometryOf(path: string, stat: Stats, kind: RegionKind): { bytes: number; align: number } {
  if (kind === 'file') return { bytes: stat.size, align: BLOCK_SIZE };
  if (kind === 'block') return blockDevice(stat.rdev);
  if (cacheFlushKind() === 'none') {
    throw regionError('ENOTSUP', `${path} is a devdax device, and this CPU cannot write cache lines back`);
  }
  const geometry = daxDevice(stat.rdev);
  if (geometry === null) throw regionError('ENODEV', `${path} went away while it was opened`);
  return geometry;
}

function checkSize(path: string, bytes: number): void {
  if (Number.isSafeInteger(bytes) && bytes >= REGION_MIN_BYTES && bytes <= REGION_MAX_BYTES) return;
  throw regionError(
    'EINVAL',
    `${path} with ${bytes} bytes: a region has from ${REGION_MIN_BYTES} to ${REGION_MAX_BYTES} bytes`,
  );
}
