import { BAD_LATENT } from '../engine/layout.js';
import { isTime } from '../engine/record-fault.js';
import { usableNodes } from './chunks.js';
import type { DraftRecord } from './draft.js';
import { RunIndex } from './runs.js';
import { confirmedFree, knownBlocks } from './space.js';
import { faultOf, type Repair } from './state.js';

const NOTHING = new RunIndex([]);

interface BadRun {
  readonly record: DraftRecord;
  readonly runs: readonly { readonly start: number; readonly end: number }[];
}

/**
 * Brings the records of the bad blocks into order. Where a record begins is believed, so that its first block stays
 * on the list; how long it is only as far as the next record and the free blocks leave room, and not at all where it
 * ends outside of the region. Nodes that were read are good. A block that was bad and is left out by this has no
 * owner, or fails again.
 */
export function settleBadBlocks(r: Repair): void {
  const { badblock } = r.drafts;
  const wrong = wrongRuns(r);
  for (const { record } of wrong) badblock.remove(record.key);
  for (const { record, runs } of wrong) {
    const [, flags, low, high] = Array.from(record.value);
    const since = isTime(high, 0) ? [low, high] : [0, 0];
    for (const { start, end } of runs) badblock.put([start], [end - start, flags & BAD_LATENT, ...since]);
    const what = `the record of bad blocks at ${record.key[0]}`;
    r.actions.add('badblock', runs.length > 0 ? `${what} is mended` : `${what} has no blocks and is removed`);
  }
  if (r.scan.incomplete.has('badblock')) {
    r.actions.add('badblock', 'a part of the list of bad blocks is lost: run a scrub on the next mount');
  }
}

/** The records that cannot stay, and what becomes of each. */
function wrongRuns(r: Repair): BadRun[] {
  const { blocks } = r.scan.media;
  const free = confirmedFree(r);
  const nodes = RunIndex.of(usableNodes(r).map((block) => ({ start: block, length: 1 })));
  const records = [...r.drafts.badblock.records()];
  return records.flatMap((record, i): BadRun[] => {
    const [start] = record.key;
    const end = start + record.value[0];
    const next = records[i + 1]?.key[0] ?? blocks;
    const last = end > blocks ? start + 1 : Math.min(end, next);
    if (start >= blocks || end === start) return [{ record, runs: [] }];
    const rest = (free ?? NOTHING).gaps(start + 1, last);
    const claimed = joined([{ start, end: start + 1 }, ...rest]);
    const runs = claimed.flatMap((run) => [...nodes.gaps(run.start, run.end)]);
    const isSame = runs.length === 1 && runs[0].end === end;
    return isSame && faultOf(r, 'badblock', record) === null ? [] : [{ record, runs }];
  });
}

/** Runs in order, with those that touch as one. */
function joined(runs: readonly { start: number; end: number }[]): { start: number; end: number }[] {
  const whole: { start: number; end: number }[] = [];
  for (const { start, end } of runs) {
    const before = whole.at(-1);
    if (before?.end === start) before.end = end;
    else whole.push({ start, end });
  }
  return whole;
}

/** Puts blocks on the list that nobody claims and that were not free either: they were in quarantine. */
function addBadBlocks(r: Repair, runs: Iterable<{ start: number; end: number }>): void {
  for (const { start, end } of runs) {
    r.drafts.badblock.put([start], [end - start, 0, r.now % 2 ** 32, Math.floor(r.now / 2 ** 32)]);
    r.actions.add('badblock', `blocks ${start}..${end} were not free and had no owner: they are bad again`);
  }
}

/**
 * Keeps a block out of use of which the record in the list of bad blocks is gone: it has no owner, and the free tree,
 * which its count in the superblock confirms, does not have it either.
 */
export function keepQuarantine(r: Repair): void {
  const { incomplete, media } = r.scan;
  if (incomplete.has('rmap') && (incomplete.has('bmap') || incomplete.has('chunk'))) return;
  if (confirmedFree(r) === null) return;
  const known = RunIndex.of(knownBlocks(r));
  addBadBlocks(r, [...known.gaps(0, media.blocks)]);
}
