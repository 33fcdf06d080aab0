import { writeSync } from 'node:fs';
import createDebug from 'debug';
import { type EventsAnswer, encodeEventsAnswer, encodePoisonAnswer } from '../control/codec.js';
import { POISON } from '../control/protocol.js';
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

const NO_RECORD = new Uint8Array(POISON.size);

/** The reply to a POISON ioctl: its record with the answer's fields. */
export function poisonReply(job: FailureJob, unique: bigint, victims: number): Buffer {
  const record = Buffer.from(job.record ?? NO_RECORD);
  encodePoisonAnswer(record, {
    report: job.report,
    owners: job.allOwners?.count ?? job.owners.length,
    victims,
  });
  return ioctlReply(unique, record);
}

/** The reply to an EVENTS ioctl. */
export function eventsReply(job: EventsJob, page: EventsAnswer): Buffer {
  const record = encodeEventsAnswer(Buffer.from(job.record), page);
  return ioctlReply(job.unique, record);
}
