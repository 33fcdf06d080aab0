import type { Counters } from '../engine/context.js';
import type { TreeName } from '../engine/layout.js';
import type { Cursor } from '../engine/tree.js';

/** A cursor that only reads. */
export type ReadCursor = Pick<Cursor, 'seek' | 'seekLE' | 'next' | 'key' | 'value' | 'payload'>;

/** A tree that only reads. */
export interface ReadTree {
  /** Number of records that can be read. */
  readonly count: number;
  cursor(): ReadCursor;
}

/** What the comparisons between trees look at: a running engine, or what could be read of a region. */
export interface CheckSubject {
  readonly trees: Readonly<Record<TreeName, ReadTree>>;
  readonly counters: Readonly<Counters>;
  readonly media: { readonly blocks: number };
  /**
   * Trees of which a part cannot be read: that they lack a record, or count too few, says nothing. Absent: none.
   */
  readonly incomplete?: ReadonlySet<TreeName>;
}

/** Whether all records of the trees can be read. */
export const areWhole = (subject: CheckSubject, ...names: readonly TreeName[]): boolean =>
  names.every((name) => subject.incomplete?.has(name) !== true);

/** Whether the cursor finds exactly this key. `words` are those that the tree's key has. */
export function seekExact(cursor: ReadCursor, words: readonly number[]): boolean {
  const [k0, k1 = 0, k2 = 0, k3 = 0] = words;
  return cursor.seek(k0, k1, k2, k3) && words.every((word, i) => cursor.key(i) === word);
}
