import { EXT_UNWRITTEN, INODE } from '../engine/layout.js';
import { isRegular } from '../engine/mode.js';
import { recordFault } from '../engine/record-fault.js';
import { type Run, RunCounter } from '../engine/runs.js';
import { blocksFor, MAX_INO } from '../types.js';
import { atBlock, type Place, type Problems } from './problem.js';
import { areWhole, type CheckSubject, type ReadCursor, seekExact } from './subject.js';

/**
 * Checks that bmap, rmap, refcount and the inodes agree: rebuilds the reverse map and the counts from the bmap and
 * compares. Returns the runs of blocks that files own, with the number of owners, in physical order. Memory:
 * two words for each extent.
 */
export function findInExtents(subject: CheckSubject, problems: Problems): Iterable<Run> {
  const owned = new ExtentCheck(subject, problems).run();
  checkReverse(subject, problems);
  checkCounts(subject, owned, problems);
  return owned;
}

/** Blocks of a file, as a record of the bmap or of the rmap has them. */
export interface Extent {
  readonly ino: number;
  readonly from: number;
  readonly physical: number;
  readonly length: number;
  readonly flags: number;
}

/** One walk over bmap and inodes side by side: both are in the order of the inode numbers. */
class ExtentCheck {
  readonly #subject: CheckSubject;
  readonly #problems: Problems;
  readonly #bmap: ReadCursor;
  readonly #inode: ReadCursor;
  readonly #rmap: ReadCursor;
  readonly #refcount: ReadCursor;
  readonly #owned: RunCounter;
  #more: boolean;

  constructor(subject: CheckSubject, problems: Problems) {
    this.#subject = subject;
    this.#problems = problems;
    const { bmap, inode, rmap, refcount } = subject.trees;
    this.#bmap = bmap.cursor();
    this.#inode = inode.cursor();
    this.#rmap = rmap.cursor();
    this.#refcount = refcount.cursor();
    this.#owned = new RunCounter();
    this.#more = this.#bmap.seek(0, 0, 0, 0);
  }

  run(): RunCounter {
    let found = this.#inode.seek(0, 0, 0, 0);
    for (; found; found = this.#inode.next()) this.#inodeExtents(this.#inode.key(0));
    this.#ownerless(Number.POSITIVE_INFINITY);
    this.#owned.finish();
    return this.#owned;
  }

  #inodeExtents(ino: number): void {
    this.#ownerless(ino);
    let blocks = 0;
    let writtenEnd = 0;
    let end = 0;
    for (; this.#more && this.#bmap.key(0) === ino; this.#more = this.#bmap.next()) {
      const extent = this.#extent(end);
      end = extent.from + extent.length;
      blocks += extent.length;
      if ((extent.flags & EXT_UNWRITTEN) === 0) writtenEnd = end;
    }
    this.#checkInode(ino, blocks, writtenEnd);
  }

  /** Extents of inodes below `limit` that have no record. */
  #ownerless(limit: number): void {
    let ino = 0;
    let end = 0;
    for (; this.#more && this.#bmap.key(0) < limit; this.#more = this.#bmap.next()) {
      const isNew = this.#bmap.key(0) !== ino;
      ino = this.#bmap.key(0);
      const extent = this.#extent(isNew ? 0 : end);
      end = extent.from + extent.length;
      if (isNew && areWhole(this.#subject, 'inode')) {
        this.#problems.add('bmap', `bmap: extents of inode ${ino}, which does not exist`, { ino });
      }
    }
  }

  #checkInode(ino: number, blocks: number, writtenEnd: number): void {
    const record = this.#inode;
    const add = (text: string): void => this.#problems.add('inode', `inode ${ino}: ${text}`, { ino });
    const stored = record.value(INODE.blocks);
    if (stored !== blocks && areWhole(this.#subject, 'bmap')) {
      add(`says ${stored} blocks, has ${blocks}`);
    }
    if (blocks > 0 && !isRegular(record.value(INODE.mode))) add('has blocks and is no regular file');
    const size = record.value(INODE.sizeHi) * 2 ** 32 + record.value(INODE.sizeLo);
    if (writtenEnd > blocksFor(size)) {
      add(`written blocks up to ${writtenEnd}, past its end at byte ${size}`);
    }
  }

