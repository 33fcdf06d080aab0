import type { Policy } from '../control/protocol.js';
import type { Engine } from '../engine/api.js';
import { broken, CorruptionError, errnoOf, FsError, InvariantError } from '../errors.js';
import { INIT_FLAG, INIT_FLAG2, OPCODE, OPCODE_LIMIT, OPCODE_NAMES } from '../fuse/abi.js';
import { DirentWriter } from '../fuse/dirents.js';
import type { Connection } from '../fuse/negotiate.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { type CachePolicy, type Clock, type Ino, ROOT_INO } from '../types.js';
import type { AccessTimes } from './access-times.js';
import { getattr, setattr, statfs, statx } from './attributes.js';
import { emptyAttr, type Operation, type VfsContext } from './context.js';
import { fsyncdir, opendir, readdir, readdirplus } from './directories.js';
import { errnoFor } from './errno.js';
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
import { HandleTable } from './handles.js';
import { InodeTable } from './inodes.js';
import { ioctl } from './ioctl.js';
import { ioctlReply } from './ioctl-reply.js';
import { type FileRange, GOINGDOWN_MODE, GOINGDOWN_REASON, type Outbox } from './jobs.js';
import { faultOn, madeAgain, noteBlock, noteLatent } from './latent.js';
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
import { RemapJobs } from './remap.js';
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
  outbox: Outbox;
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

const NO_RECORD = new Uint8Array(0);
const ENOSYS = errnoOf('ENOSYS');

/** The filesystem as the kernel sees it: POSIX operations over the engine. */
export class Vfs {
  readonly #context: VfsContext;

