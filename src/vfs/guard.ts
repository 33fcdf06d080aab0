import type { Engine } from '../engine/api.js';
import { CorruptionError, errnoOf, FsError } from '../errors.js';
import type { FileRange } from '../failure/job.js';
import { type Ino, ROOT_INO } from '../types.js';
import type { InodeCache } from './inode-cache.js';
import type { Outbox } from './jobs.js';

const EIO = errnoOf('EIO');

export interface Guarded {
  readonly engine: Engine;
  readonly inodes: InodeCache;
  readonly outbox: Outbox;
}

/**
 * Metadata are lost. What is cached of files that nobody maps, and all attributes, are dropped, so that the next
 * open, read or stat comes here. A mapping keeps its file open.
 */
export function shutDown({ engine, inodes, outbox }: Guarded, reason: string): void {
  if (engine.info.shutdown) return;
  const said = engine.shutdown(reason);
  outbox.log('error', `shut down: ${said}; everything is EIO until it is unmounted and repaired by fsck`);
  const cached = inodes.inos().filter((ino) => ino !== ROOT_INO);
  const isOpen = (ino: Ino): boolean => (inodes.find(ino)?.users ?? 0) > 0;
  const whole = (ino: Ino): FileRange => ({ ino, offset: 0, length: 0 });
  outbox.invalidate(cached.map((ino) => (isOpen(ino) ? { ...whole(ino), unlessMapped: true } : whole(ino))));
}

/**
 * The one policy for whatever the engine throws, and the only place where an error becomes an errno:
 *
 * - an FsError is an expected answer, and not logged;
 * - damage that was met before anything was changed is EIO and a line of the log;
 * - all else shuts the filesystem down. Damage in the middle of changes: of two trees that must agree only one may
 *   have its part, and XFS shuts down when it cancels a transaction that is dirty. A commit that did not come to its
 *   end: nothing can be called durable any more. A broken invariant, and any error that nobody thought of: what is in
 *   memory cannot be trusted.
 *
 * Nothing that this has let pass may be committed, so it must see an error before the next entry to the engine.
 */
export function judge(guarded: Guarded, error: unknown, what: string): number {
  if (error instanceof FsError) return error.errno;
  const { engine, outbox } = guarded;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  outbox.log('error', `${what}: ${text}`);
  if (error instanceof CorruptionError && !engine.changed) return EIO;
  shutDown(guarded, `${what}: ${error instanceof Error ? error.message : text}`);
  return EIO;
}

/** Enters the engine with work that nobody waits for. Returns 0 or the errno. */
export function enter(guarded: Guarded, what: string, work: () => void): number {
  guarded.engine.begin();
  try {
    work();
    return 0;
  } catch (error) {
    return judge(guarded, error, what);
  }
}