  /** Checks the extent that the cursor stands on; `end` is where the one before it ends. */
  #extent(end: number): Extent {
    const cursor = this.#bmap;
    const extent = {
      ino: cursor.key(0),
      from: cursor.key(1),
      physical: cursor.value(0),
      length: cursor.value(1),
      flags: cursor.value(2),
    };
    const { ino, from, physical, length, flags } = extent;
    const add = (text: string): void => {
      const what = `bmap: inode ${ino}, blocks ${from}+${length} at ${physical}: ${text}`;
      this.#problems.add('bmap', what, { ...atBlock(physical), ino });
    };
    if (from < end) add('overlaps the extent before it');
    const fault = recordFault('bmap', cursor, this.#subject.media.blocks);
    if (fault !== null) {
      add(fault);
      return extent;
    }
    this.#owned.add(physical, length);
    this.#mirrored(extent);
    if ((flags & EXT_UNWRITTEN) !== 0) this.#unshared(extent);
    return extent;
  }

  /** The rmap has the same record. */
  #mirrored(extent: Extent): void {
    const { ino, from, physical, length, flags } = extent;
    const rmap = this.#rmap;
    const place: Place = { ...atBlock(physical), ino };
    const what = `rmap: block ${physical}, inode ${ino}, file block ${from}`;
    if (!seekExact(rmap, [physical, ino, from])) {
      if (areWhole(this.#subject, 'rmap')) this.#problems.add('rmap', `${what}: no record`, place);
    } else if (rmap.value(0) !== length || rmap.value(1) !== flags) {
      const found = `${rmap.value(0)} blocks, flags ${rmap.value(1)}`;
      this.#problems.add('rmap', `${what}: ${found}; the bmap has ${length}, ${flags}`, place);
    }
  }

  /** Unwritten blocks have one owner. */
  #unshared(extent: Extent): void {
    const { ino, from, physical, length } = extent;
    const counts = this.#refcount;
    if (!counts.seekLE(physical + length - 1, 0, 0, 0) || counts.key(0) + counts.value(0) <= physical) return;
    const text = `inode ${ino}: the unwritten blocks ${from}+${length} are shared`;
    this.#problems.add('refcount', text, { ...atBlock(physical), ino });
  }
}

/** Every record of a file in the rmap has one in the bmap. */
function checkReverse(subject: CheckSubject, problems: Problems): void {
  const bmap = subject.trees.bmap.cursor();
  const cursor = subject.trees.rmap.cursor();
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const [physical, ino, from] = [cursor.key(0), cursor.key(1), cursor.key(2)];
    const fault = recordFault('rmap', cursor, subject.media.blocks);
    if (fault !== null) {
      const what = `rmap: block ${physical}, owner ${ino}, file block ${from}: ${fault}`;
      problems.add('rmap', what, atBlock(physical));
      continue;
    }
    if (ino > MAX_INO) continue;
    if (!areWhole(subject, 'bmap') || (seekExact(bmap, [ino, from]) && bmap.value(0) === physical)) continue;
    const text = `rmap: block ${physical}, inode ${ino}, file block ${from}: not in the bmap`;
    problems.add('rmap', text, { ...atBlock(physical), ino });
  }
}

/** The refcount tree holds exactly the runs with two owners and more. */
function checkCounts(subject: CheckSubject, owned: Iterable<Run>, problems: Problems): void {
  const cursor = subject.trees.refcount.cursor();
  const add = (block: number, text: string): void =>
    problems.add('refcount', `refcount: ${text}`, atBlock(block));
  for (let more = cursor.seek(0, 0, 0, 0); more; more = cursor.next()) {
    const fault = recordFault('refcount', cursor, subject.media.blocks);
    if (fault !== null) add(cursor.key(0), `block ${cursor.key(0)}: ${fault}`);
  }
  if (!areWhole(subject, 'bmap')) return;
  let more = cursor.seek(0, 0, 0, 0);
  for (const { start, end, count } of owned) {
    if (count < 2) continue;
    for (; more && cursor.key(0) < start; more = cursor.next()) {
      add(cursor.key(0), `record at block ${cursor.key(0)}, which is not shared or not a run's start`);
    }
    if (!more || cursor.key(0) !== start) {
      if (areWhole(subject, 'refcount'))
        add(start, `no record for blocks ${start}..${end} with ${count} owners`);
      continue;
    }
    if (cursor.value(0) !== end - start || cursor.value(1) !== count) {
      const found = `${cursor.value(0)} blocks with ${cursor.value(1)} owners`;
      add(start, `block ${start}: ${found}; the bmap has ${end - start} with ${count}`);
    }
    more = cursor.next();
  }
  for (; more; more = cursor.next()) {
    add(cursor.key(0), `record at block ${cursor.key(0)}, which is not shared`);
  }
}
