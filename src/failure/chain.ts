import createDebug from 'debug';
import type { Policy } from '../control/protocol.js';
import type { MetadataDamage } from '../engine/api.js';
import { CorruptionError } from '../errors.js';
import { REPORT_OWNERS_MAX } from '../limits.js';
import type { Layer, MediaRange } from '../media/layer.js';
import { killProcs, type Signaller } from './deliver.js';
import type { FailureJob, FileOwner, FileRange, OwnerWithPaths } from './job.js';
import type { LatentMappers } from './latent.js';
import type { MceKillChoices } from './mce-kill.js';
import type { DeviceId, ProcessTable } from './procfs.js';
import { type FailureReport, type FailureTimes, makeReport } from './report.js';
import { collectVictims, type Victim, type Victims } from './victims.js';

const debug = createDebug('rmapfs:failure');

/**
 * What happens when memory fails, in the kernel's order and with its names. A failure comes from below, from a
 * range of a device, and goes up until processes are told:
 *
 *     kernel                                        here
 *     memory_failure_dev_pagemap                    deviceFailed      a range of a device
 *     dax_holder_notify_failure (device mapper)     throughLayers     what lies on it
 *     xfs_dax_notify_failure                        notifyFailure     the superblock is told; bad from now on
 *     xfs_rmap_query_range                          rmapQuery         who owns it
 *     xfs_dax_failure_fn                            each owner: its range of its file, its policy
 *       mf_dax_kill_procs:
 *         collect_procs_fsdax                       collectProcs      its mapping: while pages are still present
 *         unmap_mapping_range                       unmapPages        FUSE_NOTIFY_INVAL_INODE
 *         kill_procs                                killProcs         kill, or notify, by policy
 *     xfs_force_shutdown                            settleMetadata    after all owners of data
 *
 * The core thread does the steps down to rmapQuery() within one ioctl, so that no request comes between, and hands
 * a FailureJob to the main thread, which does the others with finishFailure().
 *
 * The kernel does the three steps of mf_dax_kill_procs owner by owner. Here each is done for all owners before the
 * next: one pass over the processes instead of one for each owner, and no process that was told can touch a
 * page of another owner that is still mapped. A latent error is one that nobody has met yet: nobody is told. When
 * somebody meets it, or a scrub does, the chain is gone through for that block (src/vfs/latent.ts, scrub.ts).
 */

// ---- in the core ----------------------------------------------------------------------------------------

/** A superblock as the chain sees it: the filesystem that holds a device. */
export interface Holder {
  /**
   * Records the blocks as bad, durably, and makes metadata again that other metadata tell. Returns the blocks that
   * were not bad before.
   */
  record(range: MediaRange, latent: boolean): number;
  /** What the last record() did about metadata. */
  readonly damage: MetadataDamage;
  /**
   * Owners of a range, in physical order, with what the report says of them: the first `most`, then those only of
   * whose file there may be pages. `omitted`: how many others there are.
   */
  owners(range: MediaRange, most: number): { owners: OwnerWithPaths[]; omitted: number };
}

/** The first half of a failure. */
export interface Notified {
  /** Owners in the ranges: the first REPORT_OWNERS_MAX, and all that somebody may have to be told of. */
  owners: OwnerWithPaths[];
  /** How many others there are. */
  omitted: number;
  /** Bytes that were not bad before. With none there is nothing to tell. */
  newlyBad: number;
  metadata: MetadataDamage;
}

/** A range of a device has failed. */
export function deviceFailed(
  device: number,
  failed: MediaRange,
  latent: boolean,
  layer: Layer,
  holder: Holder,
): Notified {
  return notifyFailure(throughLayers(device, failed, layer), latent, holder);
}

function throughLayers(device: number, failed: MediaRange, layer: Layer): readonly MediaRange[] {
  return layer.lostAbove(device, failed);
}

/** The filesystem is told of ranges of its own. */
export function notifyFailure(ranges: readonly MediaRange[], latent: boolean, holder: Holder): Notified {
  const before = rmapQuery(ranges, holder);
  const metadata: MetadataDamage = { repaired: [], lost: null };
  let newlyBad = 0;
  for (const range of ranges) {
    // Nothing can be recorded any more, but the owners of the other ranges are told all the same.
    if (metadata.lost !== null) break;
    newlyBad += holder.record(range, latent);
    metadata.repaired.push(...holder.damage.repaired);
    metadata.lost = holder.damage.lost;
  }
  if (metadata.repaired.length === 0) return { ...before, newlyBad, metadata };
  const { owners, omitted } = rmapQuery(ranges, holder);
  return { owners: ownersAfter(before.owners, owners), omitted, newlyBad, metadata };
}

/** Where the reverse map itself is lost there is nobody who could be named. */
function rmapQuery(ranges: readonly MediaRange[], holder: Holder): Pick<Notified, 'owners' | 'omitted'> {
  const all: OwnerWithPaths[] = [];
  let omitted = 0;
  try {
    for (const range of ranges) {
      const found = holder.owners(range, Math.max(0, REPORT_OWNERS_MAX - all.length));
      // Not spread: there may be more than a call takes arguments.
      for (const owner of found.owners) all.push(owner);
      omitted += found.omitted;
    }
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    debug('owners are not known: %s', error.message);
    return { owners: [], omitted: 0 };
  }
  return { owners: all, omitted };
}

