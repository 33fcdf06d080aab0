import { writeSync } from 'node:fs';
import createDebug from 'debug';
import {
  type EventsAnswer,
  encodeEventsAnswer,
  encodeEventsRequest,
  encodePoisonAnswer,
  encodePoisonRequest,
} from '../control/codec.js';
import type { Invalidator } from '../failure/chain.js';
import { ioctlReply } from '../fuse/ioctl-reply.js';
import { invalInode } from '../fuse/notify.js';
import type { EventsJob, FailureJob, FileRange } from './bridge.js';

const debug = createDebug('rmapfs:notify');

/**
 * What the main thread writes to /dev/fuse: notifications, and the answers to the ioctls that were handed to
 * it. Writes from two threads do not mix: each write(2) is one whole message.
 */
export class Notifier implements Invalidator {
  readonly #fd: number;

  constructor(fuseFd: number) {
    this.#fd = fuseFd;
  }

  /** See the chapter on deadlocks in main.ts: this waits for the core. */
  invalidate(range: FileRange): void {
    debug('invalidate inode %d %d+%d', range.ino, range.offset, range.length);
    this.#write(invalInode(range.ino, range.offset, range.length));
  }

  /** Sends a complete FUSE reply. */
  reply(message: Uint8Array): void {
    this.#write(message);
  }

  /**
   * ENOENT is no failure: the kernel does not have the inode in core, or nobody waits for the answer any more
   * (the caller was killed). After an unmount it is the same, or ENODEV.
   */
  #write(message: Uint8Array): void {
    try {
      writeSync(this.#fd, message);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOENT' && code !== 'ENODEV') throw error;
      debug('not wanted any more: %s', code);
    }
  }
}

/** The reply to a POISON ioctl. Its record comes back with the physical range that was meant. */
export function poisonReply(job: FailureJob, unique: bigint, victims: number): Buffer {
  const record = encodePoisonRequest({ offset: job.physical, length: job.length, flags: 0, policy: 0 });
  encodePoisonAnswer(record, {
    report: job.report,
    owners: job.allOwners?.count ?? job.owners.length,
    victims,
  });
  return ioctlReply(unique, record);
}

/** The reply to an EVENTS ioctl. */
export function eventsReply(job: EventsJob, page: EventsAnswer): Buffer {
  const record = encodeEventsAnswer(encodeEventsRequest(job), page);
  return ioctlReply(job.unique, record);
}
