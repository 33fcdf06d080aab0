import { closeSync, openSync } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import { FsError } from '../errors.js';
import { mountAsUser, unmountAsUser } from './fusermount.js';
import { topMount } from './mountinfo.js';
import type { DaemonOptions } from './options.js';
import { runProgram } from './program.js';

/**
 * mount(2) and umount(2) through programs that also keep the records of the system: mount(8) and umount(8) for
 * root, fusermount3(1) for others.
 */

/** The daemon sets these itself. */
const RESERVED_OPTIONS = new Set([
  'fd',
  'rootmode',
  'user_id',
  'group_id',
  'default_permissions',
  'allow_other',
  'ro',
  'rw',
]);
/** Where mount(8) finds the descriptor of /dev/fuse: the first one after the standard three. */
const CHILD_FUSE_FD = 3;

const isRoot = (): boolean => process.geteuid?.() === 0;

/** Opens /dev/fuse for reading and writing. FsError with what to do when that fails. */
function openFuse(): number {
  try {
    return openSync('/dev/fuse', 'r+');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
      throw new FsError('ENODEV', 'mount', 'there is no /dev/fuse; load the module with: modprobe fuse');
    }
    if (code === 'EACCES' || code === 'EPERM') {
      throw new FsError('EACCES', 'mount', '/dev/fuse may not be opened; check its permissions');
    }
    throw error;
  }
}

/**
 * Checks the mount point before anything is opened, so that the message names the cause. It may have files in it,
 * and a mount on it, as with mount(8): both are hidden until the unmount.
 * @returns its path without symbolic links
 */
export async function checkMountpoint(dir: string): Promise<string> {
  const path = await realpath(dir).catch((error) => {
    throw mountpointError(dir, error);
  });
  const stats = await stat(path).catch((error) => {
    throw mountpointError(dir, error);
  });
  if (!stats.isDirectory()) throw new FsError('ENOTDIR', 'mount', `${dir} is not a directory`);
  return path;
}

function mountpointError(dir: string, error: unknown): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return new FsError('ENOENT', 'mount', `the mount point ${dir} does not exist; create it first`);
    case 'ENOTDIR':
      return new FsError('ENOTDIR', 'mount', `${dir} is not a directory`);
    case 'EACCES':
      return new FsError('EACCES', 'mount', `the mount point ${dir} may not be searched`);
    case 'ENOTCONN':
      return new FsError(
        'ENOTCONN',
        'mount',
        `${dir} has a mount whose daemon is gone; clear it with: rmapfs umount --force ${dir}`,
      );
    default:
      return error;
  }
}

/** The -o argument of mount(8). FsError when an option of the user's collides with one of ours. */
export function mountOptions(options: DaemonOptions, uid: number, gid: number): string {
  const list = [
    `fd=${CHILD_FUSE_FD}`,
    'rootmode=40000',
    `user_id=${uid}`,
    `group_id=${gid}`,
    'default_permissions',
    options.readOnly ? 'ro' : 'rw',
  ];
  if (options.allowOther) list.push('allow_other');
  for (const option of options.extraOptions) {
    if (RESERVED_OPTIONS.has(option.split('=')[0])) {
      throw new FsError('EINVAL', 'mount', `the option ${option} is set by rmapfs itself`);
    }
    list.push(option);
  }
  return list.join(',');
}

/** A mount that was made. */
export interface Mounted {
  /** The descriptor of /dev/fuse, which is the caller's to close. */
  fuseFd: number;
  /** "MAJOR:MINOR" of the filesystem. */
  device: string;
}

export async function mount(options: DaemonOptions, dir: string): Promise<Mounted> {
  const fuseFd = isRoot() ? await mountAsRoot(options, dir) : await mountAsUser(options, dir);
  const top = topMount(await readFile('/proc/self/mountinfo', 'utf8'), dir);
  if (top === null) {
    closeSync(fuseFd);
    throw new FsError('ENOENT', 'mount', `${dir} was unmounted at once`);
  }
  return { fuseFd, device: top.device };
}

/**
 * `mount -i -c -t TYPE -o ... -- SOURCE DIR` with /dev/fuse as descriptor 3. -i: not through the helper, which
 * is us. -c: the source stays as it was given. It is an argument of its own, so commas and spaces in it need no
 * escape.
 */
async function mountAsRoot(options: DaemonOptions, dir: string): Promise<number> {
  const list = mountOptions(options, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  const type = options.subtype ? 'fuse.rmapfs' : 'fuse';
  const fd = openFuse();
  try {
    const { status, message } = await runProgram(
      'mount',
      ['-i', '-c', '-t', type, '-o', list, '--', options.source, dir],
      fd,
    );
    if (status !== 0) {
      throw new FsError('EIO', 'mount', `cannot mount ${options.source} on ${dir}: ${message}`);
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** sync(1) of the filesystem: dirty pages of mappings are written back. */
export async function syncFilesystem(dir: string): Promise<void> {
  const { status, message } = await runProgram('sync', ['--file-system', '--', dir]);
  if (status !== 0) throw new FsError('EIO', 'sync', message);
}

/**
 * Unmounts. A busy mount is detached: no path leads to it any more, and it ends with its last user.
 * @param device "MAJOR:MINOR" of the mount that is meant; FsError EBUSY when another one covers it
 * @returns "busy" when it was detached only
 */
export async function unmount(dir: string, device: string): Promise<'done' | 'busy'> {
  const top = topMount(await readFile('/proc/self/mountinfo', 'utf8'), dir);
  if (top === null) return 'done';
  if (top.device !== device) {
    throw new FsError(
      'EBUSY',
      'umount',
      `${top.type} of ${top.source} is mounted over ${dir}; unmount that first`,
    );
  }
  return isRoot() ? await unmountAsRoot(dir) : await unmountAsUser(dir);
}

async function unmountAsRoot(dir: string): Promise<'done' | 'busy'> {
  const plain = await runProgram('umount', ['-i', '--', dir]);
  if (plain.status === 0 || /not mounted/.test(plain.message)) return 'done';
  const lazy = await runProgram('umount', ['-i', '-l', '--', dir]);
  if (lazy.status === 0) return 'busy';
  throw new FsError('EBUSY', 'umount', `cannot unmount ${dir}: ${lazy.message}`);
}
