import type { Extent } from '../check/extents.js';
import { EXT_UNWRITTEN } from '../engine/layout.js';
import { isRegular } from '../engine/mode.js';
import { blocksFor, MAX_INO } from '../types.js';
import { chunkIndex, settleChunks } from './chunks.js';
import type { Draft, DraftRecord } from './draft.js';
import { RunIndex } from './runs.js';
import { faultOf, type Repair } from './state.js';

type Source = 'bmap' | 'rmap';

const ofBmap = ({ key, value }: DraftRecord): Extent => ({
  ino: key[0],
  from: key[1],
  physical: value[0],
  length: value[1],
  flags: value[2],
});

const ofRmap = ({ key, value }: DraftRecord): Extent => ({
  ino: key[1],
  from: key[2],
  physical: key[0],
  length: value[0],
  flags: value[1],
});

const isUnwritten = ({ flags }: Extent): boolean => (flags & EXT_UNWRITTEN) !== 0;

/** The blocks of all extents of the draft. */
export function* extentBlocks(bmap: Draft): Generator<{ start: number; length: number }> {
  for (const { value } of bmap.records()) yield { start: value[0], length: value[1] };
}

/**
 * Decides which blocks belong to files, and which to metadata chunks.
 *
 * What bmap and rmap both say is so. Of what only one says, extents are taken that nothing contradicts: first those
 * of the bmap, then those of the rmap, that lie inside of their file and fill up the number of blocks that its inode
 * has; then the others of the bmap; the others of the rmap only where a part of the bmap is lost.
 * Returns the numbers of inodes that own blocks and have no record.
 */
export function settleExtents(r: Repair): Set<number> {
  const { bmap } = r.drafts;
  const doubtful: Record<Source, Extent[]> = { bmap: [], rmap: [] };
  for (const record of bmap.records()) {
    const extent = ofBmap(record);
    if (isMirrored(r, extent)) countBlocks(r, extent);
    else doubtful.bmap.push(extent);
  }
  for (const record of r.drafts.rmap.records()) {
    const extent = ofRmap(record);
    const isFile = extent.ino > 0 && extent.ino <= MAX_INO;
    const known = isFile ? bmap.get([extent.ino, extent.from]) : undefined;
    const isSame = known?.[0] === extent.physical && known[1] === extent.length && known[2] === extent.flags;
    if (isFile && !isSame) doubtful.rmap.push(extent);
  }
  for (const { ino, from } of doubtful.bmap) bmap.remove([ino, from]);
  settleChunks(r, RunIndex.of(extentBlocks(bmap)));
  for (const source of ['bmap', 'rmap'] as const) accept(r, doubtful[source], source, true);
  accept(r, doubtful.bmap, 'bmap', false);
  if (r.scan.incomplete.has('bmap')) accept(r, doubtful.rmap, 'rmap', false);
  dropShared(r);
  tellChanges(r);
  return recount(r);
}

function isMirrored(r: Repair, extent: Extent): boolean {
  if (!canBe(r, extent)) return false;
  const told = r.drafts.rmap.get([extent.physical, extent.ino, extent.from]);
  return told?.[0] === extent.length && told[1] === extent.flags;
}

const canBe = (r: Repair, { ino, from, physical, length, flags }: Extent): boolean =>
  faultOf(r, 'bmap', { key: [ino, from], value: [physical, length, flags] }) === null;

function countBlocks(r: Repair, { ino, length }: Extent): void {
  const facts = r.facts.get(ino);
  if (facts !== undefined) facts.blocks += length;
}

/** Takes those extents into the bmap that fit to what is there; with `onlyFitting` those that their inode expects. */
function accept(r: Repair, candidates: readonly Extent[], source: Source, onlyFitting: boolean): void {
  if (candidates.length === 0) return;
  const { bmap } = r.drafts;
  const owned = RunIndex.of(extentBlocks(bmap));
  const chunks = chunkIndex(r);
  const sorted = candidates
    .filter((extent) => canBe(r, extent) && !bmap.has([extent.ino, extent.from]))
    .filter(({ physical, length }) => chunks.most(physical, physical + length) === 0)
    .filter((extent) => mayOwn(r, extent, owned, source))
    .sort((a, b) => a.ino - b.ino || a.from - b.from);
  const taken: Extent[] = [];
  for (let i = 0; i < sorted.length; ) {
    const { ino } = sorted[i];
    const present = [...bmap.records([ino])].map(ofBmap);
    let p = 0;
    let end = 0;
    for (; i < sorted.length && sorted[i].ino === ino; i++) {
      const extent = sorted[i];
      while (p < present.length && present[p].from + present[p].length <= extent.from) p++;
      const isFreePlace = p === present.length || present[p].from >= extent.from + extent.length;
      if (!isFreePlace || extent.from < end || (onlyFitting && !isExpected(r, extent))) continue;
      countBlocks(r, extent);
      taken.push(extent);
      end = extent.from + extent.length;
    }
  }
  for (const { ino, from, physical, length, flags } of taken)
    bmap.put([ino, from], [physical, length, flags]);
}

