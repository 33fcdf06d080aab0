import type { ControlClient } from '../control/client.js';
import { POISON_FLAG, POLICIES, type Policy } from '../control/protocol.js';
import type { PoisonDocument } from '../control/schema.js';
import { FAULT_BLOCKS_MAX } from '../limits.js';
import { BLOCK_SIZE, MAX_INO } from '../types.js';
import { failure } from './errors.js';
import { sample } from './random.js';

/** Which of many blocks are to fail. Without `count` and `everyNth`: all of them. */
export interface FaultChoice {
  /** A file whose blocks they are chosen from; without it all blocks that hold data of files. */
  owner?: string;
  /** So many blocks, drawn with the seed. */
  random?: { count: number; seed: number };
  /** The nth block, the 2nth ... */
  everyNth?: number;
}

/** What every chosen block meets. */
export interface FaultManner {
  /** As mounted when absent. */
  policy?: Policy;
  latent?: boolean;
}

/** A part of the region, in bytes. */
export interface FaultRange {
  physical: number;
  length: number;
}

/** What was done: with the same contents of the region, the same choice does it again. */
export interface FaultRun {
  /** Blocks that the choice was made from. */
  candidates: number;
  ranges: FaultRange[];
  reports: PoisonDocument[];
}

/** Chooses blocks and poisons them, a run of neighbours at a time. `asked` is for the sentence when it cannot. */
export function runFaults(
  client: ControlClient,
  owner: ControlClient | null,
  choice: FaultChoice,
  manner: FaultManner,
  asked: string,
): FaultRun {
  const candidates = owner === null ? dataRanges(client) : ownedRanges(owner);
  const total = candidates.reduce((sum, range) => sum + range.length / BLOCK_SIZE, 0);
  const ranges = choose(candidates, total, choice, asked);
  const reports = ranges.map(({ physical, length }) =>
    client.poison({
      offset: physical,
      length,
      flags: manner.latent ? POISON_FLAG.latent : 0,
      policy: POLICIES.indexOf(manner.policy ?? 'default'),
    }),
  );
  return { candidates: total, ranges, reports };
}

/** The blocks of the region that hold data of files, each once, in physical order. */
function dataRanges(client: ControlClient): FaultRange[] {
  const ranges: FaultRange[] = [];
  for (const page of client.fsmap()) {
    for (const record of page) {
      if (record.owner > MAX_INO) continue;
      const last = ranges.at(-1);
      const end = last === undefined ? 0 : last.physical + last.length;
      // The next owner of a shared extent comes with the same blocks.
      const from = Math.max(record.physical, end);
      const length = record.physical + record.length - from;
      if (length <= 0) continue;
      if (last !== undefined && from === end) last.length += length;
      else ranges.push({ physical: from, length });
    }
  }
  return ranges;
}

/** The blocks of one file, in the order of the file. */
function ownedRanges(file: ControlClient): FaultRange[] {
  const ranges: FaultRange[] = [];
  for (const page of file.extents()) {
    for (const { physical, length } of page) ranges.push({ physical, length });
  }
  return ranges;
}

function choose(
  candidates: readonly FaultRange[],
  total: number,
  choice: FaultChoice,
  asked: string,
): FaultRange[] {
  const { random, everyNth } = choice;
  if (total === 0) throw failure(asked, 'there is no block that holds data; write some first');
  const count = random?.count ?? Math.floor(total / (everyNth ?? 1));
  if (count > total) throw failure(asked, `there are ${total} blocks only; ask for as many at most`);
  if (count === 0) throw failure(asked, `there are ${total} blocks only; choose a smaller n`);
  if (count > FAULT_BLOCKS_MAX) {
    throw failure(asked, `that is ${count} blocks; at most ${FAULT_BLOCKS_MAX} can be chosen at a time`);
  }
  const numbers =
    random !== undefined
      ? sample(random.count, total, random.seed)
      : Array.from({ length: count }, (_, i) => (i + 1) * (everyNth ?? 1) - 1);
  return blocksToRanges(candidates, numbers);
}

/** The blocks with these numbers, counted through the candidates; neighbours in the region are one range. */
function blocksToRanges(candidates: readonly FaultRange[], numbers: readonly number[]): FaultRange[] {
  const ranges: FaultRange[] = [];
  let before = 0;
  let i = 0;
  for (const { physical, length } of candidates) {
    const blocks = length / BLOCK_SIZE;
    for (; i < numbers.length && numbers[i] < before + blocks; i++) {
      const at = physical + (numbers[i] - before) * BLOCK_SIZE;
      const last = ranges.at(-1);
      if (last !== undefined && last.physical + last.length === at) last.length += BLOCK_SIZE;
      else ranges.push({ physical: at, length: BLOCK_SIZE });
    }
    before += blocks;
  }
  return ranges;
}
