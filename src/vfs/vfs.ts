import type { Policy } from '../control/protocol.js';
import type { Engine } from '../engine/api.js';
import { broken, errnoOf, FsError } from '../errors.js';
import { INIT_FLAG, INIT_FLAG2, OPCODE, OPCODE_LIMIT, OPCODE_NAMES } from '../fuse/abi.js';
import { DirentWriter } from '../fuse/dirents.js';
import { errorReply, ioctlReply } from '../fuse/ioctl-reply.js';
import type { Connection } from '../fuse/negotiate.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { type CachePolicy, type Clock, type Ino, ROOT_INO } from '../types.js';
import type { AccessTimes } from './access-times.js';
import { getattr, setattr, statfs, statx } from './attributes.js';
import type { PageGate } from './closing.js';
import { emptyAttr, type Operation, type VfsContext } from './context.js';
import { fsyncdir, opendir, readdir, readdirplus } from './directories.js';
import { interrupt } from './events.js';
import {
  copyFileRange,
  copyFileRange64,
  create,
  fallocate,
  fsync,
  lseek,
  open,
  read,
  release,
  syncfs,
  tmpfile,
  write,
} from './files.js';
import { enter, judge, shutDown } from './guard.js';
import { HandleTable } from './handles.js';
import { InodeCache } from './inode-cache.js';
import { ioctl } from './ioctl.js';
import { GOINGDOWN_MODE, GOINGDOWN_REASON, type Outbox } from './jobs.js';
import { faultOn, madeAgain, noteBlock, noteLatent } from './latent.js';
import { LayoutQueue, Parked, type Remap } from './layouts.js';
import {
  batchForget,
  forget,
  link,
  lookup,
  mkdir,
  mknod,
  readlink,
  rename,
  rename2,
  rmdir,
  symlink,
  unlink,
} from './namespace.js';
import { ReportStore } from './reports.js';
import { Statistics } from './statistics.js';
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.js';

export interface VfsOptions {
  engine: Engine;
  clock: Clock;
  random: (bytes: number) => Uint8Array;
  /** A monotonic clock for the statistics. */
  nanoseconds: () => number;
  ownerUid: number;
  policy: Policy;
  cache: CachePolicy;
  accessTimes: AccessTimes;
  /** The supplementary groups of a thread. */
  /** Kept up to date with each request. */
  caller: { tid: number };
  groupsOf: (tid: number) => readonly number[];
  idsOf: VfsContext['idsOf'];
  outbox: Outbox;
  /** Shared with the main thread. */
  gate: PageGate;
  /** The thread that does what a WriteBackJob asks for. */
  mainTid: number;
  faultingProcess: (tid: number) => number;
  takeFault: VfsContext['takeFault'];
  /** The region's path, for `info`. */
  region: string;
}

/** NOTIFY_REPLY gets no answer. */
const silent: Operation = (_c, _request, reply) => reply.leave();
const nothing: Operation = (_c, _request, reply) => reply.empty();

/**
 * The operations by opcode. What is missing is ENOSYS, which the kernel remembers where it can:
 * - FLUSH: close(2) has nothing to do here, and is spared a round trip;
 * - ACCESS: the kernel checks permissions itself (default_permissions);
 * - GETLK, SETLK, SETLKW, POLL, BMAP: the kernel's own answers are right for one mount;
 * - SETUPMAPPING, REMOVEMAPPING: virtiofs only.
 */
const OPERATIONS: readonly (Operation | undefined)[] = (() => {
  const table: (Operation | undefined)[] = new Array(OPCODE_LIMIT).fill(undefined);
  const operations: Partial<Record<keyof typeof OPCODE, Operation>> = {
    LOOKUP: lookup,
    FORGET: forget,
    GETATTR: getattr,
    SETATTR: setattr,
    READLINK: readlink,
    SYMLINK: symlink,
    MKNOD: mknod,
    MKDIR: mkdir,
    UNLINK: unlink,
    RMDIR: rmdir,
    RENAME: rename,
    LINK: link,
    OPEN: open,
    READ: read,
    WRITE: write,
    STATFS: statfs,
    RELEASE: release,
    FSYNC: fsync,
    SETXATTR: setxattr,
    GETXATTR: getxattr,
    LISTXATTR: listxattr,
    REMOVEXATTR: removexattr,
    OPENDIR: opendir,
    READDIR: readdir,
    RELEASEDIR: release,
    FSYNCDIR: fsyncdir,
    CREATE: create,
    INTERRUPT: interrupt,
    DESTROY: nothing,
    IOCTL: ioctl,
    NOTIFY_REPLY: silent,
    BATCH_FORGET: batchForget,
    FALLOCATE: fallocate,
    READDIRPLUS: readdirplus,
    RENAME2: rename2,
    LSEEK: lseek,
    COPY_FILE_RANGE: copyFileRange,
    SYNCFS: syncfs,
    TMPFILE: tmpfile,
    STATX: statx,
    COPY_FILE_RANGE_64: copyFileRange64,
  };
  for (const [name, operation] of Object.entries(operations)) {
    table[OPCODE[name as keyof typeof OPCODE]] = operation;
  }
  return table;
})();

