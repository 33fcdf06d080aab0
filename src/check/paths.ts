import { DIRENT_HEADER_BYTES } from '../engine/dir.js';
import { PATH_MAX_BYTES } from '../limits.js';
import { ROOT_INO } from '../types.js';
import { type CheckSubject, seekExact } from './subject.js';

/**
 * A path of the inode, or undefined where there is none or the way up is damaged. Trusts nothing: a circle ends
 * where a path would be too long.
 */
export function findPath(subject: CheckSubject, ino: number): string | undefined {
  const parent = subject.trees.parent.cursor();
  const dirent = subject.trees.dirent.cursor();
  if (ino === ROOT_INO) return '/';
  let path = '';
  for (let at = ino; at !== ROOT_INO; at = parent.key(1)) {
    if (!parent.seek(at, 0, 0, 0) || parent.key(0) !== at) return undefined;
    if (!seekExact(dirent, [parent.key(1), parent.key(2), parent.key(3)])) return undefined;
    path = `/${Buffer.from(dirent.payload().subarray(DIRENT_HEADER_BYTES)).toString('utf8')}${path}`;
    if (path.length > PATH_MAX_BYTES) return undefined;
  }
  return path;
}
