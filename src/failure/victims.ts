import { assert } from '../errors.js';
import { PAGEMAP_BATCH_PAGES, VICTIMS_PER_FAILURE_MAX } from '../limits.js';
import { asIno, BLOCK_SIZE, type Ino } from '../types.js';
import type { FileOwner } from './job.js';
import type { DeviceId, FileMapping, ProcessTable, ScanCounts } from './procfs.js';

/** A process that has a page of a failed range mapped and touched. */
export interface Victim {
  pid: number;
  /** The thread that is told: the main thread, as in the kernel's task_early_kill(). */
  tid: number;
  comm: string;
  /** See ProcessState.startTicks: guards against a pid that was used again. */
  startTicks: number;
  ino: Ino;
  /** Of the page in the file, bytes. */
  fileOffset: number;
  /** Of the page in the process, bytes. */
  address: number;
  /** Index of the owner that the page was found through. */
  owner: number;
}

export interface Victims {
  /** In the kernel's order: by owner, then by page, then by process. */
  victims: Victim[];
  /** How many more there were beyond VICTIMS_PER_FAILURE_MAX. */
  omitted: number;
  scan: ScanCounts;
}

/** Whole pages of one file: [first, end), and the owner they belong to. */
interface PageRange {
  first: number;
  end: number;
  owner: number;
}

/**
 * Finds who must be told, by the rule of the kernel's collect_procs() (mm/memory-failure.c): a process counts
 * when it has a present page-table entry for a failed page of the file. What does not count: an open
 * descriptor, a mapping that was never touched, a private copy (its page belongs to no file), a page that a
 * fork child has not touched yet. One pass over the processes serves all owners.
 *
 * One entry for each page, process and owner: a page that is mapped twice in one process counts once, at its
 * lowest address (the kernel queues a second signal, which merges with the pending first). A process that
 * maps two clones of the block is told once for each, since the kernel walks owner by owner
 * (xfs_dax_failure_fn -> mf_dax_kill_procs).
 */
export function collectVictims(table: ProcessTable, device: DeviceId, owners: readonly FileOwner[]): Victims {
  const collector = new Collector(table, pageRanges(owners));
  const scan = table.scan(device, (pid, mappings) => collector.process(pid, mappings));
  scan.ended += collector.ended;
  scan.unreadable += collector.unreadable;
  collector.victims.sort((a, b) => a.owner - b.owner || a.fileOffset - b.fileOffset || a.pid - b.pid);
  return { victims: collector.victims, omitted: collector.omitted, scan };
}

/** The whole pages of each file, sorted; ranges of one file do not overlap (a file block has one block). */
function pageRanges(owners: readonly FileOwner[]): Map<number, PageRange[]> {
  assert(owners.length < OWNERS_KEY_MAX, 'the owner index fits into a page key');
  const byIno = new Map<number, PageRange[]>();
  for (const [owner, range] of owners.entries()) {
    const ranges = byIno.get(range.ino) ?? [];
    const first = Math.floor(range.fileOffset / BLOCK_SIZE);
    const end = Math.ceil((range.fileOffset + range.length) / BLOCK_SIZE);
    ranges.push({ first, end, owner });
    byIno.set(range.ino, ranges);
  }
  for (const ranges of byIno.values()) ranges.sort((a, b) => a.first - b.first);
  return byIno;
}

/** Owner index and file block (u32) make one exact number: a key for "this page of this owner". */
const OWNERS_KEY_MAX = 2 ** 21;
const pageKey = (owner: number, page: number): number => owner * 2 ** 32 + page;

class Collector {
  readonly victims: Victim[] = [];
  omitted = 0;
  ended = 0;
  unreadable = 0;
  readonly #table: ProcessTable;
  readonly #wanted: ReadonlyMap<number, readonly PageRange[]>;
  readonly #present = new Uint8Array(PAGEMAP_BATCH_PAGES);

  constructor(table: ProcessTable, wanted: ReadonlyMap<number, readonly PageRange[]>) {
    this.#table = table;
    this.#wanted = wanted;
  }

  /** Adds the victims of one process. Mappings come in the order of their addresses. */
  process(pid: number, mappings: readonly FileMapping[]): void {
    const found = new Map<number, Victim>();
    for (const mapping of mappings) {
      const mapFirst = mapping.fileOffset / BLOCK_SIZE;
      const mapEnd = mapFirst + (mapping.end - mapping.start) / BLOCK_SIZE;
      for (const range of this.#wanted.get(mapping.ino) ?? []) {
        if (range.first >= mapEnd) break;
        for (let at = Math.max(range.first, mapFirst); at < range.end && at < mapEnd; ) {
          const pages = Math.min(range.end - at, mapEnd - at, PAGEMAP_BATCH_PAGES);
          if (!this.#batch(pid, mapping, range.owner, at, pages, found)) return;
          at += pages;
        }
      }
    }
    this.#add(pid, found);
  }

  /**
   * Looks at `pages` pages of a mapping from file page `first` on. Returns false when that cannot be done.
   */
  #batch(
    pid: number,
    mapping: FileMapping,
    owner: number,
    first: number,
    pages: number,
    found: Map<number, Victim>,
  ): boolean {
    const address = mapping.start - mapping.fileOffset + first * BLOCK_SIZE;
    const look = this.#table.filePages(pid, address, pages, this.#present);
    if (look !== 'ok') {
      this[look]++;
      return false;
    }
    for (let i = 0; i < pages; i++) {
      const key = pageKey(owner, first + i);
      if (this.#present[i] === 0 || found.has(key)) continue;
      if (this.victims.length + found.size >= VICTIMS_PER_FAILURE_MAX) {
        this.omitted++;
        continue;
      }
      found.set(key, {
        pid,
        tid: pid,
        comm: '',
        startTicks: 0,
        ino: asIno(mapping.ino),
        fileOffset: (first + i) * BLOCK_SIZE,
        address: address + i * BLOCK_SIZE,
        owner,
      });
    }
    return true;
  }

  #add(pid: number, found: ReadonlyMap<number, Victim>): void {
    if (found.size === 0) return;
    const state = this.#table.inspect(pid);
    if (typeof state === 'string') {
      this[state]++;
      return;
    }
    for (const victim of found.values()) {
      this.victims.push({ ...victim, comm: state.comm, startTicks: state.startTicks });
    }
  }
}
