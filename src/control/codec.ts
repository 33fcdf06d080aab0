import { FsError } from '../errors.js';
import {
  BADBLOCKS,
  CLONE,
  CLONE_TOKEN,
  DEDUPE,
  EVENTS,
  EXTENTS,
  FALLOCATE,
  FSMAP,
  OWNERS,
  POISON,
  REPORT,
  SCRUB,
  TOKEN_BYTES,
  UNPOISON,
} from './protocol.js';

/**
 * Encoding and decoding of the control records, for the client and for the daemon. Requests are encoded into
 * a new record of exactly the ioctl's size. Answers are encoded into the request's record, so that the fields
 * that were passed in come back unchanged.
 *
 * A 64-bit value is a JS number below 2^53; a larger one is EOVERFLOW when it is encoded and EINVAL when it is
 * decoded. The only exception is the length 2^64-1 of POISON and UNPOISON: {@link WHOLE_DEVICE}.
 */

/** As a length of POISON or UNPOISON with offset 0: the whole device. 2^64-1 on the wire. */
export const WHOLE_DEVICE = Number.POSITIVE_INFINITY;

const U32 = 2 ** 32;
const U32_MAX = U32 - 1;

function putU64(record: Buffer, at: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new FsError('EOVERFLOW', 'control', `${value} is no number of bytes from 0 to 2^53 - 1`);
  }
  record.writeUInt32LE(value % U32, at);
  record.writeUInt32LE(Math.floor(value / U32), at + 4);
}

function getU64(record: Buffer, at: number): number {
  const value = record.readUInt32LE(at + 4) * U32 + record.readUInt32LE(at);
  if (!Number.isSafeInteger(value)) {
    throw new FsError('EINVAL', 'control', `the 64-bit field at byte ${at} is above 2^53 - 1`);
  }
  return value;
}

function putLength(record: Buffer, at: number, value: number): void {
  if (value === WHOLE_DEVICE) record.fill(0xff, at, at + 8);
  else putU64(record, at, value);
}

function getLength(record: Buffer, at: number): number {
  const whole = record.readUInt32LE(at) === U32_MAX && record.readUInt32LE(at + 4) === U32_MAX;
  return whole ? WHOLE_DEVICE : getU64(record, at);
}

/** The record as a Buffer over the same bytes. EINVAL when it has not exactly `size` bytes. */
function view(record: Uint8Array, size: number): Buffer {
  if (record.length !== size) {
    throw new FsError('EINVAL', 'control', `a record of ${size} bytes was expected, found ${record.length}`);
  }
  return Buffer.from(record.buffer, record.byteOffset, record.length);
}

/** How many page records of `each` bytes fit between `header` and `size`. */
const capacity = (size: number, header: number, each: number): number => Math.floor((size - header) / each);

export const EXTENTS_PER_PAGE = capacity(EXTENTS.size, EXTENTS.records, EXTENTS.record.size);
export const FSMAP_PER_PAGE = capacity(FSMAP.size, FSMAP.records, FSMAP.record.size);
export const BADBLOCKS_PER_PAGE = capacity(BADBLOCKS.size, BADBLOCKS.records, BADBLOCKS.record.size);
export const REPORT_PAGE_BYTES = REPORT.size - REPORT.data;

/** One page of a longer answer. `last`: nothing comes after it. */
export interface Page<T> {
  records: T[];
  last: boolean;
}

interface PageLayout {
  readonly count: number;
  readonly last: number;
  readonly records: number;
  readonly record: { readonly size: number };
  readonly size: number;
}

function encodePage<T>(
  into: Uint8Array,
  layout: PageLayout,
  page: Page<T>,
  put: (record: Buffer, at: number, value: T) => void,
): Buffer {
  const record = view(into, layout.size);
  const most = capacity(layout.size, layout.records, layout.record.size);
  if (page.records.length > most) {
    throw new RangeError(`a page holds ${most} records, not ${page.records.length}`);
  }
  record.writeUInt32LE(page.records.length, layout.count);
  record.writeUInt32LE(page.last ? 1 : 0, layout.last);
  record.fill(0, layout.records);
  let at = layout.records;
  for (const value of page.records) {
    put(record, at, value);
    at += layout.record.size;
  }
  return record;
}

