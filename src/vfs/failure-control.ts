import { decodePoisonRequest, decodeUnpoisonRequest, encodeUnpoisonAnswer } from '../control/codec.js';
import { POISON_FLAG, POLICIES, type Policy } from '../control/protocol.js';
import { FsError } from '../errors.js';
import { REPORT_OWNERS_MAX } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import { checkedLength, ownersWithPaths } from './documents.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/** The ioctls that make memory fail, and mend it. */

interface PhysicalRange {
  physical: number;
  length: number;
}

/** The physical ranges of a range of the open file. ENODATA where a part of it has no block. */
function fileRanges(
  c: VfsContext,
  call: IoctlCall,
  op: string,
  offset: number,
  length: number,
): PhysicalRange[] {
  const { ino } = call.handle.inode;
  const { size } = c.engine.getattr(ino, c.attr);
  const toEnd = Math.ceil(size / BLOCK_SIZE) * BLOCK_SIZE - offset;
  const bytes = length === Number.POSITIVE_INFINITY ? toEnd : length;
  const ranges: PhysicalRange[] = [];
  let at = offset;
  for (const extent of c.engine.extents(ino, offset, Math.max(0, bytes), REPORT_OWNERS_MAX)) {
    if (extent.fileOffset > at) break;
    // The extent may begin before the range and end after it.
    const from = extent.physical + (at - extent.fileOffset);
    const end = Math.min(extent.fileOffset + extent.length, offset + bytes);
    const previous = ranges.at(-1);
    if (previous !== undefined && previous.physical + previous.length === from) previous.length += end - at;
    else ranges.push({ physical: from, length: end - at });
    at = end;
  }
  if (bytes <= 0 || at < offset + bytes) {
    throw new FsError('ENODATA', op, `inode ${ino} has no block at offset ${at}`);
  }
  return ranges;
}

/** What a request of POISON or UNPOISON means. EINVAL for a range that is not of whole blocks. */
function targetRanges(
  c: VfsContext,
  call: IoctlCall,
  op: string,
  target: { offset: number; length: number; flags: number },
): PhysicalRange[] {
  const { offset, length, flags } = target;
  const aligned =
    offset % BLOCK_SIZE === 0 && (length === Number.POSITIVE_INFINITY || length % BLOCK_SIZE === 0);
  if (!aligned) throw new FsError('EINVAL', op, `${length} bytes at ${offset} are not whole blocks`);
  if ((flags & POISON_FLAG.file) !== 0) return fileRanges(c, call, op, offset, length);
  return [{ physical: offset, length: checkedLength(c, op, offset, length) }];
}

function policyOf(c: VfsContext, index: number): Policy {
  const policy = POLICIES[index];
  if (policy === undefined) throw new FsError('EINVAL', 'poison', `there is no policy ${index}`);
  return policy === 'default' ? c.policy : policy;
}

/**
 * Gathers the owners, records the blocks as bad (durably), and hands the rest to the main thread: it tells
 * the processes and answers the ioctl. The engine shuts the filesystem down when metadata are hit; the owners
 * of data in the range are told all the same, as the kernel does it since 6.1.
 */
export function poison(c: VfsContext, call: IoctlCall): IoctlResult {
  const request = decodePoisonRequest(call.input);
  const known = POISON_FLAG.latent | POISON_FLAG.file;
  if ((request.flags & ~known) !== 0) throw new FsError('EINVAL', 'poison', `unknown flags ${request.flags}`);
  const policy = policyOf(c, request.policy);
  const latent = (request.flags & POISON_FLAG.latent) !== 0;
  const ranges = targetRanges(c, call, 'poison', request);
  const owners = ranges.flatMap((range) => ownersWithPaths(c, range.physical, range.length));
  for (const range of ranges) c.engine.poison(range.physical, range.length, latent);
  const { shutdown } = c.engine.info;
  if (shutdown) c.outbox.log('error', `metadata in the failed range at ${ranges[0].physical}: shut down`);
  c.outbox.failure({
    kind: 'failure',
    unique: call.unique,
    report: c.reports.reserve(),
    physical: ranges[0].physical,
    length: ranges.reduce((sum, range) => sum + range.length, 0),
    latent,
    policy,
    owners,
    shutdown,
  });
  return 'later';
}

export function unpoison(c: VfsContext, call: IoctlCall): IoctlResult {
  const request = decodeUnpoisonRequest(call.input);
  if ((request.flags & ~POISON_FLAG.file) !== 0) {
    throw new FsError('EINVAL', 'unpoison', `unknown flags ${request.flags}`);
  }
  let blocks = 0;
  for (const range of targetRanges(c, call, 'unpoison', request)) {
    blocks += c.engine.unpoison(range.physical, range.length);
  }
  encodeUnpoisonAnswer(call.output, blocks * BLOCK_SIZE);
  return 'done';
}
