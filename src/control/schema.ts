import { z } from 'zod/v3';

/**
 * The JSON documents of the REPORT ioctl. The daemon writes them and the client checks them; fields may be
 * added, so unknown ones are kept. Sizes and offsets are bytes.
 *
 * Every command and every daemon loads this: zod's first interface is a third of its present one to load
 * (docs/DECISIONS.md).
 */

const loose = <T extends z.ZodRawShape>(shape: T) => z.object(shape).passthrough();

const size = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const count = z.number().int().nonnegative();

export const InfoDocument = loose({
  label: z.string(),
  uuid: z.string(),
  /** Size of the filesystem in bytes. */
  size,
  blockSize: count,
  blocks: loose({
    total: count,
    free: count,
    /** Blocks with two owners and more. */
    shared: count,
    /** Blocks that the files would take more without sharing: the sum of (owners - 1). */
    saved: count,
    bad: count,
  }),
  inodes: count,
  lastTransaction: count,
  /** Mounted: whether the unmount before this mount was clean. Unmounted: whether the last one was. */
  clean: z.boolean(),
  shutdown: z.boolean(),
  /** Why the last mount was shut down, when it was. Unmounted: the same, as the superblock has it. */
  lastShutdown: z.string().nullable().optional(),
  readOnly: z.boolean(),
  /** Mounted only. */
  pid: count.optional(),
  region: z.string().optional(),
  policy: z.string().optional(),
});
export type InfoDocument = z.infer<typeof InfoDocument>;

/** Where in the region an owner's part lies. */
const range = { physical: size, length: size, /** A part of it is bad. */ bad: z.boolean().optional() };

export const FileOwnerDocument = loose({
  kind: z.literal('file'),
  ino: count,
  /** Paths from the root of the mount ("/a/b"); empty when the file has no link any more. */
  paths: z.array(z.string()),
  fileOffset: size,
  ...range,
  fork: z.enum(['data', 'attr']),
  unwritten: z.boolean().optional(),
  shareCount: count,
  /** Some process has it open, or maps it. */
  open: z.boolean(),
});
export type FileOwnerDocument = z.infer<typeof FileOwnerDocument>;

export const OwnerDocument = z.discriminatedUnion('kind', [
  FileOwnerDocument,
  loose({ kind: z.literal('metadata'), tree: z.string(), ...range }),
  loose({ kind: z.literal('superblock'), ...range }),
  loose({ kind: z.literal('free'), ...range }),
]);
export type OwnerDocument = z.infer<typeof OwnerDocument>;

/** The document of REPORT_KIND.owners: in physical order, a shared range once an owner. */
export const OwnersDocument = z.array(OwnerDocument);

/** The document of REPORT_KIND.file. Of a file that is gone: no paths, and not open. */
export const FileDocument = loose({ ino: count, paths: z.array(z.string()), open: z.boolean() });
export type FileDocument = z.infer<typeof FileDocument>;

export const VictimDocument = loose({
  pid: count,
  tid: count,
  comm: z.string(),
  ino: count,
  /** Hexadecimal, "0x7f...": the page's address in that process. */
  address: z.string().regex(/^0x[0-9a-f]+$/),
  /** Least significant bit of the address that counts: 12 for a page of 4096 bytes. */
  lsb: count,
  /** "SIGBUS", "SIGKILL", or "none". */
  signal: z.string(),
  /** Name of the si_code: "BUS_MCEERR_AO" ... */
  code: z.string(),
  means: z.enum(['ptrace', 'client', 'kill', 'sigkill', 'none']),
  /** "delivered", or why not. */
  result: z.string(),
});
export type VictimDocument = z.infer<typeof VictimDocument>;

/** The document that POISON answers the id of. */
export const PoisonDocument = loose({
  ...range,
  latent: z.boolean(),
  owners: z.array(OwnerDocument),
  victims: z.array(VictimDocument),
  shutdown: z.boolean(),
  /** Owners beyond the limit of a report, which are not in `owners`; whoever of them had to be told was told. */
  ownersOmitted: count.optional(),
  /** Bytes that were not bad before: with 0 nothing was changed and nobody told. */
  newlyBad: size.optional(),
  /** Tree nodes in the range that were made again elsewhere, and why the filesystem has shut down, if it has. */
  metadata: loose({
    repaired: z.array(loose({ tree: z.string(), ...range })),
    lost: z.string().nullable(),
  }).optional(),
  /** Processes looked at, those that ended meanwhile, and those of other users when the daemon is not root's. */
  scan: z
    .object({ processes: z.number().int(), ended: z.number().int(), unreadable: z.number().int() })
    .optional(),
});
export type PoisonDocument = z.infer<typeof PoisonDocument>;

export const StatsDocument = z.record(z.string(), z.unknown());
export type StatsDocument = z.infer<typeof StatsDocument>;

/** One entry of `rmapfs badblocks --json`. `since`: seconds since 1970. */
export const BadBlockDocument = z.object({ ...range, latent: z.boolean(), since: z.number().int() });
export type BadBlockDocument = z.infer<typeof BadBlockDocument>;

/** What every failure event carries. */
const stamp = {
  /** Position in the order of events of this mount, from 1 on: the cursor behind this event. */
  seq: count,
  /** Seconds since 1970, with a fraction. */
  time: z.number(),
  /** How many events of the same kind that continued each other were put together in this one. */
  count,
};

/** How an error became known. */
export const FoundBy = z.enum(['poison', 'access', 'scrub']);
export type FoundBy = z.infer<typeof FoundBy>;

/** A failure event: one line of `rmapfs events --follow --json`. */
export const EventDocument = z.discriminatedUnion('type', [
  /** Memory is known to have failed, and whoever had to be told has been. */
  loose({
    ...stamp,
    type: z.literal('media-error'),
    ...range,
    by: FoundBy,
    /** The thread that met a latent error, or the scrub; absent when nobody did. */
    pid: count.optional(),
    policy: z.string(),
    owners: count,
    victims: count,
  }),
  /** The bytes of a file that the failure took: one for each owner of the range. */
  loose({
    ...stamp,
    type: z.literal('data-lost'),
    ino: count,
    paths: z.array(z.string()),
    fileOffset: size,
    ...range,
  }),
  loose({ ...stamp, type: z.literal('healed'), ...range, by: z.enum(['write', 'unpoison']) }),
  loose({ ...stamp, type: z.literal('metadata-repaired'), ...range, tree: z.string() }),
  loose({ ...stamp, type: z.literal('shutdown'), reason: z.string() }),
  /** The mount began with blocks that were known to be bad. `length`: all of them, in bytes. */
  loose({ ...stamp, type: z.literal('remount-with-bad-blocks'), ranges: count, length: size }),
]);
export type EventDocument = z.infer<typeof EventDocument>;

/** `rmapfs events --json`. `lost`: events that were dropped before a reader came. */
export const EventsDocument = z.object({ lost: count, events: z.array(EventDocument) });
export type EventsDocument = z.infer<typeof EventsDocument>;

/** Metadata that a scrub found damaged, in an array. */
export const DamagedDocument = z.object({ physical: size, tree: z.string(), detail: z.string() });
export type DamagedDocument = z.infer<typeof DamagedDocument>;
