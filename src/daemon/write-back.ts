import { closeSync, fstatSync, constants as open, openSync } from 'node:fs';
import { join } from 'node:path';
import { writeBack } from '../native.js';

/**
 * Writes the dirty pages of a file of our own mount back, without its inode's lock: whoever asks for the map of the
 * file may hold that while it waits. False when there is another file at the path by now, or none that may be opened.
 * A page that cannot be written is no failure here: it has no block, and fsync(2) says so to who stored to it.
 */
export function writeFileBack(dir: string, ino: number, path: string): boolean {
  let fd: number;
  try {
    fd = openSync(join(dir, path), open.O_RDONLY | open.O_NOFOLLOW | open.O_NONBLOCK | open.O_NOATIME);
  } catch {
    // Whatever the reason, the caller has another way.
    return false;
  }
  try {
    if (fstatSync(fd).ino !== ino) return false;
    writeBack(fd);
    return true;
  } catch {
    return true;
  } finally {
    closeSync(fd);
  }
}
