import { broken } from '../errors.js';
import { EXTENT_MAX_BLOCKS } from '../limits.js';
import type { Cursor, Tree } from './tree.js';

/** File block numbers are u32: a file has at most this many blocks. */
export const FILE_BLOCKS_MAX = 2 ** 32;

/** What lies at a file block. `physical` is 0 in a hole: block 0 of the region is a superblock. */
export interface Mapping {
  physical: number;
  /** Blocks from the block that was asked for to the end of the extent or the hole. */
  length: number;
  /** EXT_* of the extent; 0 in a hole. */
  flags: number;
}

/** A whole extent record. */
export interface FileExtent extends Mapping {
  /** First file block. */
  from: number;
}

/** What insert() merged with: the lengths of the neighbours that the new extent swallowed (0 = none). */
export interface Merge {
  left: number;
  right: number;
}

export const newMapping = (): Mapping => ({ physical: 0, length: 0, flags: 0 });
export const newFileExtent = (): FileExtent => ({ from: 0, physical: 0, length: 0, flags: 0 });

/** What lies `skipped` blocks into the extent at the cursor. */
function within(cursor: Cursor, skipped: number, out: Mapping): Mapping {
  out.physical = cursor.value(0) + skipped;
  out.length = cursor.value(1) - skipped;
  out.flags = cursor.value(2);
  return out;
}

/**
 * The block map: (inode, file block) -> (physical, length, flags). Neighbours that continue each other in the
 * file and in the region with the same flags are one record, up to EXTENT_MAX_BLOCKS. It knows nothing of
 * owners and counts: only remap.ts changes it, together with the reverse map.
 */
export class Bmap {
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  readonly #value = new Uint32Array(3);

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#cursor = tree.cursor();
  }

  /** The extent or hole from file block `at` on. A hole ends at the next extent or at FILE_BLOCKS_MAX. */
  lookup(ino: number, at: number, out: Mapping): Mapping {
    if (at < 0 || at >= FILE_BLOCKS_MAX) broken(`inode ${ino}: file block ${at}`);
    const cursor = this.#cursor;
    // The next read is often of the same extent.
    if (cursor.isAt(ino)) {
      const skipped = at - cursor.key(1);
      if (skipped >= 0 && skipped < cursor.value(1)) return within(cursor, skipped, out);
    }
    let more: boolean;
    if (cursor.seekLE(ino, at, 0, 0)) {
      const skipped = at - cursor.key(1);
      if (cursor.key(0) === ino && skipped < cursor.value(1)) {
        return within(cursor, skipped, out);
      }
      more = cursor.next();
    } else {
      more = cursor.seek(ino, at, 0, 0);
    }
    const end = more && cursor.key(0) === ino ? cursor.key(1) : FILE_BLOCKS_MAX;
    if (end <= at) broken(`inode ${ino}: the hole at file block ${at} ends at ${end}`);
    out.physical = 0;
    out.length = end - at;
    out.flags = 0;
    return out;
  }

  /** The file's last extent. Returns whether it has any. */
  last(ino: number, out: FileExtent): boolean {
    return this.lastBefore(ino, FILE_BLOCKS_MAX, out);
  }

  /** The last of the file's extents that begin before file block `at` (at least 1). Returns whether there is one. */
  lastBefore(ino: number, at: number, out: FileExtent): boolean {
    const cursor = this.#cursor;
    if (!cursor.seekLE(ino, at - 1, 0, 0) || cursor.key(0) !== ino) return false;
    out.from = cursor.key(1);
    out.physical = cursor.value(0);
    out.length = cursor.value(1);
    out.flags = cursor.value(2);
    return true;
  }

  /** Adds an extent where there is a hole and merges it with its neighbours; says in `merge` with what. */
  insert(ino: number, from: number, physical: number, length: number, flags: number, merge: Merge): void {
    if (length <= 0 || length > EXTENT_MAX_BLOCKS) broken(`inode ${ino}: extent of ${length} blocks`);
    if (physical <= 0 || from + length > FILE_BLOCKS_MAX) broken(`inode ${ino}: extent ${from}+${length}`);
    this.#findLeft(ino, from, physical, length, flags, merge);
    this.#findRight(ino, from, physical, length, flags, merge);
    const total = merge.left + length + merge.right;
    if (merge.right > 0) this.#tree.remove(ino, from + length, 0, 0);
    const value = this.#fill(physical - merge.left, total, flags);
    if (merge.left > 0) this.#tree.update(ino, from - merge.left, 0, 0, value);
    else this.#tree.insert(ino, from, 0, 0, value);
  }

  /**
   * Takes [from, from + length), which lies in one extent, out of the file. `whole` gets the record as it was
   * before: its ends stay as records of their own.
   */
  cut(ino: number, from: number, length: number, whole: FileExtent): void {
    const cursor = this.#cursor;
    const found = cursor.seekLE(ino, from, 0, 0) && cursor.key(0) === ino;
    if (!found) broken(`inode ${ino}: cut at file block ${from}, where nothing is mapped`);
    whole.from = cursor.key(1);
    whole.physical = cursor.value(0);
    whole.length = cursor.value(1);
    whole.flags = cursor.value(2);
    const left = from - whole.from;
    const right = whole.length - left - length;
    if (length <= 0 || right < 0) broken(`inode ${ino}: cut ${from}+${length} is not within one extent`);
    if (left > 0) cursor.set(1, left);
    else this.#tree.remove(ino, from, 0, 0);
    if (right === 0) return;
    const value = this.#fill(whole.physical + left + length, right, whole.flags);
    this.#tree.insert(ino, from + length, 0, 0, value);
  }

  #findLeft(ino: number, from: number, physical: number, length: number, flags: number, merge: Merge): void {
    merge.left = 0;
    const cursor = this.#cursor;
    if (!cursor.seekLE(ino, from, 0, 0) || cursor.key(0) !== ino) return;
    const left = cursor.value(1);
    const end = cursor.key(1) + left;
    if (end > from) broken(`inode ${ino}: file block ${from} is mapped already`);
    const fits = end === from && cursor.value(0) + left === physical && cursor.value(2) === flags;
    if (fits && left + length <= EXTENT_MAX_BLOCKS) merge.left = left;
  }

  #findRight(ino: number, from: number, physical: number, length: number, flags: number, merge: Merge): void {
    merge.right = 0;
    const end = from + length;
    const cursor = this.#cursor;
    if (!cursor.seek(ino, from, 0, 0) || cursor.key(0) !== ino) return;
    if (cursor.key(1) < end) broken(`inode ${ino}: a block of ${from}+${length} is mapped already`);
    const right = cursor.value(1);
    const fits = cursor.key(1) === end && cursor.value(0) === physical + length && cursor.value(2) === flags;
    if (fits && merge.left + length + right <= EXTENT_MAX_BLOCKS) merge.right = right;
  }

  #fill(physical: number, length: number, flags: number): Uint32Array {
    this.#value[0] = physical;
    this.#value[1] = length;
    this.#value[2] = flags;
    return this.#value;
  }
}
