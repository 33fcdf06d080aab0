import fs from 'node:fs';
import path from 'node:path';

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  mountpoint: string;
  /** "fuse.rmapfs" ... */
  type: string;
  /** What was mounted: the region. */
  source: string;
  options: string[];
}

/** The types that a rmapfs mount can have. The second one, for -o nosubtype, is that of other filesystems too. */
const MOUNT_TYPES: readonly string[] = ['fuse.rmapfs', 'fuse'];

export const mayBeOurs = (mount: MountEntry | undefined): mount is MountEntry =>
  mount !== undefined && MOUNT_TYPES.includes(mount.type);

/** Space, tab, newline and backslash are written in octal. */
const decodeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Mounts in the order they were made: a later one hides an earlier one at the same place. */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ');
    if (after === undefined) continue;
    const fields = before.split(' ');
    const [type, source] = after.split(' ');
    entries.push({
      mountpoint: decodeOctal(fields[4]),
      type,
      source: decodeOctal(source),
      options: fields[5].split(','),
    });
  }
  return entries;
}

export function currentMounts(): MountEntry[] {
  return parseMountinfo(fs.readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** The mount that a path (absolute, resolved) is on, or undefined. */
export function mountOf(mounts: readonly MountEntry[], resolved: string): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const mount of mounts) {
    const prefix = mount.mountpoint === '/' ? '/' : `${mount.mountpoint}/`;
    const holds = resolved === mount.mountpoint || resolved.startsWith(prefix);
    if (holds && (best === undefined || mount.mountpoint.length >= best.mountpoint.length)) best = mount;
  }
  return best;
}

/**
 * The path without symbolic links. Below a mount whose daemon is gone nothing can be looked up (ENOTCONN):
 * there the last part is taken as it is written.
 */
export function resolvePath(given: string): string {
  const absolute = path.resolve(given);
  try {
    return fs.realpathSync(absolute);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTCONN') throw error;
    if (absolute === '/') return absolute;
    return path.join(resolvePath(path.dirname(absolute)), path.basename(absolute));
  }
}