const ENOSYS = errnoOf('ENOSYS');

/** The filesystem as the kernel sees it: POSIX operations over the engine. */
export class Vfs {
  readonly #context: VfsContext;

  constructor(options: VfsOptions, reply: Reply) {
    const { engine, outbox } = options;
    const inodes = new InodeCache((ino) => this.#inactivate(ino));
    this.#context = {
      engine,
      clock: options.clock,
      random: options.random,
      ownerUid: options.ownerUid,
      policy: options.policy,
      cache: options.cache,
      accessTimes: options.accessTimes,
      caller: options.caller,
      groupsOf: options.groupsOf,
      idsOf: options.idsOf,
      region: options.region,
      outbox,
      faultingProcess: options.faultingProcess,
      takeFault: options.takeFault,
      inodes,
      handles: new HandleTable(inodes),
      reports: new ReportStore(),
      layouts: new LayoutQueue(
        inodes,
        outbox,
        options.gate,
        () => options.caller.tid === options.mainTid,
        (ino) => this.#pathOf(ino),
        (remap, refused) => this.#remap(remap, refused),
      ),
      statistics: new Statistics(options.nanoseconds),
      dirents: new DirentWriter(reply.body, reply.bodyWords),
      setxattrExt: true,
      scrubbed: 0,
      attr: emptyAttr(),
      rootAttr: emptyAttr(),
      now: { sec: 0, nsec: 0 },
      plan: { table: reply.table, segments: 0, bytes: 0 },
    };
  }

  /** What was agreed on with the kernel. */
  connected(connection: Connection): void {
    this.#context.setxattrExt = (connection.flags & INIT_FLAG.SETXATTR_EXT) !== 0;
    const { cache, outbox } = this.#context;
    if (cache !== 'always' && (connection.flags2 & INIT_FLAG2.DIRECT_IO_ALLOW_MMAP) === 0) {
      outbox.log('warn', 'this kernel (before 6.6) refuses shared mappings of files without a page cache');
    }
  }

