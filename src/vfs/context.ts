import type { Policy } from '../control/protocol.js';
import type { Engine, InodeAttr, ReadPlan } from '../engine/api.js';
import type { DirentWriter } from '../fuse/dirents.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { asBytes, asIno, type CachePolicy, type Clock, type Time } from '../types.js';
import type { AccessTimes } from './access-times.js';
import type { HandleTable } from './handles.js';
import type { InodeCache } from './inode-cache.js';
import type { Outbox } from './jobs.js';
import type { LayoutQueue } from './layouts.js';
import type { ReportStore } from './reports.js';
import type { Statistics } from './statistics.js';

/** What the operations share. */
export interface VfsContext {
  readonly engine: Engine;
  readonly clock: Clock;
  /** Random bytes for clone tokens. */
  readonly random: (bytes: number) => Uint8Array;
  /** The user who may use the control ioctls that change something, beside root. */
  readonly ownerUid: number;
  readonly policy: Policy;
  readonly cache: CachePolicy;
  readonly accessTimes: AccessTimes;
  /** The thread whose request is under way, for whoever looks whether it still waits; 0 = nobody. */
  readonly caller: { tid: number };
  /** The supplementary groups of a thread. */
  readonly groupsOf: (tid: number) => readonly number[];
  /** The filesystem ids of a thread; 2^32 - 1 for one that cannot be seen. */
  readonly idsOf: (tid: number) => { uid: number; gid: number };
  /** Path of the region, for the info document. */
  readonly region: string;
  readonly outbox: Outbox;
  /** The process of a thread that waits in a page fault now; 0 when it is in a system call, or gone. */
  readonly faultingProcess: (tid: number) => number;
  /**
   * Answers a page fault on a bad block with EIO, so that the thread sees the SIGBUS of a machine check. `pid`: its
   * process. False: nothing was taken over.
   */
  readonly takeFault: (unique: bigint, pid: number, tid: number) => boolean;
  readonly inodes: InodeCache;
  readonly handles: HandleTable;
  readonly reports: ReportStore;
  readonly layouts: LayoutQueue;
  readonly statistics: Statistics;
  /** Bound to the reply's body. */
  readonly dirents: DirentWriter;
  /** FUSE_SETXATTR_EXT was negotiated. */
  setxattrExt: boolean;
  /** Where the next step of a scrub begins, in bytes. */
  scrubbed: number;
  /** Scratch, used again by every operation and valid until it calls another one. */
  readonly attr: InodeAttr;
  /** The root's attributes as they were answered last. */
  readonly rootAttr: InodeAttr;
  readonly now: Time;
  readonly plan: ReadPlan;
}

/** One operation: answers `request` through `reply`, or throws. */
export type Operation = (c: VfsContext, request: Request, reply: Reply) => void;

export function emptyAttr(): InodeAttr {
  const time = (): Time => ({ sec: 0, nsec: 0 });
  return {
    ino: asIno(0),
    generation: 0,
    mode: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: asBytes(0),
    blocks: 0,
    flags: 0,
    atime: time(),
    mtime: time(),
    ctime: time(),
    btime: time(),
  };
}
