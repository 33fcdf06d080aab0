import { constants } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  decodeBadBlocksAnswer,
  decodeDedupeAnswer,
  decodeExtentsAnswer,
  decodeFsmapAnswer,
  decodeOwnersAnswer,
  decodeReportAnswer,
  decodeUnpoisonAnswer,
  encodeBadBlocksRequest,
  encodeCloneRequest,
  encodeDedupeRequest,
  encodeExtentsRequest,
  encodeFallocateRequest,
  encodeFsmapRequest,
  encodeOwnersRequest,
  encodePoisonRequest,
  encodeReportRequest,
  encodeUnpoisonRequest,
  FSMAP_PER_PAGE,
  OWNERS_START,
  type OwnersPlace,
  WHOLE_DEVICE,
} from '../../src/control/codec.js';
import { IOC, POISON_FLAG, REPORT_KIND } from '../../src/control/protocol.js';
import { InfoDocument, OwnerDocument, OwnersDocument } from '../../src/control/schema.js';
import type { Owner, OwnerPlace } from '../../src/engine/api.js';
import { errnoOf, FsError } from '../../src/errors.js';
import {
  fuse_create_in,
  fuse_entry_out,
  fuse_forget_in,
  fuse_open_in,
  fuse_release_in,
  fuse_write_in,
  OPCODE,
} from '../../src/fuse/abi.js';
import { REPORT_OWNERS_MAX, REPORTS_KEPT_MAX, REPORTS_KEPT_MAX_BYTES } from '../../src/limits.js';
import { asIno } from '../../src/types.js';
import { GOINGDOWN } from '../../src/vfs/going-down.js';
import { FakeEngine } from '../support/fake-engine.js';
import { type Answer, cstring, FuseHarness, fill, parseAnswer, StepClock } from '../support/fuse-harness.js';

const { O_RDONLY, O_RDWR, O_WRONLY, O_APPEND } = constants;
const no = (name: Parameters<typeof errnoOf>[0]): number => -errnoOf(name);
const NONE = Buffer.alloc(0);
const OWNER = { uid: 1000 };
const STRANGER = { uid: 2000 };

interface Open {
  ino: number;
  fh: number;
}

let engine: FakeEngine;
let fuse: FuseHarness;
let file: Open;

function create(name: string, bytes: number): Open {
  const body = Buffer.concat([fill(fuse_create_in, { flags: O_RDWR, mode: 0o100644 }), cstring(name)]);
  const answer = fuse.call(OPCODE.CREATE, 1, body);
  const ino = answer.body.readUInt32LE(0);
  const fh = Number(answer.body.readBigUInt64LE(fuse_entry_out.size));
  const record = fill(fuse_write_in, { fh, size: bytes });
  if (bytes > 0) fuse.call(OPCODE.WRITE, ino, Buffer.concat([record, Buffer.alloc(bytes, name)]));
  return { ino, fh };
}
const reopen = (ino: number, flags: number): Open => {
  const answer = fuse.call(OPCODE.OPEN, ino, fill(fuse_open_in, { flags }));
  return { ino, fh: Number(answer.body.readBigUInt64LE()) };
};
const release = ({ ino, fh }: Open): Answer => fuse.call(OPCODE.RELEASE, ino, fill(fuse_release_in, { fh }));
const ioctl = (at: Open, cmd: number, input: Buffer, caller = {}): Answer =>
  fuse.ioctl(at.ino, at.fh, cmd, input, caller);
const later = (at: Open, cmd: number, input: Buffer, caller = {}): void =>
  fuse.quiet(OPCODE.IOCTL, at.ino, fuse.ioctlBody(at.fh, cmd, input), caller);
const document = (kind: number, a: number, b: number, caller = {}): unknown => {
  const request = encodeReportRequest({ kind, a, b, id: 0, offset: 0 });
  const answer = ioctl(file, IOC.report, request, caller);
  expect(answer.error).toBe(0);
  return JSON.parse(Buffer.from(decodeReportAnswer(answer.body).data).toString());
};

