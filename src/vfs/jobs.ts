import type { Policy } from '../control/protocol.js';
import type { FoundBy } from '../control/schema.js';
import type { MetadataDamage, Owner } from '../engine/api.js';
import type { EngineEvent } from '../engine/events.js';
import type { Ino } from '../types.js';

/**
 * Work that the vfs begins and somebody else must finish, because it needs another thread: page invalidation
 * (the kernel may wait for this one) and signal delivery. src/daemon/bridge.ts carries it to the main thread.
 */

/** A byte range of a file whose cached pages must go (FUSE_NOTIFY_INVAL_INODE). */
export interface FileRange {
  ino: Ino;
  /** -1: only the cached attributes. */
  offset: number;
  length: number;
  /** The pages stay when a process maps the file, and then only the attributes go. */
  unlessMapped?: true;
}

/** `policy`: the file's own, where it has one that counts. */
export type FileOwner = Extract<Owner, { kind: 'file' }> & { policy?: Policy };
export type OwnerWithPaths =
  | (FileOwner & { paths: string[]; open: boolean })
  | Exclude<Owner, { kind: 'file' }>;

/** A failure that the core has recorded in the region; main tells whom it concerns and answers the ioctl. */
export interface FailureJob {
  kind: 'failure';
  /** The FUSE request to answer with a POISON record, once all is delivered; null when none waits for that. */
  unique: bigint | null;
  /** A complete reply to send instead, to the request that found the error; null when it has its answer. */
  reply: Uint8Array | null;
  /** How it became known. */
  by: FoundBy;
  /** The thread that met it, or 0. */
  pid: number;
  /** The process (0: none) that met it in a page fault: the kernel signals that one itself. */
  accessor: number;
  /** Under this id the report must be stored (message 'report'). */
  report: number;
  physical: number;
  length: number;
  latent: boolean;
  policy: Policy;
  owners: OwnerWithPaths[];
  /**
   * Where `owners` are those only that the main thread has work with: how many there are, and how many of them the
   * report leaves out. The core keeps the text of the others: thousands of objects would take long to cross.
   */
  allOwners?: { count: number; omitted: number };
  /**
   * Indexes of the owners of whose file the kernel may have pages: nobody can have mapped and touched any other.
   * Absent: all.
   */
  cached?: number[];
  /** Bytes that were not bad before. With none nothing has changed, and nobody is told. */
  newlyBad: number;
  /** What became of metadata in the range. The filesystem is yet to be shut down when some were lost. */
  metadata: MetadataDamage;
}

/**
 * An operation that changes blocks under the page cache (clone, dedupe by ioctl): main invalidates `before`
 * (which writes dirty pages back), sends 'run', gets 'ran', invalidates `after` and sends the reply.
 */
export interface RemapJob {
  kind: 'remap';
  id: number;
  unique: bigint;
  before: FileRange[];
}

/**
 * The values of the argument of XFS_IOC_GOINGDOWN (fs/xfs/libxfs/xfs_fs.h). flushAll: dirty pages and metadata are
 * written first. flushLog: metadata. flushNothing: what the last commit does not have is lost.
 */
export const GOINGDOWN_MODE = { flushAll: 0, flushLog: 1, flushNothing: 2 } as const;

/** The reason of a shutdown that was asked for: nothing is damaged. */
export const GOINGDOWN_REASON = 'asked for by GOINGDOWN';

/** A GOINGDOWN ioctl. Its argument is a pointer, so main reads it: the caller's memory may wait for the core. */
export interface GoingDownJob {
  unique: bigint;
  pid: number;
  address: number;
}

/** An MCE_KILL ioctl. `pid`: the calling thread. */
export interface MceKillJob {
  unique: bigint;
  pid: number;
  policy: number;
}

/** An EVENTS ioctl: main answers it when there are events after the cursor, or after `waitMs` milliseconds. */
export interface EventsJob {
  unique: bigint;
  cursor: number;
  waitMs: number;
}

/** The way out of the vfs. None of these waits. */
export interface Outbox {
  failure(job: FailureJob): void;
  remap(job: RemapJob): void;
  goingDown(job: GoingDownJob): void;
  mceKill(job: MceKillJob): void;
  /** Result of a remap job's run: the complete reply, to be sent after `after` was invalidated. */
  ran(id: number, after: FileRange[], reply: Uint8Array): void;
  /** Pages or attributes to drop with nobody waiting. */
  invalidate(ranges: FileRange[]): void;
  /** Puts something among the failure events. */
  publish(event: EngineEvent): void;
  events(job: EventsJob): void;
  /** The caller of a request was interrupted; main may not have the request any more. */
  interrupt(unique: bigint): void;
  log(level: 'error' | 'warn' | 'info', text: string): void;
}
