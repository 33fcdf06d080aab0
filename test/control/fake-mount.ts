import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import * as codec from '../../src/control/codec.js';
import type { Ioctl } from '../../src/control/ioctl.js';
import { checkIoctl } from '../../src/control/ioctl.js';
import { IOC, REPORT_KIND } from '../../src/control/protocol.js';
import type {
  DamagedDocument,
  FileDocument,
  InfoDocument,
  OwnerDocument,
  PoisonDocument,
} from '../../src/control/schema.js';
import type { ControlSystem } from '../../src/control/system.js';

/** An errno as the kernel would answer it. */
function errno(code: string): Error {
  return Object.assign(new Error(code), { code, syscall: 'ioctl' });
}

export const INFO: InfoDocument = {
  label: 'fake',
  uuid: '00000000-0000-0000-0000-000000000001',
  size: 1048576,
  blockSize: 4096,
  blocks: { total: 256, free: 200, shared: 2, saved: 3, bad: 1 },
  inodes: 3,
  lastTransaction: 17,
  clean: true,
  shutdown: false,
  readOnly: false,
  pid: process.pid,
};

/**
 * The daemon's side of the control interface over plain files in a temporary directory: it decodes what the
 * client encodes and answers from the fields below. Paging is real; `pageRecords` makes pages small.
 */
export class FakeMount {
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rmapfs-fake-'));
  readonly system: ControlSystem;
  /** Requests in the order they came, decoded. */
  readonly log: { name: string; path: string; request: unknown }[] = [];
  /** What a request fails with, by its name in IOC. */
  readonly failures = new Map<string, string>();
  filesystemType = 0x65735546;
  info: unknown = INFO;
  stats: unknown = { operations: { read: 7 }, commits: 2 };
  owners: OwnerDocument[] = [];
  extents: codec.ExtentRecord[] = [];
  fsmap: codec.FsmapRecord[] = [];
  bad: codec.BadBlockRecord[] = [];
  poisoned: PoisonDocument | undefined;
  /** Makes OWNERS answer every owner as a document of its own. */
  ownersAreLong = false;
  /** Lines of JSON; the cursor counts them. */
  events: string[] = [];
  /** Of the scrub: where it is, what it comes upon, in the order of the offsets, and what of that it has found. */
  scrubbed = 0;
  latent: PoisonDocument[] = [];
  damaged: DamagedDocument[] = [];
  dedupe: codec.DedupeAnswer = { bytesDeduped: 4096, status: 0 };
  pageRecords = 2;
  pageBytes = codec.REPORT_PAGE_BYTES;
  readonly #documents = new Map<number, Buffer>();

  constructor() {
    this.system = {
      filesystemType: (at) => {
        fs.statSync(at);
        return this.filesystemType;
      },
      ioctl: (fd, request, direction, record) => this.#ioctl(fd, request, direction, record),
    };
  }

  file(name: string, text = 'x'): string {
    const at = path.join(this.directory, name);
    fs.writeFileSync(at, text);
    return at;
  }

  remove(): void {
    fs.rmSync(this.directory, { recursive: true });
  }

  requests(name: string): unknown[] {
    return this.log.filter((entry) => entry.name === name).map((entry) => entry.request);
  }

