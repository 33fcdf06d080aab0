import { asIno, BLOCK_SIZE, MAX_INO } from '../types.js';
import type { Owner, OwnerPlace } from './api.js';
import type { EngineContext } from './context.js';
import { EXT_ATTR_FORK, EXT_UNWRITTEN, OWNER_METADATA } from './layout.js';
import { newCountRun, type Refcount } from './refcount.js';
import type { Cursor } from './tree.js';

/** One record of the rmap, in blocks. */
export interface RmapRecord {
  start: number;
  end: number;
  owner: number;
  from: number;
  flags: number;
}

export function readRecord(cursor: Cursor): RmapRecord {
  const start = cursor.key(0);
  return {
    start,
    end: start + cursor.value(0),
    owner: cursor.key(1),
    from: cursor.key(2),
    flags: cursor.value(1),
  };
}

/** A file as the owner of the blocks [start, stop) of its record. */
export function fileOwner(record: RmapRecord, start: number, stop: number, shareCount: number): Owner {
  return {
    kind: 'file',
    ino: asIno(record.owner),
    fileOffset: (record.from + (start - record.start)) * BLOCK_SIZE,
    ...bytesOf(start, stop),
    fork: (record.flags & EXT_ATTR_FORK) !== 0 ? 'attr' : 'data',
    unwritten: (record.flags & EXT_UNWRITTEN) !== 0,
    shareCount,
  };
}

export function bytesOf(start: number, stop: number): { physical: number; length: number } {
  return { physical: start * BLOCK_SIZE, length: (stop - start) * BLOCK_SIZE };
}

/**
 * The reverse map from a place on, for answers in pages of any number of owners: nothing is sorted or remembered, and a
 * page costs O(log n + its owners), wherever it begins. Within a run of blocks that have the same owners these come in
 * the order of their records (first block, owner, file block), of which those that began before the run are cut.
 */
export class OwnerStream {
  readonly #refcount: Refcount;
  readonly #treeOf: (block: number) => string;
  readonly #rmap: Cursor;
  readonly #run = newCountRun();

  constructor(ctx: EngineContext, refcount: Refcount, treeOf: (block: number) => string) {
    this.#refcount = refcount;
    this.#treeOf = treeOf;
    this.#rmap = ctx.trees.rmap.cursor();
  }

  /** Moves `place` over each owner that `visit` takes, up to block `end`. Returns whether it came there. */
  walk(place: OwnerPlace, end: number, visit: (owner: Owner) => boolean): boolean {
    while (place.at < end) {
      if (place.end === 0) {
        const run = this.#refcount.runAt(place.at, end - place.at, this.#run);
        if (run.count === 1) {
          if (!this.#alone(place, place.at + run.length, visit)) return false;
          continue;
        }
        place.end = place.at + run.length;
      }
      if (!this.#shared(place, visit)) return false;
      Object.assign(place, { at: place.end, end: 0, start: 0, owner: 0, from: 0 });
    }
    return true;
  }

  /** Blocks that have one owner or none: a place among them is a block. */
  #alone(place: OwnerPlace, end: number, visit: (owner: Owner) => boolean): boolean {
    while (place.at < end) {
      const found = this.#rmap.seekOverlap(place.at, end);
      const record = found ? readRecord(this.#rmap) : null;
      const isFree = record === null || record.start > place.at;
      const stop = record === null ? end : isFree ? record.start : Math.min(record.end, end);
      const owner: Owner =
        record === null || isFree
          ? { kind: 'free', ...bytesOf(place.at, stop) }
          : this.#ownerOf(record, place.at, stop, 1);
      if (!visit(owner)) return false;
      place.at += owner.length / BLOCK_SIZE;
    }
    return true;
  }

  /** The blocks [place.at, place.end), which had the same number of owners when their first one was visited. */
  #shared(place: OwnerPlace, visit: (owner: Owner) => boolean): boolean {
    const { at, end } = place;
    const { count } = this.#refcount.runAt(at, 1, this.#run);
    const cursor = this.#rmap;
    let more = cursor.seekOverlapFrom(at, end, place.start, place.owner, place.from, 0);
    for (; more; more = cursor.nextOverlap()) {
      const record = readRecord(cursor);
      const owner = this.#ownerOf(record, Math.max(record.start, at), Math.min(record.end, end), count);
      if (!visit(owner)) return false;
      place.start = record.start;
      place.owner = record.owner;
      place.from = record.from + 1;
    }
    return true;
  }

  /** Of a metadata chunk, which holds nodes of several trees, only as far as the first one's. */
  #ownerOf(record: RmapRecord, start: number, stop: number, count: number): Owner {
    if (record.owner <= MAX_INO) return fileOwner(record, start, stop, count);
    if (record.owner !== OWNER_METADATA) return { kind: 'superblock', ...bytesOf(start, stop) };
    const tree = this.#treeOf(start);
    let end = start + 1;
    while (end < stop && this.#treeOf(end) === tree) end++;
    return { kind: 'metadata', ...bytesOf(start, end), tree };
  }
}
