import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { LOG_FILE_MAX_BYTES } from '../limits.js';

/** Where the logs of daemons go: /var/log/rmapfs for root, $XDG_STATE_HOME/rmapfs for others. */
export function logDirectory(uid: number, environment: NodeJS.ProcessEnv): string {
  if (uid === 0) return '/var/log/rmapfs';
  const state = environment.XDG_STATE_HOME || path.join(os.homedir(), '.local', 'state');
  return path.join(state, 'rmapfs');
}

/** The log of a mount: the mount point with '-' for '/', so "/mnt/pmem" has "mnt-pmem.log". */
export function logFileName(mountpoint: string): string {
  const name = mountpoint.replace(/^\/+/, '').replaceAll('/', '-') || 'root';
  // NAME_MAX with room for the endings.
  return `${name.slice(-200)}.log`;
}

/** The log of the daemon that a mount of this process's user has. */
export function logFilePath(mountpoint: string): string {
  return path.join(logDirectory(process.getuid?.() ?? 0, process.env), logFileName(mountpoint));
}

/** Makes the directory, and puts a log that has grown too long aside. Returns the path. */
export function prepareLogFile(mountpoint: string): string {
  const file = logFilePath(mountpoint);
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o750 });
  const size = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_FILE_MAX_BYTES) fs.renameSync(file, `${file}.old`);
  return file;
}
