import { FsError } from '../errors.js';
import { CLONE_TOKENS_PER_HANDLE_MAX } from '../limits.js';
import type { Inode, InodeCache } from './inode-cache.js';
import { O_ACCMODE, O_APPEND, O_RDONLY, O_RDWR, O_WRONLY } from './mode.js';

/** An open file or directory. */
export interface Handle {
  readonly fh: number;
  readonly inode: Inode;
  /** Flags of open(2). */
  readonly flags: number;
  readonly directory: boolean;
  /** Clone-source tokens, as hexadecimal strings, oldest first. */
  readonly tokens: string[];
}

export const canRead = (handle: Handle): boolean => (handle.flags & O_ACCMODE) !== O_WRONLY;
export const canWrite = (handle: Handle): boolean => (handle.flags & O_ACCMODE) !== O_RDONLY;
/** Whether a mapping by this handle can be shared and written to (mmap(2)). */
const canMapStores = (handle: Handle): boolean => !handle.directory && (handle.flags & O_ACCMODE) === O_RDWR;
/** Whether a clone or dedupe may go into the file by this handle (remap_verify_area in fs/remap_range.c). */
export const canRemapInto = (handle: Handle): boolean => canWrite(handle) && (handle.flags & O_APPEND) === 0;

/** The open handles. A number is never used twice in a mount. */
export class HandleTable {
  readonly #byFh = new Map<number, Handle>();
  readonly #byToken = new Map<string, Handle>();
  readonly #inodes: InodeCache;
  #last = 0;

  constructor(inodes: InodeCache) {
    this.#inodes = inodes;
  }

  get size(): number {
    return this.#byFh.size;
  }

  open(inode: Inode, flags: number, directory: boolean): Handle {
    this.#last += 1;
    const handle: Handle = { fh: this.#last, inode, flags, directory, tokens: [] };
    this.#byFh.set(handle.fh, handle);
    this.#inodes.hold(inode);
    if (canMapStores(handle)) {
      inode.mappers += 1;
      inode.stored ||= inode.cached;
    }
    return handle;
  }

  /** EBADF when there is none, or when it belongs to another node than the request says. */
  get(fh: number, nodeid: number): Handle {
    const handle = this.#byFh.get(fh);
    if (handle === undefined || handle.inode.ino !== nodeid) {
      throw new FsError('EBADF', 'vfs', `handle ${fh} of node ${nodeid} is not open`);
    }
    return handle;
  }

  close(handle: Handle): void {
    for (const token of handle.tokens) this.#byToken.delete(token);
    this.#byFh.delete(handle.fh);
    // The kernel has written the pages of a mapping back before it lets go of the handle (fuse_vma_close).
    if (canMapStores(handle) && --handle.inode.mappers === 0) handle.inode.stored = false;
    this.#inodes.drop(handle.inode);
  }

  /** Makes `token` stand for the contents of the handle until it is closed or too many newer ones exist. */
  addToken(handle: Handle, token: string): void {
    if (handle.tokens.length >= CLONE_TOKENS_PER_HANDLE_MAX) {
      const oldest = handle.tokens.shift();
      if (oldest !== undefined) this.#byToken.delete(oldest);
    }
    handle.tokens.push(token);
    this.#byToken.set(token, handle);
  }

  byToken(token: string): Handle | undefined {
    return this.#byToken.get(token);
  }

  /** Forgets every handle: the mount is gone. */
  end(): void {
    this.#byToken.clear();
    this.#byFh.clear();
  }
}
