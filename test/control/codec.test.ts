import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as codec from '../../src/control/codec.js';
import * as protocol from '../../src/control/protocol.js';
import { FsError } from '../../src/errors.js';

const u64 = fc.maxSafeNat();
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const i32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
const length = fc.oneof(u64, fc.constant(codec.WHOLE_DEVICE));
const token = fc.uint8Array({ minLength: 16, maxLength: 16 });

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof FsError) return error.code;
    throw error;
  }
  return 'none';
};

describe('requests come back as they were', () => {
  const clone = fc.record({ token, srcOffset: u64, dstOffset: u64, length: u64 });

  test('CLONE and DEDUPE', () => {
    fc.assert(
      fc.property(clone, (request) => {
        const plain = { ...request, token: Buffer.from(request.token) };
        const record = codec.encodeCloneRequest(request);
        expect(record.length).toBe(protocol.CLONE.size);
        expect(codec.decodeCloneRequest(record)).toEqual(plain);
        expect(codec.decodeDedupeRequest(codec.encodeDedupeRequest(request))).toEqual(plain);
      }),
    );
  });

  test('EXTENTS, FSMAP, BADBLOCKS', () => {
    fc.assert(
      fc.property(u64, u64, u64, (physical, owner, fileOffset) => {
        expect(codec.decodeExtentsRequest(codec.encodeExtentsRequest(fileOffset))).toBe(fileOffset);
        expect(codec.decodeBadBlocksRequest(codec.encodeBadBlocksRequest(physical))).toBe(physical);
        const cursor = { physical, owner, fileOffset };
        expect(codec.decodeFsmapRequest(codec.encodeFsmapRequest(cursor))).toEqual(cursor);
      }),
    );
  });

  test('POISON, UNPOISON, REPORT', () => {
    const poison = fc.record({ offset: u64, length, flags: u32, policy: u32 });
    const report = fc.record({ kind: u64, a: u64, b: length, id: u64, offset: u64 });
    fc.assert(
      fc.property(poison, report, (asked, page) => {
        expect(codec.decodePoisonRequest(codec.encodePoisonRequest(asked))).toEqual(asked);
        const { policy: _, ...unpoison } = asked;
        expect(codec.decodeUnpoisonRequest(codec.encodeUnpoisonRequest(unpoison))).toEqual(unpoison);
        expect(codec.decodeReportRequest(codec.encodeReportRequest(page))).toEqual(page);
      }),
    );
  });
});

describe('answers come back as they were, and leave the request as it was', () => {
  test('EXTENTS', () => {
    const extent = fc.record({ fileOffset: u64, physical: u64, length: u64, flags: u32 });
    const page = fc.record({
      records: fc.array(extent, { maxLength: codec.EXTENTS_PER_PAGE, size: 'max' }),
      last: fc.boolean(),
    });
    fc.assert(
      fc.property(u64, page, (cursor, answer) => {
        const record = codec.encodeExtentsAnswer(codec.encodeExtentsRequest(cursor), answer);
        expect(codec.decodeExtentsAnswer(record)).toEqual(answer);
        expect(codec.decodeExtentsRequest(record)).toBe(cursor);
      }),
      { numRuns: 30 },
    );
  });

  test('FSMAP', () => {
    const entry = fc.record({
      physical: u64,
      length: u64,
      owner: u64,
      fileOffset: u64,
      flags: u32,
      detail: u32,
    });
    const page = fc.record({
      records: fc.array(entry, { maxLength: codec.FSMAP_PER_PAGE, size: 'max' }),
      last: fc.boolean(),
    });
    fc.assert(
      fc.property(page, (answer) => {
        const request = codec.encodeFsmapRequest({ physical: 1, owner: 2, fileOffset: 3 });
        expect(codec.decodeFsmapAnswer(codec.encodeFsmapAnswer(request, answer))).toEqual(answer);
      }),
      { numRuns: 30 },
    );
  });

  test('BADBLOCKS', () => {
    const bad = fc.record({ physical: u64, length: u64, latent: fc.boolean(), since: u64 });
    const page = fc.record({
      records: fc.array(bad, { maxLength: codec.BADBLOCKS_PER_PAGE }),
      last: fc.boolean(),
    });
    fc.assert(
      fc.property(page, (answer) => {
        const record = codec.encodeBadBlocksAnswer(codec.encodeBadBlocksRequest(0), answer);
        expect(codec.decodeBadBlocksAnswer(record)).toEqual(answer);
      }),
    );
  });

  test('DEDUPE, POISON, UNPOISON, REPORT, CLONE_TOKEN', () => {
    const data = fc.uint8Array({ maxLength: codec.REPORT_PAGE_BYTES });
    fc.assert(
      fc.property(u64, i32, u32, data, token, (big, status, small, bytes, secret) => {
        const clone = { token: secret, srcOffset: 1, dstOffset: 2, length: 3 };
        const dedupe = codec.encodeDedupeAnswer(codec.encodeDedupeRequest(clone), {
          bytesDeduped: big,
          status,
        });
        expect(codec.decodeDedupeAnswer(dedupe)).toEqual({ bytesDeduped: big, status });
        const poison = codec.encodePoisonRequest({
          offset: 0,
          length: codec.WHOLE_DEVICE,
          flags: 1,
          policy: 2,
        });
        const hit = { report: big, owners: small, victims: small };
        expect(codec.decodePoisonAnswer(codec.encodePoisonAnswer(poison, hit))).toEqual(hit);
        expect(codec.decodePoisonRequest(poison).length).toBe(codec.WHOLE_DEVICE);
        const unpoison = codec.encodeUnpoisonRequest({ offset: 0, length: 1, flags: 0 });
        expect(codec.decodeUnpoisonAnswer(codec.encodeUnpoisonAnswer(unpoison, big))).toBe(big);
        const report = codec.encodeReportRequest({ kind: 1, a: 0, b: 0, id: 0, offset: 0 });
        const page = { id: big, total: big, data: Buffer.from(bytes) };
        expect(codec.decodeReportAnswer(codec.encodeReportAnswer(report, page))).toEqual(page);
        expect(codec.decodeCloneTokenAnswer(codec.encodeCloneTokenAnswer(secret))).toEqual(
          Buffer.from(secret),
        );
      }),
    );
  });
});

