import { BadBlockError } from '../engine/datacore.js';
import { CorruptionError } from '../errors.js';
import { FUSE_READ_LOCKOWNER, fuse_read_in, OPCODE } from '../fuse/abi.js';
import type { Request } from '../fuse/request.js';
import { BLOCK_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import { isLatent, latentFound } from './failure-control.js';

/** The block that an operation could not read, or -1. */
function blockOfError(error: unknown): number {
  return error instanceof BadBlockError || error instanceof CorruptionError ? error.block : -1;
}

/**
 * Readahead is refused as a whole, and the kernel then asks page by page: for the bad one only when somebody wants it.
 * On memory that is accessed directly there is no readahead.
 */
function isReadahead(request: Request): boolean {
  if (request.opcode !== OPCODE.READ || request.bodyBytes < fuse_read_in.size) return false;
  const at = fuse_read_in.at;
  const direct = (request.u32(at.read_flags) & FUSE_READ_LOCKOWNER) !== 0;
  return !direct && request.u32(at.size) > BLOCK_SIZE;
}

/** The process whose page fault met a bad block of a file, 0 when it was something else. */
export function faultOn(c: VfsContext, error: unknown, request: Request): number {
  if (!(error instanceof BadBlockError) || request.opcode !== OPCODE.READ || isReadahead(request)) return 0;
  return c.faultingProcess(request.pid);
}

/** Whether an operation failed by a latent error in metadata, which now stand elsewhere: the same as noteLatent(). */
export function madeAgain(c: VfsContext, error: unknown, request: Request): boolean {
  if (!(error instanceof CorruptionError) || !noteLatent(c, error, request)) return false;
  return c.engine.damage.lost === null && c.engine.damage.repaired.length > 0;
}

/**
 * An operation failed. When it met a latent error, that is known from now on, and everyone else is told, as after a
 * machine check of the accessing thread. That one gets its own EIO, or its SIGBUS. False: it was not so.
 */
export function noteLatent(c: VfsContext, error: unknown, request: Request | null): boolean {
  const block = blockOfError(error);
  if (block < 0 || (request !== null && error instanceof BadBlockError && isReadahead(request))) return false;
  const pid = request?.pid ?? 0;
  return noteBlock(c, block, pid, request?.opcode === OPCODE.READ ? c.faultingProcess(pid) : 0);
}

/** Somebody met this block. False: it has no latent error. */
export function noteBlock(c: VfsContext, block: number, pid: number, accessor: number): boolean {
  if (c.engine.info.shutdown || !isLatent(c, block)) return false;
  latentFound(c, { physical: block * BLOCK_SIZE, length: BLOCK_SIZE }, { by: 'access', pid, accessor });
  return true;
}
