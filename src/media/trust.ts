import { lstatSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Who else can change a region file. Its owner can put anything into the filesystem that root mounts, set-user-ID
 * programs too; in a directory where everybody may make files (/tmp, /dev/shm) somebody may have put it there, or a
 * symbolic link, for us to find.
 */

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const WRITABLE_BY_ALL = 0o002;

const isOpenToAll = (dir: Stats): boolean => (dir.mode & STICKY) !== 0 && (dir.mode & WRITABLE_BY_ALL) !== 0;

/**
 * Why the region at `path` must not be used by `uid`, or null: it, or a symbolic link that leads to it, was put by
 * another user into a directory where everybody may make files. The kernel keeps from such files with
 * fs.protected_regular and fs.protected_symlinks, where they are set, and only those that are opened to be made.
 */
export function plantedBy(path: string, file: Stats, uid: number): string | null {
  const places = new Set([path, realpathSync(path)]);
  for (const place of places) {
    const directory = statSync(dirname(place));
    if (!isOpenToAll(directory)) continue;
    const entry = lstatSync(place);
    const owner = entry.isSymbolicLink() ? entry.uid : file.uid;
    if (owner === uid || owner === 0 || (entry.isSymbolicLink() && owner === directory.uid)) continue;
    const what = entry.isSymbolicLink() ? 'a symbolic link' : 'a file';
    return `${place} is ${what} of user ${owner} in a directory where everybody may make files`;
  }
  return null;
}

/** Which others than `uid` can change the region, as a part of a sentence, or null. Devices are left to the system. */
export function othersWhoWrite(path: string, uid: number): string | null {
  const file = statSync(path);
  if (!file.isFile()) return null;
  if (file.uid !== uid && file.uid !== 0) return `it belongs to user ${file.uid}`;
  if ((file.mode & WRITABLE_BY_OTHERS) !== 0) return `its mode is ${(file.mode & 0o7777).toString(8)}`;
  const directory = statSync(dirname(realpathSync(path)));
  const isOpen = (directory.mode & WRITABLE_BY_OTHERS) !== 0 && !isOpenToAll(directory);
  if (isOpen) return 'others may write to its directory';
  return directory.uid !== uid && directory.uid !== 0
    ? `its directory belongs to user ${directory.uid}`
    : null;
}
