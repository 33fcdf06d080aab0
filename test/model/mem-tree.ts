import type { TreeSpec } from '../../src/engine/layout.js';
import { type Cursor, PAYLOAD_MAX_BYTES, type Tree } from '../../src/engine/tree.js';
import { assert } from '../../src/errors.js';

/** One record. `value` is empty in a variable-length tree, `payload` in all others. */
interface MemRecord {
  readonly key: readonly number[];
  readonly value: Uint32Array;
  readonly payload: Uint8Array;
}

const U32_MAX = 0xffff_ffff;
const NOTHING = new Uint8Array(0);
/** What a payload view is filled with once it is no longer valid: a reader that kept it is found out. */
const SCRUB_BYTE = 0xdd;

function compareKeys(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

/**
 * The reference model of a B+tree: one sorted array. Slow and obviously right. It holds its users to the
 * contract of `Tree`: a cursor used after a change throws, a payload view that outlives a change is scrubbed.
 */
export class MemTree implements Tree {
  readonly spec: TreeSpec;
  /** In key order. */
  readonly records: MemRecord[] = [];
  /** Goes up with every change; cursors compare it. */
  changes = 0;
  /** Called after each change with the key of the record that was inserted, changed or removed. */
  onChange: (key: readonly number[]) => void = () => {};
  #views: Uint8Array[] = [];

  constructor(spec: TreeSpec) {
    this.spec = spec;
  }

  get count(): number {
    return this.records.length;
  }

  get(k0: number, k1: number, k2: number, k3: number, out: Uint32Array): boolean {
    assert(!this.spec.variable, 'get() is for trees with values');
    const at = this.find(this.keyOf(k0, k1, k2, k3));
    if (at < 0) return false;
    out.set(this.records[at].value);
    return true;
  }

  insert(k0: number, k1: number, k2: number, k3: number, value: Uint32Array): void {
    assert(!this.spec.variable, 'insert() is for trees with values');
    this.#add(this.keyOf(k0, k1, k2, k3), this.#valueOf(value), NOTHING);
  }

  insertPayload(k0: number, k1: number, k2: number, k3: number, payload: Uint8Array): void {
    assert(this.spec.variable, 'insertPayload() is for trees with payloads');
    assert(payload.length <= PAYLOAD_MAX_BYTES, `payload of ${payload.length} bytes`);
    this.#add(this.keyOf(k0, k1, k2, k3), new Uint32Array(0), Uint8Array.from(payload));
  }

  update(k0: number, k1: number, k2: number, k3: number, value: Uint32Array): void {
    const key = this.keyOf(k0, k1, k2, k3);
    const at = this.find(key);
    assert(at >= 0, `${this.spec.name}: update of an absent record ${key}`);
    this.records[at] = { key, value: this.#valueOf(value), payload: NOTHING };
    this.changed(key);
  }

  remove(k0: number, k1: number, k2: number, k3: number): boolean {
    const key = this.keyOf(k0, k1, k2, k3);
    const at = this.find(key);
    if (at < 0) return false;
    this.records.splice(at, 1);
    this.changed(key);
    return true;
  }

  cursor(): MemCursor {
    return new MemCursor(this);
  }

  /** The key as an array, checked: u32 words, the unused ones 0. */
  keyOf(k0: number, k1: number, k2: number, k3: number): number[] {
    const key = [k0, k1, k2, k3];
    for (let i = 0; i < key.length; i++) {
      const ok = i < this.spec.keyWords ? isU32(key[i]) : key[i] === 0;
      assert(ok, `${this.spec.name}: key word ${i} is ${key[i]}`);
    }
    return key;
  }

  /** Index of the first record with key >= the given one; `count` when there is none. */
  lowerBound(key: readonly number[]): number {
    let low = 0;
    let high = this.records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.records[middle].key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Index of the record with this key, or -1. */
  find(key: readonly number[]): number {
    const at = this.lowerBound(key);
    return at < this.records.length && compareKeys(this.records[at].key, key) === 0 ? at : -1;
  }

  /** Hands out a copy of a payload that is scrubbed at the next change. */
  lend(payload: Uint8Array): Buffer {
    const view = Buffer.from(payload);
    this.#views.push(view);
    return view;
  }

  changed(key: readonly number[]): void {
    this.changes++;
    for (const view of this.#views) view.fill(SCRUB_BYTE);
    this.#views = [];
    this.onChange(key);
  }

  #add(key: readonly number[], value: Uint32Array, payload: Uint8Array): void {
    const at = this.lowerBound(key);
    const taken = at < this.records.length && compareKeys(this.records[at].key, key) === 0;
    assert(!taken, `${this.spec.name}: insert of an existing record ${key}`);
    this.records.splice(at, 0, { key, value, payload });
    this.changed(key);
  }

  #valueOf(value: Uint32Array): Uint32Array {
    assert(value.length >= this.spec.valueWords, `${this.spec.name}: value of ${value.length} words`);
    return value.slice(0, this.spec.valueWords);
  }
}

/** A cursor over MemTree. Every use after a change of the tree throws InvariantError. */
class MemCursor implements Cursor {
  readonly #tree: MemTree;
  /** Index of the record, or -1. */
  #at = -1;
  /** The tree's change counter when the cursor was sought. */
  #seen = -1;
  #overlapFrom = 0;
  #overlapTo = 0;

  constructor(tree: MemTree) {
    this.#tree = tree;
  }

  get valid(): boolean {
    return this.#at >= 0 && this.#seen === this.#tree.changes;
  }

  seek(k0: number, k1: number, k2: number, k3: number): boolean {
    return this.#moveTo(this.#tree.lowerBound(this.#tree.keyOf(k0, k1, k2, k3)));
  }

  seekLE(k0: number, k1: number, k2: number, k3: number): boolean {
    const key = this.#tree.keyOf(k0, k1, k2, k3);
    const exact = this.#tree.find(key);
    return this.#moveTo(exact >= 0 ? exact : this.#tree.lowerBound(key) - 1);
  }

  next(): boolean {
    this.#check();
    return this.#moveTo(this.#at + 1);
  }

  prev(): boolean {
    this.#check();
    return this.#moveTo(this.#at - 1);
  }

  key(i: number): number {
    assert(i >= 0 && i < this.#tree.spec.keyWords, `${this.#tree.spec.name} has no key word ${i}`);
    return this.#record().key[i];
  }

  value(i: number): number {
    this.#checkValueWord(i);
    return this.#record().value[i];
  }

  isAt(k0: number): boolean {
    return this.valid && this.#at < this.#tree.count && this.#tree.records[this.#at].key[0] === k0;
  }

  read(out: Uint32Array): void {
    out.set(this.#record().value);
  }

  set(i: number, word: number): void {
    this.#checkValueWord(i);
    assert(isU32(word), `${this.#tree.spec.name}: value word ${i} set to ${word}`);
    assert(!(this.#tree.spec.augmented && i === 0), 'value word 0 of an augmented tree is not for set()');
    const record = this.#record();
    record.value[i] = word;
    this.#tree.changed(record.key);
    this.#seen = this.#tree.changes;
  }

  payload(): Buffer {
    assert(this.#tree.spec.variable, `${this.#tree.spec.name} has no payloads`);
    return this.#tree.lend(this.#record().payload);
  }

  seekOverlap(from: number, to: number): boolean {
    assert(this.#tree.spec.augmented, `${this.#tree.spec.name} is not an interval tree`);
    assert(from < to, `empty overlap query [${from}, ${to})`);
    this.#overlapFrom = from;
    this.#overlapTo = to;
    return this.#scanOverlap(0);
  }

  seekOverlapFrom(from: number, to: number, k0: number, k1: number, k2: number, k3: number): boolean {
    assert(this.#tree.spec.augmented, `${this.#tree.spec.name} is not an interval tree`);
    this.#overlapFrom = from;
    this.#overlapTo = to;
    return this.#scanOverlap(this.#tree.lowerBound(this.#tree.keyOf(k0, k1, k2, k3)));
  }

  nextOverlap(): boolean {
    this.#check();
    return this.#scanOverlap(this.#at + 1);
  }

  #scanOverlap(start: number): boolean {
    const records = this.#tree.records;
    for (let at = start; at < records.length; at++) {
      const from = records[at].key[0];
      const to = from + records[at].value[0];
      if (from < this.#overlapTo && to > this.#overlapFrom) return this.#moveTo(at);
    }
    return this.#moveTo(-1);
  }

  #moveTo(at: number): boolean {
    this.#at = at < this.#tree.records.length ? at : -1;
    this.#seen = this.#tree.changes;
    return this.#at >= 0;
  }

  #check(): void {
    assert(
      this.#seen === this.#tree.changes,
      `${this.#tree.spec.name}: cursor used after a change of the tree`,
    );
    assert(this.#at >= 0, `${this.#tree.spec.name}: cursor does not stand on a record`);
  }

  #checkValueWord(i: number): void {
    assert(i >= 0 && i < this.#tree.spec.valueWords, `${this.#tree.spec.name} has no value word ${i}`);
  }

  #record(): MemRecord {
    this.#check();
    return this.#tree.records[this.#at];
  }
}

function isU32(word: number): boolean {
  return Number.isInteger(word) && word >= 0 && word <= U32_MAX;
}
