import { fdatasyncSync, fstatSync } from 'node:fs';
import { assert, FsError } from '../errors.js';
import { WINDOW_BYTES } from '../limits.js';
import {
  cacheFlushKind,
  constants,
  fallocate,
  faultOf,
  flushCacheLines,
  hasCode,
  map,
  mediumFaults,
  unmap,
} from '../native.js';
import { BLOCK_SIZE, type PhysBlock } from '../types.js';
import { DirtyBlocks, flushDirtyLines } from './dirty.js';
import type { Media } from './media.js';
import { asRegionError, type OpenedRegion, openRegionFile, type RegionOptions } from './region-file.js';
import { SECTOR_BYTES } from './sysfs.js';
import { readOnlyError, WINDOW_SHIFT, WindowedMedia, Windows } from './windows.js';

/**
 * How far a flush reaches, which depends on what the region lies on:
 * - memory: tmpfs. The pages are the store: what was written survives the daemon's death, but not a reboot.
 *   A flush has nothing to do.
 * - page-cache: a file or block device behind the page cache. A flush is fdatasync(2): what it covered
 *   survives a loss of power, as far as the disk keeps its own promise. The kernel may write any page earlier.
 * - dax: the mapping is of the medium itself (devdax, or a file that takes MAP_SYNC). A flush writes the
 *   noted cache lines back and fences: it survives a loss of power, without a system call.
 */
export type RegionMedium = 'memory' | 'page-cache' | 'dax';

export type { RegionOptions } from './region-file.js';

/** A mapped region. */
export interface RegionMedia extends Media {
  /** As it was given to openRegion(). */
  readonly path: string;
  readonly medium: RegionMedium;
  /**
   * Why what was read or stored since the open may not be the region's (a page was gone when it was touched: the file
   * shrank, its filesystem is full, the device failed), or null. Lasts. Cheap: to be asked before every answer.
   */
  readonly lost: string | null;
  /** Throws EIO when the region is lost, or its file has become smaller than what is mapped. flush() asks too. */
  checkStillThere(): void;
}

/**
 * Opens, locks and maps a region. Throws an FsError that names the region: ENOENT, EACCES ..., EISDIR or
 * EINVAL for something that is no region, EINVAL for a size out of bounds, EBUSY when another process (or this one)
 * has it open in a way that excludes ours: one writer, or any number of readers.
 */
export function openRegion(path: string, options: RegionOptions): RegionMedia {
  const opened = openRegionFile(path, options);
  try {
    return new MappedRegion(opened, options.readOnly);
  } catch (error) {
    opened.abandon();
    throw asRegionError(error, path);
  }
}

class MappedRegion extends WindowedMedia implements RegionMedia {
  readonly path: string;
  readonly readOnly: boolean;
  readonly medium: RegionMedium;
  readonly #fd: number;
  readonly #closeFile: () => void;
  readonly #isRegularFile: boolean;
  /** Kept where a flush goes block by block; elsewhere one flag is enough. */
  readonly #dirtyBlocks: DirtyBlocks | null;
  #isDirty = false;
  #failure: FsError | null = null;
  #isClosed = false;
  /** Faults of all mappings of the process that were looked at. */
  #faultsSeen = mediumFaults();
  #lost: string | null = null;

  constructor(opened: OpenedRegion, readOnly: boolean) {
    const { buffers, isSync } = mapWindows(opened, readOnly);
    super(new Windows(buffers, WINDOW_SHIFT));
    this.path = opened.path;
    this.readOnly = readOnly;
    this.#fd = opened.fd;
    this.#closeFile = () => opened.close();
    this.#isRegularFile = opened.kind === 'file';
    this.medium = mediumOf(opened, isSync);
    this.#dirtyBlocks = this.medium === 'dax' ? new DirtyBlocks(this.blocks) : null;
  }

