import { Procfs } from '../failure/procfs.js';
import { NativeSignaller } from '../failure/signaller.js';
import { wakeThread } from '../native.js';
import { accessTimesOf } from '../vfs/access-times.js';
import type { FromCore } from './bridge.js';
import { callerWord } from './caller-memory.js';
import { type Core, startCoreThread } from './core-thread.js';
import { Daemon } from './daemon.js';
import { describeError, logToStderr, withoutFloods } from './log.js';
import { checkMountpoint, mount, syncFilesystem, unmount } from './mount.js';
import { type DaemonMessage, DaemonOptions } from './options.js';
import { claimDirectory } from './uuid-claim.js';

/**
 * The daemon's main thread: `node main.js OPTIONS`, with OPTIONS as options.ts has them. It mounts, sends
 * notifications, scans processes and delivers signals; the core (core.ts, a worker) serves the requests.
 *
 * Deadlocks, and why there are none. The rule is one: THE CORE NEVER WAITS FOR MAIN. Everything else follows:
 *
 * - Main may wait for the core. FUSE_NOTIFY_INVAL_INODE does: in write(2) the kernel
 *   (fuse_reverse_inval_inode in fs/fuse/inode.c) calls invalidate_inode_pages2_range, which for each page of
 *   the range takes the page's lock, waits for write-back, unmaps the page, and writes it back when it is
 *   dirty (fuse_launder_folio). Each of these waits for requests only: a page is locked while FUSE_READ fills
 *   it, and under write-back or being laundered while FUSE_WRITE carries it away. The core answers both, with
 *   EIO for a bad block at worst. The core itself could not send the notification: it would wait for its own
 *   answer.
 * - No request that main answers holds a page's lock (the READ of a page fault does, and so has its own threads, see
 *   page-fault.ts). These are ioctls (POISON, EVENTS): the kernel copies their records from and to the caller's memory
 *   before the request goes out and after the answer is back, not meanwhile, and holds no lock of the file or its pages
 *   in between.
 * - A request that waits in the core until main has had pages written back (vfs/layouts.ts) may hold the inode's lock
 *   (lseek) and the locks of pages (READ and WRITE). Main's part takes neither: sync_file_range(2) has no inode lock,
 *   and vfs/closing.ts lets no request wait that has a page yet to be dropped. Main's own requests never wait there.
 * - Nor does main wait for itself: stat(2) of the mount and umount(8) run beside the event loop; neither is
 *   answered by main in any case.
 * - A process that is looked at or signalled may be stuck in a request of its own. /proc/PID/maps takes the
 *   process's mmap lock, which a page fault holds while it waits for FUSE_READ at most: again the core. A
 *   thread that ptrace cannot stop in PTRACE_STOP_WAIT_MS (it waits for an ioctl that main is to answer, say
 *   the POISON of this very failure) is given up on, and gets a plain signal.
 * - GOINGDOWN passes a pointer, which FUSE does not follow: main reads the caller's memory. A page fault or a lock of
 *   the address space may stand behind a request there, too: one for the core.
 * - A caller that is killed while it waits is let go by the kernel; the late answer gets ENOENT.
 *
 * Ends. After an unmount by anybody, read(2) of the device fails with ENODEV, the core commits, closes the
 * engine and ends, then this process does. When the core or this thread fails, the process ends and its
 * descriptor of /dev/fuse is closed: users of the mount get ENOTCONN and `rmapfs umount --force` clears it.
 */

const CORE_SCRIPT = new URL('./core.js', import.meta.url);

const log = withoutFloods(logToStderr, () => performance.now());
let coreRuns = false;

function startCore(options: DaemonOptions, handle: (message: FromCore) => void): Core {
  const coreOptions = {
    region: options.region,
    readOnly: options.readOnly,
    nouuid: options.nouuid,
    claims: claimDirectory(process.getuid?.() ?? 0, process.env),
    ownerUid: process.getuid?.() ?? 0,
    defaultPolicy: options.policy,
    cache: options.cache,
    accessTimes: accessTimesOf(options.extraOptions),
  };
  const core = startCoreThread(CORE_SCRIPT, coreOptions, wakeThread, handle);
  coreRuns = true;
  void core.ended.then(() => {
    coreRuns = false;
  });
  return core;
}

/**
 * Ends the process. process.exit() waits for the core, which may sit in its read for ever: while it runs,
 * only the hard way is sure to close /dev/fuse. What was committed is safe.
 */
function quit(status: number): never {
  if (coreRuns) process.kill(process.pid, 'SIGKILL');
  process.exit(status);
}

/** Tells the starter, if there is one that listens, and lets go of it. */
function tell(message: DaemonMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) {
      resolve();
      return;
    }
    // A starter that is gone by now is no reason to end.
    process.send(message, undefined, undefined, () => {
      if (process.connected) process.disconnect();
      resolve();
    });
  });
}

function parseOptions(argument: string | undefined): DaemonOptions {
  if (argument === undefined) throw new Error('no options; this program is started by: rmapfs mount');
  return DaemonOptions.parse(JSON.parse(argument));
}

async function main(): Promise<void> {
  process.on('uncaughtException', (error) => {
    log('error', `the main thread crashed: ${describeError(error)}`);
    quit(1);
  });
  // The terminal or pipe behind standard error may close before the mount ends: no other place to say so.
  process.stderr.on('error', () => {});
  // A working directory inside some other mount would keep that one busy.
  process.chdir('/');
  const options = parseOptions(process.argv[2]);
  const started = Daemon.start(options, {
    checkMountpoint,
    mount,
    unmount,
    startCore: (handle) => startCore(options, handle),
    syncFilesystem,
    callerWord,
    table: new Procfs(),
    signaller: new NativeSignaller(),
    log,
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    // One that comes during the start takes effect after it: a half-made mount would be left behind.
    process.on(
      signal,
      () =>
        void started.then(
          (daemon) => daemon.stop(signal),
          () => {},
        ),
    );
  }
  await started.then(serve, fail);
}

async function serve(daemon: Daemon): Promise<void> {
  const { notice } = daemon;
  await tell(notice === undefined ? { ready: true } : { ready: true, notice });
  const end = await daemon.ended;
  log(end.clean ? 'info' : 'error', `ended: ${end.reason}`);
  quit(end.clean ? 0 : 1);
}

async function fail(error: unknown): Promise<void> {
  log('error', describeError(error));
  await tell({ error: error instanceof Error ? error.message : String(error) });
  quit(1);
}

await main();
