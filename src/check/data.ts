import { FILE_BLOCKS_MAX } from '../engine/bmap.js';
import type { EngineContext } from '../engine/context.js';
import { countOwners, type OwnedRun } from '../engine/derived.js';
import { EXT_UNWRITTEN, INODE, OWNER_METADATA, OWNER_SUPERBLOCK } from '../engine/layout.js';
import { isRegular } from '../engine/mode.js';
import { asPhys, blocksFor, MAX_INO } from '../types.js';

/** Problems that one check lists; the rest is counted. */
const PROBLEMS_MAX = 100;

interface Extent {
  ino: number;
  from: number;
  physical: number;
  length: number;
  flags: number;
}

class Problems {
  readonly list: string[] = [];
  #more = 0;

  add(text: string): void {
    if (this.list.length < PROBLEMS_MAX) this.list.push(text);
    else this.#more++;
  }

  finish(): string[] {
    if (this.#more > 0) this.list.push(`and ${this.#more} more`);
    return this.list;
  }
}

/**
 * Checks that bmap, rmap, refcount, inodes, free space and bad blocks agree: rebuilds rmap and refcount from
 * the bmap and compares. Returns one sentence for each problem; [] when all is well. Changes nothing. Must be
 * called between two steps. Memory: O(extents).
 */
export function checkData(ctx: EngineContext): string[] {
  const problems = new Problems();
  const extents = readBmap(ctx, problems);
  checkInodes(ctx, extents, problems);
  checkRmap(ctx, extents, problems);
  const owned = countOwners(extents);
  checkRefcount(ctx, owned, problems);
  checkUnwritten(extents, ctx, problems);
  checkSpace(ctx, [...owned, ...specialRuns(ctx, problems)], problems);
  checkBadIndex(ctx, problems);
  return problems.finish();
}

/** All extents in (inode, file block) order; those that are impossible are reported and left out. */
function readBmap(ctx: EngineContext, problems: Problems): Extent[] {
  const extents: Extent[] = [];
  const cursor = ctx.trees.bmap.cursor();
  let ino = 0;
  let end = 0;
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const extent = {
      ino: cursor.key(0),
      from: cursor.key(1),
      physical: cursor.value(0),
      length: cursor.value(1),
      flags: cursor.value(2),
    };
    const what = `bmap: inode ${extent.ino}, blocks ${extent.from}+${extent.length} at ${extent.physical}`;
    if (extent.ino === ino && extent.from < end) problems.add(`${what}: overlaps the extent before it`);
    ino = extent.ino;
    end = extent.from + extent.length;
    const inFile = extent.length > 0 && end <= FILE_BLOCKS_MAX;
    const inRegion = extent.physical > 0 && extent.physical + extent.length <= ctx.media.blocks;
    if (!inFile || !inRegion) problems.add(`${what}: out of range`);
    else extents.push(extent);
    if ((extent.flags & ~EXT_UNWRITTEN) !== 0) problems.add(`${what}: unknown flags ${extent.flags}`);
  }
  return extents;
}

/** Each extent belongs to a regular file; the block counts are right; no written block lies past the end. */
function checkInodes(ctx: EngineContext, extents: readonly Extent[], problems: Problems): void {
  const blocks = new Map<number, number>();
  const writtenEnd = new Map<number, number>();
  for (const { ino, from, length, flags } of extents) {
    blocks.set(ino, (blocks.get(ino) ?? 0) + length);
    if ((flags & EXT_UNWRITTEN) === 0) writtenEnd.set(ino, from + length);
  }
  const cursor = ctx.trees.inode.cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const ino = cursor.key(0);
    const counted = blocks.get(ino) ?? 0;
    blocks.delete(ino);
    const stored = cursor.value(INODE.blocks);
    if (stored !== counted) problems.add(`inode ${ino}: says ${stored} blocks, has ${counted}`);
    if (counted > 0 && !isRegular(cursor.value(INODE.mode))) {
      problems.add(`inode ${ino}: has blocks and is no regular file`);
    }
    const size = cursor.value(INODE.sizeHi) * 2 ** 32 + cursor.value(INODE.sizeLo);
    const end = writtenEnd.get(ino) ?? 0;
    if (end > blocksFor(size)) {
      problems.add(`inode ${ino}: written blocks up to ${end}, past its end at byte ${size}`);
    }
  }
  for (const ino of blocks.keys()) problems.add(`bmap: extents of inode ${ino}, which does not exist`);
}