function decodePage<T>(
  answer: Uint8Array,
  layout: PageLayout,
  get: (record: Buffer, at: number) => T,
): Page<T> {
  const record = view(answer, layout.size);
  const count = record.readUInt32LE(layout.count);
  if (count > capacity(layout.size, layout.records, layout.record.size)) {
    throw new FsError('EPROTO', 'control', `an answer claims ${count} records, more than a page can hold`);
  }
  const records: T[] = [];
  for (let i = 0; i < count; i++) records.push(get(record, layout.records + i * layout.record.size));
  return { records, last: record.readUInt32LE(layout.last) !== 0 };
}

// CLONE_TOKEN

export function encodeCloneTokenAnswer(token: Uint8Array): Buffer {
  return Buffer.from(view(token, TOKEN_BYTES));
}

export function decodeCloneTokenAnswer(answer: Uint8Array): Buffer {
  return Buffer.from(view(answer, CLONE_TOKEN.size));
}

// CLONE

export interface CloneRequest {
  /** TOKEN_BYTES bytes, from CLONE_TOKEN on the source. */
  token: Uint8Array;
  srcOffset: number;
  dstOffset: number;
  /** 0: to the source's end. */
  length: number;
}

export function encodeCloneRequest(request: CloneRequest): Buffer {
  const record = Buffer.alloc(CLONE.size);
  putCloneFields(record, request);
  return record;
}

function putCloneFields(record: Buffer, request: CloneRequest): void {
  view(request.token, TOKEN_BYTES).copy(record, CLONE.token);
  putU64(record, CLONE.srcOffset, request.srcOffset);
  putU64(record, CLONE.dstOffset, request.dstOffset);
  putU64(record, CLONE.length, request.length);
}

export function decodeCloneRequest(request: Uint8Array): CloneRequest {
  return getCloneFields(view(request, CLONE.size));
}

function getCloneFields(record: Buffer): CloneRequest {
  return {
    token: Buffer.from(record.subarray(CLONE.token, CLONE.token + TOKEN_BYTES)),
    srcOffset: getU64(record, CLONE.srcOffset),
    dstOffset: getU64(record, CLONE.dstOffset),
    length: getU64(record, CLONE.length),
  };
}

// DEDUPE: its request is a CLONE followed by the answer's fields

export interface DedupeAnswer {
  bytesDeduped: number;
  /** 0 same, 1 differs, or a negative errno. */
  status: number;
}

export function encodeDedupeRequest(request: CloneRequest): Buffer {
  const record = Buffer.alloc(DEDUPE.size);
  putCloneFields(record, request);
  return record;
}

export function decodeDedupeRequest(request: Uint8Array): CloneRequest {
  return getCloneFields(view(request, DEDUPE.size));
}

export function encodeDedupeAnswer(into: Uint8Array, answer: DedupeAnswer): Buffer {
  const record = view(into, DEDUPE.size);
  putU64(record, DEDUPE.bytesDeduped, answer.bytesDeduped);
  record.writeInt32LE(answer.status, DEDUPE.status);
  return record;
}

export function decodeDedupeAnswer(answer: Uint8Array): DedupeAnswer {
  const record = view(answer, DEDUPE.size);
  return {
    bytesDeduped: getU64(record, DEDUPE.bytesDeduped),
    status: record.readInt32LE(DEDUPE.status),
  };
}

// EXTENTS

export interface ExtentRecord {
  fileOffset: number;
  physical: number;
  length: number;
  /** EXTENT_FLAG bits. */
  flags: number;
}

export function encodeExtentsRequest(cursor: number): Buffer {
  const record = Buffer.alloc(EXTENTS.size);
  putU64(record, EXTENTS.cursor, cursor);
  return record;
}

/** The file offset to start at. */
export function decodeExtentsRequest(request: Uint8Array): number {
  return getU64(view(request, EXTENTS.size), EXTENTS.cursor);
}

export function encodeExtentsAnswer(into: Uint8Array, page: Page<ExtentRecord>): Buffer {
  return encodePage(into, EXTENTS, page, (record, at, extent) => {
    putU64(record, at + EXTENTS.record.fileOffset, extent.fileOffset);
    putU64(record, at + EXTENTS.record.physical, extent.physical);
    putU64(record, at + EXTENTS.record.length, extent.length);
    record.writeUInt32LE(extent.flags, at + EXTENTS.record.flags);
  });
}

