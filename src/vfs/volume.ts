import { FSTRIM } from '../control/protocol.js';
import { FsError } from '../errors.js';
import { BLOCK_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/** Calls of <linux/fs.h> that are about the filesystem as a whole: fstrim(8), and `xfs_io -c label`. */
export const FSLABEL = { get: 0x8100_9431, set: 0x4100_9432 } as const;

/** FITRIM. The answer has the bytes that were given back as its length. EINVAL as on XFS. */
export function trim(c: VfsContext, call: IoctlCall): IoctlResult {
  const size = c.engine.info.blocks * BLOCK_SIZE;
  const [start, length, least] = [FSTRIM.start, FSTRIM.length, FSTRIM.least].map((at) =>
    Number(call.input.readBigUInt64LE(at)),
  );
  if (start >= size || length < BLOCK_SIZE || least > size) {
    throw new FsError('EINVAL', 'trim', `${length} bytes from ${start} on of ${size}, at least ${least}`);
  }
  const done = c.engine.trim(start, Math.min(length, size - start), least);
  call.output.writeBigUInt64LE(BigInt(done), FSTRIM.length);
  return 'done';
}

export function getLabel(c: VfsContext, call: IoctlCall): IoctlResult {
  call.output.write(c.engine.info.label, 'utf8');
  return 'done';
}

export function setLabel(c: VfsContext, call: IoctlCall): IoctlResult {
  const end = call.input.indexOf(0);
  if (end < 0) throw new FsError('EINVAL', 'setlabel', 'a label without its end');
  const label = call.input.toString('utf8', 0, end);
  // What is not UTF-8 would come back as something else.
  if (!Buffer.from(label).equals(call.input.subarray(0, end))) {
    throw new FsError('EINVAL', 'setlabel', 'the label is not UTF-8');
  }
  c.engine.relabel(label);
  return 'done';
}