/** A document that is there already, page by page. */
const wholeDocument = (id: number): unknown => {
  const parts: Buffer[] = [];
  for (let offset = 0, total = 1; offset < total; ) {
    const request = encodeReportRequest({ kind: 0, a: 0, b: 0, id, offset });
    const page = decodeReportAnswer(ioctl(file, IOC.report, request, OWNER).body);
    parts.push(Buffer.from(page.data));
    offset += page.data.length;
    total = page.total;
  }
  return JSON.parse(Buffer.concat(parts).toString());
};

beforeEach(() => {
  const clock = new StepClock();
  engine = new FakeEngine(clock);
  fuse = new FuseHarness(engine, clock, OWNER.uid);
  file = create('file', 3 * 4096);
});

test('what goes in stays: an answer changes fields of its own', () => {
  const range = { offset: 0, length: 4096, flags: POISON_FLAG.file };
  const poisonRecord = encodePoisonRequest({ ...range, policy: 2 });
  later(file, IOC.poison, poisonRecord);
  const [job] = fuse.outbox.failures;
  expect(Buffer.from(job.record ?? [])).toEqual(Buffer.from(poisonRecord));
  const unpoison = encodeUnpoisonRequest(range);
  expect(ioctl(file, IOC.unpoison, unpoison).body.subarray(0, 24)).toEqual(
    Buffer.from(unpoison).subarray(0, 24),
  );
  const report = encodeReportRequest({ kind: REPORT_KIND.info, a: 5, b: 6, id: 0, offset: 0 });
  expect(ioctl(file, IOC.report, report).body.subarray(0, 24)).toEqual(Buffer.from(report).subarray(0, 24));
});

test('a refused request keeps no document, and nobody drives out what he may not read', () => {
  later(file, IOC.poison, encodePoisonRequest({ offset: 4096, length: 4096, flags: 0, policy: 0 }));
  const [{ report }] = fuse.outbox.failures;
  fuse.vfs.storeReport(report, JSON.stringify({ text: 'x'.repeat(9000) }));
  for (let i = 0; i < 200; i++) {
    const bad = encodeReportRequest({ kind: REPORT_KIND.info, a: 0, b: 0, id: 0, offset: 1 });
    expect(ioctl(file, IOC.report, bad, STRANGER).error).toBe(no('EINVAL'));
    const stats = encodeReportRequest({ kind: REPORT_KIND.stats, a: 0, b: 0, id: 0, offset: 0 });
    expect(ioctl(file, IOC.report, stats, STRANGER).error).toBe(0);
  }
  const mine = encodeReportRequest({ kind: 0, a: 0, b: 0, id: report, offset: 0 });
  expect(ioctl(file, IOC.report, mine, OWNER).error).toBe(0);
});

test('where requests name no user, their thread does', () => {
  const [nobody, rootThread, stranger] = [0xffff_ffff, 11, 12];
  fuse.ids.set(rootThread, { uid: 0, gid: 0 }).set(stranger, { uid: STRANGER.uid, gid: STRANGER.uid });
  const request = encodePoisonRequest({ offset: 4096, length: 4096, flags: 0, policy: 0 });
  for (const pid of [stranger, 99]) {
    expect(ioctl(file, IOC.poison, request, { uid: nobody, gid: nobody, pid }).error).toBe(no('EPERM'));
  }
  later(file, IOC.poison, request, { uid: nobody, gid: nobody, pid: rootThread });
});

test('sizes, handles and numbers are checked', () => {
  expect(ioctl(file, 0x5401, NONE).error).toBe(no('ENOTTY'));
  expect(ioctl({ ...file, fh: 99 }, IOC.cloneToken, NONE).error).toBe(no('EBADF'));
  const short = fuse.ioctlBody(file.fh, IOC.unpoison, Buffer.alloc(31));
  expect(fuse.call(OPCODE.IOCTL, file.ino, short).error).toBe(no('EINVAL'));
  const lying = fuse.ioctlBody(file.fh, IOC.unpoison, Buffer.alloc(32));
  lying.writeUInt32LE(8, 24);
  expect(fuse.call(OPCODE.IOCTL, file.ino, lying).error).toBe(no('EINVAL'));
});

