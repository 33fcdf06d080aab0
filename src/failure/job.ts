import type { Policy } from '../control/protocol.js';
import type { FoundBy } from '../control/schema.js';
import type { MetadataDamage, Owner } from '../engine/api.js';
import type { Ino } from '../types.js';

/** A byte range of a file whose cached pages must go (FUSE_NOTIFY_INVAL_INODE). */
export interface FileRange {
  ino: Ino;
  /** -1: only the cached attributes. */
  offset: number;
  length: number;
  /** The pages stay when a process maps the file, and then only the attributes go. */
  unlessMapped?: true;
}

/** `policy`: the file's own, where it has one that counts. */
export type FileOwner = Extract<Owner, { kind: 'file' }> & { policy?: Policy };
export type OwnerWithPaths =
  | (FileOwner & { paths: string[]; open: boolean })
  | Exclude<Owner, { kind: 'file' }>;

/** A failure that the core has recorded in the region; main tells whom it concerns and answers the ioctl. */
export interface FailureJob {
  kind: 'failure';
  /** The FUSE request to answer with a POISON record, once all is delivered; null when none waits for that. */
  unique: bigint | null;
  /** The record of the ioctl that is answered, as it came: the answer changes its own fields only. */
  record?: Uint8Array;
  /** A complete reply to send instead, to the request that found the error; null when it has its answer. */
  reply: Uint8Array | null;
  /** How it became known. */
  by: FoundBy;
  /** The thread that met it, or 0. */
  pid: number;
  /** The process (0: none) that met it in a page fault: the kernel signals that one itself. */
  accessor: number;
  /** Under this id the report must be stored (message 'report'). */
  report: number;
  physical: number;
  length: number;
  latent: boolean;
  policy: Policy;
  owners: OwnerWithPaths[];
  /**
   * Where `owners` are those only that the main thread has work with: how many there are, and how many of them the
   * report leaves out. The core keeps the text of the others: thousands of objects would take long to cross.
   */
  allOwners?: { count: number; omitted: number };
  /**
   * Indexes of the owners of whose file the kernel may have pages: nobody can have mapped and touched any other.
   * Absent: all.
   */
  cached?: number[];
  /** Bytes that were not bad before. With none nothing has changed, and nobody is told. */
  newlyBad: number;
  /** What became of metadata in the range. The filesystem is yet to be shut down when some were lost. */
  metadata: MetadataDamage;
}
