import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DaemonMessage, type DaemonOptions } from '../daemon/options.js';
import { DAEMON_WAIT_MS } from '../limits.js';
import { plainSentence } from './errors.js';
import type { LogTarget } from './log-target.js';

const MAIN = fileURLToPath(new URL('../daemon/main.js', import.meta.url));

/** How the start of a daemon ended; `null` when the mount can be used. */
export type StartFailure = string | null;

/** Starts a daemon that outlives this process. Its output goes to the log, which is closed here. */
export async function startDetached(options: DaemonOptions, log: LogTarget): Promise<StartFailure> {
  const child = spawn(process.execPath, [MAIN, JSON.stringify(options)], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', log.stdio, log.stdio, 'ipc'],
  });
  log.close();
  const failure = await firstMessage(child, DAEMON_WAIT_MS, log.name);
  if (child.connected) child.disconnect();
  child.unref();
  return failure;
}

/** Starts a daemon on this terminal and waits for its end; the exit status is the daemon's. */
export async function runAttached(
  options: DaemonOptions,
): Promise<{ failure: StartFailure; status: number }> {
  const child = spawn(process.execPath, [MAIN, JSON.stringify(options)], {
    // In a session of its own: a signal of the terminal reaches it once, through this process.
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, pass);
  const failure = await firstMessage(child, DAEMON_WAIT_MS, 'the terminal');
  return { failure, status: await ended };
}

function firstMessage(child: ChildProcess, waitMs: number, log: string): Promise<StartFailure> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      child.kill('SIGTERM');
      resolve(`the daemon did not answer within ${waitMs / 1000} s; see ${log}`);
    }, waitMs);
    const settle = (failure: StartFailure) => {
      clearTimeout(timer);
      resolve(failure);
    };
    child.once('error', (error) => settle(`the daemon cannot be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      settle(`the daemon ended (${signal ?? `status ${code}`}) before the mount could be used; see ${log}`);
    });
    child.once('message', (message) => {
      const parsed = DaemonMessage.safeParse(message);
      if (parsed.success && 'ready' in parsed.data && parsed.data.notice !== undefined) {
        process.stderr.write(`rmapfs: ${parsed.data.notice}\n`);
      }
      if (!parsed.success) settle(`the daemon is of another version than this command; see ${log}`);
      else settle('error' in parsed.data ? plainSentence(parsed.data.error) : null);
    });
  });
}
