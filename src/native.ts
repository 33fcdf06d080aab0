import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/**
 * The only place that knows the addon in native/: loads it, gives its functions types, and says what each
 * promises. Checks of arguments and bounds are the addon's, so that they hold for every caller. Every
 * error thrown is a {@link NativeError}. All functions may be called from any number of worker threads.
 */

/** What the addon throws: as the errors of node:fs, `errno` is negative. */
export interface NativeError extends Error {
  code: string;
  errno: number;
  syscall: string;
}

/** How a SIGBUS reached its thread; see {@link deliverSigbus}. */
export interface SigbusDelivery {
  /** 'ptrace': with the code and address asked for. 'kill': a plain signal, code SI_TKILL, no address. */
  means: 'ptrace' | 'kill';
  /** 'awaited': the thread took it by sigwaitinfo(2). 'blocked' and 'no-stop': the signal is pending in the thread. */
  result: 'delivered' | 'awaited' | 'blocked' | 'no-stop';
}

export type CacheFlushKind = 'clwb' | 'clflushopt' | 'clflush' | 'dc cvap' | 'none';

interface Constants {
  PAGESIZE: number;
  PROT_READ: number;
  PROT_WRITE: number;
  PROT_EXEC: number;
  PROT_NONE: number;
  MAP_SHARED: number;
  MAP_PRIVATE: number;
  MAP_SHARED_VALIDATE: number;
  MAP_SYNC: number;
  MAP_NONBLOCK: number;
  MAP_POPULATE: number;
  MAP_NORESERVE: number;
  MADV_NORMAL: number;
  MADV_RANDOM: number;
  MADV_SEQUENTIAL: number;
  MADV_WILLNEED: number;
  MADV_DONTNEED: number;
  MADV_HUGEPAGE: number;
  MADV_NOHUGEPAGE: number;
  MADV_DONTDUMP: number;
  MADV_DODUMP: number;
  LOCK_SH: number;
  LOCK_EX: number;
  LOCK_NB: number;
  LOCK_UN: number;
  FALLOC_FL_KEEP_SIZE: number;
  FALLOC_FL_PUNCH_HOLE: number;
  BUS_MCEERR_AR: number;
  BUS_MCEERR_AO: number;
}

interface Addon extends Constants {
  map(
    size: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
    advice?: number,
  ): Buffer<ArrayBuffer>;
  unmap(buffer: Uint8Array): void;
  mediumFaults(): number;
  faultOf(buffer: Uint8Array): number;
  sync(buffer: Uint8Array, offset: number, length: number, blocking: boolean, invalidate: boolean): void;
  advise(buffer: Uint8Array, offset: number, length: number, advice: number): void;
  flushCacheLines(buffer: Uint8Array, offset: number, length: number): void;
  cacheFlushKind(): CacheFlushKind;
  flock(fd: number, op: number): void;
  lockRange(fd: number, exclusive: boolean, offset: number, length: number): void;
  fallocate(fd: number, mode: number, offset: number, length: number): void;
  bindExchange(
    fd: number,
    answer: Buffer,
    request: Buffer,
    control: Int32Array,
    sources: readonly Buffer[],
  ): () => void;
  readFileInto(path: string, into: Uint8Array, position: number): number;
  processesMapping(root: string, needle: Uint8Array, except: number): number[];
  socketPair(): [number, number];
  receiveFd(socket: number): number;
  currentTid(): number;
  installWakeHandler(): void;
  wakeThread(tid: number): void;
  setWakeTimer(firstMs: number, everyMs: number): void;
  deliverSigbus(
    pid: number,
    tid: number,
    code: number,
    address: number | bigint,
    lsb: number,
    waitMs: number,
    startTicks: number,
  ): SigbusDelivery['result'];
  writeBack(fd: number): void;
  takeFault(fd: number, answer: Buffer, pid: number, tid: number, lsb: number, waitMs: number): boolean;
}

const require = createRequire(import.meta.url);
// This file is one level below the package's root both as src/native.ts and as dist/native.js.
const load = require('node-gyp-build') as (root: string) => Addon;
const addon = load(fileURLToPath(new URL('..', import.meta.url)));

/** The PROT_, MAP_, MADV_, LOCK_, FALLOC_ and BUS_ values of this machine, and PAGESIZE in bytes. */
export const constants: Readonly<Constants> = addon;

