import type { EngineEvent } from '../engine/events.js';
import type { FailureJob, FileRange } from '../failure/job.js';

/**
 * Work that the vfs begins and somebody else must finish, because it needs another thread: page invalidation
 * (the kernel may wait for this one) and signal delivery. src/daemon/bridge.ts carries it to the main thread.
 */

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
