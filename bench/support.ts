import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** The checkout: `npm run` starts there. */
const ROOT = process.cwd();
export const CLI = join(ROOT, 'dist/cli/main.js');

/** A module of the program. */
export const built = async <T>(module: string): Promise<T> => (await import(join(ROOT, 'dist', module))) as T;

/** The CPU that client and daemon share, so that one run measures the work and not where it was scheduled. */
const CPU = '0';

const output = (program: string, args: readonly string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 26 });

/** Runs a program on the one CPU and returns what it printed. */
export const pinned = (program: string, ...args: string[]): string =>
  output('taskset', ['-c', CPU, program, ...args]);

/** Milliseconds that a program takes on the one CPU. */
export function pinnedTime(program: string, ...args: string[]): number {
  const start = process.hrtime.bigint();
  pinned(program, ...args);
  return Number(process.hrtime.bigint() - start) / 1e6;
}

export function compile(source: string, program: string): string {
  output('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, join(ROOT, 'bench', source)]);
  return program;
}

/** A directory on /dev/shm that is removed, with what is mounted below it, at the end of `body`. */
export async function inWorkspace(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync('/dev/shm/rmapfs-bench-');
  try {
    await body(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Something mounted for the benchmark. */
export interface Target {
  name: string;
  dir: string;
  /** What it serves: the argument by which the process is found. */
  region: string;
  unmount(): Promise<void>;
}

const isMounted = (dir: string): boolean => output('cat', ['/proc/mounts']).includes(` ${dir} fuse`);

async function until(what: string, done: () => boolean): Promise<void> {
  for (let tries = 0; !done(); tries++) {
    if (tries > 1000) throw new Error(`${what}: not within 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A formatted region of `size` bytes. */
export function formatRegion(workspace: string, size: string): string {
  const region = join(workspace, 'region');
  pinned(process.execPath, CLI, 'mkfs', region, '--size', size, '--sparse');
  return region;
}

/** Formats and mounts a region of `size` bytes, with its daemon on the one CPU or where the kernel puts it. */
export const mountRmapfs = (workspace: string, size: string, on: 'one CPU' | 'any CPU' = 'one CPU'): Target =>
  mountRegion(workspace, formatRegion(workspace, size), on);

export function mountRegion(workspace: string, region: string, on: 'one CPU' | 'any CPU'): Target {
  const dir = join(workspace, 'rmapfs');
  mkdirSync(dir);
  if (on === 'one CPU') pinned(process.execPath, CLI, 'mount', region, dir);
  else output(process.execPath, [CLI, 'mount', region, dir]);
  return {
    name: 'rmapfs',
    dir,
    region,
    unmount: async () => void output(process.execPath, [CLI, 'umount', dir]),
  };
}

/** Mounts the C loop of bench/peer with a file of `bytes` bytes. */
export async function mountPeer(workspace: string, bytes: number): Promise<Target> {
  const dir = join(workspace, 'peer');
  mkdirSync(dir);
  const program = compile('peer/fuse-loop.c', join(workspace, 'fuse-loop'));
  const child = spawn('taskset', ['-c', CPU, program, dir, String(bytes)], { stdio: 'inherit' });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  await until('mount of the C loop', () => isMounted(dir));
  return {
    name: 'C loop',
    dir,
    region: dir,
    unmount: async () => {
      output('umount', [dir]);
      await ended;
    },
  };
}

/** Requests of each kind that the daemon of a mount has answered so far. */
export function requestsServed(dir: string): ReadonlyMap<string, number> {
  const stats = JSON.parse(output(process.execPath, [CLI, 'stats', dir, '--json'])) as {
    operations: Record<string, { count: number }>;
  };
  return new Map(Object.entries(stats.operations).map(([name, { count }]) => [name, count]));
}

/** Median, smallest and largest. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (middle === undefined || min === undefined || max === undefined) throw new Error('no measurements');
  return { median: middle, min, max };
}

export const show = ({ median, min, max }: Spread, unit: string, digits = 1): string =>
  `${median.toFixed(digits)} ${unit} (${min.toFixed(digits)} .. ${max.toFixed(digits)})`;

/** Resident memory of the daemon that is no part of the region, in KiB: its heap, stacks and buffers. */
export function anonymousKilobytes(region: string): number {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const files = statusFiles(pid);
    if (files.commandLine.includes('/daemon/main.js') && files.commandLine.includes(`"${region}"`)) {
      return Number(/^RssAnon:\s+(\d+)/m.exec(files.status)?.[1]);
    }
  }
  throw new Error(`no process serves ${region}`);
}

/** Empty for a process that has just ended. */
function statusFiles(pid: string): { commandLine: string; status: string } {
  try {
    const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
    return { commandLine: read('cmdline'), status: read('status') };
  } catch {
    return { commandLine: '', status: '' };
  }
}

/** Requests of all kinds that the daemon of a mount has answered so far. */
export const allRequestsServed = (dir: string): number =>
  [...requestsServed(dir).values()].reduce((sum, count) => sum + count, 0);
