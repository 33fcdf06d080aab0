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
import {
  answer,
  array,
  bytes,
  counted,
  flag,
  i32,
  type Layout,
  lengthOrAll,
  pageAnswer,
  perPage,
  request,
  u32,
  u64,
  view,
} from './record.js';

export { type Page, WHOLE_DEVICE } from './record.js';

/** Encoding and decoding of the control records, for the client and for the daemon. */

export const EXTENTS_PER_PAGE = perPage(EXTENTS);
export const FSMAP_PER_PAGE = perPage(FSMAP);
export const BADBLOCKS_PER_PAGE = perPage(BADBLOCKS);
export const REPORT_PAGE_BYTES = REPORT.size - REPORT.data;
export const EVENTS_PAGE_BYTES = EVENTS.size - EVENTS.data;
export const OWNERS_PAGE_BYTES = OWNERS.size - OWNERS.data;

// CLONE_TOKEN

export function encodeCloneTokenAnswer(token: Uint8Array): Buffer {
  return Buffer.from(view(token, TOKEN_BYTES));
}

export function decodeCloneTokenAnswer(record: Uint8Array): Buffer {
  return Buffer.from(view(record, CLONE_TOKEN.size));
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

const CLONE_FIELDS: Layout<CloneRequest> = {
  token: bytes(CLONE.token, TOKEN_BYTES),
  srcOffset: u64(CLONE.srcOffset),
  dstOffset: u64(CLONE.dstOffset),
  length: u64(CLONE.length),
};

export const { encode: encodeCloneRequest, decode: decodeCloneRequest } = request(CLONE.size, CLONE_FIELDS);

// DEDUPE: its request is a CLONE followed by the answer's fields

export interface DedupeAnswer {
  bytesDeduped: number;
  /** 0 same, 1 differs, or a negative errno. */
  status: number;
}

export const { encode: encodeDedupeRequest, decode: decodeDedupeRequest } = request(
  DEDUPE.size,
  CLONE_FIELDS,
);

export const { encode: encodeDedupeAnswer, decode: decodeDedupeAnswer } = answer<DedupeAnswer>(DEDUPE.size, {
  bytesDeduped: u64(DEDUPE.bytesDeduped),
  status: i32(DEDUPE.status),
});

// EXTENTS

export interface ExtentRecord {
  fileOffset: number;
  physical: number;
  length: number;
  /** EXTENT_FLAG bits. */
  flags: number;
}

const extents = request(EXTENTS.size, { cursor: u64(EXTENTS.cursor) });

export const encodeExtentsRequest = (cursor: number): Buffer => extents.encode({ cursor });

/** The file offset to start at. */
export const decodeExtentsRequest = (record: Uint8Array): number => extents.decode(record).cursor;

export const { encode: encodeExtentsAnswer, decode: decodeExtentsAnswer } = pageAnswer<ExtentRecord>(
  EXTENTS,
  {
    fileOffset: u64(EXTENTS.record.fileOffset),
    physical: u64(EXTENTS.record.physical),
    length: u64(EXTENTS.record.length),
    flags: u32(EXTENTS.record.flags),
  },
);

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

export const { encode: encodeFsmapRequest, decode: decodeFsmapRequest } = request<FsmapCursor>(FSMAP.size, {
  physical: u64(FSMAP.physical),
  owner: u64(FSMAP.owner),
  fileOffset: u64(FSMAP.fileOffset),
});

export const { encode: encodeFsmapAnswer, decode: decodeFsmapAnswer } = pageAnswer<FsmapRecord>(FSMAP, {
  physical: u64(FSMAP.record.physical),
  length: u64(FSMAP.record.length),
  owner: u64(FSMAP.record.owner),
  fileOffset: u64(FSMAP.record.fileOffset),
  flags: u32(FSMAP.record.flags),
  detail: u32(FSMAP.record.detail),
});

// BADBLOCKS

export interface BadBlockRecord {
  physical: number;
  length: number;
  latent: boolean;
  /** Seconds since 1970. */
  since: number;
}

const badBlocks = request(BADBLOCKS.size, { cursor: u64(BADBLOCKS.cursor) });

export const encodeBadBlocksRequest = (cursor: number): Buffer => badBlocks.encode({ cursor });

/** The physical offset to start at. */
export const decodeBadBlocksRequest = (record: Uint8Array): number => badBlocks.decode(record).cursor;

export const { encode: encodeBadBlocksAnswer, decode: decodeBadBlocksAnswer } = pageAnswer<BadBlockRecord>(
  BADBLOCKS,
  {
    physical: u64(BADBLOCKS.record.physical),
    length: u64(BADBLOCKS.record.length),
    latent: flag(BADBLOCKS.record.latent),
    since: u64(BADBLOCKS.record.since),
  },
);

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

export const { encode: encodePoisonRequest, decode: decodePoisonRequest } = request<PoisonRequest>(
  POISON.size,
  {
    offset: u64(POISON.offset),
    length: lengthOrAll(POISON.length),
    flags: u32(POISON.flags),
    policy: u32(POISON.policy),
  },
);

export const { encode: encodePoisonAnswer, decode: decodePoisonAnswer } = answer<PoisonAnswer>(POISON.size, {
  report: u64(POISON.report),
  owners: u32(POISON.owners),
  victims: u32(POISON.victims),
});

// UNPOISON

export interface UnpoisonRequest {
  offset: number;
  /** Bytes, or WHOLE_DEVICE. */
  length: number;
  /** POISON_FLAG.file or 0. */
  flags: number;
}

export const { encode: encodeUnpoisonRequest, decode: decodeUnpoisonRequest } = request<UnpoisonRequest>(
  UNPOISON.size,
  {
    offset: u64(UNPOISON.offset),
    length: lengthOrAll(UNPOISON.length),
    flags: u32(UNPOISON.flags),
  },
);

const unpoisoned = answer(UNPOISON.size, { cleared: u64(UNPOISON.cleared) });

export const encodeUnpoisonAnswer = (into: Uint8Array, cleared: number): Buffer =>
  unpoisoned.encode(into, { cleared });

/** Bytes that were bad and are not any more. */
export const decodeUnpoisonAnswer = (record: Uint8Array): number => unpoisoned.decode(record).cleared;

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

export const { encode: encodeReportRequest, decode: decodeReportRequest } = request<ReportRequest>(
  REPORT.size,
  {
    kind: u64(REPORT.kind),
    a: u64(REPORT.a),
    b: lengthOrAll(REPORT.b),
    id: u64(REPORT.id),
    offset: u64(REPORT.offset),
  },
);

export const { encode: encodeReportAnswer, decode: decodeReportAnswer } = answer<ReportAnswer>(REPORT.size, {
  id: u64(REPORT.id),
  total: u64(REPORT.total),
  data: counted(REPORT.count, REPORT.data, REPORT_PAGE_BYTES),
});

// FALLOCATE

export interface FallocateRequest {
  /** FALLOC_FL_* bits. */
  mode: number;
  offset: number;
  length: number;
}

export const { encode: encodeFallocateRequest, decode: decodeFallocateRequest } = request<FallocateRequest>(
  FALLOCATE.size,
  {
    mode: u32(FALLOCATE.mode),
    offset: u64(FALLOCATE.offset),
    length: u64(FALLOCATE.length),
  },
);

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

export const { encode: encodeEventsRequest, decode: decodeEventsRequest } = request<EventsRequest>(
  EVENTS.size,
  {
    cursor: u64(EVENTS.cursor),
    waitMs: u32(EVENTS.waitMs),
  },
);

export const { encode: encodeEventsAnswer, decode: decodeEventsAnswer } = answer<EventsAnswer>(EVENTS.size, {
  cursor: u64(EVENTS.cursor),
  lost: u64(EVENTS.lost),
  count: u32(EVENTS.count),
  data: counted(EVENTS.bytes, EVENTS.data, EVENTS_PAGE_BYTES),
});

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

export const { encode: encodeScrubRequest, decode: decodeScrubRequest } = request<ScrubRequest>(SCRUB.size, {
  maxBytes: u64(SCRUB.maxBytes),
  flags: u32(SCRUB.flags),
});

export const { encode: encodeScrubAnswer, decode: decodeScrubAnswer } = answer<ScrubAnswer>(SCRUB.size, {
  from: u64(SCRUB.from),
  position: u64(SCRUB.position),
  size: u64(SCRUB.regionSize),
  report: u64(SCRUB.report),
  damaged: u64(SCRUB.damaged),
});

// OWNERS

/** How far a list of owners has come: whatever the daemon makes of it, OWNERS_START.length numbers. */
export type OwnersPlace = readonly number[];

/** From the start. */
export const OWNERS_START: OwnersPlace = [0, 0, 0, 0, 0];

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

const OWNERS_PLACE = array(OWNERS_START.length, 8, (at) => u64(OWNERS.place + at));

export const { encode: encodeOwnersRequest, decode: decodeOwnersRequest } = request<OwnersRequest>(
  OWNERS.size,
  {
    offset: u64(OWNERS.offset),
    length: lengthOrAll(OWNERS.length),
    place: OWNERS_PLACE,
  },
);

export const { encode: encodeOwnersAnswer, decode: decodeOwnersAnswer } = answer<OwnersAnswer>(OWNERS.size, {
  place: OWNERS_PLACE,
  report: u64(OWNERS.report),
  count: u32(OWNERS.count),
  data: counted(OWNERS.bytes, OWNERS.data, OWNERS_PAGE_BYTES),
  last: flag(OWNERS.last),
});
