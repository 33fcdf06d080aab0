/**
 * The interface of a B+tree as the upper engine modules see it. Keys are 1 to 4 unsigned words (unused ones
 * are passed as 0). btree.ts implements it in the region; test/model/mem-tree.ts is the reference model.
 */
export interface Tree {
  /** Number of records. */
  readonly count: number;
  /** Copies the value of the exact key into `out`. Returns whether it exists. */
  get(k0: number, k1: number, k2: number, k3: number, out: Uint32Array): boolean;
  /** Adds a record that must not exist (InvariantError). */
  insert(k0: number, k1: number, k2: number, k3: number, value: Uint32Array): void;
  /** Overwrites the value of a record that must exist (InvariantError). */
  update(k0: number, k1: number, k2: number, k3: number, value: Uint32Array): void;
  /** Removes a record. Returns whether it existed. */
  remove(k0: number, k1: number, k2: number, k3: number): boolean;
  /** Variable-length trees only: adds a record with `payload` (at most PAYLOAD_MAX_BYTES bytes). */
  insertPayload(k0: number, k1: number, k2: number, k3: number, payload: Uint8Array): void;
  /** A new cursor. A cursor is allocated once and used again; it is not positioned yet. */
  cursor(): Cursor;
}

/** Largest payload of a variable-length record: at least three fit into a leaf. */
export const PAYLOAD_MAX_BYTES = 1280;

/**
 * A position in a tree. Any change of the tree makes every cursor of it invalid: it must be sought again
 * before the next use (asserted through the tree's change counter). `set` alone keeps its own cursor valid.
 */
export interface Cursor {
  /** To the first record with key >= the given one. Returns whether there is one. */
  seek(k0: number, k1: number, k2: number, k3: number): boolean;
  /** To the last record with key <= the given one. Returns whether there is one. */
  seekLE(k0: number, k1: number, k2: number, k3: number): boolean;
  /** To the next record. Returns whether there is one. */
  next(): boolean;
  /** To the previous record. Returns whether there is one. */
  prev(): boolean;
  /** Whether the cursor stands on a record of the tree as it is now, and that record's key begins with k0. */
  isAt(k0: number): boolean;
  /** Copies the record's value into `out`. */
  read(out: Uint32Array): void;
  /** Whether the cursor stands on a record. */
  readonly valid: boolean;
  /** Word i of the record's key. */
  key(i: number): number;
  /** Word i of the record's value. */
  value(i: number): number;
  /**
   * Overwrites word i of the value in place (copy-on-write of the path where needed). Not for value word 0 of an
   * augmented tree.
   */
  set(i: number, word: number): void;
  /** Variable-length trees: the payload, as a view of the region that is valid until the next change of the tree. */
  payload(): Buffer;
  /**
   * Augmented trees only: to the first record, in key order, whose interval [key 0, key 0 + value 0) meets
   * [from, to). Then nextOverlap() steps through the others. O(log n + found).
   */
  seekOverlap(from: number, to: number): boolean;
  /** As seekOverlap(), but to the first such record at or after a key. */
  seekOverlapFrom(from: number, to: number, k0: number, k1: number, k2: number, k3: number): boolean;
  nextOverlap(): boolean;
}
