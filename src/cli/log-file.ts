import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { errnoNameOf } from '../control/error.js';
import { LOG_FILE_MAX_BYTES } from '../limits.js';

const NOT_WRITABLE: readonly string[] = ['EACCES', 'EPERM', 'EROFS', 'EOVERFLOW'];

/** Where the log of a user's daemons can go: the first of these that can be written. */
export function logDirectories(uid: number, environment: NodeJS.ProcessEnv): string[] {
  const state = environment.XDG_STATE_HOME || path.join(os.homedir(), '.local', 'state');
  const own = path.join(state, 'rmapfs');
  // The root of a user namespace may be nobody in /var/log.
  return uid === 0 ? ['/var/log/rmapfs', own] : [own];
}

/** The log of a mount: the mount point with '-' for '/', so "/mnt/pmem" has "mnt-pmem.log". */
export function logFileName(mountpoint: string): string {
  const name = mountpoint.replace(/^\/+/, '').replaceAll('/', '-') || 'root';
  // NAME_MAX with room for the endings.
  return `${name.slice(-200)}.log`;
}

/**
 * Makes a directory, puts a log that has grown too long aside and opens the log of a mount. Throws the error of the
 * first place when there is none that can be written.
 */
export function openLogFile(mountpoint: string): { name: string; fd: number } {
  let first: unknown;
  for (const directory of logDirectories(process.getuid?.() ?? 0, process.env)) {
    try {
      return openIn(directory, mountpoint);
    } catch (error) {
      if (!NOT_WRITABLE.includes(errnoNameOf(error))) throw error;
      first ??= error;
    }
  }
  throw first;
}

function openIn(directory: string, mountpoint: string): { name: string; fd: number } {
  fs.mkdirSync(directory, { recursive: true, mode: 0o750 });
  const name = path.join(directory, logFileName(mountpoint));
  const size = fs.statSync(name, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_FILE_MAX_BYTES) fs.renameSync(name, `${name}.old`);
  return { name, fd: fs.openSync(name, 'a', 0o640) };
}
