import { writeSync } from 'node:fs';
import createDebug from 'debug';
import {
  type EventsAnswer,
  encodeEventsAnswer,
  encodeEventsRequest,
  encodePoisonAnswer,
  encodePoisonRequest,
} from '../control/codec.js';
import { type ErrnoName, errnoOf } from '../errors.js';
import type { Invalidator } from '../failure/chain.js';
import { fuse_ioctl_out, fuse_out_header } from '../fuse/abi.js';
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

/** The reply to a request whose handling failed here. */
export function errorReply(unique: bigint, code: ErrnoName): Buffer {
  const message = Buffer.alloc(fuse_out_header.size);
  putHeader(message, unique, -errnoOf(code));
  return message;
}

/** The reply to an ioctl that answers nothing. */
export function ioctlDone(unique: bigint): Buffer {
  const message = Buffer.alloc(fuse_out_header.size + fuse_ioctl_out.size);
  putHeader(message, unique, 0);
  return message;
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

/** An ioctl's reply with its record. */
function ioctlReply(unique: bigint, record: Buffer): Buffer {
  const body = fuse_out_header.size + fuse_ioctl_out.size;
  const message = Buffer.alloc(body + record.length);
  putHeader(message, unique, 0);
  record.copy(message, body);
  return message;
}

function putHeader(message: Buffer, unique: bigint, error: number): void {
  message.writeUInt32LE(message.length, fuse_out_header.at.len);
  message.writeInt32LE(error, fuse_out_header.at.error);
  message.writeBigUInt64LE(unique, fuse_out_header.at.unique);
}
