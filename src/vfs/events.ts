import { decodeEventsRequest } from '../control/codec.js';
import { fuse_interrupt_in } from '../fuse/abi.js';
import { EVENT_WAIT_MAX_MS } from '../limits.js';
import type { Operation, VfsContext } from './context.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/** The EVENTS ioctl: main has the events, and answers. */
export function events(c: VfsContext, call: IoctlCall): IoctlResult {
  const { cursor, waitMs } = decodeEventsRequest(call.input);
  c.outbox.events({
    unique: call.unique,
    cursor,
    waitMs: Math.min(waitMs, EVENT_WAIT_MAX_MS),
    record: Buffer.from(call.input),
  });
  return 'later';
}

/**
 * INTERRUPT gets no answer. The core's own operations are done by now (a long one looks for a killed caller by
 * itself, see EngineOptions.interrupted); a request that is held back is to be answered with EINTR, because the
 * kernel lets not even a killed caller go before its answer is there.
 */
export const interrupt: Operation = (c, request, reply) => {
  reply.leave();
  if (request.bodyBytes < fuse_interrupt_in.size) return;
  const at = fuse_interrupt_in.at.unique;
  const unique = (BigInt(request.u32(at + 4)) << 32n) | BigInt(request.u32(at));
  if (!c.layouts.interrupt(unique)) c.outbox.interrupt(unique);
};
