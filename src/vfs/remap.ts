import { FsError, InvariantError } from '../errors.js';
import type { FileRange } from '../failure/job.js';
import { JOBS_IN_FLIGHT_MAX } from '../limits.js';
import type { Inode, InodeTable } from './inodes.js';
import type { Outbox } from './jobs.js';

/** An operation that gives file ranges other blocks, see RemapJob. */
export interface Remap {
  unique: bigint;
  /** The calling thread. */
  tid: number;
  source: Inode;
  destination: Inode;
  /** Pages to be written back and dropped before, and dropped again after. */
  ranges: FileRange[];
  /** Does it. Returns the record to answer with (empty for none), or throws. */
  run: () => Uint8Array;
}

/**
 * Remaps that wait for the main thread to invalidate pages. Their inodes are held: the source's handle may be
 * closed meanwhile.
 */
export class RemapJobs {
  readonly #waiting = new Map<number, Remap>();
  readonly #inodes: InodeTable;
  readonly #outbox: Outbox;
  #last = 0;

  constructor(inodes: InodeTable, outbox: Outbox) {
    this.#inodes = inodes;
    this.#outbox = outbox;
  }

  start(remap: Remap): void {
    if (this.#waiting.size >= JOBS_IN_FLIGHT_MAX) {
      throw new FsError('EAGAIN', 'remap', `${this.#waiting.size} are under way already`);
    }
    this.#last += 1;
    this.#waiting.set(this.#last, remap);
    this.#inodes.hold(remap.source);
    this.#inodes.hold(remap.destination);
    this.#outbox.remap({ kind: 'remap', id: this.#last, unique: remap.unique, before: remap.ranges });
  }

  /** Takes a job that main has prepared; undefined when there is none of that id. */
  take(id: number): Remap | undefined {
    const remap = this.#waiting.get(id);
    this.#waiting.delete(id);
    return remap;
  }

  /** A job that will not be run; its caller was answered. */
  drop(id: number): void {
    const remap = this.take(id);
    if (remap === undefined) throw new InvariantError(`there is no remap job ${id} to drop`);
    this.#release(remap);
  }

  #release(remap: Remap): void {
    this.#inodes.drop(remap.source);
    this.#inodes.drop(remap.destination);
  }

  finish(id: number, remap: Remap, reply: Uint8Array): void {
    this.#release(remap);
    // Also after a failure: the range may have been changed in part.
    this.#outbox.ran(id, remap.ranges, reply);
  }
}
