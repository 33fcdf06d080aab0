import {
  BADBLOCKS_PER_PAGE,
  decodeBadBlocksRequest,
  decodeExtentsRequest,
  decodeFsmapRequest,
  decodeReportRequest,
  EXTENTS_PER_PAGE,
  encodeBadBlocksAnswer,
  encodeExtentsAnswer,
  encodeFsmapAnswer,
  encodeReportAnswer,
  FSMAP_PER_PAGE,
  type FsmapRecord,
  REPORT_PAGE_BYTES,
} from '../control/codec.js';
import { EXTENT_FLAG, FSMAP_FLAG, FSMAP_OWNER, REPORT_KIND } from '../control/protocol.js';
import type { Owner } from '../engine/api.js';
import { TREES, type TreeName } from '../engine/layout.js';
import { FsError } from '../errors.js';
import { asIno, BLOCK_SIZE, MAX_FILE_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import { fileDocument, infoDocument, ownersDocument, statsDocument } from './documents.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/** The ioctls that only look. Each asks for one record more than a page holds: is there another page? */

export function extents(c: VfsContext, call: IoctlCall): IoctlResult {
  const cursor = decodeExtentsRequest(call.input);
  const from = Math.min(cursor, MAX_FILE_SIZE);
  const { inode } = call.handle;
  c.layouts.settle([inode]);
  const { ino } = inode;
  const found = c.engine.extents(ino, from, MAX_FILE_SIZE - from, EXTENTS_PER_PAGE + 1);
  const last = found.length <= EXTENTS_PER_PAGE;
  const page = found.slice(0, EXTENTS_PER_PAGE);
  const records = page.map((extent, i) => ({
    fileOffset: extent.fileOffset,
    physical: extent.physical,
    length: extent.length,
    flags:
      (extent.shared ? EXTENT_FLAG.shared : 0) |
      (extent.unwritten ? EXTENT_FLAG.unwritten : 0) |
      (extent.bad ? EXTENT_FLAG.bad : 0) |
      (last && i === page.length - 1 ? EXTENT_FLAG.last : 0),
  }));
  encodeExtentsAnswer(call.output, { records, last });
  return 'done';
}

function fsmapRecord(c: VfsContext, owner: Owner): FsmapRecord {
  const { physical, length } = owner;
  let flags = c.engine.isBad(physical, length) ? FSMAP_FLAG.bad : 0;
  if (owner.kind !== 'file') {
    const detail = owner.kind === 'metadata' ? (TREES[owner.tree as TreeName]?.id ?? 0) : 0;
    return { physical, length, owner: FSMAP_OWNER[owner.kind], fileOffset: 0, flags, detail };
  }
  if (owner.shareCount > 1) flags |= FSMAP_FLAG.shared;
  if (owner.unwritten) flags |= FSMAP_FLAG.unwritten;
  if (owner.fork === 'attr') flags |= FSMAP_FLAG.attrFork;
  const { ino, fileOffset, shareCount } = owner;
  return { physical, length, owner: ino, fileOffset, flags, detail: shareCount };
}

/**
 * The query is over the whole region, with the cursor as its start: a range that began at the cursor would
 * cut extents that reach across it, and list them twice.
 */
export function fsmap(c: VfsContext, call: IoctlCall): IoctlResult {
  const cursor = decodeFsmapRequest(call.input);
  c.layouts.settle(c.inodes.stored());
  const records: FsmapRecord[] = [];
  let last = true;
  const visit = (owner: Owner): boolean => {
    if (records.length === FSMAP_PER_PAGE) {
      last = false;
      return false;
    }
    records.push(fsmapRecord(c, owner));
    return true;
  };
  const size = c.engine.info.blocks * BLOCK_SIZE;
  const start = cursor.physical === 0 && cursor.owner === 0 && cursor.fileOffset === 0;
  if (start) c.engine.owners(0, size, visit);
  else {
    const { physical, owner, fileOffset } = cursor;
    c.engine.owners(0, size, visit, { physical, ino: asIno(owner), fileOffset });
  }
  encodeFsmapAnswer(call.output, { records, last });
  return 'done';
}

export function badBlocks(c: VfsContext, call: IoctlCall): IoctlResult {
  const cursor = decodeBadBlocksRequest(call.input);
  const found = c.engine.badBlocks(cursor, BADBLOCKS_PER_PAGE + 1);
  const last = found.length <= BADBLOCKS_PER_PAGE;
  encodeBadBlocksAnswer(call.output, { records: found.slice(0, BADBLOCKS_PER_PAGE), last });
  return 'done';
}

/** Makes the document of a REPORT request. */
function makeDocument(c: VfsContext, call: IoctlCall, kind: number, a: number, b: number): number {
  const id = c.reports.reserve();
  switch (kind) {
    case REPORT_KIND.info:
      c.reports.put(id, JSON.stringify(infoDocument(c)), false);
      return id;
    case REPORT_KIND.stats:
      c.reports.put(id, JSON.stringify(statsDocument(c)), false);
      return id;
    case REPORT_KIND.owners:
      if (!call.privileged) throw new FsError('EPERM', 'report', 'owners are for root and the mount owner');
      c.layouts.settle(c.inodes.stored());
      c.reports.put(id, JSON.stringify(ownersDocument(c, a, b)), true);
      return id;
    case REPORT_KIND.file:
      if (!call.privileged) throw new FsError('EPERM', 'report', 'paths are for root and the mount owner');
      c.reports.put(id, JSON.stringify(fileDocument(c, a)), true);
      return id;
    case REPORT_KIND.events:
      throw new FsError('EOPNOTSUPP', 'report', 'failure events are read by the EVENTS ioctl');
    default:
      throw new FsError('EINVAL', 'report', `there is no new document of kind ${kind}`);
  }
}

export function report(c: VfsContext, call: IoctlCall): IoctlResult {
  const { kind, a, b, id, offset } = decodeReportRequest(call.input);
  if (id === 0 && offset !== 0)
    throw new FsError('EINVAL', 'report', `a new document, from offset ${offset} on`);
  const document = id !== 0 ? id : makeDocument(c, call, kind, a, b);
  encodeReportAnswer(call.output, c.reports.page(document, offset, REPORT_PAGE_BYTES, call.privileged));
  return 'done';
}
