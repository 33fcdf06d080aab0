import { assert, broken } from '../errors.js';
import { asBlocks, asPhys, type Blocks, type PhysBlock } from '../types.js';
import type { AllocatedRun, BadBlockIndex, RunOf, SpaceAllocator } from './context.js';
import type { Cursor, Tree } from './tree.js';

/** Free runs that one search looks at before it takes the longest it has seen. */
const SEARCH_RUNS_MAX = 32;

/** Blocks [start, start + length) at the end of a free run. */
interface Found {
  run: number;
  runLength: number;
  start: number;
  length: number;
}

/**
 * The free space: the runs in the free tree can be allocated; what was freed in the running transaction waits
 * on the heap until its commit, because the last committed state still points to it.
 */
export class FreeSpace implements SpaceAllocator {
  freeBlocks = 0;
  pendingBlocks = 0;
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  readonly #value = new Uint32Array(1);
  readonly #bad: BadBlockIndex;
  readonly #reserve: () => number;
  readonly #run: RunOf = { is: false, length: 0 };
  readonly #found: Found = { run: 0, runLength: 0, start: 0, length: 0 };
  #pending: { start: number; length: number }[] = [];
  /** Where the last search ended: the next one looks from here. */
  #rover = 0;

  /** `reserve` answers how many of the free blocks data must leave alone. */
  constructor(tree: Tree, bad: BadBlockIndex, reserve: () => number) {
    this.#tree = tree;
    this.#cursor = tree.cursor();
    this.#bad = bad;
    this.#reserve = reserve;
  }

  get availableBlocks(): number {
    return Math.max(0, this.freeBlocks - this.#reserve());
  }

  /** Runs that wait for the commit. */
  get pendingRuns(): number {
    return this.#pending.length;
  }

  allocate(goal: number, want: number, out: AllocatedRun): void {
    assert(want > 0, 'allocation of no blocks');
    if (goal !== 0 && this.#fromGoal(goal, want, out)) return;
    const found = this.#search(want);
    assert(found.length > 0, 'allocation without free space: a reservation was too small');
    this.#carve(found.run, found.runLength, found.start, Math.min(want, found.length), out);
    this.#rover = out.start + out.length;
  }

  isAllocatable(block: number): boolean {
    const c = this.#cursor;
    return c.seekLE(block, 0, 0, 0) && block < c.key(0) + c.value(0);
  }

  findWindow(length: number): number {
    const found = this.#search(length);
    if (found.length < length) return 0;
    this.#rover = found.start + length;
    return found.start;
  }

  /** Takes blocks at `goal` when that block is free. */
  #fromGoal(goal: number, want: number, out: AllocatedRun): boolean {
    if (!this.isAllocatable(goal)) return false;
    const start = this.#cursor.key(0);
    const length = this.#cursor.value(0);
    this.#carve(start, length, goal, Math.min(want, start + length - goal), out);
    const end = out.start + out.length;
    if (this.#rover >= start && this.#rover <= end) this.#rover = end;
    return true;
  }

  /**
   * The first run that is long enough, or the longest of those looked at; length 0 where nothing is free. What lies
   * before the rover comes last: a part of a window may be kept there for its neighbours.
   */
  #search(want: number): Found {
    const c = this.#cursor;
    const found = this.#found;
    found.length = 0;
    let ok = c.seekLE(this.#rover, 0, 0, 0) || c.seek(this.#rover, 0, 0, 0);
    let wrapped = false;
    for (let seen = 0; seen < SEARCH_RUNS_MAX && found.length < want; seen++) {
      if (!ok) {
        if (wrapped || !c.seek(0, 0, 0, 0)) break;
        wrapped = true;
      }
      const run = c.key(0);
      const start = wrapped ? run : Math.max(run, this.#rover);
      const length = run + c.value(0) - start;
      if (length > found.length) {
        found.run = run;
        found.runLength = c.value(0);
        found.start = start;
        found.length = length;
      }
      ok = c.next();
    }
    return found;
  }

  /** Takes [at, at + count) out of the free run [start, start + length). */
  #carve(start: number, length: number, at: number, count: number, out: AllocatedRun): void {
    if (at === start) this.#tree.remove(start, 0, 0, 0);
    else this.#put(start, at - start);
    const rest = start + length - (at + count);
    if (rest > 0) this.#add(at + count, rest);
    this.freeBlocks -= count;
    out.start = asPhys(at);
    out.length = asBlocks(count);
  }

  #put(start: number, length: number): void {
    this.#value[0] = length;
    this.#tree.update(start, 0, 0, 0, this.#value);
  }

  #add(start: number, length: number): void {
    this.#value[0] = length;
    this.#tree.insert(start, 0, 0, 0, this.#value);
  }

  free(start: PhysBlock, length: Blocks): void {
    assert(length > 0, 'free of no blocks');
    this.#pending.push({ start, length });
    this.pendingBlocks += length;
  }