describe('fallocate', () => {
  const request = (mode: number, length = 4096): Buffer =>
    encodeFallocateRequest({ mode, offset: 4096, length });

  test('drops the pages that move: to the end of the file, or those of an unshared range', () => {
    fuse.holds = true;
    const ranges = [8, 32, 64, 65].map((mode) => {
      later(file, IOC.fallocate, request(mode));
      const [job] = fuse.outbox.writeBacks.slice(-1);
      engine.failNext = { method: 'fallocate', error: new FsError('EINVAL', 'collapse', 'unaligned') };
      expect(fuse.main().map(({ error }) => error)).toEqual([no('EINVAL')]);
      return job.ranges;
    });
    const rest = [{ ino: file.ino, offset: 4096, length: 0 }];
    const part = [{ ino: file.ino, offset: 4096, length: 4096 }];
    expect(ranges).toEqual([rest, rest, part, part]);
  });

  test('refuses what fallocate(2) takes, combinations, and descriptors that cannot write', () => {
    for (const mode of [0, 1, 3, 16, 9, 33, 40, 128]) {
      expect(ioctl(file, IOC.fallocate, request(mode)).error).toBe(no('EOPNOTSUPP'));
    }
    expect(ioctl(reopen(file.ino, O_RDONLY), IOC.fallocate, request(8)).error).toBe(no('EBADF'));
  });
});

describe('clone and dedupe', () => {
  const token = (at: Open): Buffer => {
    const answer = ioctl(at, IOC.cloneToken, NONE);
    expect(answer.error).toBe(0);
    return answer.body;
  };
  const cloneRequest = (source: Open): Buffer =>
    encodeCloneRequest({ token: token(source), srcOffset: 0, dstOffset: 4096, length: 0 });

  test('a clone has pages dropped, runs, and is answered when the attributes are dropped', () => {
    const target = create('target', 4096);
    fuse.holds = true;
    later(target, IOC.clone, cloneRequest(file));
    const [job] = fuse.outbox.writeBacks;
    expect(job.ranges).toEqual([
      { ino: target.ino, offset: 4096, length: 12288 },
      { ino: file.ino, offset: 0, length: 12288 },
    ]);
    expect(engine.nodes.get(target.ino)?.data.length).toBe(4096);
    expect(fuse.main()).toMatchObject([{ error: 0, body: { length: 16 } }]);
    expect(fuse.outbox.dropped).toEqual([target.ino, file.ino]);
    expect(engine.nodes.get(target.ino)?.data.length).toBe(4096 + 12288);
  });

  test('nobody is asked where the kernel can have no pages', () => {
    const [source, target] = [create('empty', 0), create('target', 0)];
    expect(ioctl(target, IOC.clone, cloneRequest(source)).error).toBe(0);
    expect(fuse.outbox.writeBacks).toEqual([]);
  });

  test('a failed clone answers its errno, as one whose pages could not be written back', () => {
    const target = create('target', 0);
    engine.failNext = { method: 'cloneRange', error: new FsError('EINVAL', 'clone', 'unaligned') };
    expect(ioctl(target, IOC.clone, cloneRequest(file))).toMatchObject({ error: no('EINVAL'), body: NONE });
    fuse.holds = true;
    later(target, IOC.clone, cloneRequest(file));
    expect(fuse.main('no device').map(({ error }) => error)).toEqual([no('EIO')]);
  });

  test('the source survives until its turn comes, though it is closed, unlinked and forgotten', () => {
    const target = create('target', 0);
    fuse.holds = true;
    later(target, IOC.clone, cloneRequest(file));
    release(file);
    fuse.call(OPCODE.UNLINK, 1, cstring('file'));
    fuse.quiet(OPCODE.FORGET, file.ino, fill(fuse_forget_in, { nlookup: 1 }));
    expect(engine.exists(asIno(file.ino))).toBe(true);
    expect(fuse.main().map(({ error }) => error)).toEqual([0]);
    expect(engine.exists(asIno(file.ino))).toBe(false);
  });

  test('descriptors must fit: source for reading, destination for writing and not appending', () => {
    expect(ioctl(reopen(file.ino, O_WRONLY), IOC.cloneToken, NONE).error).toBe(no('EBADF'));
    const request = cloneRequest(file);
    for (const flags of [O_RDONLY, O_WRONLY | O_APPEND]) {
      expect(ioctl(reopen(file.ino, flags), IOC.clone, request).error).toBe(no('EBADF'));
    }
  });

  test('a token ends with its handle, and the oldest when there are too many', () => {
    const target = create('target', 0);
    const first = cloneRequest(file);
    for (let i = 0; i < 16; i++) token(file);
    expect(ioctl(target, IOC.clone, first).error).toBe(no('EBADF'));
    const second = cloneRequest(file);
    release(file);
    expect(ioctl(target, IOC.clone, second).error).toBe(no('EBADF'));
  });

  test('dedupe answers a status, errors included', () => {
    const same = create('file2', 0);
    const run = (dstOffset: number): { bytesDeduped: number; status: number } => {
      const request = { token: token(file), srcOffset: 0, dstOffset, length: 4096 };
      const answer = ioctl(same, IOC.dedupe, encodeDedupeRequest(request));
      expect(answer.error).toBe(0);
      return decodeDedupeAnswer(answer.body);
    };
    expect(run(0)).toEqual({ bytesDeduped: 0, status: 1 });
    engine.cloneRange(asIno(file.ino), 0, asIno(same.ino), 0, 4096);
    expect(run(0)).toEqual({ bytesDeduped: 4096, status: 0 });
    engine.failNext = { method: 'dedupeRange', error: new FsError('EINVAL', 'dedupe', 'unaligned') };
    expect(run(1)).toEqual({ bytesDeduped: 0, status: no('EINVAL') });
  });

  test('dedupe into a file of somebody else needs a writable descriptor', () => {
    const request = { token: token(file), srcOffset: 0, dstOffset: 0, length: 4096 };
    const reader = reopen(file.ino, O_RDONLY);
    expect(ioctl(reader, IOC.dedupe, encodeDedupeRequest(request), STRANGER).error).toBe(no('EPERM'));
  });
});

