import { OWNER_METADATA, OWNER_SUPERBLOCK, type TreeName } from '../engine/layout.js';
import { recordFault } from '../engine/record-fault.js';
import type { Run } from '../engine/runs.js';
import { MAX_INO } from '../types.js';
import { atBlock, type Problems } from './problem.js';
import type { Scan } from './scan.js';
import { areWhole, type ReadCursor, seekExact } from './subject.js';

/** Blocks [start, end) and what says so. */
interface Claim {
  readonly start: number;
  readonly end: number;
  readonly by: string;
}

/**
 * Checks that every block is exactly one of: superblock, metadata, owned by files, free, bad and without an owner;
 * and that the superblock's counters and the rmap's special records say the same. `owned` are the files' blocks in
 * physical order. One sweep over sorted intervals: time O(records), memory O(1) beside `owned`.
 */
export function findInSpace(scan: Scan, owned: Iterable<Run>, problems: Problems): void {
  checkChunks(scan, problems);
  checkSpecialOwners(scan, problems);
  checkFree(scan, problems);
  checkBadBlocks(scan, problems);
  if (areWhole(scan, 'bmap', 'chunk', 'free', 'badblock')) sweep(scan, owned, problems);
}

/** The runs of a tree with key (physical) and the length as first word of the value. */
function* claims(scan: Scan, name: TreeName, by: string): Generator<Claim> {
  const cursor = scan.trees[name].cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    yield { start: cursor.key(0), end: cursor.key(0) + cursor.value(0), by };
  }
}

function* ownedClaims(owned: Iterable<Run>): Generator<Claim> {
  for (const { start, end } of owned) yield { start, end, by: 'owned by files' };
}

function superblockClaims(blocks: number): Iterator<Claim> {
  return [0, blocks - 1].map((start) => ({ start, end: start + 1, by: 'a superblock' })).values();
}

/** Several sorted sources as one. */
function* merged(sources: readonly Iterator<Claim>[]): Generator<Claim> {
  const heads = sources.map((source) => source.next());
  for (;;) {
    let first = -1;
    for (const [i, head] of heads.entries()) {
      if (head.done === true) continue;
      const best = heads[first];
      if (best === undefined || best.done === true || head.value.start < best.value.start) first = i;
    }
    const head = heads[first];
    if (head === undefined || head.done === true) return;
    yield head.value;
    heads[first] = sources[first].next();
  }
}

function sweep(scan: Scan, owned: Iterable<Run>, problems: Problems): void {
  const { blocks } = scan.media;
  const bad = scan.trees.badblock.cursor();
  let at = 0;
  let by = 'nothing';
  const sources = [
    superblockClaims(blocks),
    claims(scan, 'chunk', 'metadata'),
    ownedClaims(owned),
    claims(scan, 'free', 'free'),
  ];
  for (const claim of merged(sources)) {
    if (claim.start < at) {
      const end = Math.min(at, claim.end);
      problems.add('space', `blocks ${claim.start}..${end} are ${by} and ${claim.by}`, atBlock(claim.start));
    }
    if (claim.start > at) checkGap(bad, at, claim.start, problems);
    if (claim.end > at) {
      at = claim.end;
      by = claim.by;
    }
  }
  if (at < blocks) checkGap(bad, at, blocks, problems);
}

/** Blocks that nobody claims are bad. */
function checkGap(bad: ReadCursor, from: number, to: number, problems: Problems): void {
  let at = from;
  let more = bad.seekLE(from, 0, 0, 0) || bad.seek(from, 0, 0, 0);
  const lost = (end: number): void => {
    problems.add('space', `blocks ${at}..${end} are neither free nor owned nor bad`, atBlock(at));
  };
  for (; more && bad.key(0) < to; more = bad.next()) {
    if (bad.key(0) > at) lost(bad.key(0));
    at = Math.max(at, bad.key(0) + bad.value(0));
  }
  if (at < to) lost(to);
}

