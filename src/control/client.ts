import fs from 'node:fs';
import { z } from 'zod/v3';
import { REPORT_BYTES_MAX } from '../limits.js';
import {
  type BadBlockRecord,
  type DedupeAnswer,
  decodeBadBlocksAnswer,
  decodeCloneTokenAnswer,
  decodeDedupeAnswer,
  decodeEventsAnswer,
  decodeExtentsAnswer,
  decodeFsmapAnswer,
  decodeOwnersAnswer,
  decodePoisonAnswer,
  decodeReportAnswer,
  decodeScrubAnswer,
  decodeUnpoisonAnswer,
  type ExtentRecord,
  encodeBadBlocksRequest,
  encodeCloneRequest,
  encodeDedupeRequest,
  encodeEventsRequest,
  encodeExtentsRequest,
  encodeFsmapRequest,
  encodeOwnersRequest,
  encodePoisonRequest,
  encodeReportRequest,
  encodeScrubRequest,
  encodeUnpoisonRequest,
  type FsmapCursor,
  type FsmapRecord,
  OWNERS_START,
  type Page,
  type PoisonRequest,
  type UnpoisonRequest,
} from './codec.js';
import { ControlError, errnoNameOf } from './error.js';
import type { Direction, Ioctl } from './ioctl.js';
import { CLONE_TOKEN, FITRIM, FSTRIM, IOC, REPORT_KIND, SCRUB_FLAG } from './protocol.js';
import {
  DamagedDocument,
  EventDocument,
  FileDocument,
  InfoDocument,
  OwnerDocument,
  PoisonDocument,
  StatsDocument,
} from './schema.js';
import { type ControlSystem, controlSystem } from './system.js';

/** f_type of every FUSE mount (statfs(2)). */
const FUSE_SUPER_MAGIC = 0x6573_5546;

/** Failure events, see ControlClient.events(). */
export interface EventsPage {
  /** To go on with. */
  cursor: number;
  /** Events that were dropped before the first of these. */
  lost: number;
  events: EventDocument[];
}

/** See ControlClient.scrub(). Bytes. */
export interface ScrubStep {
  /** The range that was read, [from, position); done where it ends at `size`. */
  from: number;
  position: number;
  size: number;
  /** A latent error, of which everyone was told. */
  found: PoisonDocument | null;
  damaged: DamagedDocument[];
}

/** A part of a file to share with another file. A length of 0 goes to the source's end. */
export interface CloneRange {
  srcOffset: number;
  dstOffset: number;
  length: number;
}

/**
 * The control interface of one mount, through an open file or directory of it. Synchronous. All sizes and
 * offsets are bytes. Failures are ControlError; a record that cannot be encoded is FsError (EOVERFLOW).
 */
export class ControlClient {
  readonly path: string;
  readonly fd: number;
  readonly #ioctl: Ioctl;

  private constructor(path: string, fd: number, ioctl: Ioctl) {
    this.path = path;
    this.fd = fd;
    this.#ioctl = ioctl;
  }

  /**
   * Opens a file or directory of a rmapfs mount. `r+` is needed for the destination of a clone. ENOTTY when
   * the path is on another filesystem; the errors of open(2) and statfs(2), ENOTCONN when the daemon is gone.
   */
  static open(path: string, access: 'r' | 'r+' = 'r', system: ControlSystem = controlSystem): ControlClient {
    const type = attempt('open', path, () => system.filesystemType(path));
    if (type !== FUSE_SUPER_MAGIC) throw notOurs(path);
    const stat = attempt('open', path, () => fs.statSync(path));
    // Opening a FIFO would wait for its other end.
    if (!stat.isFile() && !stat.isDirectory()) {
      throw new ControlError('EINVAL', 'open', `${path} is neither a regular file nor a directory`);
    }
    const client = new ControlClient(
      path,
      attempt('open', path, () => fs.openSync(path, access)),
      system.ioctl,
    );
    try {
      client.info();
    } catch (error) {
      client.close();
      throw isForeignAnswer(error) ? notOurs(path) : error;
    }
    return client;
  }

  /**
   * An EIO here is about mapped pages of the file that could not be written back to a bad block: the kernel
   * tells the first descriptor that is closed after it. What the client did is done all the same.
   */
  close(): void {
    try {
      fs.closeSync(this.fd);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
    }
  }

  info(): InfoDocument {
    return this.#document('info', InfoDocument, REPORT_KIND.info, 0, 0);
  }