describe('questions', () => {
  test('extents of a file', () => {
    const page = decodeExtentsAnswer(ioctl(file, IOC.extents, encodeExtentsRequest(0), STRANGER).body);
    expect(page.last).toBe(true);
    expect(page.records.map((record) => record.flags)).toEqual([0, 0, 8]);
    expect(decodeExtentsAnswer(ioctl(file, IOC.extents, encodeExtentsRequest(2 ** 50)).body)).toEqual({
      records: [],
      last: true,
    });
  });

  test('the map of a region of many pages is whole, and each record comes once', () => {
    for (let i = 0; i < FSMAP_PER_PAGE; i++) create(`f${i}`, 1);
    const seen: string[] = [];
    let cursor = { physical: 0, owner: 0, fileOffset: 0 };
    for (let pages = 1; ; pages++) {
      const page = decodeFsmapAnswer(ioctl(file, IOC.fsmap, encodeFsmapRequest(cursor), OWNER).body);
      seen.push(...page.records.map((record) => `${record.physical} ${record.owner}`));
      if (page.last) {
        expect(pages).toBe(2);
        break;
      }
      cursor = page.records[page.records.length - 1];
    }
    expect(seen).toHaveLength(FSMAP_PER_PAGE + 2);
    expect(new Set(seen).size).toBe(seen.length);
    expect(ioctl(file, IOC.fsmap, encodeFsmapRequest(cursor), STRANGER).error).toBe(no('EPERM'));
  });

  test('info and owners are what the client expects', () => {
    expect(InfoDocument.parse(document(REPORT_KIND.info, 0, 0, STRANGER))).toMatchObject({ label: 'fake' });
    const physical = file.ino * 256 * 4096;
    const owners = OwnersDocument.parse(document(REPORT_KIND.owners, physical, 4096));
    expect(owners).toMatchObject([{ ino: file.ino, paths: ['/file'], open: true, length: 4096 }]);
    expect(OwnersDocument.parse(document(REPORT_KIND.owners, 0, WHOLE_DEVICE))).toHaveLength(2);
    expect(document(REPORT_KIND.stats, 0, 0)).toMatchObject({ operations: { create: { count: 1 } } });
  });

  const ownersFrom = (place: OwnersPlace, offset = 0, length = WHOLE_DEVICE, caller = {}): Answer =>
    ioctl(file, IOC.owners, encodeOwnersRequest({ offset, length, place }), caller);

  test('owners in pages: each once, with paths', () => {
    for (let i = 0; i < 300; i++) create(`f${i}`, 1);
    const seen: string[] = [];
    let place = OWNERS_START;
    for (let pages = 1; ; pages++) {
      const page = decodeOwnersAnswer(ownersFrom(place).body);
      const lines = Buffer.from(page.data).toString().split('\n').slice(0, page.count);
      for (const line of lines) {
        const owner = OwnerDocument.parse(JSON.parse(line));
        seen.push(owner.kind === 'file' ? owner.paths.join() : owner.kind);
      }
      place = page.place;
      if (!page.last) continue;
      expect(pages).toBeGreaterThan(1);
      break;
    }
    expect(seen).toEqual(['superblock', '/file', ...Array.from({ length: 300 }, (_, i) => `/f${i}`)]);
    expect(ownersFrom(OWNERS_START, 0, 4096, STRANGER).error).toBe(no('EPERM'));
    expect(ownersFrom(OWNERS_START, 2 ** 50, 4096).error).toBe(no('ENXIO'));
  });

  test.each([
    ['before the range', [0, 0, 0, 0, 0], 1],
    ['after the range', [9, 0, 0, 0, 0], 1],
    ['a run that ends after it', [1, 9, 1, 0, 0], 1],
    ['a run that is none', [2, 1, 1, 0, 0], 1],
    ['a record of no run', [2, 0, 1, 0, 0], 1],
    ['an owner that is none', [2, 3, 1, 2 ** 40, 0], 1],
  ] as const)('owners from a place %s: EINVAL', (_what, place, first) => {
    const [at, ...rest] = place;
    // All zero is the start: a place before the range needs a word.
    const words: OwnersPlace = [at, rest[0], rest[1], rest[2], at === 0 ? 1 : rest[3]];
    expect(ownersFrom(words, first * 4096, 8192).error).toBe(no('EINVAL'));
  });

  test('an owner that fits into no page is a document', () => {
    const paths = Array.from({ length: 16 }, (_, i) => `/${i}`.padEnd(2000, 'x'));
    engine.paths = (ino) => (ino === file.ino ? paths : ['/other']);
    create('other', 1);
    const first = decodeOwnersAnswer(ownersFrom(OWNERS_START).body);
    expect([first.count, first.report, first.last]).toEqual([1, 0, false]);
    const second = decodeOwnersAnswer(ownersFrom(first.place).body);
    expect([second.count, second.last]).toEqual([0, false]);
    let text = '';
    for (let total = 1; text.length < total; ) {
      const request = encodeReportRequest({ kind: 0, a: 0, b: 0, id: second.report, offset: text.length });
      const page = decodeReportAnswer(ioctl(file, IOC.report, request).body);
      total = page.total;
      text += Buffer.from(page.data).toString();
    }
    expect(JSON.parse(text)).toMatchObject({ ino: file.ino, paths });
    const third = decodeOwnersAnswer(ownersFrom(second.place).body);
    expect([third.count, third.report, third.last]).toEqual([1, 0, true]);
  });

  test('the name of a file', () => {
    expect(document(REPORT_KIND.file, file.ino, 0)).toEqual({ ino: file.ino, paths: ['/file'], open: true });
    expect(document(REPORT_KIND.file, 4711, 0)).toEqual({ ino: 4711, paths: [], open: false });
    const request = encodeReportRequest({ kind: REPORT_KIND.file, a: file.ino, b: 0, id: 0, offset: 0 });
    expect(ioctl(file, IOC.report, request, STRANGER).error).toBe(no('EPERM'));
  });

  test.each([
    [REPORT_KIND.file, 0, 'EINVAL'],
    [REPORT_KIND.events, 0, 'EOPNOTSUPP'],
    [REPORT_KIND.poison, 0, 'EINVAL'],
    [REPORT_KIND.owners, 2 ** 50, 'ENXIO'],
    [77, 0, 'EINVAL'],
  ] as const)('report kind %d at %d: %s', (kind, a, code) => {
    const request = encodeReportRequest({ kind, a, b: 4096, id: 0, offset: 0 });
    expect(ioctl(file, IOC.report, request).error).toBe(no(code));
  });

  test('a long document comes in pages and is dropped with its last byte', () => {
    const json = JSON.stringify('x'.repeat(40_000));
    fuse.vfs.storeReport(1_000_000, json);
    const read = (offset: number, caller = {}): Answer =>
      ioctl(file, IOC.report, encodeReportRequest({ kind: 0, a: 0, b: 0, id: 1_000_000, offset }), caller);
    expect(read(0, STRANGER).error).toBe(no('EPERM'));
    let text = '';
    while (text.length < json.length) {
      const page = decodeReportAnswer(read(text.length).body);
      expect(page.total).toBe(json.length);
      text += Buffer.from(page.data).toString();
    }
    expect(text).toBe(json);
    expect(read(0).error).toBe(no('ESTALE'));
  });

  test('the oldest document goes when there are too many', () => {
    for (let id = 1; id <= REPORTS_KEPT_MAX + 1; id++) fuse.vfs.storeReport(1000 + id, '"x"');
    const read = (id: number): Answer =>
      ioctl(file, IOC.report, encodeReportRequest({ kind: 0, a: 0, b: 0, id, offset: 0 }));
    expect(read(1001).error).toBe(no('ESTALE'));
    expect(read(1002).error).toBe(0);
  });

  test('so it does when they are too long, but the newest stays', () => {
    const read = (id: number): Answer =>
      ioctl(file, IOC.report, encodeReportRequest({ kind: 0, a: 0, b: 0, id, offset: 0 }));
    fuse.vfs.storeReport(2001, 'x'.repeat(20_000));
    fuse.vfs.storeReport(2002, 'x'.repeat(REPORTS_KEPT_MAX_BYTES - 30_000));
    expect(read(2001).error).toBe(0);
    fuse.vfs.storeReport(2003, 'x'.repeat(30_000));
    expect([read(2001).error, read(2002).error]).toEqual([no('ESTALE'), 0]);
    fuse.vfs.storeReport(2004, 'x'.repeat(REPORTS_KEPT_MAX_BYTES + 1));
    expect([read(2002).error, read(2003).error, read(2004).error]).toEqual([no('ESTALE'), no('ESTALE'), 0]);
  });
});

