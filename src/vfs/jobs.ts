import type { EngineEvent } from '../engine/events.js';
import type { FailureJob, FileRange } from '../failure/job.js';
import type { Ino } from '../types.js';

/**
 * Work that the vfs begins and somebody else must finish, because it needs another thread: page invalidation
 * (the kernel may wait for this one) and signal delivery. src/daemon/bridge.ts carries it to the main thread.
 */

/** A page of a file in the kernel's cache. */
export interface Page {
  ino: Ino;
  /** Its number: offset / 4096. */
  page: number;
}

/**
 * Has main write pages back, and answer by 'writtenback' with the id. `files`: all pages, which stay in the cache.
 * `ranges`: they are dropped as well. `pages`: dropped one by one, see PageGate.
 */
export interface WriteBackJob {
  id: number;
  /** With a path below the mount, or null where there is none: then the pages are dropped as well. */
  files: { ino: Ino; path: string | null }[];
  ranges: FileRange[];
  pages: Page[];
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
  /** As it came: the answer changes its own fields only. */
  record: Uint8Array;
}

/** The way out of the vfs. None of these waits. */
export interface Outbox {
  failure(job: FailureJob): void;
  writeBack(job: WriteBackJob): void;
  goingDown(job: GoingDownJob): void;
  mceKill(job: MceKillJob): void;
  /** The complete reply to a request that was held back. */
  answer(reply: Uint8Array): void;
  /** The kernel's copies of the attributes go, before anything that is answered later. */
  dropAttributes(inos: readonly Ino[]): void;
  /** The complete reply to a GOINGDOWN ioctl, to be sent when `after` was invalidated. */
  ran(after: FileRange[], reply: Uint8Array): void;
  /** Pages or attributes to drop with nobody waiting. */
  invalidate(ranges: FileRange[]): void;
  /** Puts something among the failure events. */
  publish(event: EngineEvent): void;
  events(job: EventsJob): void;
  /** The caller of a request was interrupted; main may not have the request any more. */
  interrupt(unique: bigint): void;
  log(level: 'error' | 'warn' | 'info', text: string): void;
}
