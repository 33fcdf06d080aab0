import type { PoisonDocument, VictimDocument } from '../control/schema.js';
import type { FailureJob } from './job.js';
import type { Victims } from './victims.js';

/** How long the steps of a failure took, in microseconds. */
export interface FailureTimes {
  scan: number;
  invalidate: number;
  deliver: number;
}

/**
 * The document of a failure, as `rmapfs poison --json` prints it. Beyond the contract it says how much of the
 * machine was looked at: a report without a victim means little when half of the processes were unreadable.
 */
export interface FailureReport extends PoisonDocument {
  policy: FailureJob['policy'];
  /** Bytes that were not bad before. */
  newlyBad: number;
  metadata: FailureJob['metadata'];
  /** Victims beyond the limit, which were neither listed nor signalled. */
  victimsOmitted: number;
  scan: Victims['scan'];
  micros: FailureTimes;
}

export function makeReport(
  job: FailureJob,
  found: Victims,
  victims: VictimDocument[],
  micros: FailureTimes,
): FailureReport {
  return {
    physical: job.physical,
    length: job.length,
    latent: job.latent,
    policy: job.policy,
    owners: job.owners,
    victims,
    victimsOmitted: found.omitted,
    shutdown: job.metadata.lost !== null,
    newlyBad: job.newlyBad,
    metadata: job.metadata,
    scan: found.scan,
    micros,
  };
}

/** The report as JSON; where the core keeps the owners that it lists, without them. */
export function reportText({ allOwners }: FailureJob, report: FailureReport): string {
  if (allOwners === undefined) return JSON.stringify(report);
  const { owners: _some, ...rest } = report;
  return JSON.stringify({ ...rest, ownersOmitted: allOwners.omitted });
}