  constructor(options: VfsOptions, reply: Reply) {
    const { engine, outbox } = options;
    const inodes = new InodeTable((ino) => this.#inactivate(ino));
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
      region: options.region,
      outbox,
      faultingProcess: options.faultingProcess,
      takeFault: options.takeFault,
      inodes,
      handles: new HandleTable(inodes),
      reports: new ReportStore(),
      remaps: new RemapJobs(inodes, outbox),
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
      errno = this.#errnoFor(error, `${OPCODE_NAMES[opcode]} of node ${request.nodeid}`, request);
      if (!reply.done && !this.#isTaken(error, request, reply)) reply.error(errno);
    }
    statistics.end(opcode, errno);
    if (this.#context.engine.met.length > 0) this.#tellMet(request);
  }

  /** Latent errors in metadata that had to wait for the end of the operation. */
  #tellMet(request: Request): void {
    const { engine, outbox } = this.#context;
    try {
      for (const block of engine.met.splice(0)) noteBlock(this.#context, block, request.pid, 0);
    } catch (error) {
      errnoFor(error, 'a latent error in metadata', engine, outbox);
    }
  }

  /**
   * Runs an operation, and again from its start as long as it came upon metadata with a latent error before it had
   * changed anything, and they were made again. Each round makes one more block known to be bad.
   */
  #run(operation: Operation, request: Request, reply: Reply): void {
    const { engine } = this.#context;
    for (;;) {
      const changes = engine.begin();
      try {
        operation(this.#context, request, reply);
        return;
      } catch (error) {
        if (engine.changes !== changes) this.#cutOff(error, OPCODE_NAMES[request.opcode] ?? 'an operation');
        else if (!reply.done && madeAgain(this.#context, error, request)) continue;
        throw error;
      }
    }
  }

  /**
   * An operation came upon damage in the middle of its changes. Of two trees that must agree only one may have its
   * part, so this must not become durable: XFS shuts down when it cancels a transaction that is dirty.
   */
  #cutOff(error: unknown, what: string): void {
    if (error instanceof CorruptionError) this.shutDown(`${what} was cut off: ${error.message}`);
  }

  /** Whether somebody else answers: a page fault met a bad block, and its thread gets more than EIO. */
  #isTaken(error: unknown, request: Request, reply: Reply): boolean {
    const pid = faultOn(this.#context, error, request);
    if (pid === 0 || !this.#context.takeFault(request.unique, pid, request.pid)) return false;
    reply.leave();
    return true;
  }

  #errnoFor(error: unknown, what: string, request: Request | null = null): number {
    const { engine, outbox } = this.#context;
    try {
      noteLatent(this.#context, error, request);
    } catch (another) {
      errnoFor(another, `a latent error met by ${what}`, engine, outbox);
    }
    return errnoFor(error, what, engine, outbox);
  }

  /** Main has invalidated the pages for a remap job: does it, and hands out the answer. */
  runRemap(id: number): void {
    const { engine, remaps, outbox } = this.#context;
    const remap = remaps.take(id);
    if (remap === undefined) {
      outbox.log('error', `there is no remap job ${id}`);
      return;
    }
    let reply: Uint8Array;
    const changes = engine.begin();
    try {
      this.#context.caller.tid = remap.tid;
      reply = ioctlReply(remap.unique, 0, remap.run());
    } catch (error) {
      if (engine.changes !== changes) this.#cutOff(error, `remap job ${id}`);
      reply = ioctlReply(remap.unique, this.#errnoFor(error, `remap job ${id}`), null);
    }
    remaps.finish(id, remap, reply);
  }

  /** Main could not prepare a remap job and has answered it. */
  dropRemap(id: number): void {
    this.#context.remaps.drop(id);
  }

  /**
   * Shuts the filesystem down for a GOINGDOWN ioctl and hands out the answer, to be sent when the kernel has dropped
   * what it has cached: a read from its cache would still succeed. The root's attributes stay.
   */
  goDown(unique: bigint, mode: number): void {
    const { engine, inodes, outbox } = this.#context;
    let errno = 0;
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
      errno = this.#errnoFor(error, 'goingdown');
    }
    const cached = inodes.inos().filter((ino) => ino !== ROOT_INO);
    const ranges = cached.map((ino) => ({ ino, offset: 0, length: 0 }));
    // Nothing is copied back: the caller's word stays as it is.
    outbox.ran(0, errno === 0 ? ranges : [], ioctlReply(unique, errno, errno === 0 ? NO_RECORD : null));
  }

  /**
   * Metadata are lost. What is cached of files that nobody maps, and all attributes, are dropped, so that the next
   * open, read or stat comes here. A mapping keeps its file open.
   */
  shutDown(reason: string): void {
    const { engine, inodes, outbox } = this.#context;
    if (engine.info.shutdown) return;
    engine.shutdown(reason);
    outbox.log('error', `shut down: ${reason}; everything is EIO until it is unmounted and repaired by fsck`);
    const cached = inodes.inos().filter((ino) => ino !== ROOT_INO);
    const isOpen = (ino: Ino): boolean => (inodes.find(ino)?.users ?? 0) > 0;
    const whole = (ino: Ino): FileRange => ({ ino, offset: 0, length: 0 });
    outbox.invalidate(
      cached.map((ino) => (isOpen(ino) ? { ...whole(ino), unlessMapped: true } : whole(ino))),
    );
  }

  /** The document of a finished failure. */
  storeReport(id: number, json: string): void {
    this.#context.reports.put(id, json, true);
  }

  /** The mount is gone: every file is closed and forgotten. Unlinked ones are freed. */
  end(): void {
    this.#context.handles.end();
    this.#context.inodes.end();
  }

  #inactivate(ino: Ino): void {
    const { engine } = this.#context;
    if (engine.info.readOnly || engine.info.shutdown) return;
    try {
      engine.inactivate(ino);
    } catch (error) {
      // Nobody waits for it. What could not be freed stays an orphan, which the next mount frees.
      this.#errnoFor(error, `inactivation of inode ${ino}`);
      if (error instanceof FsError || error instanceof InvariantError) return;
      throw error;
    }
  }
}
