import { decodeScrubRequest, encodeScrubAnswer } from '../control/codec.js';
import { SCRUB_FLAG } from '../control/protocol.js';
import type { ScrubbedRange } from '../engine/api.js';
import { CorruptionError, FsError } from '../errors.js';
import { ioctlReply } from '../fuse/ioctl-reply.js';
import { SCRUB_STEP_MAX_BYTES } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import { isLatent, latentFound } from './failure-control.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/**
 * One step of a scrub, from where the last one ended: the position is the mount's, so a scrub that was stopped goes on
 * there. At the end of the region it begins anew. A latent error ends the step; it is answered when everyone was told.
 */
export function scrub(c: VfsContext, call: IoctlCall): IoctlResult {
  const { maxBytes, flags } = decodeScrubRequest(call.input);
  if ((flags & ~SCRUB_FLAG.restart) !== 0) throw new FsError('EINVAL', 'scrub', `unknown flags ${flags}`);
  const size = c.engine.info.blocks * BLOCK_SIZE;
  if (flags !== 0 || c.scrubbed >= size) c.scrubbed = 0;
  const step = Math.min(Math.max(maxBytes, BLOCK_SIZE), SCRUB_STEP_MAX_BYTES);
  const from = c.scrubbed;
  const { length, latent, damaged } = scrubbed(c, from, Math.floor(step / BLOCK_SIZE) * BLOCK_SIZE);
  c.scrubbed = from + length;
  for (const { physical, detail } of damaged) c.outbox.log('error', `scrub at ${physical}: ${detail}`);
  const answer = { from, position: c.scrubbed, size, damaged: documentOf(c, damaged), report: 0 };
  encodeScrubAnswer(call.output, answer);
  if (latent === null) return 'done';
  const { unique, pid } = call;
  // The record is the core's to use again: it is copied before main gets it.
  const reply = (report: number): Uint8Array =>
    ioctlReply(unique, encodeScrubAnswer(call.output, { ...answer, report }));
  latentFound(c, latent, { by: 'scrub', pid, accessor: 0, reply });
  return 'later';
}

/** The maps that say what is where may lie on a latent error themselves: then that is what was found. */
function scrubbed(c: VfsContext, from: number, length: number): ScrubbedRange {
  try {
    return c.engine.scrub(from, length);
  } catch (error) {
    if (!(error instanceof CorruptionError) || error.block < 0 || !isLatent(c, error.block)) throw error;
    return {
      length: 0,
      latent: { physical: error.block * BLOCK_SIZE, length: BLOCK_SIZE },
      damaged: [],
    };
  }
}

/** The id of a document with what is wrong, or 0. */
function documentOf(c: VfsContext, damaged: readonly object[]): number {
  if (damaged.length === 0) return 0;
  const id = c.reports.reserve();
  c.reports.put(id, JSON.stringify(damaged), true);
  return id;
}
