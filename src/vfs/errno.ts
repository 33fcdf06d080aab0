import type { Engine } from '../engine/api.js';
import { CorruptionError, errnoOf, FsError, InvariantError } from '../errors.js';
import type { Outbox } from './jobs.js';

const EIO = errnoOf('EIO');

/**
 * The only place where an error becomes an errno. An FsError is an expected answer and is not logged. Damage
 * and everything unexpected are EIO and logged. A broken invariant shuts the filesystem down as well: what is
 * in memory cannot be trusted, so it must not be committed.
 */
export function errnoFor(error: unknown, what: string, engine: Engine, outbox: Outbox): number {
  if (error instanceof FsError) return error.errno;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  outbox.log('error', `${what}: ${text}`);
  if (error instanceof CorruptionError) return EIO;
  if (error instanceof InvariantError && !engine.info.shutdown) {
    engine.shutdown(`${what}: ${error.message}`);
    outbox.log('error', 'the filesystem is shut down: unmount it and run fsck');
  }
  return EIO;
}
