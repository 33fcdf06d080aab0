import { decodeFallocateRequest } from '../control/codec.js';
import { FsError } from '../errors.js';
import type { FileRange } from '../failure/job.js';
import type { VfsContext } from './context.js';
import { canWrite } from './handles.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_UNSHARE_RANGE,
} from './mode.js';
import { dropPrivileges, refuseFixed, withoutFsetid } from './rules.js';

/** fallocate(2) by the mount's own ioctl, for the modes that the kernel does not pass on to FUSE. */

const MODES: ReadonlySet<number> = new Set([
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_UNSHARE_RANGE,
  FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE,
]);

const NOTHING = new Uint8Array(0);

/** The order of the checks is that of vfs_fallocate() in fs/open.c. */
export function fallocateIoctl(c: VfsContext, call: IoctlCall): IoctlResult {
  const { mode, offset, length } = decodeFallocateRequest(call.input);
  const { inode } = call.handle;
  if (!MODES.has(mode)) throw new FsError('EOPNOTSUPP', 'fallocate', `mode ${mode} is not for this ioctl`);
  if (!canWrite(call.handle)) throw new FsError('EBADF', 'fallocate', 'the file is not open for writing');
  refuseFixed(c, inode, 'fallocate', true);
  const caller = withoutFsetid(c, call);
  c.layouts.start({
    unique: call.unique,
    tid: call.pid,
    source: inode,
    destination: inode,
    ranges: [changedRange(inode.ino, mode, offset, length)],
    run() {
      dropPrivileges(c, inode, caller);
      c.engine.fallocate(inode.ino, mode, offset, length);
      return NOTHING;
    },
  });
  return 'later';
}

/** Collapse and insert move all that follows: a length of 0 is "to the end of the file". */
function changedRange(ino: FileRange['ino'], mode: number, offset: number, length: number): FileRange {
  const isUnshare = (mode & FALLOC_FL_UNSHARE_RANGE) !== 0;
  return { ino, offset, length: isUnshare ? length : 0 };
}
