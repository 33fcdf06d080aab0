import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { helper } from './compile.js';

/** What a finished program left. */
export interface Finished {
  /** Exit status, or -1 when a signal ended it. */
  status: number;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Longest time that one ordinary tool may take; it is killed after that. */
const TOOL_LIMIT_MS = 60_000;

/** Runs a program to its end, whatever its status. */
export function run(program: string, args: readonly string[], options: SpawnSyncOptions = {}): Finished {
  const done = spawnSync(program, args, {
    timeout: TOOL_LIMIT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: 256 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
    encoding: 'utf8',
  });
  if (done.error)
    throw new Error(`${program} ${args.join(' ')}: ${done.error.message}`, { cause: done.error });
  return { status: done.status ?? -1, signal: done.signal, stdout: done.stdout, stderr: done.stderr };
}

/** Runs a program that must succeed and returns its standard output. */
export function tool(program: string, args: readonly string[], options: SpawnSyncOptions = {}): string {
  const done = run(program, args, options);
  if (done.status !== 0) {
    const how = done.signal ?? `status ${done.status}`;
    throw new Error(`${program} ${args.join(' ')} ended with ${how}:\n${done.stderr}${done.stdout}`);
  }
  return done.stdout;
}

/** Whether a program can be found. */
export const hasTool = (program: string): boolean => run('sh', ['-c', `command -v ${program}`]).status === 0;

/** The answer of one raw system call; more fields as the subcommand has them (support/native/sys.c). */
export interface SysResult {
  ret: number;
  /** "0" when the call succeeded. */
  errno: string;
  bytes?: string;
  [field: string]: unknown;
}

/** Makes one system call through the sys helper. */
export function sys(command: string, ...args: (string | number)[]): SysResult {
  const out = tool(helper('sys'), [command, ...args.map(String)]);
  return JSON.parse(out) as SysResult;
}

/** Runs a program to its end as another user, without groups and capabilities. */
export const runAs = (uid: number, program: string, ...args: string[]): Finished =>
  run('setpriv', [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all', program, ...args]);

/** The same as another user, without groups and capabilities. */
export function sysAs(uid: number, command: string, ...args: (string | number)[]): SysResult {
  const out = tool('setpriv', [
    `--reuid=${uid}`,
    `--regid=${uid}`,
    '--clear-groups',
    '--inh-caps=-all',
    helper('sys'),
    command,
    ...args.map(String),
  ]);
  return JSON.parse(out) as SysResult;
}

/** The errno's name that a call fails with, or "0" when it succeeds. */
export function errnoOfCall(call: () => unknown): string {
  try {
    call();
    return '0';
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    return code;
  }
}

/** Waits until `probe` answers something other than undefined; fails with `what` after `limitMs`. */
export async function waitFor<T>(what: string, probe: () => T | undefined, limitMs = 60_000): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const value = probe();
    if (value !== undefined) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((done) => setTimeout(done, 10));
  }
}