export function decodeExtentsAnswer(answer: Uint8Array): Page<ExtentRecord> {
  return decodePage(answer, EXTENTS, (record, at) => ({
    fileOffset: getU64(record, at + EXTENTS.record.fileOffset),
    physical: getU64(record, at + EXTENTS.record.physical),
    length: getU64(record, at + EXTENTS.record.length),
    flags: record.readUInt32LE(at + EXTENTS.record.flags),
  }));
}

// FSMAP

/** The position of a record in the map: those at or before it are passed over. All zero: from the start. */
export interface FsmapCursor {
  physical: number;
  owner: number;
  fileOffset: number;
}

export interface FsmapRecord extends FsmapCursor {
  length: number;
  /** FSMAP_FLAG bits. */
  flags: number;
  /** The tree's id for metadata (0: no tree node at present), the share count for files. */
  detail: number;
}

export function encodeFsmapRequest(cursor: FsmapCursor): Buffer {
  const record = Buffer.alloc(FSMAP.size);
  putU64(record, FSMAP.physical, cursor.physical);
  putU64(record, FSMAP.owner, cursor.owner);
  putU64(record, FSMAP.fileOffset, cursor.fileOffset);
  return record;
}

export function decodeFsmapRequest(request: Uint8Array): FsmapCursor {
  const record = view(request, FSMAP.size);
  return {
    physical: getU64(record, FSMAP.physical),
    owner: getU64(record, FSMAP.owner),
    fileOffset: getU64(record, FSMAP.fileOffset),
  };
}

export function encodeFsmapAnswer(into: Uint8Array, page: Page<FsmapRecord>): Buffer {
  return encodePage(into, FSMAP, page, (record, at, entry) => {
    putU64(record, at + FSMAP.record.physical, entry.physical);
    putU64(record, at + FSMAP.record.length, entry.length);
    putU64(record, at + FSMAP.record.owner, entry.owner);
    putU64(record, at + FSMAP.record.fileOffset, entry.fileOffset);
    record.writeUInt32LE(entry.flags, at + FSMAP.record.flags);
    record.writeUInt32LE(entry.detail, at + FSMAP.record.detail);
  });
}

export function decodeFsmapAnswer(answer: Uint8Array): Page<FsmapRecord> {
  return decodePage(answer, FSMAP, (record, at) => ({
    physical: getU64(record, at + FSMAP.record.physical),
    length: getU64(record, at + FSMAP.record.length),
    owner: getU64(record, at + FSMAP.record.owner),
    fileOffset: getU64(record, at + FSMAP.record.fileOffset),
    flags: record.readUInt32LE(at + FSMAP.record.flags),
    detail: record.readUInt32LE(at + FSMAP.record.detail),
  }));
}

// BADBLOCKS

export interface BadBlockRecord {
  physical: number;
  length: number;
  latent: boolean;
  /** Seconds since 1970. */
  since: number;
}

export function encodeBadBlocksRequest(cursor: number): Buffer {
  const record = Buffer.alloc(BADBLOCKS.size);
  putU64(record, BADBLOCKS.cursor, cursor);
  return record;
}

/** The physical offset to start at. */
export function decodeBadBlocksRequest(request: Uint8Array): number {
  return getU64(view(request, BADBLOCKS.size), BADBLOCKS.cursor);
}

export function encodeBadBlocksAnswer(into: Uint8Array, page: Page<BadBlockRecord>): Buffer {
  return encodePage(into, BADBLOCKS, page, (record, at, bad) => {
    putU64(record, at + BADBLOCKS.record.physical, bad.physical);
    putU64(record, at + BADBLOCKS.record.length, bad.length);
    putU64(record, at + BADBLOCKS.record.since, bad.since);
    record.writeUInt32LE(bad.latent ? 1 : 0, at + BADBLOCKS.record.latent);
  });
}

export function decodeBadBlocksAnswer(answer: Uint8Array): Page<BadBlockRecord> {
  return decodePage(answer, BADBLOCKS, (record, at) => ({
    physical: getU64(record, at + BADBLOCKS.record.physical),
    length: getU64(record, at + BADBLOCKS.record.length),
    latent: record.readUInt32LE(at + BADBLOCKS.record.latent) !== 0,
    since: getU64(record, at + BADBLOCKS.record.since),
  }));
}

// POISON

export interface PoisonRequest {
  offset: number;
  /** Bytes, or WHOLE_DEVICE. */
  length: number;
  /** POISON_FLAG bits. */
  flags: number;
  /** Index in POLICIES. */
  policy: number;
}

