import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  constants as open,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { FsError } from '../errors.js';
import { constants, flock, hasCode } from '../native.js';

/**
 * Keeps a second filesystem with the same uuid from being mounted: a copy, or the same region by a way that no lock of
 * the region sees. One file a uuid, locked while it is mounted: exclusively by a writer, as the region is.
 */

/** Where the claims of a user are; null where the system gives that user no place for such files. */
export function claimDirectory(uid: number, environment: NodeJS.ProcessEnv): string | null {
  if (uid === 0) return '/run/rmapfs';
  const runtime = environment.XDG_RUNTIME_DIR;
  return runtime ? join(runtime, 'rmapfs') : null;
}

/**
 * Returns what gives the claim up. Throws EBUSY while another has it, with who that is.
 * @param directory is made; where that may not be, there is no claim and nothing to wait for
 */
export function claimUuid(
  directory: string | null,
  uuid: string,
  holder: string,
  readOnly: boolean,
): () => void {
  if (directory === null) return () => {};
  const path = join(directory, `${uuid}.lock`);
  for (;;) {
    const fd = openFile(directory, path);
    if (fd === null) return () => {};
    if (!lock(fd, readOnly)) {
      closeSync(fd);
      const other = readFileSync(path, 'utf8').trim();
      const advice = 'mount a copy beside it with -o nouuid';
      throw new FsError('EBUSY', 'mount', `its uuid ${uuid} is mounted already (${other}); ${advice}`);
    }
    // The last holder may have taken the file away since it was opened.
    if (statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) {
      ftruncateSync(fd, 0);
      writeSync(fd, `${holder}\n`, 0);
      return () => release(path, fd);
    }
    closeSync(fd);
  }
}

function release(path: string, fd: number): void {
  // Only when nobody else holds it, too.
  if (lock(fd, false)) unlinkSync(path);
  closeSync(fd);
}

/** Null where the directory is not ours: for the root of a user namespace /run is another's. */
function openFile(directory: string, path: string): number | null {
  try {
    if (!existsSync(directory)) mkdirSync(directory, 0o700);
    return openSync(path, open.O_RDWR | open.O_CREAT | open.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS', 'ENOENT'].some((code) => hasCode(error, code))) return null;
    // Another one has just made it.
    if (hasCode(error, 'EEXIST')) return openFile(directory, path);
    throw error;
  }
}

function lock(fd: number, shared: boolean): boolean {
  try {
    flock(fd, (shared ? constants.LOCK_SH : constants.LOCK_EX) | constants.LOCK_NB);
    return true;
  } catch (error) {
    if (hasCode(error, 'EAGAIN')) return false;
    throw error;
  }
}