/**
 * mmap(2) of `size` bytes of `fd` from byte `offset`: a Buffer over the pages themselves, no copy.
 *
 * `size` is 1 .. 2^32 (what a Buffer of Node 20 holds) and `offset` a multiple of PAGESIZE below 2^53; a
 * range that ends beyond a regular file is EINVAL. PROT_READ is
 * needed; a store to a Buffer without PROT_WRITE is SIGSEGV. MAP_FIXED and MAP_ANONYMOUS are refused.
 * The pages go with unmap(), or when the Buffer is collected, or when its worker ends. While mapped they keep
 * the open file, and so its flock, alive.
 *
 * A page that is gone when it is touched (the file shrank, its filesystem is full, the memory failed) does not end the
 * process: zeros are laid over it and {@link mediumFaults} rises. Whoever maps must ask.
 */
export function map(
  size: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
  advice?: number,
): Buffer<ArrayBuffer> {
  return addon.map(size, protection, flags, fd, offset, advice);
}

/**
 * munmap(2) of a Buffer that map() returned. Its ArrayBuffer is detached: every view of it has length 0 from
 * then on. EINVAL for a part of a mapping, a second unmap, and a Buffer that is not a mapping.
 */
export function unmap(buffer: Uint8Array): void {
  addon.unmap(buffer);
}

/** How many pages of mappings have failed under a load or store of this process so far, modulo 2^32. A cheap call. */
export const mediumFaults: () => number = addon.mediumFaults;

/** Offset in bytes of the first page of the mapping that failed, or -1. EINVAL as for {@link unmap}. */
export function faultOf(buffer: Uint8Array): number {
  return addon.faultOf(buffer);
}

/** msync(2) of the pages that hold the range, which lies within `buffer`, a mapping or a part of one. */
export function sync(
  buffer: Uint8Array,
  offset = 0,
  length = buffer.length - offset,
  blocking = true,
  invalidate = false,
): void {
  addon.sync(buffer, offset, length, blocking, invalidate);
}

/** madvise(2) of the pages that hold the range. Only the exported MADV_ values: others destroy data. */
export function advise(buffer: Uint8Array, offset: number, length: number, advice: number): void {
  addon.advise(buffer, offset, length, advice);
}

/**
 * Writes the cache lines of the range back to memory, then fences: durable on return where the mapping is of
 * persistent memory itself. ENOTSUP where {@link cacheFlushKind} is 'none'.
 */
export function flushCacheLines(buffer: Uint8Array, offset: number, length: number): void {
  addon.flushCacheLines(buffer, offset, length);
}

/** The instruction that flushCacheLines() uses on this CPU. */
export function cacheFlushKind(): CacheFlushKind {
  return addon.cacheFlushKind();
}

/**
 * Makes the turn of a server's loop: each call writes the answer that `control` describes to `fd` (see
 * {@link CONTROL}: a head from `answer`, then segments of `sources`), and then reads the next request into `request`,
 * which blocks. -EINTR is left in control[received] after {@link wakeThread}. A call throws EINVAL, before it does
 * anything, for a record that points outside of its memory.
 *
 * The buffers are bound for good: unmap() of a source makes a later turn that names it fail with EFAULT at best.
 * Why not node:fs, and why bound: docs/DECISIONS.md.
 */
export function bindExchange(
  fd: number,
  answer: Buffer,
  request: Buffer,
  control: Int32Array,
  sources: readonly Buffer[],
): () => void {
  return addon.bindExchange(fd, answer, request, control, sources);
}

/**
 * Reads a file from byte `position` on until `into` is full or the file ends: open(2), pread(2), close(2) in one go.
 * Returns the bytes read. For the small files of /proc, of which a scan reads many.
 */
export function readFileInto(path: string, into: Uint8Array, position = 0): number {
  return addon.readFileInto(path, into, position);
}

/** Processes in whose `maps` some bytes occur, and how many were looked at, ended meanwhile, or could not be read. */
export interface ProcessesMapping {
  pids: number[];
  processes: number;
  ended: number;
  unreadable: number;
}

/**
 * Looks for `needle` (1 .. 64 bytes) in the file `maps` of every process of the proc filesystem at `root` but
 * `except`. Kernel threads, whose maps are empty, count as processes. ENOENT when there is no such directory.
 */
export function processesMapping(root: string, needle: Uint8Array, except: number): ProcessesMapping {
  const [processes, ended, unreadable, ...pids] = addon.processesMapping(root, needle, except);
  return { processes, ended, unreadable, pids };
}

/** flock(2). EAGAIN when LOCK_NB was given and another open file has the lock. */
export function flock(fd: number, op: number): void {
  addon.flock(fd, op);
}

/**
 * Locks bytes of an open file (F_OFD_SETLK of fcntl(2)); `length` 0 is to the end. An exclusive lock wants a descriptor
 * for writing. Does not wait: EAGAIN when another open file has a lock in the way.
 */
export function lockRange(fd: number, exclusive: boolean, offset: number, length: number): void {
  addon.lockRange(fd, exclusive, offset, length);
}

