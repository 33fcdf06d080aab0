/**
 * What the engine tells of by itself, when it happens: src/daemon puts it among the failure events. Byte offsets and
 * lengths in the region. A publisher must not call back into the engine.
 */
export type EngineEvent =
  /** Known bad blocks are good again: written over as a whole, or the mark was taken off. */
  | { type: 'healed'; physical: number; length: number; by: 'write' | 'unpoison' }
  /** Everything is EIO from now on. `reason` is one sentence without a full stop. */
  | { type: 'shutdown'; reason: string };

export type PublishEvent = (event: EngineEvent) => void;