/** The rmap mirrors the bmap record by record. */
function checkRmap(ctx: EngineContext, extents: readonly Extent[], problems: Problems): void {
  const { rmap } = ctx.trees;
  const value = new Uint32Array(2);
  for (const { ino, from, physical, length, flags } of extents) {
    const what = `rmap: block ${physical}, inode ${ino}, file block ${from}`;
    if (!rmap.get(physical, ino, from, 0, value)) problems.add(`${what}: no record`);
    else if (value[0] !== length || value[1] !== flags) {
      problems.add(`${what}: ${value[0]} blocks, flags ${value[1]}; the bmap has ${length}, ${flags}`);
    }
  }
  const { bmap } = ctx.trees;
  const mapped = new Uint32Array(3);
  const cursor = rmap.cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    if (cursor.key(1) > MAX_INO) continue;
    const found = bmap.get(cursor.key(1), cursor.key(2), 0, 0, mapped) && mapped[0] === cursor.key(0);
    if (!found) {
      const [physical, ino, from] = [cursor.key(0), cursor.key(1), cursor.key(2)];
      problems.add(`rmap: block ${physical}, inode ${ino}, file block ${from}: not in the bmap`);
    }
  }
}

/** The refcount tree holds exactly the runs with two owners and more. */
function checkRefcount(ctx: EngineContext, owned: readonly OwnedRun[], problems: Problems): void {
  const cursor = ctx.trees.refcount.cursor();
  let more = cursor.seek(0, 0, 0, 0);
  for (const { start, end, count } of owned) {
    if (count < 2) continue;
    while (more && cursor.key(0) < start) {
      problems.add(`refcount: record at block ${cursor.key(0)}, which is not shared or not a run's start`);
      more = cursor.next();
    }
    if (!more || cursor.key(0) !== start) {
      problems.add(`refcount: no record for blocks ${start}..${end} with ${count} owners`);
      continue;
    }
    if (cursor.value(0) !== end - start || cursor.value(1) !== count) {
      const found = `${cursor.value(0)} blocks with ${cursor.value(1)} owners`;
      problems.add(`refcount: block ${start}: ${found}; the bmap has ${end - start} with ${count}`);
    }
    more = cursor.next();
  }
  for (; more; more = cursor.next()) {
    problems.add(`refcount: record at block ${cursor.key(0)}, which is not shared`);
  }
}

/** Unwritten blocks are never shared. */
function checkUnwritten(extents: readonly Extent[], ctx: EngineContext, problems: Problems): void {
  const cursor = ctx.trees.refcount.cursor();
  for (const { ino, from, physical, length, flags } of extents) {
    if ((flags & EXT_UNWRITTEN) === 0 || !cursor.seekLE(physical + length - 1, 0, 0, 0)) continue;
    if (cursor.key(0) + cursor.value(0) > physical) {
      problems.add(`inode ${ino}: the unwritten blocks ${from}+${length} are shared`);
    }
  }
}

/** What superblocks and metadata own. */
function specialRuns(ctx: EngineContext, problems: Problems): OwnedRun[] {
  const runs: OwnedRun[] = [];
  const cursor = ctx.trees.rmap.cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const [start, owner] = [cursor.key(0), cursor.key(1)];
    if (owner <= MAX_INO) continue;
    if (owner !== OWNER_METADATA && owner !== OWNER_SUPERBLOCK) {
      problems.add(`rmap: block ${start}: unknown special owner ${owner}`);
    }
    runs.push({ start, end: start + cursor.value(0), count: 1 });
  }
  return runs;
}

/** Every block is owned, or free, or bad, and no owned one is free. */
function checkSpace(ctx: EngineContext, owned: OwnedRun[], problems: Problems): void {
  owned.sort((a, b) => a.start - b.start);
  let at = 0;
  for (const run of owned) {
    if (run.start < at) problems.add(`block ${run.start}: owned by a file and by the filesystem`);
    checkUnowned(ctx, at, run.start, problems);
    for (let block = run.start; block < run.end; block++) {
      if (ctx.space.isFree(asPhys(block))) problems.add(`block ${block}: owned and free`);
    }
    at = Math.max(at, run.end);
  }
  checkUnowned(ctx, at, ctx.media.blocks, problems);
}

function checkUnowned(ctx: EngineContext, from: number, to: number, problems: Problems): void {
  for (let block = from; block < to; block++) {
    const bad = ctx.bad.first(block, 1, true) >= 0;
    if (!bad && !ctx.space.isFree(asPhys(block))) problems.add(`block ${block}: not owned and not free`);
  }
}

/** The index on the heap says what the tree says. */
function checkBadIndex(ctx: EngineContext, problems: Problems): void {
  const cursor = ctx.trees.badblock.cursor();
  let count = 0;
  let end = 0;
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const start = cursor.key(0);
    if (start < end) problems.add(`badblock: the record at block ${start} overlaps the one before it`);
    end = start + cursor.value(0);
    count += cursor.value(0);
    for (let block = start; block < end; block++) {
      if (ctx.bad.first(block, 1, true) !== block) problems.add(`badblock: block ${block} is not indexed`);
    }
  }
  if (count !== ctx.bad.count)
    problems.add(`badblock: ${count} blocks in the tree, ${ctx.bad.count} indexed`);
}
