import type { MessagePort } from 'node:worker_threads';
import type { Policy } from '../control/protocol.js';
import type { EventBody } from '../failure/event-ring.js';
import type { FailureJob, FileRange } from '../failure/job.js';
import type { CachePolicy } from '../types.js';
import type { AccessTimes } from '../vfs/access-times.js';
import type { EventsJob, GoingDownJob, MceKillJob, WriteBackJob } from '../vfs/jobs.js';

/**
 * What passes between the core (the worker that serves /dev/fuse and owns the engine) and the main thread
 * (mount, timers, notifications, process scan, signal delivery). Both hold the /dev/fuse descriptor.
 *
 * core -> main: a plain postMessage; main gets it as an event.
 * main -> core: postMessage, then a wake (the core sits in a blocking read): native.wakeThread(tid)
 * interrupts that read with EINTR, and the core drains its port. A signal can fall between the core's check
 * and its read, so main repeats it until SHARED.ack has caught up with SHARED.posted.
 * The core never waits for main, so main may use the mount (and notifications that wait for the core) freely.
 */

/** Int32 slots of the shared array. */
export const SHARED = {
  /** Messages posted to the core so far (main adds with Atomics). */
  posted: 0,
  /** Messages the core has handled so far. */
  ack: 1,
  /** The core's thread id (gettid), set before its first read. */
  coreTid: 2,
  /**
   * MOUNT_STATE. Reading /dev/fuse before mount(2) gives EPERM, so the core, when it has posted 'opened',
   * waits for this slot to change (Atomics.wait) before its first read.
   */
  mount: 3,
  /** The descriptor of /dev/fuse, set before `mount` becomes "mounted". */
  fuseFd: 4,
  /** See PageGate. */
  gate: 5,
  slots: 16,
} as const;

/** Values of SHARED.mount. "failed": the core closes the engine and ends, with 'ended'. */
export const MOUNT_STATE = { waiting: 0, mounted: 1, failed: 2 } as const;

export interface CoreOptions {
  region: string;
  readOnly: boolean;
  /** A region with the uuid of another mount is mounted, too. */
  nouuid: boolean;
  /** Where daemons of this user say which uuids they have mounted; see uuid-claim.ts. */
  claims: string | null;
  /** Uid that owns the mount: it and root may change things through control ioctls. */
  ownerUid: number;
  defaultPolicy: Policy;
  cache: CachePolicy;
  accessTimes: AccessTimes;
  shared: SharedArrayBuffer;
  port: MessagePort;
}

export type { EventsJob, FailureJob, FileRange, GoingDownJob, MceKillJob, WriteBackJob };

export type FromCore =
  /** Region and engine are open (a bad region is 'ended' instead): main may mount now. */
  /** `notice`: what the user must hear of the last mount. */
  | { type: 'opened'; notice?: string }
  /** FUSE_INIT was answered: the mount can be used. */
  | { type: 'ready' }
  | { type: 'failure'; job: FailureJob }
  | { type: 'writeback'; job: WriteBackJob }
  /** The complete FUSE reply (header included) to a GOINGDOWN ioctl, to send after the invalidation. */
  | { type: 'ran'; after: FileRange[]; reply: Uint8Array }
  /** Pages to drop with nobody waiting (e.g. after unpoison). */
  | { type: 'invalidate'; ranges: FileRange[] }
  | { type: 'log'; level: 'error' | 'warn' | 'info'; text: string }
  | { type: 'goingdown'; job: GoingDownJob }
  | { type: 'mcekill'; job: MceKillJob }
  | { type: 'event'; event: EventBody }
  | { type: 'events'; job: EventsJob }
  | { type: 'interrupt'; unique: bigint }
  /** The channel ended: unmounted (clean) or broken. The core has closed the engine. */
  | { type: 'ended'; clean: boolean; reason: string };

export type ToCore =
  /** What a write-back job asks for is done, or why not. */
  | { type: 'writtenback'; id: number; failed: string | null }
  /** Metadata are lost and all owners of data were told. */
  | { type: 'shutdown'; reason: string }
  /** The finished JSON document of a failure, to be served by the REPORT ioctl. */
  | { type: 'report'; id: number; json: string }
  /** The argument of a GOINGDOWN ioctl: shut down, and answer `unique` by 'ran'. */
  | { type: 'goingdown'; unique: bigint; mode: number };