describe('failure', () => {
  /** Owners of one block, of which only some are files that the kernel has pages of. */
  const manyOwners = (count: number, known: ReadonlyMap<number, number>): void => {
    engine.ownersFrom = (_place: OwnerPlace, _end: number, visit: (owner: Owner) => boolean): boolean => {
      for (let i = 0; i < count; i++) {
        const ino = asIno(known.get(i) ?? 1_000_000 + i);
        const at = { physical: physical(), length: 4096 };
        const owner: Owner = {
          kind: 'file',
          ino,
          fileOffset: 0,
          ...at,
          fork: 'data',
          unwritten: false,
          shareCount: count,
        };
        if (!visit(owner)) return false;
      }
      return true;
    };
    engine.paths = (ino) => [`/${ino}`];
  };

  test('a block of a million owners: the report says how many it leaves out, and whoever has pages is told', () => {
    const cached = create('cached', 1);
    manyOwners(1_000_000, new Map([[999_999, cached.ino]]));
    later(file, IOC.poison, poison(physical(), 4096, 0, 1), OWNER);
    const [job] = fuse.outbox.failures;
    expect(engine.bad.size).toBe(1);
    expect(job.allOwners).toMatchObject({ count: 1_000_000, omitted: 1_000_000 - REPORT_OWNERS_MAX });
    fuse.vfs.storeReport(job.report, '{"rest":1}');
    const whole = wholeDocument(job.report) as { owners: { ino: number }[]; rest: number };
    expect(whole.rest).toBe(1);
    const listed = whole.owners;
    expect(listed).toHaveLength(REPORT_OWNERS_MAX);
    expect(listed.at(-1)).toMatchObject({ ino: 1_000_000 + REPORT_OWNERS_MAX - 1 });
    const told = job.cached?.map((index) => job.owners[index]);
    expect(told).toMatchObject([{ ino: cached.ino, paths: [`/${cached.ino}`], open: true }]);
  });

  const poison = (offset: number, length: number, flags = 0, policy = 0): Buffer =>
    encodePoisonRequest({ offset, length, flags, policy });
  const physical = (): number => file.ino * 256 * 4096;

  test('a physical range: owners first, then marked, then handed to main', () => {
    later(file, IOC.poison, poison(physical(), 8192, 0, 2), OWNER);
    const [job] = fuse.outbox.failures;
    expect(job).toMatchObject({ physical: physical(), length: 8192, policy: 'late', latent: false });
    expect(job.owners).toMatchObject([{ ino: file.ino, paths: ['/file'], open: true, fileOffset: 0 }]);
    expect(engine.bad.size).toBe(2);
    fuse.vfs.storeReport(job.report, '{}');
    const bad = decodeBadBlocksAnswer(ioctl(file, IOC.badblocks, encodeBadBlocksRequest(0)).body);
    expect(bad.records.map((record) => record.physical)).toEqual([physical(), physical() + 4096]);
  });

  test('a range of the file, and back', () => {
    later(file, IOC.poison, poison(4096, 4096, POISON_FLAG.file | POISON_FLAG.latent));
    expect(fuse.outbox.failures[0]).toMatchObject({
      physical: physical() + 4096,
      length: 4096,
      latent: true,
      policy: 'early',
    });
    const whole = encodeUnpoisonRequest({ offset: 0, length: WHOLE_DEVICE, flags: POISON_FLAG.file });
    expect(decodeUnpoisonAnswer(ioctl(file, IOC.unpoison, whole).body)).toBe(4096);
  });

  test.each([
    ['outside the region', poison(2 ** 40, 4096), 'ENXIO'],
    ['partly outside', poison(((1 << 20) - 1) * 4096, 8192), 'ENXIO'],
    ['unaligned', poison(1, 4096), 'EINVAL'],
    ['unaligned length', poison(0, 4095), 'EINVAL'],
    ['empty', poison(0, 0), 'EINVAL'],
    ['beyond the end of the file', poison(3 * 4096, 4096, POISON_FLAG.file), 'ENODATA'],
    ['across the end of the file', poison(2 * 4096, 8192, POISON_FLAG.file), 'ENODATA'],
    ['unknown flags', poison(0, 4096, 64), 'EINVAL'],
    ['unknown policy', poison(0, 4096, 0, 9), 'EINVAL'],
  ] as const)('%s is refused and changes nothing', (_what, request, code) => {
    expect(ioctl(file, IOC.poison, request).error).toBe(no(code));
    expect(engine.bad.size).toBe(0);
    expect(fuse.outbox.failures).toEqual([]);
  });

  test('not for everybody', () => {
    expect(ioctl(file, IOC.poison, poison(0, 4096), STRANGER).error).toBe(no('EPERM'));
    const request = encodeUnpoisonRequest({ offset: 0, length: 4096, flags: 0 });
    expect(ioctl(file, IOC.unpoison, request, STRANGER).error).toBe(no('EPERM'));
  });
});

