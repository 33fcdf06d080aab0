import { decodePoisonRequest, decodeUnpoisonRequest, encodeUnpoisonAnswer } from '../control/codec.js';
import { POISON_FLAG, POLICIES, type Policy } from '../control/protocol.js';
import { FsError } from '../errors.js';
import { deviceFailed, type Holder, type Notified, notifyFailure } from '../failure/chain.js';
import type { FailureJob, OwnerWithPaths } from '../failure/job.js';
import {
  EVENT_OWNERS_MAX,
  POISON_EXTENTS_MAX,
  REPORT_OWNERS_MAX,
  REPORT_OWNERS_MAX_BYTES,
} from '../limits.js';
import { IDENTITY, type MediaRange } from '../media/layer.js';
import { BLOCK_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import { checkedLength, hasPages, ownersToTell } from './documents.js';
import { policyOfFile } from './file-policy.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/** The ioctls that make memory fail, and mend it. */

/** The physical ranges of a range of the open file. ENODATA where a part of it has no block, E2BIG for too many. */
function fileRanges(
  c: VfsContext,
  call: IoctlCall,
  op: string,
  offset: number,
  length: number,
): MediaRange[] {
  const { ino } = call.handle.inode;
  const { size } = c.engine.getattr(ino, c.attr);
  const toEnd = Math.ceil(size / BLOCK_SIZE) * BLOCK_SIZE - offset;
  const bytes = length === Number.POSITIVE_INFINITY ? toEnd : length;
  const ranges: { physical: number; length: number }[] = [];
  let at = offset;
  const extents = c.engine.extents(ino, offset, Math.max(0, bytes), POISON_EXTENTS_MAX + 1);
  if (extents.length > POISON_EXTENTS_MAX) {
    throw new FsError('E2BIG', op, `the range has more than ${POISON_EXTENTS_MAX} extents: take it in parts`);
  }
  for (const extent of extents) {
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
): MediaRange[] {
  const { offset, length, flags } = target;
  const aligned =
    offset % BLOCK_SIZE === 0 && (length === Number.POSITIVE_INFINITY || length % BLOCK_SIZE === 0);
  if (!aligned) throw new FsError('EINVAL', op, `${length} bytes at ${offset} are not whole blocks`);
  // On memory that is accessed directly a store has its block at once.
  c.layouts.settle((flags & POISON_FLAG.file) !== 0 ? [call.handle.inode] : c.inodes.stored());
  if ((flags & POISON_FLAG.file) !== 0) return fileRanges(c, call, op, offset, length);
  return [{ physical: offset, length: checkedLength(c, op, offset, length) }];
}

function policyOf(c: VfsContext, index: number): Policy {
  const policy = POLICIES[index];
  if (policy === undefined) throw new FsError('EINVAL', 'poison', `there is no policy ${index}`);
  return policy === 'default' ? c.policy : policy;
}

/** The filesystem, for the chain of src/failure. `named`: the call names a policy for all. */
function holderOf(c: VfsContext, named: boolean): Holder {
  return {
    record: ({ physical, length }, latent) => c.engine.poison(physical, length, latent) * BLOCK_SIZE,
    get damage() {
      return c.engine.damage;
    },
    owners: ({ physical, length }, most) => {
      const found = ownersToTell(c, physical, length, most);
      return named ? found : { ...found, owners: found.owners.map((owner) => withPolicy(c, owner)) };
    },
  };
}

/** A file's own policy goes before the mount's; one that the call names goes before both. */
function withPolicy(c: VfsContext, owner: OwnerWithPaths): OwnerWithPaths {
  if (owner.kind !== 'file') return owner;
  const policy = policyOfFile(c.engine, owner.ino);
  return policy === null ? owner : { ...owner, policy };
}

/**
 * The id of the report, and what the main thread gets of the owners: of very many the first, for the events, and
 * those that have pages.
 */
function forMain(
  c: VfsContext,
  { owners: all, omitted }: Notified,
): Pick<FailureJob, 'report' | 'owners' | 'cached' | 'allOwners'> {
  const owners: OwnerWithPaths[] = [];
  const cached: number[] = [];
  for (const [index, owner] of all.entries()) {
    const isCached = hasPages(c, owner);
    if (isCached) cached.push(owners.length);
    if (isCached || index < EVENT_OWNERS_MAX) owners.push(owner);
  }
  if (owners.length === all.length && omitted === 0 && all.length <= EVENT_OWNERS_MAX) {
    return { report: c.reports.reserve(), owners, cached };
  }
  const count = all.length + omitted;
  const { json, listed } = ownersJson(all);
  return { report: c.reports.reserve(json), owners, cached, allOwners: { count, omitted: count - listed } };
}

/** How many owners become text in one go. */
const OWNERS_AT_ONCE = 256;

/** The list in a report: as many of the first owners as its limits allow. */
function ownersJson(all: readonly OwnerWithPaths[]): { json: string; listed: number } {
  const parts: string[] = [];
  let room = REPORT_OWNERS_MAX_BYTES;
  let listed = 0;
  for (let many = OWNERS_AT_ONCE; listed < Math.min(all.length, REPORT_OWNERS_MAX); ) {
    const some = all.slice(listed, Math.min(listed + many, REPORT_OWNERS_MAX));
    const json = JSON.stringify(some).slice(1, -1);
    const bytes = Buffer.byteLength(json) + 1;
    if (bytes <= room) {
      parts.push(json);
      room -= bytes;
      listed += some.length;
    } else if (many === 1) break;
    else many = 1;
  }
  return { json: `[${parts.join(',')}]`, listed };
}

/** What is known in the log, for whoever finds the filesystem shut down. */
function logMetadata(c: VfsContext, { metadata }: Notified): void {
  for (const { tree, physical } of metadata.repaired) {
    c.outbox.log('warn', `a node of the ${tree} tree at ${physical} has failed: it was made again elsewhere`);
  }
  if (metadata.lost !== null) c.outbox.log('error', `${metadata.lost}: shutting down when all are told`);
}

/**
 * The core's half of the chain (src/failure/chain.ts): owners are gathered, the blocks recorded as bad, durably.
 * The main thread tells the processes, has the filesystem shut down if it must be, and answers the ioctl.
 */
export function poison(c: VfsContext, call: IoctlCall): IoctlResult {
  const request = decodePoisonRequest(call.input);
  const known = POISON_FLAG.latent | POISON_FLAG.file;
  if ((request.flags & ~known) !== 0) throw new FsError('EINVAL', 'poison', `unknown flags ${request.flags}`);
  const policy = policyOf(c, request.policy);
  const latent = (request.flags & POISON_FLAG.latent) !== 0;
  const ranges = targetRanges(c, call, 'poison', request);
  if (c.engine.info.shutdown) throw new FsError('EIO', 'poison', 'the filesystem is shut down');
  const holder = holderOf(c, request.policy !== 0);
  const notified =
    (request.flags & POISON_FLAG.file) !== 0
      ? notifyFailure(ranges, latent, holder)
      : deviceFailed(0, ranges[0], latent, IDENTITY, holder);
  logMetadata(c, notified);
  c.outbox.failure({
    kind: 'failure',
    unique: call.unique,
    record: Buffer.from(call.input),
    reply: null,
    by: 'poison',
    pid: 0,
    accessor: 0,
    physical: ranges[0].physical,
    length: ranges.reduce((sum, range) => sum + range.length, 0),
    latent,
    policy,
    ...notified,
    ...forMain(c, notified),
  });
  return 'later';
}

/** Who found a latent error, and what to answer when everyone was told. */
interface Finding extends Pick<FailureJob, 'by' | 'pid' | 'accessor'> {
  /** The reply, for the report with that id. */
  reply?: (report: number) => Uint8Array;
}

/** Blocks that nobody knew to be bad were met: the whole chain. */
export function latentFound(c: VfsContext, range: MediaRange, finding: Finding): void {
  const notified = notifyFailure([range], false, holderOf(c, false));
  logMetadata(c, notified);
  const { policy } = c;
  const { by, pid, accessor } = finding;
  const job = { kind: 'failure', unique: null, latent: false, policy } as const;
  const forReport = forMain(c, notified);
  const reply = finding.reply?.(forReport.report) ?? null;
  c.outbox.failure({ ...job, by, pid, accessor, reply, ...range, ...notified, ...forReport });
}

/** Whether a block is bad and nobody knows. */
export function isLatent(c: VfsContext, block: number): boolean {
  const physical = block * BLOCK_SIZE;
  return c.engine.badBlocks(physical, 1).some((range) => range.latent && range.physical <= physical);
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
