import type { InodeAttr } from '../engine/api.js';
import { INODE_FLAG_NOATIME } from '../engine/layout.js';
import { FsError } from '../errors.js';
import type { Ino, Time } from '../types.js';
import type { VfsContext } from './context.js';
import { isDirectory } from './mode.js';

/**
 * Access times. The kernel leaves them to a FUSE daemon (S_NOATIME) and does not tell it the flags of the mount,
 * so they follow the options that the mount was made with.
 */

export type AccessTimeRule = 'relatime' | 'strictatime' | 'noatime';

export interface AccessTimes {
  readonly files: AccessTimeRule;
  readonly directories: AccessTimeRule;
}

const DAY_SECONDS = 24 * 60 * 60;

/** What options of mount(8) ask for. strictatime wins over noatime, as in path_mount() of fs/namespace.c. */
export function accessTimesOf(options: readonly string[]): AccessTimes {
  const last = (on: string, off: string): boolean => options.lastIndexOf(on) > options.lastIndexOf(off);
  let files: AccessTimeRule = 'relatime';
  if (last('noatime', 'atime')) files = 'noatime';
  if (last('strictatime', 'nostrictatime')) files = 'strictatime';
  return { files, directories: last('nodiratime', 'diratime') ? 'noatime' : files };
}

/** relatime_need_update() of fs/inode.c. */
function isOld({ atime, mtime, ctime }: InodeAttr, now: Time): boolean {
  const notAfter = (t: Time): boolean => atime.sec < t.sec || (atime.sec === t.sec && atime.nsec <= t.nsec);
  return notAfter(mtime) || notAfter(ctime) || now.sec - atime.sec >= DAY_SECONDS;
}

/**
 * After a read: sets the access time where the rule wants it. Called when the request is answered already, so that
 * a full or read-only filesystem can still be read.
 */
export function noteAccess(c: VfsContext, ino: Ino): void {
  if (c.engine.info.readOnly || c.engine.info.shutdown) return;
  const { mode, flags } = c.engine.getattr(ino, c.attr);
  const rule = isDirectory(mode) ? c.accessTimes.directories : c.accessTimes.files;
  if (rule === 'noatime' || (flags & INODE_FLAG_NOATIME) !== 0) return;
  c.clock.now(c.now);
  if (rule === 'relatime' && !isOld(c.attr, c.now)) return;
  try {
    c.engine.touchAtime(ino, c.now);
  } catch (error) {
    // The reader has its data; that the time could not be kept (ENOSPC) is no failure of the read.
    if (!(error instanceof FsError)) throw error;
  }
}
