import fs from 'node:fs';
import path from 'node:path';
import { errnoNameOf } from '../control/error.js';
import { othersWhoWrite, plantedBy } from '../media/trust.js';
import { explain, failure } from './errors.js';
import { currentMounts } from './mounts.js';

/** The two places of a mount, looked at before a daemon is started. */

/**
 * The directory without symbolic links. What is in it, or mounted on it, is hidden by the new mount, as with mount(8);
 * only a mount whose daemon is gone must be cleared first.
 */
export function checkMountpoint(asked: string, dir: string): string {
  let resolved: string;
  try {
    resolved = fs.realpathSync(dir);
    if (!fs.statSync(resolved).isDirectory()) {
      throw failure(asked, `${dir} is no directory; name one to mount on`);
    }
  } catch (error) {
    const special = { ENOENT: `the mount point ${dir} does not exist; make it with mkdir` };
    throw explain(error, asked, dir, special);
  }
  const mounted = currentMounts().findLast((mount) => mount.mountpoint === resolved);
  if (mounted?.type.startsWith('fuse') && isDead(resolved)) {
    throw failure(
      asked,
      `the daemon of the mount there is gone; clear it with: rmapfs umount --force ${dir}`,
    );
  }
  return resolved;
}

/** The attributes of a dead mount may still be cached; statfs(2) always asks the daemon. */
function isDead(mountpoint: string): boolean {
  try {
    fs.statfsSync(mountpoint);
    return false;
  } catch (error) {
    return errnoNameOf(error) === 'ENOTCONN';
  }
}

/** The region without symbolic links. */
export function checkRegion(asked: string, region: string, readOnly: boolean): string {
  try {
    const resolved = fs.realpathSync(region);
    const planted = plantedBy(path.resolve(region), fs.statSync(resolved), process.geteuid?.() ?? 0);
    if (planted !== null) throw failure(asked, `${planted}; remove it, or use a place of your own`);
    fs.accessSync(resolved, readOnly ? fs.constants.R_OK : fs.constants.R_OK | fs.constants.W_OK);
    return resolved;
  } catch (error) {
    const protectedText = `the region ${region} may not be written; mount it with -o ro`;
    const special = {
      EROFS: protectedText,
      EACCES: readOnly ? `the region ${region} may not be read; be its owner or root` : protectedText,
      ENOENT: `the region ${region} does not exist; make it with: rmapfs mkfs ${region} --size N`,
    };
    throw explain(error, asked, region, special);
  }
}

/**
 * Warns root of a region that others can change under the mount. Not where nothing comes of it: what they put there is
 * run by nobody as another user, and is no device.
 */
export function warnOfOthers(region: string, options: readonly string[], warn: (text: string) => void): void {
  if (process.geteuid?.() !== 0 || (options.includes('nosuid') && options.includes('nodev'))) return;
  const others = othersWhoWrite(region, 0);
  if (others === null) return;
  const advice = "make it root's alone, or mount it with -o nosuid,nodev";
  warn(`rmapfs: warning: ${region} can be changed by others (${others}); ${advice}\n`);
}