  quarantine(start: PhysBlock, length: Blocks): void {
    if (this.#isPending(start)) return;
    const c = this.#cursor;
    const found = c.seekLE(start, 0, 0, 0) && start + length <= c.key(0) + c.value(0);
    assert(found, `blocks ${start}+${length} are put in quarantine but are not free`);
    this.#carve(c.key(0), c.value(0), start, length, { start, length });
  }

  restore(start: PhysBlock, length: Blocks): void {
    this.insertRun(start, length);
  }

  isFree(block: PhysBlock): boolean {
    return this.freeRun(block, 1, this.#run).is;
  }

  /** O(log n), and O(runs that were freed since the last commit). */
  freeRun(block: number, limit: number, out: RunOf): RunOf {
    this.#pendingRun(block, limit, out);
    if (out.is) return out;
    const c = this.#cursor;
    const end = block + out.length;
    if (c.seekLE(block, 0, 0, 0) && block < c.key(0) + c.value(0)) {
      out.is = true;
      out.length = Math.min(end, c.key(0) + c.value(0)) - block;
    } else if (c.seek(block, 0, 0, 0) && c.key(0) < end) {
      out.length = c.key(0) - block;
    }
    return out;
  }

  /** The same for the pending runs alone. */
  #pendingRun(block: number, limit: number, out: RunOf): RunOf {
    let end = block + limit;
    out.is = false;
    for (const { start, length } of this.#pending) {
      if (block >= start && block < start + length) {
        out.is = true;
        out.length = Math.min(end, start + length) - block;
        return out;
      }
      if (start > block && start < end) end = start;
    }
    out.length = end - block;
    return out;
  }

  #isPending(block: number): boolean {
    return this.#pendingRun(block, 1, this.#run).is;
  }

  /** Takes an exact run for the metadata: 1 .. want blocks within one group of `group` blocks, aligned to it. */
  allocateChunk(group: number, want: number): AllocatedRun | null {
    const c = this.#cursor;
    let bestStart = 0;
    let bestLength = 0;
    let ok = c.seek(0, 0, 0, 0);
    for (let seen = 0; ok && seen < SEARCH_RUNS_MAX && bestLength < want; seen++) {
      const start = c.key(0);
      const end = start + c.value(0);
      const aligned = Math.ceil(start / group) * group;
      const from = aligned + want <= end ? aligned : start;
      const length = Math.min(want, end - from, group - (from % group));
      if (length > bestLength) {
        bestStart = from;
        bestLength = length;
      }
      ok = c.next();
    }
    if (bestLength === 0) return null;
    const found = c.seekLE(bestStart, 0, 0, 0);
    assert(found, 'the chosen run is gone');
    const out = { start: asPhys(0), length: asBlocks(0) };
    this.#carve(c.key(0), c.value(0), bestStart, bestLength, out);
    return out;
  }

  /** Runs of free blocks within [from, to) in order, cut at both ends. `visit` must change nothing. */
  eachFree(from: number, to: number, visit: (start: number, length: number) => void): void {
    const c = this.#tree.cursor();
    for (let ok = c.seekLE(from, 0, 0, 0) || c.seek(from, 0, 0, 0); ok && c.key(0) < to; ok = c.next()) {
      const start = Math.max(from, c.key(0));
      const end = Math.min(to, c.key(0) + c.value(0));
      if (start < end) visit(start, end - start);
    }
  }

  /**
   * Moves what was freed into the free tree, merged and without bad blocks. Part of the commit. A run leaves the list
   * when it is in the tree.
   */
  applyPending(): void {
    const runs = this.#pending.sort((a, b) => a.start - b.start);
    let done = 0;
    try {
      while (done < runs.length) {
        const { start } = runs[done];
        let next = done;
        let end = start;
        while (next < runs.length && runs[next].start <= end) {
          if (runs[next].start < end) broken(`block ${runs[next].start} is freed twice`);
          end += runs[next++].length;
        }
        this.#insertGood(start, end - start);
        done = next;
      }
    } finally {
      this.#pending = runs.slice(done);
      this.pendingBlocks = 0;
      for (const { length } of this.#pending) this.pendingBlocks += length;
    }
  }

  #insertGood(start: number, length: number): void {
    const end = start + length;
    for (let from = start; from < end; ) {
      const bad = this.#bad.first(from, end - from, true);
      const until = bad < 0 ? end : bad;
      if (until > from) this.insertRun(from, until - from);
      from = until < end ? until + this.#bad.lengthAt(until, end - until) : end;
    }
  }

  /** Adds a run to the free tree, merged with its neighbours. Also used by mkfs. */
  insertRun(start: number, length: number): void {
    const c = this.#cursor;
    let newStart = start;
    let newLength = length;
    let before = -1;
    let after = -1;
    if (c.seekLE(start, 0, 0, 0)) {
      const end = c.key(0) + c.value(0);
      if (end > start) broken(`block ${start} is freed but is free already`);
      if (end === start) before = c.key(0);
    }
    if (c.seek(start, 0, 0, 0)) {
      if (c.key(0) < start + length) broken(`block ${c.key(0)} is freed but is free already`);
      if (c.key(0) === start + length) {
        after = c.key(0);
        newLength += c.value(0);
      }
    }
    if (after >= 0) this.#tree.remove(after, 0, 0, 0);
    if (before >= 0) {
      newLength += start - before;
      newStart = before;
      this.#put(newStart, newLength);
    } else {
      this.#add(newStart, newLength);
    }
    this.freeBlocks += length;
  }
}
