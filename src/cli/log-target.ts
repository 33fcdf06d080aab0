import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { explain } from './errors.js';
import { openLogFile } from './log-file.js';

/** Where a daemon's standard output and error go. */
export interface LogTarget {
  /** For messages: "see NAME". */
  readonly name: string;
  /** As spawn(3) of node takes it. */
  readonly stdio: number | NonNullable<ChildProcess['stdin']>;
  /** Lets go of it, once the daemon has it. */
  close(): void;
}

/** @param choice a file, "syslog", or null for the usual file of the mount */
export function openLog(asked: string, mountpoint: string, choice: string | null): LogTarget {
  if (choice === 'syslog') return openSyslog();
  try {
    const { name, fd } = choice === null ? openLogFile(mountpoint) : openNamed(path.resolve(choice));
    return { name, stdio: fd, close: () => fs.closeSync(fd) };
  } catch (error) {
    throw explain(error, asked, choice ?? 'the log file', {
      EACCES:
        choice === null
          ? 'the directory of the log cannot be written; name a file with -o log=FILE, or set XDG_STATE_HOME'
          : `the log ${choice} cannot be written; name a file that can with -o log=FILE`,
    });
  }
}

const openNamed = (name: string) => ({ name, fd: fs.openSync(name, 'a', 0o640) });

/** logger(1) sends each line to the journal or to syslog, and ends with the daemon. */
function openSyslog(): LogTarget {
  const logger = spawn('logger', ['--tag', 'rmapfs', '--priority', 'daemon.info'], {
    detached: true,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // Without logger(1) the messages go nowhere, which is no reason not to mount.
  logger.on('error', () => {});
  logger.unref();
  return { name: 'the system log', stdio: logger.stdin, close: () => logger.stdin.destroy() };
}
