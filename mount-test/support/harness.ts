import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { checkRegion } from '../../src/check/region.js';
import { parseSize } from '../../src/cli/arguments.js';
import { systemClock } from '../../src/cli/region.js';
import { mkfs } from '../../src/engine/index.js';
import { openRegion } from '../../src/media/region.js';
import { daemonOf, isAlive, mountOf } from './daemon.js';
import { type Finished, run, waitFor } from './run.js';
import { Watchdog } from './watchdog.js';

/** The built command line, as a user runs it. */
export const CLI = resolve(import.meta.dirname, '../../dist/cli/main.js');

/** Longest time that one test may use its mount unless it says otherwise. */
const MOUNT_LIMIT_MS = 100_000;
/** Longest time for a daemon to appear, or to end after its unmount. */
const DAEMON_LIMIT_MS = 20_000;
/** Longest time for the users of a mount, which have ended, to be gone. */
const BUSY_LIMIT_MS = 10_000;
/** Log lines shown for a failing test. */
const LOG_LINES_MAX = 40;

export interface MountOptions {
  /** Size of the region, as mkfs takes it. Default "64M". */
  size?: string;
  /** Where the region lies: tmpfs ("shm", the default) or a file on disk. */
  on?: 'shm' | 'disk';
  /** Mount options (-o). Default: allow_other, so that tests can use the mount as another user. */
  options?: string[];
  /** The test leaves the region damaged on purpose: it is not checked at the end. */
  damaged?: boolean;
  /** Longest time that the test may use the mount, in milliseconds. Default: 100 s. */
  limitMs?: number;
}

/** What a command of ours left; `json` is its standard output, parsed on demand. */
export interface CliResult extends Finished {
  json<T = unknown>(): T;
}

/** Runs the built command line to its end. */
export function cli(...args: string[]): CliResult {
  const done = run(process.execPath, [CLI, ...args], { timeout: 60_000 });
  return {
    ...done,
    json<T>(): T {
      if (done.status !== 0)
        throw new Error(`rmapfs ${args.join(' ')}: status ${done.status}: ${done.stderr}`);
      return JSON.parse(done.stdout) as T;
    },
  };
}

/** Runs a command that must succeed and returns its standard output. */
export function cliOk(...args: string[]): string {
  const done = cli(...args);
  if (done.status !== 0) throw new Error(`rmapfs ${args.join(' ')}: status ${done.status}: ${done.stderr}`);
  return done.stdout;
}