describe('file flags', () => {
  const GETFLAGS = 0x8008_6601;
  const SETFLAGS = 0x4008_6602;
  const FSGETXATTR = 0x801c_581f;
  const FSSETXATTR = 0x401c_5820;
  /** As the kernel sends them: the size is 4, not what the number says. */
  const flagsIoctl = (cmd: number, input: Buffer, caller = {}): Answer => {
    const body = fuse.ioctlBody(file.fh, cmd, input);
    body.writeUInt32LE(cmd === SETFLAGS ? 4 : 0, 24);
    body.writeUInt32LE(cmd === GETFLAGS ? 4 : 0, 28);
    const answer = fuse.call(OPCODE.IOCTL, file.ino, body, caller);
    return { ...answer, body: answer.body.subarray(16) };
  };
  const word = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const fsxattr = (xflags: number): Buffer => Buffer.concat([word(xflags), Buffer.alloc(24)]);

  test('both forms are one set of flags, and the kernel is told of the new ctime', () => {
    expect(flagsIoctl(SETFLAGS, word(0x40 | 0x80)).error).toBe(0);
    expect(flagsIoctl(GETFLAGS, NONE).body.readUInt32LE()).toBe(0xc0);
    expect(ioctl(file, FSGETXATTR, NONE).body.readUInt32LE()).toBe(0xc0);
    expect(fuse.outbox.dropped).toContain(file.ino);
    const form = fuse.ioctlBody(file.fh, FSSETXATTR, fsxattr(0x8000));
    expect(fuse.call(OPCODE.IOCTL, file.ino, form).error).toBe(0);
    expect(flagsIoctl(GETFLAGS, NONE).body.readUInt32LE()).toBe(0x0200_0000);
  });

  test('immutable is for root, unknown flags are for nobody', () => {
    expect(flagsIoctl(SETFLAGS, word(0x10), STRANGER).error).toBe(no('EPERM'));
    expect(flagsIoctl(SETFLAGS, word(0x1)).error).toBe(no('EOPNOTSUPP'));
    expect(ioctl(file, FSSETXATTR, fsxattr(0x800)).error).toBe(no('EOPNOTSUPP'));
    expect(flagsIoctl(SETFLAGS, word(0x10)).error).toBe(0);
    const open = fuse.call(OPCODE.OPEN, file.ino, fill(fuse_open_in, { flags: O_RDWR }));
    expect(open.error).toBe(no('EPERM'));
    expect(flagsIoctl(SETFLAGS, word(0)).error).toBe(0);
  });
});

