import createDebug from 'debug';
import type { VictimDocument } from '../control/schema.js';
import type { FailureJob, FileOwner, FileRange, OwnerWithPaths } from '../vfs/jobs.js';
import { killProcs, type Signaller } from './deliver.js';
import type { DeviceId, ProcessTable } from './procfs.js';
import { type FailureReport, type FailureTimes, makeReport } from './report.js';
import { collectVictims, type Victims } from './victims.js';

const debug = createDebug('rmapfs:failure');

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
}

/**
 * What happens when memory fails, in the kernel's order. The core has done the first half when it sends the
 * job, and has made the bad blocks durable:
 *
 *     kernel                                        rmapfs
 *     memory_failure_dev_pagemap                    the POISON ioctl (src/vfs)
 *     dax_holder_notify_failure                     device range -> layers -> filesystem range (core)
 *     xfs_dax_notify_failure                        Engine.poison (core)
 *     xfs_rmap_query_range -> xfs_dax_failure_fn    Engine.owners (core): FailureJob.owners
 *     mf_dax_kill_procs:
 *       collect_procs_fsdax                         collectProcs     while the pages are still present
 *       unmap_mapping_range                         unmapPages       FUSE_NOTIFY_INVAL_INODE
 *       kill_procs                                  killProcs        by policy
 *     xfs_force_shutdown (metadata were hit)        done by the core; data owners are told all the same
 *
 * The kernel does the last three steps owner by owner. Here each step is done for all owners before the
 * next: one pass over the processes instead of one for each owner, and no process that was told can touch a
 * page of another owner that is still mapped. A latent error is one that nobody has met yet: nobody is told.
 */
export function notifyFailure(job: FailureJob, env: FailureEnv): FailureReport {
  const owners = job.latent ? [] : fileOwners(job);
  const started = env.nowMicros();
  const found = collectProcs(owners, env);
  const collected = env.nowMicros();
  if (job.policy !== 'notify') unmapPages(owners, env.invalidator);
  const unmapped = env.nowMicros();
  const victims = tellProcs(found, job, env);
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

function fileOwners(job: FailureJob): FileOwner[] {
  // The attribute fork is never mapped.
  return job.owners.filter(
    (owner): owner is OwnerWithPaths & FileOwner => owner.kind === 'file' && owner.fork === 'data',
  );
}

/** Must run before the pages are invalidated: afterwards no process has them present. */
function collectProcs(owners: readonly FileOwner[], env: FailureEnv): Victims {
  if (owners.length > 0) return collectVictims(env.table, env.device, owners);
  return { victims: [], omitted: 0, scan: { processes: 0, ended: 0, unreadable: 0 } };
}

/**
 * The next touch of a page sends FUSE_READ, which the core answers with EIO: SIGBUS for the process. A dirty
 * page is written back first; the core answers EIO for the bad block, so that old contents never heal it.
 */
function unmapPages(owners: readonly FileOwner[], invalidator: Invalidator): void {
  for (const owner of owners) {
    invalidator.invalidate({ ino: owner.ino, offset: owner.fileOffset, length: owner.length });
  }
}

function tellProcs(found: Victims, job: FailureJob, env: FailureEnv): VictimDocument[] {
  return killProcs(found.victims, job.policy, env.table, env.signaller);
}