/** Kills a program that Mounted.spawn started, with its children. Returns whether one was still there. */
export function killGroup(child: ChildProcess): boolean {
  try {
    return child.pid !== undefined && process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** A mounted region. Every path under `dir` is on the mount. */
export class Mounted {
  readonly base: string;
  readonly region: string;
  readonly dir: string;
  /** Where the daemon of a mount made by root logs. */
  readonly log: string;
  /** The daemon's process id; 0 while not mounted. */
  daemonPid = 0;
  readonly #options: MountOptions;
  readonly #watchdog: Watchdog;
  readonly #children: ChildProcess[] = [];

  constructor(options: MountOptions) {
    this.#options = options;
    this.#watchdog = new Watchdog(options.limitMs ?? MOUNT_LIMIT_MS);
    this.base = mkdtempSync(join(options.on === 'disk' ? tmpdir() : '/dev/shm', 'rmapfs-test-'));
    this.region = join(this.base, 'region');
    this.dir = join(this.base, 'mnt');
    this.log = join('/var/log/rmapfs', `${this.dir.slice(1).replaceAll('/', '-')}.log`);
    mkdirSync(this.dir);
    run('chmod', ['755', this.base]);
  }

  /** A path on the mount. */
  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** In this process, as all that is done for each test and not tested by it: a command line takes longer to start. */
  mkfs(): void {
    const media = openRegion(this.region, {
      readOnly: false,
      create: { size: parseSize(this.#options.size ?? '64M'), sparse: true },
    });
    try {
      mkfs(media, { label: '', clock: systemClock, uid: 0, gid: 0 });
    } finally {
      media.close();
    }
  }

  mount(): void {
    const options = this.#options.options ?? ['allow_other'];
    cliOk('mount', this.region, this.dir, ...(options.length > 0 ? ['-o', options.join(',')] : []));
    const found = mountOf(this.dir);
    if (!found?.type.startsWith('fuse'))
      throw new Error(`mount said it succeeded, but ${this.dir} is no mount point`);
    this.daemonPid = daemonOf(this.region);
    if (this.daemonPid === 0) throw new Error('mount said it succeeded, but no process serves the region');
    this.#watchdog.daemon = this.daemonPid;
  }

  /** The last lines that the daemons of this mount logged. */
  logTail(): string {
    if (!existsSync(this.log)) return '(no log was written)';
    return readFileSync(this.log, 'utf8').split('\n').slice(-LOG_LINES_MAX).join('\n');
  }

  /**
   * Unmounts and waits until the daemon has ended. A process that has ended keeps the mount
   * busy for a moment more while somebody (another daemon that looks for victims) reads its /proc/PID/maps.
   */
  async umount(): Promise<void> {
    const isBusy = ({ status, stderr }: Finished): boolean => status !== 0 && /busy/.test(stderr);
    const done = await waitFor(
      `unmount of ${this.dir}, which is in use`,
      () => {
        const tried = run('umount', [this.dir]);
        return isBusy(tried) ? undefined : tried;
      },
      BUSY_LIMIT_MS,
    );
    if (done.status !== 0) throw new Error(`umount ${this.dir}: status ${done.status}: ${done.stderr}`);
    await this.ended();
  }

  async remount(): Promise<void> {
    await this.umount();
    this.mount();
  }

  /** Ends the daemon with SIGKILL, as a crash would, and clears the mount. */
  async kill9(): Promise<void> {
    process.kill(this.daemonPid, 'SIGKILL');
    await this.ended();
    cliOk('umount', this.dir, '--force');
    if (mountOf(this.dir)) throw new Error('umount --force left the mount');
  }

  /** Waits for the end of the daemon after an unmount by other means. */
  async ended(): Promise<void> {
    const pid = this.daemonPid;
    await waitFor(`end of the daemon ${pid}`, () => (isAlive(pid) ? undefined : true), DAEMON_LIMIT_MS);
    this.daemonPid = 0;
    this.#watchdog.daemon = 0;
  }

  /** Checks the region, which nobody uses now. */
  fsck(): void {
    const media = openRegion(this.region, { readOnly: true });
    try {
      const { problems } = checkRegion(media);
      if (problems.length > 0) throw new Error(`fsck: ${JSON.stringify(problems.slice(0, 20), null, 1)}`);
    } finally {
      media.close();
    }
  }

  /**
   * Starts a program in a process group of its own, which is killed at the end of the test if it still runs.
   */
  spawn(program: string, args: string[]): ChildProcess {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    // A helper that ends early closes its input; what it did not read is not an error of the test.
    child.stdin?.on('error', () => undefined);
    this.#children.push(child);
    return child;
  }

  /** Ends everything that the test left: children, mount, daemon, files. Never fails. */
  async cleanUp(): Promise<void> {
    for (const child of this.#children) killGroup(child);
    const pid = this.daemonPid === 0 ? daemonOf(this.region) : this.daemonPid;
    if (pid !== 0 && isAlive(pid)) {
      run('umount', ['-l', this.dir]);
      process.kill(pid, 'SIGKILL');
    }
    if (mountOf(this.dir)) run('umount', ['-l', this.dir]);
    await this.#watchdog.stop();
    rmSync(this.base, { recursive: true, force: true });
    rmSync(this.log, { force: true });
  }
}

/**
 * Makes a region, formats it, mounts it, runs `test`, checks the region, and removes everything whether it passed
 * or not. When it fails the end of the daemon's log is printed.
 */
export async function withMount(
  options: MountOptions,
  test: (mounted: Mounted) => Promise<void> | void,
): Promise<void> {
  const mounted = new Mounted(options);
  try {
    mounted.mkfs();
    mounted.mount();
    await test(mounted);
    if (mounted.daemonPid !== 0) {
      if (!isAlive(mounted.daemonPid))
        throw new Error(`the daemon ${mounted.daemonPid} ended during the test`);
      await mounted.umount();
    }
    if (options.damaged !== true && existsSync(mounted.region)) mounted.fsck();
  } catch (error) {
    process.stderr.write(`daemon log:\n${mounted.logTail()}\n`);
    throw error;
  } finally {
    await mounted.cleanUp();
  }
}

/** The same without mkfs and mount: for tests of what comes before them. */
export async function withRegion(
  options: MountOptions,
  test: (mounted: Mounted) => Promise<void> | void,
): Promise<void> {
  const mounted = new Mounted(options);
  try {
    await test(mounted);
  } finally {
    await mounted.cleanUp();
  }
}
