import { BAD_LATENT } from '../engine/layout.js';
import type { DraftRecord } from './draft.js';
import type { Repair } from './state.js';

const TIME_HIGH_MAX = 2 ** 21;

/** Brings the records of the bad blocks into order; no block comes off the list. */
export function settleBadBlocks(r: Repair): void {
  const { badblock } = r.drafts;
  const { blocks } = r.scan.media;
  const wrong: { readonly record: DraftRecord; readonly start: number; readonly length: number }[] = [];
  let end = 0;
  for (const record of badblock.records()) {
    const [start] = record.key;
    const from = Math.max(start, end);
    const to = Math.min(start + record.value[0], blocks);
    const isSound = (record.value[1] & ~BAD_LATENT) === 0 && record.value[3] < TIME_HIGH_MAX;
    end = Math.max(end, to);
    if (isSound && from === start && to > from && to === start + record.value[0]) continue;
    wrong.push({ record, start: from, length: Math.max(0, to - from) });
  }
  for (const { record } of wrong) badblock.remove(record.key);
  for (const { record, start, length } of wrong) {
    const [, flags, low, high] = Array.from(record.value);
    const since = high < TIME_HIGH_MAX ? [low, high] : [0, 0];
    if (length > 0) badblock.put([start], [length, flags & BAD_LATENT, ...since]);
    const what = `the record of bad blocks at ${record.key[0]}`;
    r.actions.add('badblock', length > 0 ? `${what} is mended` : `${what} has no blocks and is removed`);
  }
  if (r.scan.incomplete.has('badblock')) {
    r.actions.add('badblock', 'a part of the list of bad blocks is lost: run a scrub on the next mount');
  }
}

/** Puts blocks on the list that nobody claims and that were not free either: they were in quarantine. */
export function addBadBlocks(r: Repair, runs: Iterable<{ start: number; end: number }>): void {
  for (const { start, end } of runs) {
    r.drafts.badblock.put([start], [end - start, 0, r.now % 2 ** 32, Math.floor(r.now / 2 ** 32)]);
    r.actions.add('badblock', `blocks ${start}..${end} were not free and had no owner: they are bad again`);
  }
}