  /** Answers one request. Never throws, and never leaves a request unanswered. */
  handle(request: Request, reply: Reply): void {
    const { opcode } = request;
    const operation = opcode < OPCODE_LIMIT ? OPERATIONS[opcode] : undefined;
    if (operation === undefined) {
      reply.error(ENOSYS);
      return;
    }
    const { statistics, caller } = this.#context;
    caller.tid = request.pid;
    statistics.begin(opcode);
    let errno = 0;
    try {
      this.#run(operation, request, reply);
      if (!reply.done) broken(`${OPCODE_NAMES[opcode]} was answered`);
    } catch (error) {
      if (error instanceof Parked && !reply.done && this.#parked(error, request, reply)) return;
      errno = this.#failed(error, `${OPCODE_NAMES[opcode]} of node ${request.nodeid}`, request);
      if (!reply.done && !this.#isTaken(error, request, reply)) reply.error(errno);
    }
    statistics.end(opcode, errno);
    this.#tellMet(request.pid);
  }

  /** Latent errors in metadata that had to wait for the end of the operation. `pid`: the thread that met them, or 0. */
  #tellMet(pid: number): void {
    const { met } = this.#context.engine;
    if (met.length === 0) return;
    enter(this.#context, 'a latent error in metadata', () => {
      for (const block of met.splice(0)) noteBlock(this.#context, block, pid, 0);
    });
  }

  /**
   * Runs an operation, and again from its start as long as it came upon metadata with a latent error before it had
   * changed anything, and they were made again. Each round makes one more block known to be bad.
   */
  #run(operation: Operation, request: Request, reply: Reply): void {
    const { engine } = this.#context;
    for (;;) {
      engine.begin();
      try {
        operation(this.#context, request, reply);
        return;
      } catch (error) {
        if (!engine.changed && !reply.done && madeAgain(this.#context, error, request)) continue;
        throw error;
      }
    }
  }

  /** Whether somebody else answers: a page fault met a bad block, and its thread gets more than EIO. */
  #isTaken(error: unknown, request: Request, reply: Reply): boolean {
    const pid = faultOn(this.#context, error, request);
    if (pid === 0 || !this.#context.takeFault(request.unique, pid, request.pid)) return false;
    reply.leave();
    return true;
  }

  /** An operation failed: the errno for its caller. Others are told when a latent error was the reason. */
  #failed(error: unknown, what: string, request: Request | null = null): number {
    const errno = judge(this.#context, error, what);
    enter(this.#context, `a latent error met by ${what}`, () => noteLatent(this.#context, error, request));
    return errno;
  }

  /** The request waits for others. False: it cannot, and `reply` says so. */
  #parked(parked: Parked, request: Request, reply: Reply): boolean {
    const { layouts, statistics } = this.#context;
    statistics.end(request.opcode, 0);
    try {
      layouts.park(parked, request);
      reply.leave();
    } catch (error) {
      reply.error(judge(this.#context, error, 'a request that has to wait'));
    }
    return true;
  }

  /** Main has done what a write-back job asks for. */
  writtenBack(id: number, failed: string | null): void {
    this.#context.layouts.writtenBack(id, failed);
  }

  /** Whether ready() has something. */
  get isReady(): boolean {
    return this.#context.layouts.isReady;
  }

  /** The next request that was held back and is to be served now; null: none. */
  ready(): Buffer | null {
    return this.#context.layouts.ready();
  }

  /** Null also where the names cannot be read. */
  #pathOf(ino: Ino): string | null {
    let found: string | null = null;
    enter(this.#context, `the path of inode ${ino}`, () => {
      found = this.#context.engine.paths(ino, 1)[0] ?? null;
    });
    return found;
  }

  /** Carries a remap out when nobody has a page of it any more. Returns the whole reply. */
  #remap(remap: Remap, refused: FsError | null): Uint8Array {
    const { engine, caller } = this.#context;
    engine.begin();
    try {
      if (refused !== null) throw refused;
      caller.tid = remap.tid;
      return ioctlReply(remap.unique, remap.run());
    } catch (error) {
      return errorReply(remap.unique, this.#failed(error, 'a remap'));
    }
  }

  /**
   * Shuts the filesystem down for a GOINGDOWN ioctl and hands out the answer, to be sent when the kernel has dropped
   * what it has cached: a read from its cache would still succeed. The root's attributes stay.
   */
  goDown(unique: bigint, mode: number): void {
    const { engine, inodes, outbox } = this.#context;
    let errno = 0;
    engine.begin();
    try {
      if (!Object.values<number>(GOINGDOWN_MODE).includes(mode)) {
        throw new FsError('EINVAL', 'goingdown', `there is no mode ${mode}`);
      }
      if (!engine.info.shutdown) {
        if (mode !== GOINGDOWN_MODE.flushNothing) engine.commit();
        engine.shutdown(GOINGDOWN_REASON);
        outbox.log('warn', `shut down by GOINGDOWN, mode ${mode}: everything is EIO until the next mount`);
      }
    } catch (error) {
      errno = this.#failed(error, 'goingdown');
    }
    const cached = inodes.inos().filter((ino) => ino !== ROOT_INO);
    const ranges = cached.map((ino) => ({ ino, offset: 0, length: 0 }));
    // Nothing is copied back: the caller's word stays as it is.
    if (errno === 0) outbox.ran(ranges, ioctlReply(unique));
    else outbox.ran([], errorReply(unique, errno));
  }

  /** Metadata are lost and all owners of data were told. */
  shutDown(reason: string): void {
    shutDown(this.#context, reason);
  }

  /** Makes durable what was changed so far, with nobody waiting for it. */
  commit(): void {
    enter(this.#context, 'the commit of the timer', () => this.#context.engine.commit());
    this.#tellMet(0);
  }

  /** Does what another thread has asked for by a message. */
  enter(what: string, work: () => void): void {
    enter(this.#context, what, work);
  }

  /** The document of a finished failure. */
  storeReport(id: number, json: string): void {
    this.#context.reports.put(id, json, true);
  }

  /**
   * The mount is gone: every file is closed and forgotten, unlinked ones are freed, all is committed and the engine is
   * closed. Returns whether the region is whole.
   */
  end(): boolean {
    const { engine, handles, inodes } = this.#context;
    this.#context.layouts.end();
    enter(this.#context, 'closing all files', () => handles.end());
    enter(this.#context, 'forgetting all inodes', () => inodes.end());
    return !engine.info.shutdown && enter(this.#context, 'the last commit', () => engine.close()) === 0;
  }

  /** Nobody waits for it. What cannot be freed stays an orphan, which the next mount frees. */
  #inactivate(ino: Ino): void {
    const { engine } = this.#context;
    if (engine.info.readOnly || engine.info.shutdown) return;
    try {
      engine.inactivate(ino);
    } catch (error) {
      this.#failed(error, `inactivation of inode ${ino}`);
    }
  }
}
