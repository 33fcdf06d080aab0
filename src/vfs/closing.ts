import type { FileRange } from '../failure/job.js';
import { PAGES_TOUCHED_MAX } from '../limits.js';
import { BLOCK_SIZE, type Ino } from '../types.js';
import type { Page } from './jobs.js';

/**
 * How far the main thread has come with a list of pages, in memory that it shares with the core. Its value is twice the
 * index of the page that it drops now, and one more when that page was asked for meanwhile: then it drops it again.
 */
export interface PageGate {
  /** Before a list is begun. */
  reset(): void;
  /** The index of the page that is being dropped; the length of the list when all are. */
  current(): number;
  /** Has the current page dropped once more. False when `index` is not the current one (any more). */
  again(index: number): boolean;
}

/** What becomes of a request for pages: it is answered, waits for the remap, or is refused. */
export type Touched = 'answer' | 'wait' | 'refuse';

interface PageRange {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

/**
 * The pages of the ranges of a remap, on the way to when the kernel has none of them and cannot get one:
 *
 *     sweep     main has all pages written back and dropped at once. What is asked for meanwhile is answered and noted
 *     rounds    main drops the noted pages one by one. All others are closed: who asks for one waits for the remap
 *     closed    no page was asked for that was not dropped after it: the remap is done, and whoever waits is answered
 *
 * So a store to a page comes before the remap as a whole, or after it, whichever page it goes to: as with the kernel's
 * invalidate_lock, which a page fault and a remap of XFS take.
 *
 * A waiting request holds the locks of its pages in the kernel, and dropping a page waits for its lock. Hence no
 * request may wait that has a page which is yet to be dropped: it is answered, and the page dropped after it.
 */
export class Closing {
  readonly #ranges = new Map<Ino, PageRange[]>();
  readonly #gate: PageGate;
  #isSweep = true;
  /** Of the round: page -> index in its list. */
  #listed = new Map<Ino, Map<number, number>>();
  #noted = new Map<Ino, Set<number>>();
  #notes = 0;

  constructor(ranges: readonly FileRange[], gate: PageGate) {
    this.#gate = gate;
    for (const { ino, offset, length } of ranges) {
      const first = Math.floor(offset / BLOCK_SIZE);
      const last = length === 0 ? Number.POSITIVE_INFINITY : Math.ceil((offset + length) / BLOCK_SIZE) - 1;
      this.#ranges.set(ino, [...(this.#ranges.get(ino) ?? []), { first, last }]);
    }
  }

  /** Pages `first` to `last` are asked for. */
  touch(ino: Ino, first: number, last: number, isWrite: boolean): Touched {
    const pages = this.#within(ino, first, last);
    if (pages.length === 0) return 'answer';
    if (this.#isSweep) {
      this.#note(ino, pages);
      return 'answer';
    }
    const open = pages.filter((page) => !this.#isClosed(ino, page));
    if (open.length === 0) return 'wait';
    if (open.length < pages.length && !isWrite) return 'refuse';
    if (open.length < pages.length) this.#note(ino, pages);
    return 'answer';
  }

  /** Main has done its list. The next one; empty: all is closed. */
  round(): Page[] {
    const list: Page[] = [];
    const listed = new Map<Ino, Map<number, number>>();
    for (const [ino, pages] of this.#noted) {
      const indexes = new Map<number, number>();
      for (const page of pages) {
        indexes.set(page, list.length);
        list.push({ ino, page });
      }
      listed.set(ino, indexes);
    }
    this.#isSweep = false;
    this.#listed = listed;
    this.#noted = new Map();
    this.#notes = 0;
    return list;
  }

  /** A page that main drops at this moment is dropped again. */
  #isClosed(ino: Ino, page: number): boolean {
    const index = this.#listed.get(ino)?.get(page);
    if (index === undefined) return true;
    for (;;) {
      const current = this.#gate.current();
      if (current !== index) return index < current;
      if (this.#gate.again(index)) return false;
    }
  }

  #within(ino: Ino, first: number, last: number): number[] {
    const pages: number[] = [];
    const ranges = this.#ranges.get(ino);
    if (ranges === undefined) return pages;
    for (let page = first; page <= last; page++) {
      if (ranges.some((range) => page >= range.first && page <= range.last)) pages.push(page);
    }
    return pages;
  }

  #note(ino: Ino, pages: readonly number[]): void {
    let noted = this.#noted.get(ino);
    if (noted === undefined) {
      noted = new Set();
      this.#noted.set(ino, noted);
    }
    for (const page of pages) noted.add(page);
    this.#notes += pages.length;
  }

  /** More than can be dropped one by one: the remap is given up. */
  get isTooMuch(): boolean {
    return this.#notes > PAGES_TOUCHED_MAX;
  }
}