test('OWNERS', () => {
  const data = fc.uint8Array({ maxLength: codec.OWNERS_PAGE_BYTES });
  fc.assert(
    fc.property(
      u64,
      fc.tuple(u64, u64, u64, u64, u64),
      u32,
      data,
      fc.boolean(),
      (big, place, count, bytes, last) => {
        const asked = { offset: big, length: codec.WHOLE_DEVICE, place };
        const request = codec.encodeOwnersRequest(asked);
        expect(codec.decodeOwnersRequest(request)).toEqual(asked);
        const answer = { place, report: big, count, data: Buffer.from(bytes), last };
        expect(codec.decodeOwnersAnswer(codec.encodeOwnersAnswer(request, answer))).toEqual(answer);
      },
    ),
  );
  const record = codec.encodeOwnersRequest({ offset: 0, length: 1, place: codec.OWNERS_START });
  record.writeUInt32LE(codec.OWNERS_PAGE_BYTES + 1, protocol.OWNERS.bytes);
  expect(codeOf(() => codec.decodeOwnersAnswer(record))).toBe('EPROTO');
});

describe('what cannot be right is refused', () => {
  test('numbers that no double holds', () => {
    const poison = { offset: 0, length: 4096, flags: 0, policy: 0 };
    for (const offset of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(codeOf(() => codec.encodePoisonRequest({ ...poison, offset }))).toBe('EOVERFLOW');
    }
    const record = codec.encodePoisonRequest(poison);
    record.fill(0xff, 0, 8);
    expect(codeOf(() => codec.decodePoisonRequest(record))).toBe('EINVAL');
    record.fill(0, 0, 8);
    record.writeBigUInt64LE(2n ** 64n - 2n, protocol.POISON.length);
    expect(codeOf(() => codec.decodePoisonRequest(record))).toBe('EINVAL');
    record.writeBigUInt64LE(2n ** 64n - 1n, protocol.POISON.length);
    expect(codec.decodePoisonRequest(record).length).toBe(codec.WHOLE_DEVICE);
  });

  test('records of another size', () => {
    expect(codeOf(() => codec.decodeCloneRequest(new Uint8Array(39)))).toBe('EINVAL');
    expect(codeOf(() => codec.decodeFsmapRequest(new Uint8Array(protocol.FSMAP.size + 1)))).toBe('EINVAL');
  });

  test('pages that claim more than they hold', () => {
    const record = codec.encodeFsmapRequest({ physical: 0, owner: 0, fileOffset: 0 });
    record.writeUInt32LE(codec.FSMAP_PER_PAGE + 1, protocol.FSMAP.count);
    expect(codeOf(() => codec.decodeFsmapAnswer(record))).toBe('EPROTO');
    const records = new Array(codec.BADBLOCKS_PER_PAGE + 1).fill({
      physical: 0,
      length: 1,
      latent: false,
      since: 0,
    });
    const request = codec.encodeBadBlocksRequest(0);
    expect(() => codec.encodeBadBlocksAnswer(request, { records, last: true })).toThrow(RangeError);
  });

  test('a record inside a larger buffer is decoded from its own bytes', () => {
    const whole = Buffer.alloc(100, 0xff);
    codec
      .encodeCloneRequest({ token: new Uint8Array(16), srcOffset: 7, dstOffset: 8, length: 9 })
      .copy(whole, 3);
    const inner = new Uint8Array(whole.buffer, whole.byteOffset + 3, protocol.CLONE.size);
    expect(codec.decodeCloneRequest(inner)).toMatchObject({ srcOffset: 7, dstOffset: 8, length: 9 });
  });
});