/** Whether the blocks can have one owner more. */
function mayOwn(r: Repair, extent: Extent, owned: RunIndex, source: Source): boolean {
  const end = extent.physical + extent.length;
  const owners = owned.most(extent.physical, end);
  if (owners === 0) return true;
  if (isUnwritten(extent)) return false;
  const isCounted = !r.scan.incomplete.has('refcount');
  if (!isCounted) return source === 'bmap' || r.scan.incomplete.has('bmap');
  return owners < leastCount(r, extent.physical, end);
}

/** The lowest number of owners that the refcount tree gives a block of [start, end). */
function leastCount(r: Repair, start: number, end: number): number {
  const cursor = r.scan.trees.refcount.cursor();
  let least = Number.POSITIVE_INFINITY;
  let at = start;
  let more = cursor.seekLE(start, 0, 0, 0) || cursor.seek(start, 0, 0, 0);
  for (; more && cursor.key(0) < end && at < end; more = cursor.next()) {
    const [from, length, count] = [cursor.key(0), cursor.value(0), cursor.value(1)];
    if (from + length <= at) continue;
    if (from > at) return 1;
    least = Math.min(least, count);
    at = from + length;
  }
  return at < end ? 1 : least;
}

/** Whether the inode lacks so many blocks, the extent lies inside of it, and the blocks are not called free. */
function isExpected(r: Repair, extent: Extent): boolean {
  const { ino, from, physical, length } = extent;
  const cursor = r.scan.trees.free.cursor();
  const end = physical + length;
  if (cursor.seekLE(end - 1, 0, 0, 0) && cursor.key(0) + cursor.value(0) > physical) return false;
  const facts = r.facts.get(ino);
  if (facts === undefined) return r.scan.incomplete.has('inode');
  const isInside = isUnwritten(extent) || from + length <= blocksFor(facts.storedSize);
  return isInside && facts.blocks + length <= facts.storedBlocks;
}

/** Unwritten blocks have one owner: of those that are shared nothing is lost, they read as zeros. */
function dropShared(r: Repair): void {
  const { bmap } = r.drafts;
  const shared = new RunIndex([...RunIndex.of(extentBlocks(bmap)).runs].filter(({ count }) => count > 1));
  if (shared.runs.length === 0) return;
  const gone = [...bmap.records()].map(ofBmap).filter((extent) => {
    return isUnwritten(extent) && shared.most(extent.physical, extent.physical + extent.length) > 0;
  });
  for (const { ino, from } of gone) bmap.remove([ino, from]);
}

function tellChanges(r: Repair): void {
  const changes = new Map<number, { gone: number; added: number }>();
  const { bmap } = r.drafts;
  for (const { key, value } of bmap.edits) {
    const change = changes.get(key[0]) ?? { gone: 0, added: 0 };
    if (bmap.stored(key) !== undefined) change.gone++;
    if (value !== null) change.added++;
    changes.set(key[0], change);
  }
  for (const [ino, { gone, added }] of changes) {
    const text = `bmap: inode ${ino}: ${gone} extents that cannot be are removed, ${added} are put in their place`;
    r.actions.add('bmap', gone > 0 ? text : `bmap: inode ${ino}: ${added} lost extents are put back`, {
      ino,
    });
  }
}

/** Counts the blocks of each inode; returns the numbers of those without a record. */
function recount(r: Repair): Set<number> {
  const ownerless = new Set<number>();
  for (const facts of r.facts.values()) [facts.blocks, facts.writtenEnd, facts.end] = [0, 0, 0];
  for (const record of r.drafts.bmap.records()) {
    const extent = ofBmap(record);
    const facts = r.facts.get(extent.ino);
    if (facts === undefined) ownerless.add(extent.ino);
    else {
      facts.blocks += extent.length;
      facts.end = extent.from + extent.length;
      if (!isUnwritten(extent)) facts.writtenEnd = facts.end;
    }
  }
  return ownerless;
}

/** Once it is known which inodes there are: those that are no files have no blocks. */
export function dropForeignExtents(r: Repair): void {
  const { bmap } = r.drafts;
  const gone = [...bmap.records()].filter(({ key }) => !isRegular(r.facts.get(key[0])?.mode ?? 0));
  for (const { key, value } of gone) {
    bmap.remove(key);
    r.actions.add('bmap', `bmap: inode ${key[0]} is no file: ${value[1]} blocks of it are freed`, {
      ino: key[0],
    });
  }
  recount(r);
}