export interface PoisonAnswer {
  /** Id of the report. */
  report: number;
  owners: number;
  victims: number;
}

export function encodePoisonRequest(request: PoisonRequest): Buffer {
  const record = Buffer.alloc(POISON.size);
  putU64(record, POISON.offset, request.offset);
  putLength(record, POISON.length, request.length);
  record.writeUInt32LE(request.flags, POISON.flags);
  record.writeUInt32LE(request.policy, POISON.policy);
  return record;
}

export function decodePoisonRequest(request: Uint8Array): PoisonRequest {
  const record = view(request, POISON.size);
  return {
    offset: getU64(record, POISON.offset),
    length: getLength(record, POISON.length),
    flags: record.readUInt32LE(POISON.flags),
    policy: record.readUInt32LE(POISON.policy),
  };
}

export function encodePoisonAnswer(into: Uint8Array, answer: PoisonAnswer): Buffer {
  const record = view(into, POISON.size);
  putU64(record, POISON.report, answer.report);
  record.writeUInt32LE(answer.owners, POISON.owners);
  record.writeUInt32LE(answer.victims, POISON.victims);
  return record;
}

export function decodePoisonAnswer(answer: Uint8Array): PoisonAnswer {
  const record = view(answer, POISON.size);
  return {
    report: getU64(record, POISON.report),
    owners: record.readUInt32LE(POISON.owners),
    victims: record.readUInt32LE(POISON.victims),
  };
}

// UNPOISON

export interface UnpoisonRequest {
  offset: number;
  /** Bytes, or WHOLE_DEVICE. */
  length: number;
  /** POISON_FLAG.file or 0. */
  flags: number;
}

export function encodeUnpoisonRequest(request: UnpoisonRequest): Buffer {
  const record = Buffer.alloc(UNPOISON.size);
  putU64(record, UNPOISON.offset, request.offset);
  putLength(record, UNPOISON.length, request.length);
  record.writeUInt32LE(request.flags, UNPOISON.flags);
  return record;
}

export function decodeUnpoisonRequest(request: Uint8Array): UnpoisonRequest {
  const record = view(request, UNPOISON.size);
  return {
    offset: getU64(record, UNPOISON.offset),
    length: getLength(record, UNPOISON.length),
    flags: record.readUInt32LE(UNPOISON.flags),
  };
}

export function encodeUnpoisonAnswer(into: Uint8Array, cleared: number): Buffer {
  const record = view(into, UNPOISON.size);
  putU64(record, UNPOISON.cleared, cleared);
  return record;
}

/** Bytes that were bad and are not any more. */
export function decodeUnpoisonAnswer(answer: Uint8Array): number {
  return getU64(view(answer, UNPOISON.size), UNPOISON.cleared);
}

// REPORT

export interface ReportRequest {
  /** One of REPORT_KIND; counts only when id is 0. */
  kind: number;
  a: number;
  /** An argument; a length may be WHOLE_DEVICE. */
  b: number;
  /** 0: a new document. */
  id: number;
  offset: number;
}

export interface ReportAnswer {
  id: number;
  /** Bytes of the whole document. */
  total: number;
  /** The bytes from the request's offset on, at most REPORT_PAGE_BYTES. */
  data: Uint8Array;
}

export function encodeReportRequest(request: ReportRequest): Buffer {
  const record = Buffer.alloc(REPORT.size);
  putU64(record, REPORT.kind, request.kind);
  putU64(record, REPORT.a, request.a);
  putLength(record, REPORT.b, request.b);
  putU64(record, REPORT.id, request.id);
  putU64(record, REPORT.offset, request.offset);
  return record;
}

export function decodeReportRequest(request: Uint8Array): ReportRequest {
  const record = view(request, REPORT.size);
  return {
    kind: getU64(record, REPORT.kind),
    a: getU64(record, REPORT.a),
    b: getLength(record, REPORT.b),
    id: getU64(record, REPORT.id),
    offset: getU64(record, REPORT.offset),
  };
}

export function encodeReportAnswer(into: Uint8Array, answer: ReportAnswer): Buffer {
  const record = view(into, REPORT.size);
  if (answer.data.length > REPORT_PAGE_BYTES) {
    throw new RangeError(`a page holds ${REPORT_PAGE_BYTES} bytes, not ${answer.data.length}`);
  }
  putU64(record, REPORT.id, answer.id);
  putU64(record, REPORT.total, answer.total);
  record.writeUInt32LE(answer.data.length, REPORT.count);
  record.fill(0, REPORT.data);
  record.set(answer.data, REPORT.data);
  return record;
}

