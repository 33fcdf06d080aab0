import { IOCTL_PAGE_BYTES } from '../limits.js';

/**
 * The control interface: ioctls on any file or directory of the mount. Everything is little-endian; sizes and
 * offsets are bytes, u64 unless said otherwise. A FUSE ioctl carries exactly _IOC_SIZE bytes each way and
 * no pointers, so a long answer is paged by a cursor. docs/CONTROL.md describes it for C programs.
 */

/** The ioctl type letter, 'R'. */
export const IOC_TYPE = 0x52;
const IOC_WRITE = 1;
const IOC_READ = 2;

const ioc = (direction: number, nr: number, size: number): number =>
  ((direction << 30) | (size << 16) | (IOC_TYPE << 8) | nr) >>> 0;

/** A capability for the contents of an open file: taken on the source's handle, shown on the destination's. */
export const TOKEN_BYTES = 16;

/** Byte offsets in the records; `size` is the whole record. */
export const CLONE_TOKEN = { token: 0, size: 16 } as const;
export const CLONE = { token: 0, srcOffset: 16, dstOffset: 24, length: 32, size: 40 } as const;
export const DEDUPE = {
  token: 0,
  srcOffset: 16,
  dstOffset: 24,
  length: 32,
  /** Out. */
  bytesDeduped: 40,
  /** Out, i32: 0 same, 1 differs, or a negative errno. */
  status: 48,
  size: 56,
} as const;

/** Extents of the file the ioctl is made on. In: cursor = file offset to start at. */
export const EXTENTS = {
  cursor: 0,
  /** Out, u32: number of records. */
  count: 8,
  /** Out, u32: 1 when there is nothing after them. */
  last: 12,
  records: 16,
  record: { fileOffset: 0, physical: 8, length: 16, flags: 24, size: 32 },
  size: IOCTL_PAGE_BYTES,
} as const;
export const EXTENT_FLAG = { shared: 1, unwritten: 2, bad: 4, last: 8 } as const;

/**
 * The whole region in physical order; a shared extent once an owner. In: the cursor of the last record seen
 * (all zero to start); records at or before it are passed over.
 */
export const FSMAP = {
  physical: 0,
  owner: 8,
  fileOffset: 16,
  /** Out, u32. */
  count: 24,
  /** Out, u32. */
  last: 28,
  records: 32,
  record: {
    physical: 0,
    length: 8,
    /** Inode number, or FSMAP_OWNER. */
    owner: 16,
    fileOffset: 24,
    /** u32, FSMAP_FLAG. */
    flags: 32,
    /** u32: the tree's id for metadata (0 = not a tree node at present), the share count for files. */
    detail: 36,
    size: 40,
  },
  size: IOCTL_PAGE_BYTES,
} as const;
export const FSMAP_OWNER = {
  superblock: 0xffff_ffff,
  metadata: 0xffff_fffe,
  unknown: 0xffff_fffd,
  free: 0xffff_fffc,
} as const;
export const FSMAP_FLAG = { shared: 1, unwritten: 2, bad: 4, attrFork: 8 } as const;

export const BADBLOCKS = {
  /** In: physical offset to start at. */
  cursor: 0,
  count: 8,
  last: 12,
  records: 16,
  record: { physical: 0, length: 8, since: 16, /** u32 */ latent: 24, size: 32 },
  size: IOCTL_PAGE_BYTES,
} as const;

export const POISON = {
  /** In: physical offset, or offset in the file the ioctl is made on (POISON_FLAG.file). */
  offset: 0,
  /** In. Offset 0 and length 2^64-1 mean the whole device. */
  length: 8,
  /** In, u32. */
  flags: 16,
  /** In, u32: index in POLICIES, 0 = the mount's default. */
  policy: 20,
  /** Out: id of the report, to be read with REPORT. */
  report: 24,
  /** Out, u32. */
  owners: 32,
  /** Out, u32. */
  victims: 36,
  size: 40,
} as const;
export const POISON_FLAG = { latent: 1, file: 2 } as const;
/** Policy numbers; 0 is "as mounted". */
export const POLICIES = ['default', 'early', 'late', 'kill', 'notify'] as const;
export type Policy = Exclude<(typeof POLICIES)[number], 'default'>;

export const UNPOISON = {
  offset: 0,
  length: 8,
  /** u32, POISON_FLAG.file. */
  flags: 16,
  /** Out: bytes that were bad and are not any more. */
  cleared: 24,
  size: 32,
} as const;

/**
 * JSON documents of any length. In: id 0 makes a new document of `kind` (with arguments a and b) and answers
 * its first page; another id continues at `offset`. Out: id, total and count bytes of data. The document is
 * freed when its last byte was read, or when too many newer ones exist (then ESTALE).
 */
