import {
  type CloneRequest,
  decodeCloneRequest,
  decodeDedupeRequest,
  encodeDedupeAnswer,
} from '../control/codec.js';
import { TOKEN_BYTES } from '../control/protocol.js';
import { errnoOf, FsError } from '../errors.js';
import type { FileRange } from '../failure/job.js';
import type { VfsContext } from './context.js';
import { canRead, canRemapInto, canWrite, type Handle } from './handles.js';
import type { Inode } from './inode-cache.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';
import { isDirectory, isRegular } from './mode.js';
import { dropPrivileges, refuseFixed, withoutFsetid } from './rules.js';

/**
 * FICLONERANGE and FIDEDUPERANGE by the mount's own ioctls: the VFS keeps the real ones from FUSE. A file is
 * named across processes by a token, which only who holds an open descriptor can have made.
 */

export function cloneToken(c: VfsContext, call: IoctlCall): IoctlResult {
  if (!canRead(call.handle)) throw new FsError('EBADF', 'clone', 'the source is not open for reading');
  requireRegular(c, call.handle.inode);
  const token = Buffer.from(c.random(TOKEN_BYTES));
  c.handles.addToken(call.handle, token.toString('hex'));
  token.copy(call.output);
  return 'done';
}

function requireRegular(c: VfsContext, inode: Inode): void {
  const { mode } = c.engine.getattr(inode.ino, c.attr);
  if (isDirectory(mode)) throw new FsError('EISDIR', 'clone', `inode ${inode.ino} is a directory`);
  if (!isRegular(mode)) throw new FsError('EINVAL', 'clone', `inode ${inode.ino} is no regular file`);
}

function sourceOf(c: VfsContext, request: CloneRequest): Handle {
  const source = c.handles.byToken(Buffer.from(request.token).toString('hex'));
  if (source === undefined) throw new FsError('EBADF', 'clone', 'the token is of no open file');
  return source;
}

/** The part of both files that may change blocks. A length of 0 goes to the source's end. */
function rangesOf(c: VfsContext, source: Inode, destination: Inode, request: CloneRequest): FileRange[] {
  const { size } = c.engine.getattr(source.ino, c.attr);
  const { srcOffset, dstOffset } = request;
  const length = request.length === 0 ? Math.max(0, size - srcOffset) : request.length;
  if (length === 0) return [];
  return [
    { ino: destination.ino, offset: dstOffset, length },
    { ino: source.ino, offset: srcOffset, length },
  ];
}

const NOTHING = new Uint8Array(0);

export function clone(c: VfsContext, call: IoctlCall): IoctlResult {
  const request = decodeCloneRequest(call.input);
  const destination = call.handle.inode;
  if (!canRemapInto(call.handle)) {
    throw new FsError('EBADF', 'clone', 'the destination is not open for writing, or for appending only');
  }
  requireRegular(c, destination);
  const source = sourceOf(c, request).inode;
  // An append-only file is one that a clone may go into: generic_remap_file_range_prep() asks for immutable ones only.
  refuseFixed(c, destination, 'clone', false);
  const caller = withoutFsetid(c, call);
  c.layouts.start({
    unique: call.unique,
    tid: call.pid,
    source,
    destination,
    ranges: rangesOf(c, source, destination, request),
    run() {
      dropPrivileges(c, destination, caller);
      c.engine.cloneRange(source.ino, request.srcOffset, destination.ino, request.dstOffset, request.length);
      return NOTHING;
    },
  });
  return 'later';
}

/** allow_file_dedupe() of fs/remap_range.c: root, a destination open for writing, or its owner. */
function mayDedupeInto(c: VfsContext, call: IoctlCall): boolean {
  if (call.uid === 0 || canWrite(call.handle)) return true;
  return c.engine.getattr(call.handle.inode.ino, c.attr).uid === call.uid;
}

/** As FIDEDUPERANGE does, a failure for this destination is a status in the record, not of the ioctl. */
export function dedupe(c: VfsContext, call: IoctlCall): IoctlResult {
  const request = decodeDedupeRequest(call.input);
  const destination = call.handle.inode;
  if (!mayDedupeInto(c, call)) {
    throw new FsError(
      'EPERM',
      'dedupe',
      'the destination is neither open for writing nor owned by the caller',
    );
  }
  requireRegular(c, destination);
  const source = sourceOf(c, request).inode;
  const record = Buffer.from(call.input);
  // A length of 0 is 0 bytes here, not "to the end", and those are the same in every file.
  if (request.length === 0) {
    call.output.set(encodeDedupeAnswer(record, { bytesDeduped: 0, status: 0 }));
    return 'done';
  }
  refuseFixed(c, destination, 'dedupe', false);
  c.layouts.start({
    unique: call.unique,
    tid: call.pid,
    source,
    destination,
    ranges: rangesOf(c, source, destination, request),
    run: () => encodeDedupeAnswer(record, dedupeAnswer(c, source, destination, request)),
  });
  return 'later';
}

function dedupeAnswer(
  c: VfsContext,
  source: Inode,
  destination: Inode,
  request: CloneRequest,
): { bytesDeduped: number; status: number } {
  try {
    const { srcOffset, dstOffset, length } = request;
    const bytes = c.engine.dedupeRange(source.ino, srcOffset, destination.ino, dstOffset, length);
    return bytes < 0 ? { bytesDeduped: 0, status: 1 } : { bytesDeduped: bytes, status: 0 };
  } catch (error) {
    if (error instanceof FsError) return { bytesDeduped: 0, status: -errnoOf(error.code) };
    throw error;
  }
}
