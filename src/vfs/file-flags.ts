import {
  INODE_FLAG_APPEND,
  INODE_FLAG_DAX,
  INODE_FLAG_IMMUTABLE,
  INODE_FLAG_NOATIME,
  INODE_FLAG_NODUMP,
} from '../engine/layout.js';
import { FsError } from '../errors.js';
import type { VfsContext } from './context.js';
import type { Inode } from './inode-cache.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';
import { flagsOf } from './rules.js';

/**
 * chattr(1) and xfs_io(8) "chattr": FS_IOC_GETFLAGS and FS_IOC_FSGETXATTR of <linux/fs.h> and their setters.
 * The kernel handles the system call (fs/ioctl.c), checks that the caller owns the file, and hands over the
 * record with the request number: 4 bytes for the flags although the number says 8.
 */

export const FS_IOC = {
  getFlags: 0x8008_6601,
  setFlags: 0x4008_6602,
  fsGetXattr: 0x801c_581f,
  fsSetXattr: 0x401c_5820,
} as const;

/** Byte offsets in struct fsxattr: five u32 and 8 bytes of padding. */
const FSXATTR = { xflags: 0, extsize: 4, nextents: 8, projid: 12, cowextsize: 16 } as const;

/** FS_XFLAG_* with the inode flag each stands for. */
const XFLAGS: readonly (readonly [xflag: number, flag: number])[] = [
  [0x8, INODE_FLAG_IMMUTABLE],
  [0x10, INODE_FLAG_APPEND],
  [0x40, INODE_FLAG_NOATIME],
  [0x80, INODE_FLAG_NODUMP],
  [0x8000, INODE_FLAG_DAX],
];
const KNOWN_FLAGS = XFLAGS.reduce((all, [, flag]) => all | flag, 0);
const KNOWN_XFLAGS = XFLAGS.reduce((all, [xflag]) => all | xflag, 0);
const NOTHING = new Uint8Array(0);
const FIXED_FLAGS = INODE_FLAG_IMMUTABLE | INODE_FLAG_APPEND;

export function getFlags(c: VfsContext, call: IoctlCall): IoctlResult {
  call.output.writeUInt32LE(flagsOf(c, call.handle.inode), 0);
  return 'done';
}

export function getXflags(c: VfsContext, call: IoctlCall): IoctlResult {
  const flags = flagsOf(c, call.handle.inode);
  const xflags = XFLAGS.reduce((all, [xflag, flag]) => ((flags & flag) !== 0 ? all | xflag : all), 0);
  call.output.writeUInt32LE(xflags, FSXATTR.xflags);
  return 'done';
}

export function setFlags(c: VfsContext, call: IoctlCall): IoctlResult {
  const flags = call.input.readUInt32LE(0);
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    throw new FsError('EOPNOTSUPP', 'setflags', `0x${flags.toString(16)} has flags that mean nothing here`);
  }
  return change(c, call, call.handle.inode, flags);
}

export function setXflags(c: VfsContext, call: IoctlCall): IoctlResult {
  const { input } = call;
  const xflags = input.readUInt32LE(FSXATTR.xflags);
  const hints =
    input.readUInt32LE(FSXATTR.extsize) |
    input.readUInt32LE(FSXATTR.projid) |
    input.readUInt32LE(FSXATTR.cowextsize);
  if ((xflags & ~KNOWN_XFLAGS) !== 0 || hints !== 0) {
    throw new FsError('EOPNOTSUPP', 'fssetxattr', 'extent size hints, projects or unknown flags');
  }
  const flags = XFLAGS.reduce((all, [xflag, flag]) => ((xflags & xflag) !== 0 ? all | flag : all), 0);
  return change(c, call, call.handle.inode, flags);
}

function change(c: VfsContext, call: IoctlCall, inode: Inode, flags: number): IoctlResult {
  const before = flagsOf(c, inode);
  // CAP_LINUX_IMMUTABLE, which the request does not carry: root only.
  if (((before ^ flags) & FIXED_FLAGS) !== 0 && call.uid !== 0) {
    throw new FsError('EPERM', 'setflags', 'immutable and append-only are for root to change');
  }
  // ctime moves even when the flags stay (xfs_ioctl_setattr()), and the kernel does not know it: its copy of the
  // attributes goes before the caller is answered.
  c.layouts.start({
    unique: call.unique,
    tid: call.pid,
    source: inode,
    destination: inode,
    ranges: [{ ino: inode.ino, offset: -1, length: 0 }],
    run() {
      c.engine.setattr(inode.ino, { flags });
      inode.flags = flags;
      return NOTHING;
    },
  });
  return 'later';
}
