import type { EngineContext } from '../engine/context.js';
import { OWNER_METADATA, OWNER_SUPERBLOCK } from '../engine/layout.js';
import type { Run } from '../engine/runs.js';
import { asPhys, MAX_INO } from '../types.js';
import { findInExtents } from './extents.js';
import { Problems } from './problem.js';

/**
 * Checks that bmap, rmap, refcount, inodes, free space and bad blocks of a running engine agree: rebuilds rmap and
 * refcount from the bmap and compares. Returns one sentence for each problem; [] when all is well. Changes nothing.
 * Must be called between two steps. Time O(blocks): for small regions.
 */
export function checkData(ctx: EngineContext): string[] {
  const problems = new Problems();
  const owned = findInExtents(ctx, problems);
  checkSpace(ctx, [...owned, ...specialRuns(ctx, problems)], problems);
  checkBadIndex(ctx, problems);
  return problems.texts();
}

/** What superblocks and metadata own. */
function specialRuns(ctx: EngineContext, problems: Problems): Run[] {
  const runs: Run[] = [];
  const cursor = ctx.trees.rmap.cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const [start, owner] = [cursor.key(0), cursor.key(1)];
    if (owner <= MAX_INO) continue;
    if (owner !== OWNER_METADATA && owner !== OWNER_SUPERBLOCK) {
      problems.add('rmap', `rmap: block ${start}: unknown special owner ${owner}`);
    }
    runs.push({ start, end: start + cursor.value(0), count: 1 });
  }
  return runs;
}

/** Every block is owned, or free, or bad, and no owned one is free. */
function checkSpace(ctx: EngineContext, owned: Run[], problems: Problems): void {
  owned.sort((a, b) => a.start - b.start);
  let at = 0;
  for (const run of owned) {
    if (run.start < at) problems.add('space', `block ${run.start}: owned by a file and by the filesystem`);
    checkUnowned(ctx, at, run.start, problems);
    for (let block = run.start; block < run.end; block++) {
      if (ctx.space.isFree(asPhys(block))) problems.add('space', `block ${block}: owned and free`);
    }
    at = Math.max(at, run.end);
  }
  checkUnowned(ctx, at, ctx.media.blocks, problems);
}

function checkUnowned(ctx: EngineContext, from: number, to: number, problems: Problems): void {
  for (let block = from; block < to; block++) {
    const bad = ctx.bad.first(block, 1, true) >= 0;
    if (!bad && !ctx.space.isFree(asPhys(block))) {
      problems.add('space', `block ${block}: not owned and not free`);
    }
  }
}

/** The index on the heap says what the tree says. */
function checkBadIndex(ctx: EngineContext, problems: Problems): void {
  const cursor = ctx.trees.badblock.cursor();
  let count = 0;
  let end = 0;
  const add = (text: string): void => problems.add('badblock', `badblock: ${text}`);
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const start = cursor.key(0);
    if (start < end) add(`the record at block ${start} overlaps the one before it`);
    end = start + cursor.value(0);
    count += cursor.value(0);
    for (let block = start; block < end; block++) {
      if (ctx.bad.first(block, 1, true) !== block) add(`block ${block} is not indexed`);
    }
  }
  if (count !== ctx.bad.count) add(`${count} blocks in the tree, ${ctx.bad.count} indexed`);
}
