import { broken } from '../errors.js';
import type { FileExtent, Merge } from './bmap.js';
import type { RunOf } from './context.js';
import type { Cursor, Tree } from './tree.js';

/**
 * The reverse map: (physical, owner, file block) -> (length, flags). A file's records mirror its bmap records
 * one for one: the same borders, the same flags. Owners above MAX_INO are OWNER_*: their file block is 0.
 *
 *   bmap  (ino 7, block 4) -> (900, 3, 0)      <=>      rmap  (900, ino 7, block 4) -> (3, 0)
 */
export class Rmap {
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  readonly #value = new Uint32Array(2);

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#cursor = tree.cursor();
  }

  /** Mirrors Bmap.insert(): the same extent with the merge that it reported. */
  insert(ino: number, from: number, physical: number, length: number, flags: number, merge: Merge): void {
    if (merge.right > 0) this.remove(physical + length, ino, from + length);
    const value = this.#fill(merge.left + length + merge.right, flags);
    if (merge.left > 0) this.#tree.update(physical - merge.left, ino, from - merge.left, 0, value);
    else this.#tree.insert(physical, ino, from, 0, value);
  }

  /** Mirrors Bmap.cut(): `whole` is the record as that reported it. */
  cut(ino: number, from: number, length: number, whole: FileExtent): void {
    const left = from - whole.from;
    const right = whole.length - left - length;
    if (left > 0) this.#tree.update(whole.physical, ino, whole.from, 0, this.#fill(left, whole.flags));
    else this.remove(whole.physical, ino, from);
    if (right === 0) return;
    const value = this.#fill(right, whole.flags);
    this.#tree.insert(whole.physical + left + length, ino, from + length, 0, value);
  }

  /** A record of a special owner (OWNER_*). */
  addSpecial(physical: number, owner: number, length: number): void {
    this.#tree.insert(physical, owner, 0, 0, this.#fill(length, 0));
  }

  remove(physical: number, owner: number, from: number): void {
    const existed = this.#tree.remove(physical, owner, from, 0);
    if (!existed) broken(`rmap has no record of block ${physical}, owner ${owner}, file block ${from}`);
  }

  /** Whether anybody owns block `at`, and how many blocks from it on are alike, up to `end`. */
  ownedRun(at: number, end: number, out: RunOf): RunOf {
    const cursor = this.#cursor;
    out.is = cursor.seekOverlap(at, at + 1);
    if (out.is) out.length = Math.min(end, cursor.key(0) + cursor.value(0)) - at;
    else out.length = (cursor.seekOverlap(at, end) ? cursor.key(0) : end) - at;
    return out;
  }

  #fill(length: number, flags: number): Uint32Array {
    this.#value[0] = length;
    this.#value[1] = flags;
    return this.#value;
  }
}