  noteDirty(block: PhysBlock, count: number): void {
    if (this.readOnly) throw readOnlyError(this.path);
    this.addressing.check(block, count);
    this.#isDirty = true;
    if (this.#dirtyBlocks !== null) this.#dirtyBlocks.note(block, count);
  }

  flush(): void {
    assert(!this.#isClosed, 'flush of an open region');
    if (this.#failure !== null) throw this.#failure;
    if (this.#isDirty) this.#flushDirty();
    // Also with nothing to flush: what was stored before may have gone to no page of the region.
    this.checkStillThere();
    this.#isDirty = false;
  }

  #flushDirty(): void {
    if (this.#dirtyBlocks !== null) flushDirtyLines(this.addressing, this.#dirtyBlocks, flushCacheLines);
    else if (this.medium === 'page-cache') this.#syncFile();
  }

  discard(block: PhysBlock, count: number): void {
    if (this.readOnly) throw readOnlyError(this.path);
    this.addressing.check(block, count);
    const { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } = constants;
    try {
      const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      fallocate(this.#fd, mode, block * BLOCK_SIZE, count * BLOCK_SIZE);
    } catch (error) {
      if (!hasCode(error, 'ENOTSUP') && !hasCode(error, 'ENODEV')) throw asRegionError(error, this.path);
      throw new FsError('EOPNOTSUPP', 'trim', `${this.path} cannot give storage back`);
    }
  }

  get lost(): string | null {
    const faults = mediumFaults();
    if (faults === this.#faultsSeen) return this.#lost;
    this.#faultsSeen = faults;
    const window = this.addressing.buffers.findIndex((buffer) => faultOf(buffer) >= 0);
    if (window >= 0) {
      const at = window * WINDOW_BYTES + faultOf(this.addressing.buffers[window]);
      this.#lost ??= this.#shrunk() ?? `byte ${at} of ${this.path} could not be reached: ${this.#advice()}`;
    }
    return this.#lost;
  }

  checkStillThere(): void {
    this.#lost = this.lost ?? this.#shrunk();
    if (this.#lost !== null) throw new FsError('EIO', 'region', this.#lost);
  }

  #shrunk(): string | null {
    if (!this.#isRegularFile) return null;
    const size = fstatSync(this.#fd).size;
    const mapped = this.blocks * BLOCK_SIZE;
    return size >= mapped ? null : `${this.path} shrank from ${mapped} to ${size} bytes while it was in use`;
  }

  /** What is most likely wrong. */
  #advice(): string {
    if (!this.#isRegularFile) return 'the device failed or is gone';
    const { blocks, size } = fstatSync(this.#fd);
    const isSparse = blocks * SECTOR_BYTES < size;
    return isSparse ? 'the file is sparse, and its filesystem has no room for it' : 'its storage failed';
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // The mappings hold the open file: only after them does closing it give up the lock.
    for (const buffer of this.addressing.buffers) unmap(buffer);
    this.#closeFile();
  }

  /**
   * One fdatasync, not an msync for each range: both write the same pages, but each msync waits for the disk by
   * itself (64 scattered blocks on ext4: 63 ms against 192 ms; one block: the same). It also covers stores
   * through the mapping, because the kernel notes dirty pages of shared mappings by file.
   *
   * The kernel reports a write error once and then takes the pages for clean, so a failure is final here:
   * nothing can be called durable any more.
   */
  #syncFile(): void {
    try {
      fdatasyncSync(this.#fd);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#failure = new FsError('EIO', 'flush', `${this.path} cannot be written: ${reason}`);
      throw this.#failure;
    }
  }
}

function mediumOf(opened: OpenedRegion, isSync: boolean): RegionMedium {
  if (opened.kind === 'devdax' || isSync) return 'dax';
  return opened.kind === 'file' && opened.isMemory ? 'memory' : 'page-cache';
}

/** Maps whole windows; after a failure none is left. `isSync`: the file took MAP_SYNC, so it is DAX. */
function mapWindows(
  opened: OpenedRegion,
  readOnly: boolean,
): { buffers: Buffer<ArrayBuffer>[]; isSync: boolean } {
  const { MAP_SHARED, MAP_SHARED_VALIDATE, MAP_SYNC, PROT_READ, PROT_WRITE } = constants;
  const protection = readOnly ? PROT_READ : PROT_READ | PROT_WRITE;
  const isSync = opened.kind === 'file' && !readOnly && canFlushLines() && takesMapSync(opened);
  const flags = isSync ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
  const buffers: Buffer<ArrayBuffer>[] = [];
  try {
    for (let offset = 0; offset < opened.bytes; offset += WINDOW_BYTES) {
      buffers.push(map(Math.min(WINDOW_BYTES, opened.bytes - offset), protection, flags, opened.fd, offset));
    }
  } catch (error) {
    for (const buffer of buffers) unmap(buffer);
    throw error;
  }
  return { buffers, isSync };
}

const canFlushLines = (): boolean => cacheFlushKind() !== 'none';

/** Tries one page. EOPNOTSUPP is the kernel's answer for files that are not DAX (mmap(2)). */
function takesMapSync(opened: OpenedRegion): boolean {
  const { MAP_SHARED_VALIDATE, MAP_SYNC, PAGESIZE, PROT_READ, PROT_WRITE } = constants;
  try {
    unmap(map(PAGESIZE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, opened.fd, 0));
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOTSUP')) return false;
    throw error;
  }
}
