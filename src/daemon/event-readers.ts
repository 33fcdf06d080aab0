import { EVENTS_PAGE_BYTES } from '../control/codec.js';
import type { ErrnoName } from '../errors.js';
import { errnoOf } from '../errors.js';
import type { EventBody, EventRing } from '../failure/event-ring.js';
import { errorReply } from '../fuse/ioctl-reply.js';
import { EVENT_OWNERS_MAX, EVENT_PATHS_MAX, EVENT_READERS_MAX } from '../limits.js';
import type { EventsJob, FailureJob } from './bridge.js';
import { eventsReply, type Notifier } from './notifier.js';

interface Waiting {
  readonly job: EventsJob;
  readonly timer: NodeJS.Timeout;
}

/**
 * The failure events and those who read them. A reader's ioctl is held back until there is something for it, its time
 * is over, or it is interrupted (FUSE_INTERRUPT: a signal, or the end of the reader). Readers are answered between
 * two jobs of the main thread and never while a failure is being told, so they do not slow one down.
 */
export class EventReaders {
  readonly #ring: EventRing;
  readonly #reply: Notifier['reply'];
  readonly #waiting = new Map<bigint, Waiting>();
  /** Failures under way. */
  #failures = 0;
  #scheduled = false;
  #ending = false;

  constructor(ring: EventRing, reply: Notifier['reply']) {
    this.#ring = ring;
    this.#reply = reply;
  }

  publish(body: EventBody): void {
    this.#ring.publish(body);
    this.#schedule();
  }

  /** Readers wait until told() was called as often. */
  telling(): void {
    this.#failures += 1;
  }

  told(): void {
    this.#failures -= 1;
    this.#schedule();
  }

  /** The events of a failure whose victims have been told. None for latent blocks, which nobody knows of. */
  failure(job: FailureJob, victims: number): void {
    if (job.latent || job.newlyBad === 0) return;
    const { physical, length, by, pid, policy, owners, allOwners } = job;
    this.publish({
      type: 'media-error',
      physical,
      length,
      by,
      ...(pid !== 0 && { pid }),
      policy,
      owners: allOwners?.count ?? owners.length,
      victims,
    });
    let left = EVENT_OWNERS_MAX;
    for (const owner of owners) {
      if (owner.kind !== 'file' || owner.fork !== 'data' || owner.unwritten) continue;
      if (left-- === 0) break;
      const { ino, fileOffset } = owner;
      const paths = owner.paths.slice(0, EVENT_PATHS_MAX);
      const { physical: at, length: bytes } = owner;
      this.publish({ type: 'data-lost', ino, paths, fileOffset, physical: at, length: bytes });
    }
  }

  /** Answers an EVENTS ioctl, now or later. */
  read(job: EventsJob): void {
    const { unique, cursor, waitMs } = job;
    const { last } = this.#ring;
    if (cursor > last) this.#refuse(unique, 'EINVAL');
    else if (cursor < last || waitMs === 0) this.#answer(job);
    else if (this.#ending) this.#refuse(unique, 'ENODEV');
    else if (this.#waiting.size >= EVENT_READERS_MAX) this.#refuse(unique, 'EAGAIN');
    else this.#wait(job);
  }

  #wait(job: EventsJob): void {
    const timer = setTimeout(() => {
      this.#waiting.delete(job.unique);
      this.#answer(job);
    }, job.waitMs);
    this.#waiting.set(job.unique, { job, timer });
  }

  /** A signal came to whoever waits for this request. Others than ours are done in a moment anyway. */
  interrupt(unique: bigint): void {
    const reader = this.#waiting.get(unique);
    if (reader === undefined) return;
    clearTimeout(reader.timer);
    this.#waiting.delete(unique);
    this.#refuse(unique, 'EINTR');
  }

  /** The mount is to end: whoever waits would keep it busy. */
  end(): void {
    this.#ending = true;
    for (const { job, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      if (job.cursor < this.#ring.last) this.#answer(job);
      else this.#refuse(job.unique, 'ENODEV');
    }
    this.#waiting.clear();
  }

  /** It does not end after all. */
  goOn(): void {
    this.#ending = false;
  }

  /** Not at once: what belongs together is published in one go, and merged. */
  #schedule(): void {
    if (this.#scheduled || this.#failures > 0 || this.#waiting.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#failures > 0) return;
      for (const { job, timer } of this.#waiting.values()) {
        if (job.cursor >= this.#ring.last) continue;
        clearTimeout(timer);
        this.#waiting.delete(job.unique);
        this.#answer(job);
      }
    });
  }

  #answer(job: EventsJob): void {
    this.#reply(eventsReply(job, this.#ring.read(job.cursor, EVENTS_PAGE_BYTES)));
  }

  #refuse(unique: bigint, code: ErrnoName): void {
    this.#reply(errorReply(unique, errnoOf(code)));
  }
}
