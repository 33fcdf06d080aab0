import type { Scan } from '../check/scan.js';
import type { TreeName } from '../engine/layout.js';
import { recordFault } from '../engine/record-fault.js';
import type { Run } from '../engine/runs.js';
import type { Actions } from './actions.js';
import type { Draft, DraftRecord } from './draft.js';

/** What is known of an inode that will exist. */
export interface Facts {
  /** File type and permissions; 0 while the type is not known. */
  mode: number;
  /** Its record is gone: it gets one with default attributes. */
  readonly made: boolean;
  /** What its record says, 0 where it is gone. */
  readonly storedLinks: number;
  readonly storedBlocks: number;
  readonly storedEntries: number;
  readonly storedSize: number;
  /** Entries that name it. */
  names: number;
  /** Directories: that of the entry that names it; 0 while there is none. */
  parent: number;
  /** Directories: entries, and those of them that name directories. */
  entries: number;
  subdirs: number;
  /** Extended attributes. */
  xattrs: number;
  /** Bytes of a symbolic link's target; -1 when there is none. */
  target: number;
  blocks: number;
  /** File block behind the last one that is written, and behind the last one. */
  writtenEnd: number;
  end: number;
}

/** A repair in the making. */
export interface Repair {
  readonly scan: Scan;
  readonly drafts: Readonly<Record<TreeName, Draft>>;
  readonly actions: Actions;
  readonly facts: Map<number, Facts>;
  /** Seconds since 1970. */
  readonly now: number;
  /** Number of the transaction that will hold the repair. */
  readonly txid: number;
  /** Highest inode number given out. */
  lastIno: number;
  /** The directory that this repair makes, or 0. */
  lostAndFound: number;
  /** Leaves that nothing leads to and that are read all the same: they stay untouched until the repair counts. */
  readonly salvaged: Set<number>;
  /** Of each directory and hash: no entry that the repair adds has this sequence or a higher one. */
  readonly sequences: Map<string, number>;
  /** Records that were found again of a lost subtree, by its block. */
  readonly found: Map<number, number>;
  /** The metadata chunks, in order. */
  chunks: readonly Pick<Run, 'start' | 'end'>[];
}

/** See recordFault(). */
export const faultOf = (r: Repair, tree: TreeName, { key, value }: DraftRecord): string | null =>
  recordFault(
    tree,
    { key: (i) => key[i], value: (i) => value[i], payload: () => Uint8Array.from(value) },
    r.scan.media.blocks,
  );

/** Facts of an inode whose record is gone. */
export const madeFacts = (mode: number): Facts => ({
  mode,
  made: true,
  storedLinks: 0,
  storedBlocks: 0,
  storedEntries: 0,
  storedSize: 0,
  names: 0,
  parent: 0,
  entries: 0,
  subdirs: 0,
  xattrs: 0,
  target: -1,
  blocks: 0,
  writtenEnd: 0,
  end: 0,
});