/** Nodes of the reverse map were made again: it is asked anew, but for the nodes, which have moved away. */
function ownersAfter(before: readonly OwnerWithPaths[], after: readonly OwnerWithPaths[]): OwnerWithPaths[] {
  const isNode = (owner: OwnerWithPaths): boolean => owner.kind === 'metadata';
  const owners = [...after.filter((owner) => !isNode(owner)), ...before.filter(isNode)];
  return owners.sort((a, b) => a.physical - b.physical);
}

// ---- in the main thread ---------------------------------------------------------------------------------

/** Drops the cached pages of a file range and takes them out of every process. */
export interface Invalidator {
  /** Returns after dirty pages were written back. An inode that the kernel does not know is no error. */
  invalidate(range: FileRange): void;
}

/**
 * The world that a failure meets. All of it is passed in: the chain runs in a unit test with made-up parts.
 */
export interface FailureEnv {
  /** Device of the mount, as /proc/PID/maps names it. */
  readonly device: DeviceId;
  readonly table: ProcessTable;
  readonly signaller: Signaller;
  readonly invalidator: Invalidator;
  /** A monotonic clock. */
  readonly nowMicros: () => number;
  /** What processes have asked for themselves. */
  readonly choices: MceKillChoices;
  readonly mappers: LatentMappers;
  /** Shuts the filesystem down. Resolves when it is. */
  readonly shutdown: (reason: string) => Promise<void>;
  /** Called for each tree node that was made again at another place, after the owners of data were told. */
  readonly repaired?: (node: MetadataDamage['repaired'][number]) => void;
}

/** Tells whom it concerns, then settles the metadata, even when the telling failed. */
export async function finishFailure(job: FailureJob, env: FailureEnv): Promise<FailureReport> {
  try {
    return tellOwners(job, env);
  } finally {
    await settleMetadata(job, env);
  }
}

/** mf_dax_kill_procs, for all owners of which there are pages. */
function tellOwners(job: FailureJob, env: FailureEnv): FailureReport {
  if (job.latent && job.newlyBad > 0) hide(job, env);
  const owners = job.latent || job.newlyBad === 0 ? [] : fileOwners(job);
  // A mapping keeps its file open.
  const mappable = owners.filter((owner) => owner.open);
  const started = env.nowMicros();
  const mapping = collectProcs(mappable, env);
  env.mappers.forget(mapping.victims);
  const found = withoutAccessor(mapping, job.accessor);
  const collected = env.nowMicros();
  unmapPages(owners, job, env.invalidator);
  const unmapped = env.nowMicros();
  const policyOf = (victim: Victim): Policy =>
    env.choices.apply(mappable[victim.owner].policy ?? job.policy, victim);
  const victims = killProcs(found.victims, policyOf, env.table, env.signaller);
  const told = env.nowMicros();
  const micros: FailureTimes = {
    scan: collected - started,
    invalidate: unmapped - collected,
    deliver: told - unmapped,
  };
  debug(
    '%d+%d: %d owners, %d victims, %o us',
    job.physical,
    job.length,
    owners.length,
    victims.length,
    micros,
  );
  return makeReport(job, found, victims, micros);
}

/** Nobody is told of a latent error, but its pages go, so that the next access meets it: see LatentMappers. */
function hide(job: FailureJob, env: FailureEnv): void {
  const owners = fileOwners(job);
  const mappable = owners.filter((owner) => owner.open);
  env.mappers.remember(collectProcs(mappable, env).victims);
  for (const { ino, fileOffset, length } of owners)
    env.invalidator.invalidate({ ino, offset: fileOffset, length });
}

/** Who met the error in a page fault gets SIGBUS for that from the kernel. */
function withoutAccessor(found: Victims, accessor: number): Victims {
  if (accessor === 0) return found;
  return { ...found, victims: found.victims.filter((victim) => victim.pid !== accessor) };
}

function fileOwners(job: FailureJob): (FileOwner & OwnerWithPaths)[] {
  const owners = job.cached?.map((index) => job.owners[index]) ?? job.owners;
  // The attribute fork is never mapped.
  return owners.filter(
    (owner): owner is OwnerWithPaths & FileOwner => owner.kind === 'file' && owner.fork === 'data',
  );
}

/** Must run before the pages are invalidated: afterwards no process has them present. */
function collectProcs(owners: readonly FileOwner[], env: FailureEnv): Victims {
  if (owners.length > 0) return collectVictims(env.mappers.table(env.table), env.device, owners);
  return { victims: [], omitted: 0, scan: { processes: 0, ended: 0, unreadable: 0 } };
}

/**
 * The next touch of a page sends FUSE_READ, which the core answers with EIO: SIGBUS for the process. A dirty
 * page is written back first; the core answers EIO for the bad block, so that old contents never heal it.
 */
function unmapPages(owners: readonly FileOwner[], job: FailureJob, invalidator: Invalidator): void {
  for (const owner of owners) {
    if ((owner.policy ?? job.policy) === 'notify') continue;
    invalidator.invalidate({ ino: owner.ino, offset: owner.fileOffset, length: owner.length });
  }
}

/**
 * Metadata that could not be made again end the mount, now that every owner of data in the range was told. What could
 * be made again was so before the query, which goes through these very trees.
 */
async function settleMetadata({ metadata }: FailureJob, env: FailureEnv): Promise<void> {
  for (const node of metadata.repaired) env.repaired?.(node);
  if (metadata.lost !== null) await env.shutdown(metadata.lost);
}