/** The chunks: their borders, what the superblock counts, and that all nodes lie in them. */
function checkChunks(scan: Scan, problems: Problems): void {
  if (!areWhole(scan, 'chunk')) return;
  const cursor = scan.trees.chunk.cursor();
  let total = 0;
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const [start, length] = [cursor.key(0), cursor.value(0)];
    total += length;
    const fault = recordFault('chunk', cursor, scan.media.blocks);
    if (fault !== null) problems.add('chunk', `chunk: at block ${start}: ${fault}`, atBlock(start));
  }
  counter(problems, 'blocks of metadata', scan.superblock.metaBlocks, total);
  for (const [node, tree] of scan.nodes) {
    if (cursor.seekLE(node, 0, 0, 0) && node < cursor.key(0) + cursor.value(0)) continue;
    problems.add('chunk', `block ${node}, a node of tree ${tree}, lies outside of the chunks`, {
      ...atBlock(node),
      tree,
    });
  }
}

function counter(problems: Problems, what: string, stored: number, real: number): void {
  if (stored === real) return;
  problems.add('superblock', `the superblock counts ${stored} ${what}, there are ${real}`);
}

/** The rmap has one record for each superblock slot and each chunk, and no other one of a special owner. */
function checkSpecialOwners(scan: Scan, problems: Problems): void {
  const rmap = scan.trees.rmap.cursor();
  const chunk = scan.trees.chunk.cursor();
  const { blocks } = scan.media;
  const expectOne = (start: number, owner: number, length: number): void => {
    if (!seekExact(rmap, [start, owner, 0])) {
      if (!areWhole(scan, 'rmap')) return;
      problems.add('rmap', `rmap: no record of the filesystem's own block ${start}`, atBlock(start));
    } else if (rmap.value(0) !== length || rmap.value(1) !== 0) {
      const found = `${rmap.value(0)} blocks with flags ${rmap.value(1)}`;
      problems.add('rmap', `rmap: block ${start}, owner ${owner}: ${found}, not ${length}`, atBlock(start));
    }
  };
  for (const start of [0, blocks - 1]) expectOne(start, OWNER_SUPERBLOCK, 1);
  for (let more = chunk.seek(0, 0, 0, 0); more; more = chunk.next()) {
    expectOne(chunk.key(0), OWNER_METADATA, chunk.value(0));
  }
  for (let more = rmap.seek(0, 0, 0, 0); more; more = rmap.next()) {
    const [start, owner, from] = [rmap.key(0), rmap.key(1), rmap.key(2)];
    if (owner <= MAX_INO) continue;
    const isSlot = owner === OWNER_SUPERBLOCK && (start === 0 || start === blocks - 1);
    const isChunk = owner === OWNER_METADATA && (seekExact(chunk, [start]) || !areWhole(scan, 'chunk'));
    if ((isSlot || isChunk) && from === 0) continue;
    const text = `rmap: block ${start} has the special owner ${owner}, file block ${from}, without reason`;
    problems.add('rmap', text, atBlock(start));
  }
}

/** Free runs by themselves, and against the bad blocks, which are never free. */
function checkFree(scan: Scan, problems: Problems): void {
  const cursor = scan.trees.free.cursor();
  const bad = scan.trees.badblock.cursor();
  let total = 0;
  let end = 0;
  const add = (start: number, text: string): void =>
    problems.add('free', `free: the run at block ${start} ${text}`, atBlock(start));
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const [start, length] = [cursor.key(0), cursor.value(0)];
    if (start < end) add(start, 'overlaps the one before it');
    const fault = recordFault('free', cursor, scan.media.blocks);
    if (fault !== null) add(start, fault);
    end = start + length;
    total += length;
    const hasBad = bad.seekLE(end - 1, 0, 0, 0) && bad.key(0) + bad.value(0) > start && length > 0;
    if (hasBad) add(start, `holds the bad block ${Math.max(start, bad.key(0))}`);
  }
  if (areWhole(scan, 'free')) counter(problems, 'free blocks', scan.superblock.freeBlocks, total);
}

function checkBadBlocks(scan: Scan, problems: Problems): void {
  const cursor = scan.trees.badblock.cursor();
  let end = 0;
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const [start, length] = [cursor.key(0), cursor.value(0)];
    const add = (text: string): void =>
      problems.add('badblock', `badblock: the record at block ${start} ${text}`, atBlock(start));
    if (start < end) add('overlaps the one before it');
    const fault = recordFault('badblock', cursor, scan.media.blocks);
    if (fault !== null) add(fault);
    end = start + length;
  }
}
