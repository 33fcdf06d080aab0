import { CATALOGUE } from './catalogue.js';
import { dataScript } from './data-script.js';
import { nameScript } from './name-script.js';
import type { Mismatch, Pair, Step } from './pair.js';
import { Random } from './random.js';
import { shrink } from './shrink.js';

/** Operations of one random script. */
const ROUND_OPERATIONS = 250;
/** Every so many scripts one is longer and unmounts in the middle. */
const REMOUNT_EVERY = 8;
const SHRINK_RUNS_MAX = 400;
/** After so many differences the comparison ends. */
const DIFFERENCES_MAX = 40;
/** Lines that look at what others did: not counted as operations. */
const LOOKS = new Set(['look', 'map', 'tree', 'peek', 'blocks', 'atime']);

export interface CompareOptions {
  seed: number;
  /** Random operations after the catalogue. */
  operations: number;
  /** Leaves the named cases out. */
  randomOnly?: boolean;
  /** The named cases or a script in their place, and nothing random. */
  script?: readonly string[];
  /** Called with the part that is done, 0 .. 1. */
  progress?: (done: number, what: string) => void;
  /** Asked before each script: whether to stop. */
  interrupted?: () => boolean;
}

/** A row of the table: how often an operation was asked for. */
export interface OperationRow {
  operation: string;
  count: number;
  same: number;
  /** Meant to differ (known.ts). */
  known: number;
  differs: number;
}

export interface Difference {
  /** The named case, or "random" with its seed. */
  where: string;
  line: string;
  xfs: string;
  rmapfs: string;
  /** The shortest script found that shows it. */
  script: string[];
}

export interface Comparison {
  seed: number;
  cases: number;
  operations: number;
  rows: OperationRow[];
  differences: Difference[];
}

interface Task {
  where: string;
  script: readonly string[];
}

function* randomTasks(seed: number, operations: number): Generator<Task> {
  const random = new Random(seed);
  for (let left = operations, round = 1; left > 0; round++) {
    const count = Math.min(left, ROUND_OPERATIONS);
    const [roundSeed, remounts] = [random.next(), round % REMOUNT_EVERY === 0];
    const kind = random.weighted({ exact: 3, odd: 2, mapped: 3, names: 3 });
    const script =
      kind === 'names'
        ? nameScript(roundSeed, count, remounts)
        : dataScript(roundSeed, kind, count, remounts);
    yield { where: `random ${kind}, seed ${seed}, script ${round}`, script };
    left -= count;
  }
}

function* tasksOf(options: CompareOptions): Generator<Task> {
  if (options.script !== undefined) {
    yield { where: 'the script', script: options.script };
    return;
  }
  if (options.randomOnly !== true)
    for (const [where, script] of Object.entries(CATALOGUE)) yield { where, script };
  yield* randomTasks(options.seed, options.operations);
}

/** Counts, by operation. */
class Tally {
  readonly rows = new Map<string, OperationRow>();
  operations = 0;

  add(step: Step, differs: boolean): void {
    const operation = step.line.split(' ')[0];
    const row = this.rows.get(operation) ?? { operation, count: 0, same: 0, known: 0, differs: 0 };
    this.rows.set(operation, row);
    row.count++;
    if (differs) row.differs++;
    else if (step.known !== undefined) row.known++;
    else row.same++;
    if (!LOOKS.has(operation)) this.operations++;
  }
}

/** Runs the named cases and the random scripts on both filesystems of `pair`. */
export async function compareFilesystems(pair: Pair, options: CompareOptions): Promise<Comparison> {
  const tally = new Tally();
  const differences: Difference[] = [];
  const cases = options.script !== undefined || options.randomOnly ? 0 : Object.keys(CATALOGUE).length;
  const total = cases + Math.ceil(options.operations / ROUND_OPERATIONS);
  let done = 0;
  for (const { where, script } of tasksOf(options)) {
    if (options.interrupted?.() || differences.length >= DIFFERENCES_MAX) break;
    options.progress?.(done++ / total, where);
    const { steps, mismatch } = await pair.run(script);
    for (const [i, step] of steps.entries())
      tally.add(step, i === steps.length - 1 && mismatch !== undefined);
    if (mismatch === undefined) continue;
    const shortest = await shrinkMismatch(pair, script.slice(0, mismatch.index + 1), mismatch, options);
    const { line, xfs, rmapfs } = shortest.mismatch;
    differences.push({ where, line, xfs, rmapfs, script: shortest.script });
  }
  options.progress?.(1, '');
  const rows = [...tally.rows.values()].sort((a, b) => (a.operation < b.operation ? -1 : 1));
  return { seed: options.seed, cases, operations: tally.operations, rows, differences };
}

/** The same operation fails, so that the shrinking does not slip into another difference. */
const isLike = (a: Mismatch, b: Mismatch): boolean => a.line.split(' ')[0] === b.line.split(' ')[0];

/**
 * In new directories of the same filesystems where that shows the difference too, which is quick; otherwise on new
 * filesystems each time; and where not even they show it, the script as it was.
 */
async function shrinkMismatch(
  pair: Pair,
  script: readonly string[],
  mismatch: Mismatch,
  options: CompareOptions,
): Promise<{ script: string[]; mismatch: Mismatch }> {
  // A lost daemon has taken its filesystem with it: they are new ones in any case.
  for (const renew of mismatch.daemonLost ? [true] : [false, true]) {
    let last = mismatch;
    const fails = async (part: readonly string[]): Promise<boolean> => {
      if (options.interrupted?.()) return false;
      if (renew) await pair.renew();
      const result = await pair.run(part);
      if (result.mismatch === undefined || !isLike(result.mismatch, mismatch)) return false;
      last = result.mismatch;
      return true;
    };
    if (!(await fails(script))) continue;
    const shortest = await shrink(script, fails, SHRINK_RUNS_MAX);
    return { script: shortest, mismatch: last };
  }
  return { script: [...script], mismatch };
}