export const REPORT = {
  kind: 0,
  a: 8,
  b: 16,
  id: 24,
  offset: 32,
  total: 40,
  /** Out, u32: bytes in this page. */
  count: 48,
  data: 56,
  size: IOCTL_PAGE_BYTES,
} as const;
/** owners: a = offset, b = length. poison: only by the id that POISON answered. file: a = inode number. */
export const REPORT_KIND = { info: 1, owners: 2, stats: 3, events: 4, poison: 5, file: 6 } as const;

/** FALLOC_FL_COLLAPSE_RANGE, INSERT_RANGE and UNSHARE_RANGE: the modes that the kernel keeps from FUSE. */
export const FALLOCATE = {
  /** u32, bits of <linux/falloc.h>. */
  mode: 0,
  offset: 8,
  length: 16,
  size: 24,
} as const;

/** What the calling process asks for itself, as prctl(2) PR_MCE_KILL: 0 late, 1 early, 2 default. */
export const MCE_KILL = {
  /** u32. */
  policy: 0,
  /** u32, 0. */
  pad: 4,
  size: 8,
} as const;

/**
 * Failure events after a cursor, as JSON documents, one a line. In: the cursor (0 at first) and how long to wait when
 * there is none yet. Out: the cursor of the last one, how many were dropped before it, and the events.
 */
export const EVENTS = {
  cursor: 0,
  /** Out: events that came after the cursor and are not kept any more. */
  lost: 8,
  /** In, u32: milliseconds; 0 answers at once. At most EVENT_WAIT_MAX_MS. */
  waitMs: 16,
  /** Out, u32: number of events. */
  count: 20,
  /** Out, u32: bytes in data. */
  bytes: 24,
  data: 32,
  size: IOCTL_PAGE_BYTES,
} as const;

/**
 * One step of a scrub: reads on from where the last step of this mount ended, up to a latent error. Everyone was told
 * of that one before the answer comes.
 */
export const SCRUB = {
  /** In: bytes to read at most; at least one block is read. */
  maxBytes: 0,
  /** In, u32: SCRUB_FLAG. */
  flags: 8,
  /** Out: the range that was read, [from, position). At regionSize it is done, and the next step begins anew. */
  from: 16,
  position: 24,
  regionSize: 32,
  /** Out: id of the poison document of a latent error, or 0. */
  report: 40,
  /** Out: id of a document with damaged metadata, or 0. */
  damaged: 48,
  size: 56,
} as const;
export const SCRUB_FLAG = { restart: 1 } as const;

/**
 * Owners of a physical range as JSON documents, one a line, for any number of them. In: the range and the place that
 * the answer before gave (five u64, whatever they mean to the daemon; zeros at first). Out: the next place, and as many
 * documents as fit. One that fits into no page is alone, as a document to be read with REPORT.
 */
export const OWNERS = {
  offset: 0,
  /** Offset 0 and length 2^64-1 mean the whole device. */
  length: 8,
  /** In and out. */
  place: 16,
  /** Out: id of a document with one owner, or 0. */
  report: 56,
  /** Out, u32: owners in data. */
  count: 64,
  /** Out, u32: bytes in data. */
  bytes: 68,
  /** Out, u32: 1 when there is nothing after them. */
  last: 72,
  data: 80,
  size: IOCTL_PAGE_BYTES,
} as const;

/** FITRIM of <linux/fs.h>, and the offsets of struct fstrim_range: three u64. */
export const FITRIM = 0xc018_5879;
export const FSTRIM = { start: 0, length: 8, least: 16, size: 24 } as const;

/** The request numbers, as ioctl(2) takes them. */
export const IOC = {
  cloneToken: ioc(IOC_READ, 1, CLONE_TOKEN.size),
  clone: ioc(IOC_WRITE, 2, CLONE.size),
  dedupe: ioc(IOC_READ | IOC_WRITE, 3, DEDUPE.size),
  extents: ioc(IOC_READ | IOC_WRITE, 4, EXTENTS.size),
  fsmap: ioc(IOC_READ | IOC_WRITE, 5, FSMAP.size),
  badblocks: ioc(IOC_READ | IOC_WRITE, 6, BADBLOCKS.size),
  poison: ioc(IOC_READ | IOC_WRITE, 7, POISON.size),
  unpoison: ioc(IOC_READ | IOC_WRITE, 8, UNPOISON.size),
  report: ioc(IOC_READ | IOC_WRITE, 9, REPORT.size),
  fallocate: ioc(IOC_WRITE, 10, FALLOCATE.size),
  mceKill: ioc(IOC_WRITE, 24, MCE_KILL.size),
  scrub: ioc(IOC_READ | IOC_WRITE, 16, SCRUB.size),
  events: ioc(IOC_READ | IOC_WRITE, 17, EVENTS.size),
  owners: ioc(IOC_READ | IOC_WRITE, 18, OWNERS.size),
} as const;