  readonly #ioctl: Ioctl = (fd, request, direction, record) => {
    checkIoctl(fd, request, direction, record);
    const name = Object.entries(IOC).find(([, number]) => number === request)?.[0] ?? 'unknown';
    const note = (decoded: unknown) => {
      this.log.push({ name, path: fs.readlinkSync(`/proc/self/fd/${fd}`), request: decoded });
      const failure = this.failures.get(name);
      if (failure !== undefined) throw errno(failure);
    };
    this.#answer(request, record, note);
  };

  #answer(request: number, record: Buffer, note: (decoded: unknown) => void): void {
    switch (request) {
      case IOC.cloneToken:
        note(null);
        codec.encodeCloneTokenAnswer(Buffer.from('0123456789abcdef')).copy(record);
        return;
      case IOC.clone:
        note(codec.decodeCloneRequest(record));
        return;
      case IOC.dedupe:
        note(codec.decodeDedupeRequest(record));
        codec.encodeDedupeAnswer(record, this.dedupe);
        return;
      case IOC.poison: {
        note(codec.decodePoisonRequest(record));
        this.#documents.set(99, Buffer.from(JSON.stringify(this.poisoned)));
        codec.encodePoisonAnswer(record, { report: 99, owners: 1, victims: 1 });
        return;
      }
      case IOC.unpoison:
        note(codec.decodeUnpoisonRequest(record));
        codec.encodeUnpoisonAnswer(record, 4096);
        return;
      case IOC.events: {
        const asked = codec.decodeEventsRequest(record);
        note(asked);
        const left = this.events.slice(asked.cursor, asked.cursor + this.pageRecords);
        const data = Buffer.from(left.map((line) => `${line}\n`).join(''));
        const cursor = asked.cursor + left.length;
        codec.encodeEventsAnswer(record, { cursor, lost: 0, count: left.length, data });
        return;
      }
      case IOC.scrub:
        this.#scrub(record, note);
        return;
      case IOC.report:
        this.#report(record, note);
        return;
      case IOC.owners:
        this.#owners(record, note);
        return;
      default:
        this.#page(request, record, note);
    }
  }

  #scrub(record: Buffer, note: (decoded: unknown) => void): void {
    const asked = codec.decodeScrubRequest(record);
    note(asked);
    const { size } = INFO;
    if (asked.flags !== 0 || this.scrubbed >= size) this.scrubbed = 0;
    const from = this.scrubbed;
    const end = Math.min(size, from + asked.maxBytes);
    const inStep = (at: { physical: number }): boolean => at.physical >= from && at.physical < end;
    const found = this.latent.find(inStep);
    this.scrubbed = found === undefined ? end : found.physical + found.length;
    this.latent = this.latent.filter((each) => each !== found);
    const damaged = this.damaged.filter(inStep);
    codec.encodeScrubAnswer(record, {
      from,
      position: this.scrubbed,
      size,
      report: found === undefined ? 0 : this.#document(found),
      damaged: damaged.length === 0 ? 0 : this.#document(damaged),
    });
  }

  #document(content: unknown): number {
    const id = 1000 + this.#documents.size;
    this.#documents.set(id, Buffer.from(JSON.stringify(content)));
    return id;
  }

  #page(request: number, record: Buffer, note: (decoded: unknown) => void): void {
    const cut = <T>(all: T[]) => ({
      records: all.slice(0, this.pageRecords),
      last: all.length <= this.pageRecords,
    });
    if (request === IOC.extents) {
      const cursor = codec.decodeExtentsRequest(record);
      note(cursor);
      codec.encodeExtentsAnswer(record, cut(this.extents.filter((e) => e.fileOffset >= cursor)));
    } else if (request === IOC.badblocks) {
      const cursor = codec.decodeBadBlocksRequest(record);
      note(cursor);
      codec.encodeBadBlocksAnswer(record, cut(this.bad.filter((b) => b.physical >= cursor)));
    } else if (request === IOC.fsmap) {
      const cursor = codec.decodeFsmapRequest(record);
      note(cursor);
      const rest = this.fsmap.filter((r) => order(r, cursor) > 0);
      codec.encodeFsmapAnswer(record, cut(rest));
    } else {
      throw errno('ENOTTY');
    }
  }

  /** The place counts owners. */
  #owners(record: Buffer, note: (decoded: unknown) => void): void {
    const asked = codec.decodeOwnersRequest(record);
    note(asked);
    const [from] = asked.place;
    const page = this.owners.slice(from, from + (this.ownersAreLong ? 1 : this.pageRecords));
    const place = [from + page.length, 0, 0, 0, 0] as const;
    const lines = page.map((owner) => `${JSON.stringify(owner)}\n`);
    const answer = { place, report: 0, last: from + page.length >= this.owners.length };
    if (this.ownersAreLong && page.length > 0) {
      this.#documents.set(98, Buffer.from(lines[0]));
      codec.encodeOwnersAnswer(record, { ...answer, report: 98, count: 0, data: Buffer.alloc(0) });
    } else
      codec.encodeOwnersAnswer(record, { ...answer, count: page.length, data: Buffer.from(lines.join('')) });
  }

  #file(ino: number): FileDocument {
    const found = this.owners.find((owner) => owner.kind === 'file' && owner.ino === ino);
    return found?.kind === 'file'
      ? { ino, paths: found.paths, open: found.open }
      : { ino, paths: [], open: false };
  }

  #report(record: Buffer, note: (decoded: unknown) => void): void {
    const asked = codec.decodeReportRequest(record);
    note(asked);
    let { id } = asked;
    if (id === 0) {
      const document = { [REPORT_KIND.info]: this.info, [REPORT_KIND.file]: this.#file(asked.a) }[asked.kind];
      id = this.#documents.size + 1;
      this.#documents.set(id, Buffer.from(JSON.stringify(document ?? this.stats)));
    }
    const all = this.#documents.get(id);
    if (all === undefined) throw errno('ESTALE');
    const data = all.subarray(asked.offset, asked.offset + this.pageBytes);
    codec.encodeReportAnswer(record, { id, total: all.length, data });
  }
}

function order(a: codec.FsmapCursor, b: codec.FsmapCursor): number {
  return a.physical - b.physical || a.owner - b.owner || a.fileOffset - b.fileOffset;
}