export function decodeReportAnswer(answer: Uint8Array): ReportAnswer {
  const record = view(answer, REPORT.size);
  const count = record.readUInt32LE(REPORT.count);
  if (count > REPORT_PAGE_BYTES) {
    throw new FsError('EPROTO', 'control', `an answer claims ${count} bytes, more than a page can hold`);
  }
  return {
    id: getU64(record, REPORT.id),
    total: getU64(record, REPORT.total),
    data: Buffer.from(record.subarray(REPORT.data, REPORT.data + count)),
  };
}

// FALLOCATE

export interface FallocateRequest {
  /** FALLOC_FL_* bits. */
  mode: number;
  offset: number;
  length: number;
}

export function encodeFallocateRequest(request: FallocateRequest): Buffer {
  const record = Buffer.alloc(FALLOCATE.size);
  record.writeUInt32LE(request.mode, FALLOCATE.mode);
  putU64(record, FALLOCATE.offset, request.offset);
  putU64(record, FALLOCATE.length, request.length);
  return record;
}

export function decodeFallocateRequest(request: Uint8Array): FallocateRequest {
  const record = view(request, FALLOCATE.size);
  return {
    mode: record.readUInt32LE(FALLOCATE.mode),
    offset: getU64(record, FALLOCATE.offset),
    length: getU64(record, FALLOCATE.length),
  };
}

// EVENTS

export interface EventsRequest {
  cursor: number;
  waitMs: number;
}

/** Events as they travel: JSON documents, each with a line feed behind it. */
export interface EventsAnswer {
  cursor: number;
  lost: number;
  count: number;
  data: Uint8Array;
}

export const EVENTS_PAGE_BYTES = EVENTS.size - EVENTS.data;

export function encodeEventsRequest(request: EventsRequest): Buffer {
  const record = Buffer.alloc(EVENTS.size);
  putU64(record, EVENTS.cursor, request.cursor);
  record.writeUInt32LE(request.waitMs, EVENTS.waitMs);
  return record;
}

export function decodeEventsRequest(request: Uint8Array): EventsRequest {
  const record = view(request, EVENTS.size);
  return { cursor: getU64(record, EVENTS.cursor), waitMs: record.readUInt32LE(EVENTS.waitMs) };
}

export function encodeEventsAnswer(into: Uint8Array, answer: EventsAnswer): Buffer {
  const record = view(into, EVENTS.size);
  if (answer.data.length > EVENTS_PAGE_BYTES) {
    throw new RangeError(`a page holds ${EVENTS_PAGE_BYTES} bytes, not ${answer.data.length}`);
  }
  putU64(record, EVENTS.cursor, answer.cursor);
  putU64(record, EVENTS.lost, answer.lost);
  record.writeUInt32LE(answer.count, EVENTS.count);
  record.writeUInt32LE(answer.data.length, EVENTS.bytes);
  record.set(answer.data, EVENTS.data);
  return record;
}

export function decodeEventsAnswer(answer: Uint8Array): EventsAnswer {
  const record = view(answer, EVENTS.size);
  const bytes = record.readUInt32LE(EVENTS.bytes);
  if (bytes > EVENTS_PAGE_BYTES) {
    throw new FsError('EPROTO', 'control', `an answer claims ${bytes} bytes, more than a page can hold`);
  }
  return {
    cursor: getU64(record, EVENTS.cursor),
    lost: getU64(record, EVENTS.lost),
    count: record.readUInt32LE(EVENTS.count),
    data: Buffer.from(record.subarray(EVENTS.data, EVENTS.data + bytes)),
  };
}

// SCRUB

export interface ScrubRequest {
  maxBytes: number;
  /** SCRUB_FLAG bits. */
  flags: number;
}

export interface ScrubAnswer {
  /** The range that was read, [from, position). */
  from: number;
  position: number;
  /** Of the region. */
  size: number;
  /** Ids of documents, or 0. */
  report: number;
  damaged: number;
}

export function encodeScrubRequest(request: ScrubRequest): Buffer {
  const record = Buffer.alloc(SCRUB.size);
  putU64(record, SCRUB.maxBytes, request.maxBytes);
  record.writeUInt32LE(request.flags, SCRUB.flags);
  return record;
}

