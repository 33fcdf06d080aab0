import type { VfsContext } from './context.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/**
 * XFS_IOC_GOINGDOWN of fs/xfs/libxfs/xfs_fs.h, _IOR('X', 125, __u32): `xfs_io -x -c shutdown` and test suites stop a
 * filesystem with it as if power had failed. By its number the kernel sends no argument along although it has one.
 */
export const GOINGDOWN = 0x8004_587d;

export function goingDown(c: VfsContext, call: IoctlCall): IoctlResult {
  c.outbox.goingDown({ unique: call.unique, pid: call.pid, address: call.argument });
  return 'later';
}