/**
 * fallocate(2) of `length` bytes from byte `offset` on, both below 2^53. ENOSPC may leave a part allocated; ENOTSUP
 * where the filesystem cannot do it.
 */
export function fallocate(fd: number, mode: number, offset: number, length: number): void {
  addon.fallocate(fd, mode, offset, length);
}

/** socketpair(2): two connected Unix stream sockets, both close-on-exec. The caller closes them. */
export function socketPair(): [number, number] {
  return addon.socketPair();
}

/**
 * The one descriptor that came over a Unix socket (SCM_RIGHTS, unix(7)) with its next byte. It is close-on-exec
 * and the caller's to close. EAGAIN when nothing has come yet: it does not wait. EPIPE when the other end has
 * closed, EPROTO for a byte with no descriptor or with more than one (none of which is kept).
 */
export function receiveFd(socket: number): number {
  return addon.receiveFd(socket);
}

/** The kernel's id of the calling thread (gettid), which is what wakeThread() takes. */
export function currentTid(): number {
  return addon.currentTid();
}

/** Gives SIGURG a handler that does nothing and interrupts system calls. Process-wide; repeated calls are free. */
export function installWakeHandler(): void {
  addon.installWakeHandler();
}

/**
 * Interrupts the blocking system call of a thread of this process: fs.readSync there throws EINTR. A thread
 * that is not in a system call notices nothing, so the caller repeats until it sees an effect.
 * ESRCH when this process has no such thread.
 */
export function wakeThread(tid: number): void {
  addon.wakeThread(tid);
}

/**
 * Interrupts the calling thread's blocking system calls as {@link wakeThread} does: after `firstMs` milliseconds
 * (1 .. 2^31 - 1) and then every `everyMs` (likewise), until the next call; never again with 0 and 0. Each thread has
 * one timer.
 */
export function setWakeTimer(firstMs: number, everyMs: number): void {
  addon.setWakeTimer(firstMs, everyMs);
}

/**
 * Sends SIGBUS to thread `tid` of process `pid` as the kernel does for failed memory: si_code `code`
 * (BUS_MCEERR_AO or BUS_MCEERR_AR), si_addr `address`, si_addr_lsb `lsb`. Blocks for at most about `waitMs`
 * (1 .. 60000). The target is never left stopped.
 *
 * `startTicks`, when not 0, is the start time that /proc/PID/stat (field 22) had when the victim was found;
 * ESRCH when the pid has another one by now, and nothing is sent.
 *
 * A thread that blocks SIGBUS, or that does not get to run in time, gets the plain signal, as the result says.
 * Throws with nothing sent: ESRCH (gone), EPERM (traced already, or not allowed). ESRCH also when it ended on the way.
 *
 * Call it from the thread that owns child processes (the main thread) if a victim may be one of them: a loop
 * that handles SIGCHLD meanwhile would take the target's stop for its end.
 */
export function deliverSigbus(
  pid: number,
  tid: number,
  code: number,
  address: number | bigint,
  lsb: number,
  waitMs: number,
  startTicks = 0,
): SigbusDelivery {
  const result = addon.deliverSigbus(pid, tid, code, address, lsb, waitMs, startTicks);
  return { means: result === 'delivered' ? 'ptrace' : 'kill', result };
}

/**
 * Answers a request of /dev/fuse (`fd`) that thread `tid` of process `pid` waits for in a page fault: writes `answer`,
 * a failure of at most 64 bytes, when the thread is seized by ptrace. The SIGBUS BUS_ADRERR that the kernel then forces
 * on the thread reaches it as BUS_MCEERR_AR with the kernel's address and si_addr_lsb `lsb`. Returns at once; the rest
 * is done by threads of its own, which wait for the signal at most about `waitMs` (1 .. 60000), longer only while the
 * thread waits for a CPU. One that cannot be seized (a debugger has it, EPERM, it has ended) gets the answer alone.
 *
 * False: not taken over, nothing was written and the caller answers: 64 are under way, or one for this thread.
 */
export function takeFault(
  fd: number,
  answer: Buffer,
  pid: number,
  tid: number,
  lsb: number,
  waitMs: number,
): boolean {
  return addon.takeFault(fd, answer, pid, tid, lsb, waitMs);
}

/** Whether `error` carries the code, as errors of the addon and of node:fs do. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as Partial<NativeError>).code === code;
}

/**
 * Writes all dirty pages of an open file and waits (sync_file_range(2)), without the inode's lock and without taking
 * the pages from whoever maps them. EIO, ENOSPC ... where a page cannot be written: fsync(2) of others says so too.
 */
export function writeBack(fd: number): void {
  addon.writeBack(fd);
}
