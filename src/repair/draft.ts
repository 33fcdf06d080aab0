import type { ReadCursor } from '../check/subject.js';
import type { LeafView } from '../check/view.js';
import { NODE, NODE_HEADER_WORDS, type TreeName } from '../engine/layout.js';
import { asPhys } from '../types.js';

/** The words of a key, as many as the tree's keys have. */
export type Key = readonly number[];
/** The words of a value, or the bytes of a payload. */
export type Value = ArrayLike<number>;

export interface DraftRecord {
  readonly key: Key;
  readonly value: Value;
}

/** What becomes of one record: another value, or none (null). */
export interface Edit {
  readonly key: Key;
  readonly value: Value | null;
}

/** < 0, 0 or > 0, word by word, as far as both have words. */
export function compareKeys(a: Key, b: Key): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

function sameValue(a: Value, b: Value): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * What a tree shall hold: the records that can be read, and edits on the heap. Nothing of the region changes.
 * Memory: O(edits). Walking the records after an edit sorts the edits anew: first walk, then edit.
 */
export class Draft {
  readonly name: TreeName;
  readonly view: LeafView;
  #edits = new Map<string, Edit>();
  #sorted: readonly Edit[] | null = null;
  readonly #cursor: ReadCursor;

  constructor(name: TreeName, view: LeafView) {
    this.name = name;
    this.view = view;
    this.#cursor = view.cursor();
  }

  /** In the order of their keys. Each changes something. */
  get edits(): readonly Edit[] {
    this.#sorted ??= [...this.#edits.values()].sort((a, b) => compareKeys(a.key, b.key));
    return this.#sorted;
  }

  /** Forgets the edits. */
  reset(): void {
    this.#edits = new Map();
    this.#sorted = null;
  }

  get(key: Key): Value | undefined {
    const edit = this.#edits.size === 0 ? undefined : this.#edits.get(key.join());
    if (edit !== undefined) return edit.value ?? undefined;
    return this.stored(key);
  }

  has(key: Key): boolean {
    return this.get(key) !== undefined;
  }

  /** What the region has. */
  stored(key: Key): Value | undefined {
    const cursor = this.#cursor;
    const found = cursor.seek(key[0], key[1] ?? 0, key[2] ?? 0, key[3] ?? 0);
    return found && compareKeys(this.#keyOf(cursor), key) === 0 ? this.#valueOf(cursor) : undefined;
  }

  put(key: Key, value: Value): void {
    const stored = this.stored(key);
    this.#sorted = null;
    if (stored !== undefined && sameValue(stored, value)) this.#edits.delete(key.join());
    else this.#edits.set(key.join(), { key, value });
  }

  remove(key: Key): void {
    this.#sorted = null;
    if (this.stored(key) === undefined) this.#edits.delete(key.join());
    else this.#edits.set(key.join(), { key, value: null });
  }

  /** Records whose keys begin with these words, in order, as of the time of the call. */
  *records(prefix: Key = []): Generator<DraftRecord> {
    const cursor = this.view.cursor();
    const edits = this.edits;
    const isInside = (key: Key): boolean => compareKeys(key, prefix) === 0;
    let e = firstFrom(edits, prefix);
    let more = cursor.seek(prefix[0] ?? 0, prefix[1] ?? 0, prefix[2] ?? 0, prefix[3] ?? 0);
    for (;;) {
      const key = more ? this.#keyOf(cursor) : null;
      const stored = key !== null && isInside(key) ? key : null;
      const edit = e < edits.length && isInside(edits[e].key) ? edits[e] : null;
      if (stored !== null && (edit === null || compareKeys(stored, edit.key) < 0)) {
        yield { key: stored, value: this.#valueOf(cursor) };
        more = cursor.next();
      } else if (edit !== null) {
        if (edit.value !== null) yield { key: edit.key, value: edit.value };
        e++;
        if (stored !== null && compareKeys(stored, edit.key) === 0) more = cursor.next();
      } else return;
    }
  }

  /** First key of the region's leaf number `index`. */
  firstKey(index: number): Key {
    const { media, leaves, spec } = this.view;
    const block = asPhys(leaves[index]);
    const at = media.wordIndex(block) + NODE_HEADER_WORDS;
    return Array.from(media.words(block).subarray(at, at + spec.keyWords));
  }

  /** The records of the region's leaf number `index`, without edits. */
  *leafRecords(index: number): Generator<DraftRecord> {
    const { media, leaves } = this.view;
    const block = asPhys(leaves[index]);
    const cursor = this.view.cursor();
    const [k0, k1 = 0, k2 = 0, k3 = 0] = this.firstKey(index);
    cursor.seek(k0, k1, k2, k3);
    const count = media.words(block)[media.wordIndex(block) + NODE.count];
    for (let i = 0; i < count; i++, cursor.next()) {
      yield { key: this.#keyOf(cursor), value: this.#valueOf(cursor) };
    }
  }

  #keyOf(cursor: ReadCursor): number[] {
    const { keyWords } = this.view.spec;
    const key = new Array<number>(keyWords);
    for (let i = 0; i < keyWords; i++) key[i] = cursor.key(i);
    return key;
  }

  #valueOf(cursor: ReadCursor): Value {
    const { variable, valueWords } = this.view.spec;
    if (variable) return cursor.payload();
    const value = new Array<number>(valueWords);
    for (let i = 0; i < valueWords; i++) value[i] = cursor.value(i);
    return value;
  }
}

/** Index of the first edit that does not come before the key. */
function firstFrom(edits: readonly Edit[], key: Key): number {
  let low = 0;
  let high = edits.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(edits[middle].key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
