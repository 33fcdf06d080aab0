import { INODE_FLAG_NOATIME } from '../engine/layout.js';
import { FsError } from '../errors.js';
import type { Ino } from '../types.js';
import type { VfsContext } from './context.js';

/**
 * Access times. The kernel leaves them to a FUSE daemon (S_NOATIME) and does not tell it the flags of the mount,
 * so they follow the options that the mount was made with.
 */

export type AccessTimeRule = 'relatime' | 'strictatime' | 'noatime';

export interface AccessTimes {
  readonly files: AccessTimeRule;
  readonly directories: AccessTimeRule;
}

/** What options of mount(8) ask for. strictatime wins over noatime, as in path_mount() of fs/namespace.c. */
export function accessTimesOf(options: readonly string[]): AccessTimes {
  const last = (on: string, off: string): boolean => options.lastIndexOf(on) > options.lastIndexOf(off);
  let files: AccessTimeRule = 'relatime';
  if (last('noatime', 'atime')) files = 'noatime';
  if (last('strictatime', 'nostrictatime')) files = 'strictatime';
  return { files, directories: last('nodiratime', 'diratime') ? 'noatime' : files };
}

/**
 * After a read: sets the access time where the rule wants it. Called when the request is answered already, so that
 * a full or read-only filesystem can still be read.
 */
export function noteAccess(c: VfsContext, ino: Ino, rule: AccessTimeRule): void {
  if (rule === 'noatime' || c.engine.info.readOnly || c.engine.info.shutdown) return;
  if (rule === 'relatime' && !c.engine.atimeIsOld(ino, c.clock.seconds())) return;
  if (rule === 'strictatime' && (c.engine.getattr(ino, c.attr).flags & INODE_FLAG_NOATIME) !== 0) return;
  c.clock.now(c.now);
  try {
    c.engine.touchAtime(ino, c.now);
  } catch (error) {
    // The reader has its data; that the time could not be kept (ENOSPC) is no failure of the read.
    if (!(error instanceof FsError)) throw error;
  }
}
