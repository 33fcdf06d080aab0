import { MAX_INO } from '../types.js';
import type { BadBlocks } from './badblock.js';
import type { EngineContext } from './context.js';
import { inoOf } from './dir.js';
import { BAD_LATENT, INODE, OWNER_METADATA, OWNER_SUPERBLOCK, type TreeName } from './layout.js';
import { RunCounter } from './runs.js';
import type { Cursor } from './tree.js';

/**
 * The trees that say what others say too, and from which of them each is made again. What stands in no second
 * place is not here: inodes, names (a parent record has the hash of a name only) and attributes.
 */
export const DERIVED_FROM: Partial<Record<TreeName, readonly TreeName[]>> = {
  bmap: ['rmap'],
  rmap: ['bmap', 'chunk'],
  refcount: ['rmap'],
  free: ['rmap'],
  chunk: ['rmap'],
  parent: ['dirent'],
  orphan: ['inode'],
  // Its copy on the heap is whole.
  badblock: [],
};

export interface DerivedRecord {
  /** Four words, unused ones 0. */
  readonly key: readonly number[];
  readonly value: readonly number[];
}

/**
 * What a tree of DERIVED_FROM must hold by the trees that it derives from, in no order. Right after a commit only:
 * frees that wait for one are in no tree. Memory: O(extents) for refcount and free.
 */
export function derive(
  tree: TreeName,
  ctx: EngineContext,
  bad: BadBlocks,
  emit: (r: DerivedRecord) => void,
): void {
  switch (tree) {
    case 'bmap':
      fileRmap(ctx, (c) =>
        emit({ key: [c.key(1), c.key(2), 0, 0], value: [c.key(0), c.value(0), c.value(1)] }),
      );
      break;
    case 'rmap':
      deriveRmap(ctx, emit);
      break;
    case 'refcount':
      for (const { start, end, count } of ownedRuns(ctx)) {
        if (count > 1) emit({ key: [start, 0, 0, 0], value: [end - start, count] });
      }
      break;
    case 'free':
      deriveFree(ctx, bad, emit);
      break;
    case 'chunk':
      eachRecord(ctx.trees.rmap.cursor(), (c) => {
        if (c.key(1) === OWNER_METADATA) emit({ key: [c.key(0), 0, 0, 0], value: [c.value(0)] });
      });
      break;
    case 'parent':
      eachRecord(ctx.trees.dirent.cursor(), (c) =>
        emit({ key: [inoOf(c.payload()), c.key(0), c.key(1), c.key(2)], value: [] }),
      );
      break;
    case 'orphan':
      eachRecord(ctx.trees.inode.cursor(), (c) => {
        if (c.value(INODE.nlink) === 0) emit({ key: [c.key(0), 0, 0, 0], value: [] });
      });
      break;
    case 'badblock':
      for (let run = bad.runFrom(0); run !== null; run = bad.runFrom(run.to)) {
        const since = [run.since % 2 ** 32, Math.floor(run.since / 2 ** 32)];
        const value = [run.to - run.from, run.latent ? BAD_LATENT : 0, ...since];
        emit({ key: [run.from, 0, 0, 0], value });
      }
      break;
    default:
      throw new TypeError(`tree ${tree} is derived from nothing`);
  }
}

function eachRecord(cursor: Cursor, visit: (c: Cursor) => void): void {
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) visit(cursor);
}

/** The rmap records of files. */
function fileRmap(ctx: EngineContext, visit: (c: Cursor) => void): void {
  eachRecord(ctx.trees.rmap.cursor(), (c) => {
    if (c.key(1) <= MAX_INO) visit(c);
  });
}

/** The runs of blocks that files own. */
function ownedRuns(ctx: EngineContext): RunCounter {
  const runs = new RunCounter();
  fileRmap(ctx, (c) => runs.add(c.key(0), c.value(0)));
  runs.finish();
  return runs;
}

function deriveRmap(ctx: EngineContext, emit: (r: DerivedRecord) => void): void {
  eachRecord(ctx.trees.bmap.cursor(), (c) =>
    emit({ key: [c.value(0), c.key(0), c.key(1), 0], value: [c.value(1), c.value(2)] }),
  );
  for (const block of [0, ctx.media.blocks - 1]) {
    emit({ key: [block, OWNER_SUPERBLOCK, 0, 0], value: [1, 0] });
  }
  eachRecord(ctx.trees.chunk.cursor(), (c) =>
    emit({ key: [c.key(0), OWNER_METADATA, 0, 0], value: [c.value(0), 0] }),
  );
}

/** What nobody owns and what is not bad. */
function deriveFree(ctx: EngineContext, bad: BadBlocks, emit: (r: DerivedRecord) => void): void {
  let at = 0;
  const gap = (to: number): void => {
    for (let from = at; from < to; ) {
      const first = bad.first(from, to - from, true);
      const end = first < 0 ? to : first;
      if (end > from) emit({ key: [from, 0, 0, 0], value: [end - from] });
      from = first < 0 ? to : first + bad.lengthAt(first, to - first);
    }
  };
  eachRecord(ctx.trees.rmap.cursor(), (c) => {
    gap(c.key(0));
    at = Math.max(at, c.key(0) + c.value(0));
  });
  gap(ctx.media.blocks);
}
