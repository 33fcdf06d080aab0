import { MCE_KILL } from '../control/protocol.js';
import type { VfsContext } from './context.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/** A process says for itself when it wants to be told of failed memory. The main thread knows processes. */
export function mceKill(c: VfsContext, call: IoctlCall): IoctlResult {
  const { unique, pid } = call;
  c.outbox.mceKill({ unique, pid, policy: call.input.readUInt32LE(MCE_KILL.policy) });
  return 'later';
}