export function decodeScrubRequest(request: Uint8Array): ScrubRequest {
  const record = view(request, SCRUB.size);
  return { maxBytes: getU64(record, SCRUB.maxBytes), flags: record.readUInt32LE(SCRUB.flags) };
}

export function encodeScrubAnswer(into: Uint8Array, answer: ScrubAnswer): Buffer {
  const record = view(into, SCRUB.size);
  putU64(record, SCRUB.from, answer.from);
  putU64(record, SCRUB.position, answer.position);
  putU64(record, SCRUB.regionSize, answer.size);
  putU64(record, SCRUB.report, answer.report);
  putU64(record, SCRUB.damaged, answer.damaged);
  return record;
}

export function decodeScrubAnswer(answer: Uint8Array): ScrubAnswer {
  const record = view(answer, SCRUB.size);
  return {
    from: getU64(record, SCRUB.from),
    position: getU64(record, SCRUB.position),
    size: getU64(record, SCRUB.regionSize),
    report: getU64(record, SCRUB.report),
    damaged: getU64(record, SCRUB.damaged),
  };
}

// OWNERS

/** How far a list of owners has come: whatever the daemon makes of it. All zero: from the start. */
export type OwnersPlace = readonly [number, number, number, number, number];

export const OWNERS_START: OwnersPlace = [0, 0, 0, 0, 0];
export const OWNERS_PAGE_BYTES = OWNERS.size - OWNERS.data;

export interface OwnersRequest {
  offset: number;
  /** Bytes, or WHOLE_DEVICE. */
  length: number;
  place: OwnersPlace;
}

export interface OwnersAnswer {
  place: OwnersPlace;
  /** Id of a document with one owner, or 0. */
  report: number;
  count: number;
  /** The JSON documents, one a line; at most OWNERS_PAGE_BYTES. */
  data: Uint8Array;
  last: boolean;
}

function putPlace(record: Buffer, place: OwnersPlace): void {
  for (const [i, value] of place.entries()) putU64(record, OWNERS.place + 8 * i, value);
}

function getPlace(record: Buffer): OwnersPlace {
  const at = (i: number): number => getU64(record, OWNERS.place + 8 * i);
  return [at(0), at(1), at(2), at(3), at(4)];
}

export function encodeOwnersRequest(request: OwnersRequest): Buffer {
  const record = Buffer.alloc(OWNERS.size);
  putU64(record, OWNERS.offset, request.offset);
  putLength(record, OWNERS.length, request.length);
  putPlace(record, request.place);
  return record;
}

export function decodeOwnersRequest(request: Uint8Array): OwnersRequest {
  const record = view(request, OWNERS.size);
  return {
    offset: getU64(record, OWNERS.offset),
    length: getLength(record, OWNERS.length),
    place: getPlace(record),
  };
}

export function encodeOwnersAnswer(into: Uint8Array, answer: OwnersAnswer): Buffer {
  const record = view(into, OWNERS.size);
  if (answer.data.length > OWNERS_PAGE_BYTES) {
    throw new RangeError(`a page holds ${OWNERS_PAGE_BYTES} bytes, not ${answer.data.length}`);
  }
  putPlace(record, answer.place);
  putU64(record, OWNERS.report, answer.report);
  record.writeUInt32LE(answer.count, OWNERS.count);
  record.writeUInt32LE(answer.data.length, OWNERS.bytes);
  record.writeUInt32LE(answer.last ? 1 : 0, OWNERS.last);
  record.fill(0, OWNERS.data);
  record.set(answer.data, OWNERS.data);
  return record;
}

export function decodeOwnersAnswer(answer: Uint8Array): OwnersAnswer {
  const record = view(answer, OWNERS.size);
  const bytes = record.readUInt32LE(OWNERS.bytes);
  if (bytes > OWNERS_PAGE_BYTES) {
    throw new FsError('EPROTO', 'control', `an answer claims ${bytes} bytes, more than a page can hold`);
  }
  return {
    place: getPlace(record),
    report: getU64(record, OWNERS.report),
    count: record.readUInt32LE(OWNERS.count),
    data: Buffer.from(record.subarray(OWNERS.data, OWNERS.data + bytes)),
    last: record.readUInt32LE(OWNERS.last) !== 0,
  };
}