  /** Owners of a physical range, with their paths, in physical order, a page at a time. */
  *owners(offset: number, length: number): Generator<OwnerDocument[]> {
    for (let place = OWNERS_START; ; ) {
      const record = encodeOwnersRequest({ offset, length, place });
      const answer = decodeOwnersAnswer(this.#call('owners', IOC.owners, 'both', record));
      const lines = Buffer.from(answer.data).toString('utf8').split('\n').slice(0, answer.count);
      if (answer.report !== 0) lines.push(this.#readReport('owners', 0, 0, 0, answer.report));
      if (lines.length > 0) yield lines.map((line) => this.#validated('owners', OwnerDocument, line));
      if (answer.last) return;
      if (answer.place.every((word, i) => word === place[i])) throw stuck('owners', this.path);
      place = answer.place;
    }
  }

  /** The paths of a file, and whether it is open. No paths when there is no such file. */
  file(ino: number): FileDocument {
    return this.#document('file', FileDocument, REPORT_KIND.file, ino, 0);
  }

  stats(): StatsDocument {
    return this.#document('stats', StatsDocument, REPORT_KIND.stats, 0, 0);
  }

  /** Makes the blocks bad, waits until everyone concerned was told, and answers whom it hit. */
  poison(request: PoisonRequest): PoisonDocument {
    const answer = decodePoisonAnswer(this.#call('poison', IOC.poison, 'both', encodePoisonRequest(request)));
    return this.#validated('poison', PoisonDocument, this.#readReport('poison', 0, 0, 0, answer.report));
  }

  /** Returns the bytes that were bad and are not any more. */
  unpoison(request: UnpoisonRequest): number {
    return decodeUnpoisonAnswer(this.#call('unpoison', IOC.unpoison, 'both', encodeUnpoisonRequest(request)));
  }

  /**
   * A page of the failure events after `cursor` (0: from the oldest that is kept). Waits up to `waitMs` milliseconds
   * for the first; EINTR when a signal comes, ENODEV when the daemon is about to unmount.
   */
  events(cursor: number, waitMs: number): EventsPage {
    const record = encodeEventsRequest({ cursor, waitMs });
    const answer = decodeEventsAnswer(this.#call('events', IOC.events, 'both', record));
    const lines = Buffer.from(answer.data).toString('utf8').split('\n').slice(0, answer.count);
    const events = lines.map((line) => this.#validated('events', EventDocument, line));
    return { cursor: answer.cursor, lost: answer.lost, events };
  }

  /** Gives the storage of all free blocks back. Returns the bytes. EOPNOTSUPP where the region's medium cannot. */
  trim(): number {
    const record = Buffer.alloc(FSTRIM.size);
    record.writeBigUInt64LE(2n ** 64n - 1n, FSTRIM.length);
    return Number(this.#call('trim', FITRIM, 'both', record).readBigUInt64LE(FSTRIM.length));
  }

  /** One step of the mount's scrub: reads at most `maxBytes` on from where the last step ended, or from the start. */
  scrub(maxBytes: number, restart: boolean): ScrubStep {
    const record = encodeScrubRequest({ maxBytes, flags: restart ? SCRUB_FLAG.restart : 0 });
    const { from, position, size, report, damaged } = decodeScrubAnswer(
      this.#call('scrub', IOC.scrub, 'both', record),
    );
    const read = (id: number): string => this.#readReport('scrub', 0, 0, 0, id);
    return {
      from,
      position,
      size,
      found: report === 0 ? null : this.#validated('scrub', PoisonDocument, read(report)),
      damaged: damaged === 0 ? [] : this.#validated('scrub', z.array(DamagedDocument), read(damaged)),
    };
  }

  /** The extents of the open file, a page of records at a time. */
  *extents(): Generator<ExtentRecord[]> {
    let cursor = 0;
    for (;;) {
      const page = decodeExtentsAnswer(
        this.#call('extents', IOC.extents, 'both', encodeExtentsRequest(cursor)),
      );
      if (page.records.length > 0) yield page.records;
      if (page.last) return;
      const final = lastOf('extents', this.path, page);
      cursor = advanced('extents', this.path, cursor, final.fileOffset + final.length);
    }
  }

  /** The whole region in physical order, a page of records at a time. */
  *fsmap(): Generator<FsmapRecord[]> {
    let cursor: FsmapCursor = { physical: 0, owner: 0, fileOffset: 0 };
    for (;;) {
      const page = decodeFsmapAnswer(this.#call('fsmap', IOC.fsmap, 'both', encodeFsmapRequest(cursor)));
      if (page.records.length > 0) yield page.records;
      if (page.last) return;
      const final = lastOf('fsmap', this.path, page);
      if (!isAfter(final, cursor)) throw stuck('fsmap', this.path);
      cursor = { physical: final.physical, owner: final.owner, fileOffset: final.fileOffset };
    }
  }

  /** Bad ranges of the region in physical order, a page of records at a time. */
  *badBlocks(): Generator<BadBlockRecord[]> {
    let cursor = 0;
    for (;;) {
      const page = decodeBadBlocksAnswer(
        this.#call('badblocks', IOC.badblocks, 'both', encodeBadBlocksRequest(cursor)),
      );
      if (page.records.length > 0) yield page.records;
      if (page.last) return;
      const final = lastOf('badblocks', this.path, page);
      cursor = advanced('badblocks', this.path, cursor, final.physical + final.length);
    }
  }

  /** Shares a range of `source` with this file, which must be open for writing. Both are synced first. */
  clone(source: ControlClient, range: CloneRange): void {
    const token = this.#tokenOf(source, 'clone');
    this.#call('clone', IOC.clone, 'write', encodeCloneRequest({ token, ...range }));
  }

  /** Shares a range of `source` with this file where the bytes are the same. */
  dedupe(source: ControlClient, range: CloneRange): DedupeAnswer {
    const token = this.#tokenOf(source, 'dedupe');
    return decodeDedupeAnswer(
      this.#call('dedupe', IOC.dedupe, 'both', encodeDedupeRequest({ token, ...range })),
    );
  }

  /** Dirty pages of either file reach the daemon before the blocks are shared. */
  #tokenOf(source: ControlClient, op: string): Buffer {
    attempt(op, source.path, () => fs.fsyncSync(source.fd));
    attempt(op, this.path, () => fs.fsyncSync(this.fd));
    return decodeCloneTokenAnswer(source.#call(op, IOC.cloneToken, 'read', Buffer.alloc(CLONE_TOKEN.size)));
  }

  #call(op: string, request: number, direction: Direction, record: Buffer): Buffer {
    attempt(op, this.path, () => this.#ioctl(this.fd, request, direction, record));
    return record;
  }

  #document<S extends z.ZodType>(op: string, schema: S, kind: number, a: number, b: number): z.infer<S> {
    return this.#validated(op, schema, this.#readReport(op, kind, a, b, 0));
  }

  #validated<S extends z.ZodType>(op: string, schema: S, text: string): z.infer<S> {
    let document: unknown;
    try {
      document = JSON.parse(text);
    } catch (cause) {
      throw new ControlError('EPROTO', op, `the answer of ${this.path} to ${op} is no JSON`, { cause });
    }
    const parsed = schema.safeParse(document);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    const found = `${issue.path.join('.') || 'document'}: ${issue.message}`;
    throw new ControlError('EPROTO', op, `the answer of ${this.path} to ${op} has another form (${found})`);
  }

  /** The whole document, page by page. `id` 0 makes a new one of the kind. */
  #readReport(op: string, kind: number, a: number, b: number, id: number): string {
    const parts: Uint8Array[] = [];
    let read = 0;
    for (;;) {
      const record = encodeReportRequest({ kind, a, b, id, offset: read });
      const page = decodeReportAnswer(this.#call(op, IOC.report, 'both', record));
      if (page.total > REPORT_BYTES_MAX) {
        const found = `${page.total} bytes, more than ${REPORT_BYTES_MAX}`;
        throw new ControlError('EMSGSIZE', op, `the answer to ${op} has ${found}; ask for a smaller range`);
      }
      parts.push(page.data);
      read += page.data.length;
      if (read >= page.total) break;
      if (page.data.length === 0) throw stuck(op, this.path);
      id = page.id;
    }
    return Buffer.concat(parts).toString('utf8');
  }
}

/** Runs a system call; its errno becomes a ControlError, anything else passes. */
function attempt<T>(op: string, path: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    const code = errnoNameOf(cause);
    if (!/^E[A-Z0-9]+$/.test(code)) throw cause;
    throw new ControlError(code, op, `${op} of ${path} failed (${code})`, { cause });
  }
}

/** What another FUSE filesystem says to an ioctl of ours. */
function isForeignAnswer(error: unknown): boolean {
  return ['ENOTTY', 'ENOSYS', 'EOPNOTSUPP', 'EINVAL'].includes(errnoNameOf(error));
}

function notOurs(path: string): ControlError {
  return new ControlError('ENOTTY', 'open', `${path} is not on a mounted rmapfs`);
}

function stuck(op: string, path: string): ControlError {
  return new ControlError('EPROTO', op, `the answer of ${path} to ${op} goes on without an end`);
}

function lastOf<T>(op: string, path: string, page: Page<T>): T {
  const final = page.records.at(-1);
  if (final === undefined) throw stuck(op, path);
  return final;
}

function advanced(op: string, path: string, from: number, to: number): number {
  if (to <= from) throw stuck(op, path);
  return to;
}

/** The order of FSMAP: physical offset, then owner, then file offset. */
function isAfter(a: FsmapCursor, b: FsmapCursor): boolean {
  if (a.physical !== b.physical) return a.physical > b.physical;
  if (a.owner !== b.owner) return a.owner > b.owner;
  return a.fileOffset > b.fileOffset;
}
