import { broken } from '../errors.js';
import { BLOCK_SIZE, blockOf, blocksFor, MAX_INO } from '../types.js';
import type { Owner, OwnerCursor } from './api.js';
import type { EngineContext } from './context.js';
import { OWNER_METADATA, OWNER_SUPERBLOCK } from './layout.js';
import { bytesOf, fileOwner, type RmapRecord as Record, readRecord } from './owner-stream.js';
import { newCountRun, type Refcount } from './refcount.js';
import type { Cursor } from './tree.js';

type Visitor = (owner: Owner) => boolean;

/**
 * Queries of the reverse map: who owns a range of the region, in physical order, as the kernel's
 * xfs_rmap_query_range() and GETFSMAP answer it.
 *
 * The range is walked in segments, in which every block has one and the same number of owners. The records
 * that own its first block are sorted by owner first; those that start later come in key order.
 * Blocks without a record are free.
 */
export class OwnerQueries {
  readonly #ctx: EngineContext;
  readonly #refcount: Refcount;
  readonly #treeOf: (block: number) => string;
  readonly #rmap: Cursor;
  readonly #run = newCountRun();

  /** `treeOf` names the tree that a block of a metadata chunk belongs to. */
  constructor(ctx: EngineContext, refcount: Refcount, treeOf: (block: number) => string) {
    this.#ctx = ctx;
    this.#refcount = refcount;
    this.#treeOf = treeOf;
    this.#rmap = ctx.trees.rmap.cursor();
  }

  /** See Space.owners(). The visitor must not change anything. Blocks beyond the device have no owners. */
  query(physical: number, length: number, visit: Visitor, after?: OwnerCursor): void {
    const first = blockOf(physical);
    const end = Math.min(this.#ctx.media.blocks, blocksFor(physical + length));
    const resume = after === undefined ? first : Math.max(first, blockOf(after.physical));
    const walk = new Walk(visit, after);
    for (let at = resume; at < end && !walk.stopped; ) {
      const run = this.#refcount.runAt(at, end - at, this.#run);
      // What began before the place where a query goes on was visited by the query that ended there.
      const before = at === resume && resume > first ? this.#runStart(at, first) : at;
      this.#segment(before, at, at + run.length, run.count, walk);
      at += run.length;
    }
  }

  /** Where the run of equal count that holds `at` starts, at or after `limit`. */
  #runStart(at: number, limit: number): number {
    return at + 1 - this.#refcount.runBefore(at + 1, at + 1 - limit, newCountRun()).length;
  }

  /**
   * Visits the blocks [from, end) of the segment that starts at `start`. Owners that begin at `from` are in the order
   * of the keys, so that a query in pages reads each of very many once.
   */
  #segment(start: number, from: number, end: number, count: number, walk: Walk): void {
    const cursor = this.#rmap;
    const earlier: Record[] = [];
    let covered = from;
    let more = cursor.seekOverlap(from, end);
    for (; more && cursor.key(0) < from; more = cursor.nextOverlap()) {
      const record = readRecord(cursor);
      covered = Math.max(covered, record.end);
      // What began before `from` is cut there, or was visited before: see query().
      if (start === from || record.owner > MAX_INO) earlier.push(record);
    }
    earlier.sort(byOwner);
    if (count > 1) {
      // Shared blocks have owners up to the end of the segment.
      covered = end;
      more = more && walk.seek(cursor, from);
    }
    let next = 0;
    for (; more && cursor.key(0) === from && !walk.stopped; more = cursor.next()) {
      const record = readRecord(cursor);
      for (; next < earlier.length && byOwner(earlier[next], record) < 0; next++) {
        this.#record(earlier[next], from, end, count, walk);
      }
      this.#record(record, from, end, count, walk);
      covered = Math.max(covered, record.end);
    }
    for (; next < earlier.length; next++) this.#record(earlier[next], from, end, count, walk);
    for (; more && cursor.key(0) < end && !walk.stopped; more = cursor.next()) {
      const record = readRecord(cursor);
      if (record.start > covered) walk.free(covered, record.start);
      this.#record(record, from, end, count, walk);
      covered = Math.max(covered, record.end);
    }
    if (covered < end) walk.free(covered, end);
  }

  #record(record: Record, from: number, end: number, count: number, walk: Walk): void {
    const start = Math.max(record.start, from);
    const stop = Math.min(record.end, end);
    if (record.owner <= MAX_INO) walk.file(record, start, stop, count);
    else if (record.owner === OWNER_SUPERBLOCK) walk.superblock(start, stop);
    else if (record.owner === OWNER_METADATA) this.#metadata(start, stop, walk);
    else broken(`rmap record of block ${record.start} has the owner ${record.owner}`);
  }

  /** A chunk of metadata holds nodes of several trees. */
  #metadata(start: number, stop: number, walk: Walk): void {
    for (let at = start; at < stop; ) {
      const tree = this.#treeOf(at);
      let end = at + 1;
      while (end < stop && this.#treeOf(end) === tree) end++;
      walk.metadata(at, end, tree);
      at = end;
    }
  }
}

/** Passes owners on to a visitor, from a position on and until it has enough. */
class Walk {
  stopped = false;
  readonly #visit: Visitor;
  readonly #after: OwnerCursor | undefined;

  constructor(visit: Visitor, after: OwnerCursor | undefined) {
    this.#visit = visit;
    this.#after = after;
  }

  /** Puts the cursor, which stands on the first record of block `from` or behind, on the first that was not passed. */
  seek(cursor: Cursor, from: number): boolean {
    const after = this.#after;
    if (after === undefined || blockOf(after.physical) !== from || cursor.key(0) !== from) return true;
    return cursor.seek(from, after.ino, blockOf(after.fileOffset), 0);
  }

  file(record: Record, start: number, stop: number, shareCount: number): void {
    const fileOffset = (record.from + (start - record.start)) * BLOCK_SIZE;
    if (this.#passed(start, record.owner, fileOffset)) return;
    this.#give(fileOwner(record, start, stop, shareCount));
  }

  metadata(start: number, stop: number, tree: string): void {
    if (!this.#passedWhole(start)) this.#give({ kind: 'metadata', ...bytesOf(start, stop), tree });
  }

  superblock(start: number, stop: number): void {
    if (!this.#passedWhole(start)) this.#give({ kind: 'superblock', ...bytesOf(start, stop) });
  }

  free(start: number, stop: number): void {
    if (!this.#passedWhole(start)) this.#give({ kind: 'free', ...bytesOf(start, stop) });
  }

  #give(owner: Owner): void {
    if (!this.stopped) this.stopped = !this.#visit(owner);
  }

  /** Only files share blocks: every other owner is the only one of its blocks. */
  #passedWhole(start: number): boolean {
    return this.#after !== undefined && start <= blockOf(this.#after.physical);
  }

  #passed(start: number, owner: number, fileOffset: number): boolean {
    const after = this.#after;
    if (after === undefined) return false;
    const at = blockOf(after.physical);
    if (start !== at) return start < at;
    return owner < after.ino || (owner === after.ino && fileOffset <= after.fileOffset);
  }
}

const byOwner = (a: Record, b: Record): number => a.owner - b.owner || a.from - b.from;