describe('going down', () => {
  const answerOf = (mode: number): number => {
    fuse.vfs.goDown(2n, mode);
    return parseAnswer(fuse.outbox.results.at(-1)?.reply ?? NONE).error;
  };

  test('is handed out with the address of its argument, to root and the owner only', () => {
    expect(ioctl(file, GOINGDOWN, NONE, STRANGER).error).toBe(no('EPERM'));
    later(file, GOINGDOWN, NONE, OWNER);
    expect(fuse.outbox.goingDowns).toMatchObject([{ pid: 0, address: 0 }]);
    expect(engine.info.shutdown).toBe(false);
  });

  test.each([
    [0, true],
    [1, true],
    [2, false],
  ])('mode %i: commits %s, shuts down, and has the caches dropped but the root', (mode, commits) => {
    engine.dirty = true;
    expect(answerOf(mode)).toBe(0);
    expect(engine.info.shutdown).toBe(true);
    expect(engine.dirty).toBe(!commits);
    expect(fuse.outbox.results[0].after).toEqual([{ ino: file.ino, offset: 0, length: 0 }]);
    expect(answerOf(mode)).toBe(0);
  });

  test('another mode is EINVAL and changes nothing', () => {
    expect(answerOf(3)).toBe(no('EINVAL'));
    expect(engine.info.shutdown).toBe(false);
  });
});
