import { OWNER_METADATA, OWNER_SUPERBLOCK } from '../engine/layout.js';
import { MAX_INO } from '../types.js';
import type { Draft, DraftRecord, Key } from './draft.js';
import { extentBlocks } from './extents.js';
import { RunIndex } from './runs.js';
import type { Repair } from './state.js';

type Blocks = { readonly start: number; readonly length: number };

const lengthOf = ({ start, end }: { start: number; end: number }): Blocks => ({ start, length: end - start });

/** Makes the records of the draft those that are wanted, both in order. */
function replaceRecords(draft: Draft, wanted: Iterable<DraftRecord>): void {
  const keys = new Set<string>();
  const all = [...wanted];
  for (const { key } of all) keys.add(key.join());
  const gone = [...draft.records()].filter(({ key }) => !keys.has(key.join()));
  for (const { key } of gone) draft.remove(key);
  for (const { key, value } of all) draft.put(key, value);
}

/** What the records of a tree of the region claim, whatever becomes of them. */
function* storedRuns(r: Repair, name: 'bmap' | 'rmap' | 'chunk' | 'free'): Generator<Blocks> {
  const { blocks } = r.scan.media;
  const cursor = r.scan.trees[name].cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const isByFile = name === 'bmap';
    const start = isByFile ? cursor.value(0) : cursor.key(0);
    const length = Math.min(cursor.value(isByFile ? 1 : 0), blocks - start);
    if (length > 0) yield { start, length };
  }
}

/** The free blocks as the region has them where their count in the superblock confirms them, else null. */
export function confirmedFree(r: Repair): RunIndex | null {
  if (r.scan.unsound.has('free')) return null;
  const free = RunIndex.of(storedRuns(r, 'free'));
  let count = 0;
  for (const { start, end } of free.runs) count += end - start;
  return count === r.scan.superblock.freeBlocks ? free : null;
}

/** The blocks on the list of bad ones. */
export function* badRuns(r: Repair): Generator<Blocks> {
  for (const { key, value } of r.drafts.badblock.records()) yield { start: key[0], length: value[0] };
}

const slots = (r: Repair): Blocks[] => [0, r.scan.media.blocks - 1].map((start) => ({ start, length: 1 }));

/** What nobody may have beside files, chunks, superblocks and bad blocks. */
function ownedBlocks(r: Repair): RunIndex {
  function* claims(): Generator<Blocks> {
    yield* extentBlocks(r.drafts.bmap);
    yield* r.chunks.map(lengthOf);
    yield* slots(r);
    yield* badRuns(r);
  }
  return RunIndex.of(claims());
}

/** Every block of which anything is said, also by records that the repair drops. */
export function* knownBlocks(r: Repair): Generator<Blocks> {
  yield* usedBlocks(r);
  yield* storedRuns(r, 'free');
}

/** What is in use as it is, and after the repair. */
function* usedBlocks(r: Repair): Generator<Blocks> {
  for (const block of r.scan.nodes.keys()) {
    if (block > 0 && block < r.scan.media.blocks) yield { start: block, length: 1 };
  }
  for (const block of r.salvaged) yield { start: block, length: 1 };
  yield* extentBlocks(r.drafts.bmap);
  yield* r.chunks.map(lengthOf);
  yield* slots(r);
  yield* badRuns(r);
  for (const name of ['bmap', 'rmap', 'chunk'] as const) yield* storedRuns(r, name);
}

/**
 * Blocks that new metadata can have: nothing of the region as it is says that they are in use. Those that the free
 * tree has come first.
 */
export function* unusedBlocks(r: Repair): Generator<{ start: number; end: number }> {
  const used = RunIndex.of(usedBlocks(r));
  const free = RunIndex.of(storedRuns(r, 'free'));
  for (const { start, end } of free.runs) yield* used.gaps(start, end);
  yield* RunIndex.of(knownBlocks(r)).gaps(0, r.scan.media.blocks);
}

/** Makes rmap, refcount, free and chunk what bmap, chunks and bad blocks say. Can be called again. */
export function writeSpace(r: Repair): void {
  const { rmap, refcount, free, chunk } = r.drafts;
  for (const draft of [rmap, refcount, free, chunk]) draft.reset();
  replaceRecords(
    chunk,
    r.chunks.map(({ start, end }) => ({ key: [start], value: [end - start] })),
  );
  const shared = RunIndex.of(extentBlocks(r.drafts.bmap)).runs.filter(({ count }) => count > 1);
  replaceRecords(
    refcount,
    shared.map(({ start, end, count }) => ({ key: [start], value: [end - start, count] })),
  );
  const gaps = [...ownedBlocks(r).gaps(0, r.scan.media.blocks)];
  replaceRecords(
    free,
    gaps.map(({ start, end }) => ({ key: [start], value: [end - start] })),
  );
  writeRmap(r);
}

/** Without a list of all: the bmap is in another order. */
function writeRmap(r: Repair): void {
  const { bmap, chunk, rmap } = r.drafts;
  const isWanted = ([start, owner, from]: Key): boolean => {
    if (owner <= MAX_INO) return bmap.get([owner, from])?.[0] === start;
    if (from !== 0) return false;
    if (owner === OWNER_SUPERBLOCK) return start === 0 || start === r.scan.media.blocks - 1;
    return owner === OWNER_METADATA && chunk.has([start]);
  };
  const gone = [...rmap.records()].filter(({ key }) => !isWanted(key));
  for (const { key } of gone) rmap.remove(key);
  for (const { key, value } of bmap.records()) rmap.put([value[0], key[0], key[1]], [value[1], value[2]]);
  for (const { start, length } of slots(r)) rmap.put([start, OWNER_SUPERBLOCK, 0], [length, 0]);
  for (const { start, end } of r.chunks) rmap.put([start, OWNER_METADATA, 0], [end - start, 0]);
}

/** Says what becomes of the trees that are made from others. */
export function tellSpace(r: Repair): void {
  for (const name of ['rmap', 'refcount', 'free', 'chunk'] as const) {
    const draft = r.drafts[name];
    const gone = draft.edits.filter(({ key }) => draft.stored(key) !== undefined).length;
    const added = draft.edits.filter(({ value }) => value !== null).length;
    if (gone + added === 0) continue;
    r.actions.add(name, `${name}: ${added} records written, ${gone} removed or changed`, { tree: name });
  }
}
