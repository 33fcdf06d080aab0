import fc from 'fast-check';
import { expect } from 'vitest';
import { checkData } from '../../src/check/data.js';
import type { Owner } from '../../src/engine/api.js';
import { asPhys, BLOCK_SIZE, type Ino } from '../../src/types.js';
import { Cell, DataModel } from '../model/data-model.js';
import { addFile, type DataParts, outcome, physicalOf, readAll } from './data-env.js';

export const FILES = 3;
const FILE_BLOCKS = 10;
/** Larger files get no insert, so that all of them fit into the region. */
const INSERT_SIZE_MAX = 2 * FILE_BLOCKS * BLOCK_SIZE;

export type Op =
  | { kind: 'write'; f: number; offset: number; length: number; byte: number; fromPageCache: boolean }
  | { kind: 'truncate'; f: number; size: number }
  | { kind: 'punch' | 'zero' | 'preallocate'; f: number; offset: number; length: number; keepSize: boolean }
  | { kind: 'unshare'; f: number; offset: number; length: number; keepSize: boolean }
  | { kind: 'collapse' | 'insert'; f: number; offset: number; length: number }
  | { kind: 'clone' | 'dedupe' | 'copy'; s: number; d: number; from: number; to: number; length: number }
  | { kind: 'freeData'; f: number }
  | { kind: 'poison' | 'unpoison'; f: number; block: number; latent: boolean }
  | { kind: 'poisonPhysical'; block: number; count: number }
  | { kind: 'commit' };

const file = fc.nat(FILES - 1);
/** Mostly on block borders, where the interesting cases are. */
const offset = fc.oneof(
  { weight: 3, arbitrary: fc.nat(FILE_BLOCKS).map((n) => n * BLOCK_SIZE) },
  { weight: 1, arbitrary: fc.nat(FILE_BLOCKS * BLOCK_SIZE) },
);
const length = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 5 }).map((n) => n * BLOCK_SIZE) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 3 * BLOCK_SIZE }) },
);

export const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      f: file,
      offset,
      length,
      byte: fc.integer({ min: 0, max: 3 }),
      fromPageCache: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('truncate' as const), f: file, size: offset }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('punch' as const, 'zero' as const, 'preallocate' as const),
      f: file,
      offset,
      length,
      keepSize: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('clone' as const, 'dedupe' as const, 'copy' as const),
      s: file,
      d: file,
      from: offset,
      to: offset,
      length: fc.oneof(fc.constant(0), length),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('unshare' as const),
      f: file,
      offset,
      length,
      keepSize: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('collapse' as const, 'insert' as const),
      f: file,
      offset,
      length,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeData' as const), f: file }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('poison' as const, 'unpoison' as const),
      f: file,
      block: fc.nat(7),
      latent: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('poisonPhysical' as const),
      block: fc.integer({ min: 100, max: 188 }),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('commit' as const) }) },
);

/** The engine and the model side by side, and what the last commit would bring back. */
export class Pair {
  #env: DataParts;
  readonly model = new DataModel(FILES);
  readonly inos: Ino[];
  /** Files that were the target of a change since the last commit. */
  readonly touched = new Set<number>();
  #committed = new Map<string, Buffer>();
  #target = -1;

  /** `make` makes the file with this index, empty; without it files have no names. */
  constructor(env: DataParts, make: (f: number) => Ino = () => addFile(env)) {
    this.#env = env;
    this.inos = this.model.files.map((_, f) => make(f));
    this.#watch();
  }

  /** File `f` was removed, and is another inode now, an empty one. */
  replaced(f: number, ino: Ino): void {
    this.touched.add(f);
    this.model.freeData(f);
    this.inos[f] = ino;
    this.compare();
  }

  /** Goes on with the same region after a remount. */
  remounted(env: DataParts): void {
    this.#env = env;
    this.#watch();
    this.compare();
  }

  #watch(): void {
    const { trx } = this.#env.ctx;
    const commit = trx.commit.bind(trx);
    trx.commit = () => {
      commit();
      this.#snapshot();
    };
  }

  /** Most files start full and shared, so that what follows meets shared blocks; one byte a file. */
  fill(): void {
    for (let f = 0; f < FILES - 1; f++) {
      this.run({
        kind: 'write',
        f,
        offset: 0,
        length: 7 * BLOCK_SIZE + 100,
        byte: f + 1,
        fromPageCache: false,
      });
    }
    this.run({ kind: 'clone', s: 0, d: FILES - 1, from: 0, to: 0, length: 0 });
    this.run({ kind: 'clone', s: 0, d: 1, from: 0, to: 2 * BLOCK_SIZE, length: 4 * BLOCK_SIZE });
    this.run({ kind: 'commit' });
  }

  run(op: Op): void {
    this.#target = 'd' in op ? op.d : 'f' in op ? op.f : -1;
    this.touched.add(this.#target);
    this.#apply(op);
    this.#target = -1;
    this.compare();
    this.#checkCommitted();
  }

  #apply(op: Op): void {
    const { data, ctx } = this.#env;
    switch (op.kind) {
      case 'write':
        this.#write(op.f, op.offset, Buffer.alloc(op.length, op.byte), op.fromPageCache);
        break;
      case 'truncate':
        this.#same(this.model.truncate(op.f, op.size), () => data.truncate(this.inos[op.f], op.size));
        break;
      case 'punch':
      case 'zero':
      case 'preallocate':
        this.#fallocate(op.kind, op.f, op.offset, op.offset + op.length, op.keepSize);
        break;
      case 'unshare':
      case 'collapse':
      case 'insert':
        this.#reshape(op);
        break;
      case 'clone':
        this.#same(this.model.clone(op.s, op.from, op.d, op.to, op.length), () =>
          data.cloneRange(this.inos[op.s], op.from, this.inos[op.d], op.to, op.length),
        );
        break;
      case 'dedupe':
        this.#same(this.model.dedupe(op.s, op.from, op.d, op.to, op.length), () =>
          data.dedupeRange(this.inos[op.s], op.from, this.inos[op.d], op.to, op.length),
        );
        break;
      case 'copy':
        this.#copy(op.s, op.from, op.d, op.to, op.length);
        break;
      case 'freeData':
        this.model.freeData(op.f);
        data.freeData(this.inos[op.f]);
        break;
      case 'poison':
      case 'unpoison':
        this.#poison(op.kind, op.f, op.block, op.latent);
        break;
      case 'poisonPhysical':
        this.#poisonPhysical(op.block, op.count);
        break;
      case 'commit':
        ctx.trx.commit();
        break;
    }
  }

  /** Runs the engine and expects the model's answer: a number, or an errno for a string. */
  #same(expected: number | string, call: () => unknown): void {
    let answer: unknown = 0;
    const code = outcome(() => {
      answer = call() ?? 0;
    });
    expect(code === 'OK' ? answer : code).toBe(expected);
  }

  #write(f: number, offset: number, bytes: Buffer, fromPageCache: boolean): void {
    this.#same(this.model.write(f, offset, bytes, fromPageCache), () =>
      this.#env.data.write(this.inos[f], offset, bytes, bytes.length, fromPageCache),
    );
  }

  #fallocate(
    kind: 'punch' | 'zero' | 'preallocate',
    f: number,
    from: number,
    end: number,
    keep: boolean,
  ): void {
    const { data } = this.#env;
    const ino = this.inos[f];
    if (kind === 'punch') {
      this.#same(this.model.punch(f, from, end), () => data.fallocate(ino, 3, from, end - from));
    } else if (kind === 'zero') {
      const mode = 16 | (keep ? 1 : 0);
      this.#same(this.model.zeroRange(f, from, end, keep), () => data.fallocate(ino, mode, from, end - from));
    } else {
      this.#same(this.model.preallocate(f, from, end, keep), () =>
        data.fallocate(ino, keep ? 1 : 0, from, end - from),
      );
    }
  }

  #reshape(op: Extract<Op, { kind: 'unshare' | 'collapse' | 'insert' }>): void {
    const { f, offset, length } = op;
    const run = (mode: number) => (): void => this.#env.data.fallocate(this.inos[f], mode, offset, length);
    if (op.kind === 'unshare') {
      const expected = this.model.unshare(f, offset, offset + length, op.keepSize);
      this.#same(expected, run(64 | (op.keepSize ? 1 : 0)));
    } else if (op.kind === 'collapse') this.#same(this.model.collapse(f, offset, length), run(8));
    else if (this.model.files[f].size <= INSERT_SIZE_MAX)
      this.#same(this.model.insert(f, offset, length), run(32));
  }

  /** The model knows the bytes that a copy must bring; which blocks hold them is the engine's choice. */
  #copy(s: number, from: number, d: number, to: number, asked: number): void {
    const { files } = this.model;
    for (const f of [s, d]) for (const cell of files[f].cells.values()) if (cell.bad) return;
    const length = Math.max(0, Math.min(asked, files[s].size - from));
    const overlaps = s === d && from < to + length && to < from + length;
    const source = this.model.read(s, from, length) ?? Buffer.alloc(0);
    const size = length > 0 ? Math.max(files[d].size, to + length) : files[d].size;
    const expected = Buffer.alloc(size);
    this.model.read(d, 0, files[d].size)?.copy(expected);
    if (length > 0) source.copy(expected, to);
    this.#same(overlaps ? 'EINVAL' : length, () =>
      this.#env.data.copyRange(this.inos[s], from, this.inos[d], to, asked),
    );
    if (overlaps) return;
    expect(readAll(this.#env.data, this.inos[d], 0, size + 1).equals(expected)).toBe(true);
    const first = Math.ceil(from / BLOCK_SIZE);
    if (from % BLOCK_SIZE === to % BLOCK_SIZE)
      this.#expectShared(s, first, d, Math.ceil(to / BLOCK_SIZE), from + length);
    this.#adopt(d, size);
  }

  #expectShared(s: number, first: number, d: number, to: number, end: number): void {
    for (let i = 0; (first + i + 1) * BLOCK_SIZE <= end; i++) {
      const cell = this.model.files[s].cells.get(first + i);
      if (cell === undefined || cell.unwritten) continue;
      const { data } = this.#env;
      expect(physicalOf(data, this.inos[d], to + i)).toBe(physicalOf(data, this.inos[s], first + i));
    }
  }

  /** Takes the engine's layout of a file over into the model. */
  #adopt(d: number, size: number): void {
    const cells = this.#cellsByBlock(d);
    const target = this.model.files[d];
    target.size = size;
    target.cells.clear();
    for (const extent of this.#env.data.extents(this.inos[d], 0, 2 ** 40, 1000)) {
      for (let i = 0; i < extent.length / BLOCK_SIZE; i++) {
        const block = extent.physical / BLOCK_SIZE + i;
        const bytes = Buffer.from(this.#env.ctx.media.bytes(asPhys(block), 1));
        const cell = cells.get(block) ?? new Cell(bytes, extent.unwritten);
        if (!cell.unwritten) cell.bytes = bytes;
        cells.set(block, cell);
        target.cells.set(extent.fileOffset / BLOCK_SIZE + i, cell);
      }
    }
  }

  /** Region block -> cell for all files but one. */
  #cellsByBlock(except: number): Map<number, Cell> {
    const cells = new Map<number, Cell>();
    for (const [f, { cells: own }] of this.model.files.entries()) {
      if (f === except) continue;
      for (const [block, cell] of own) cells.set(physicalOf(this.#env.data, this.inos[f], block), cell);
    }
    return cells;
  }

  #poison(kind: 'poison' | 'unpoison', f: number, block: number, latent: boolean): void {
    const cell = this.model.files[f].cells.get(block);
    if (cell === undefined) return;
    const physical = physicalOf(this.#env.data, this.inos[f], block) * BLOCK_SIZE;
    if (kind === 'poison') this.#env.data.poison(physical + 7, 1, latent);
    else expect(this.#env.data.unpoison(physical, BLOCK_SIZE)).toBe(cell.bad ? 1 : 0);
    cell.latent = kind === 'poison' && latent && (cell.latent || !cell.bad);
    cell.bad = kind === 'poison';
  }

  #poisonPhysical(block: number, count: number): void {
    let metadata = false;
    this.#env.data.owners(block * BLOCK_SIZE, count * BLOCK_SIZE, (owner) => {
      metadata = owner.kind === 'metadata' || owner.kind === 'superblock';
      return !metadata;
    });
    if (metadata) return;
    this.#env.data.poison(block * BLOCK_SIZE, count * BLOCK_SIZE, false);
    const cells = this.#cellsByBlock(-1);
    for (let i = 0; i < count; i++) {
      const cell = cells.get(block + i);
      if (cell === undefined) continue;
      cell.bad = true;
      cell.latent = false;
    }
  }

  compare(): void {
    expect(checkData(this.#env.ctx)).toEqual([]);
    const cells = new Map<number, Cell>();
    for (const [f, ino] of this.inos.entries()) {
      this.#compareFile(f, ino);
      this.#compareExtents(f, ino, cells);
    }
    expect(new Set(cells.values()).size).toBe(cells.size);
    this.#compareOwners(cells);
  }

  #compareFile(f: number, ino: Ino): void {
    const { data, inodes } = this.#env;
    const expected = this.model.files[f];
    expect(inodes.size(ino)).toBe(expected.size);
    expect(inodes.blocks(ino)).toBe(expected.cells.size);
    for (let at = 0; at < expected.size; at += BLOCK_SIZE) {
      const bytes = this.model.read(f, at, BLOCK_SIZE);
      if (bytes === null) expect(outcome(() => readAll(data, ino, at, BLOCK_SIZE))).toBe('EIO');
      else expect(readAll(data, ino, at, BLOCK_SIZE).equals(bytes)).toBe(true);
    }
    for (let at = 0; at <= expected.size; at += BLOCK_SIZE / 2) {
      this.#same(this.model.seek(f, at, true), () => data.seek(ino, at, 3));
      this.#same(this.model.seek(f, at, false), () => data.seek(ino, at, 4));
    }
  }

  /** The same cell means the same block, and the flags agree. */
  #compareExtents(f: number, ino: Ino, cells: Map<number, Cell>): void {
    let mapped = 0;
    for (const extent of this.#env.data.extents(ino, 0, 2 ** 40, 1000)) {
      for (let i = 0; i < extent.length / BLOCK_SIZE; i++) {
        const cell = this.model.files[f].cells.get(extent.fileOffset / BLOCK_SIZE + i);
        const physical = extent.physical / BLOCK_SIZE + i;
        if (cell === undefined) throw new Error(`file ${f}: an extent where the model has a hole`);
        expect(cells.get(physical) ?? cell).toBe(cell);
        cells.set(physical, cell);
        expect(extent.unwritten).toBe(cell.unwritten);
        expect(extent.shared).toBe(this.model.owners(cell) > 1);
        const known = this.#env.bad.first(physical, 1, false) >= 0;
        expect(this.#env.bad.first(physical, 1, true) >= 0).toBe(cell.bad);
        expect(extent.bad).toBe(known);
        mapped++;
      }
    }
    expect(mapped).toBe(this.model.files[f].cells.size);
  }

  /** Every block once an owner, in order; asked in pages of any size the answer is the same. */
  #compareOwners(cells: Map<number, Cell>): void {
    const { data } = this.#env;
    const whole: Owner[] = [];
    data.owners(0, this.#env.ctx.media.blocks * BLOCK_SIZE, (owner) => whole.push(owner) > 0);
    let seen = 0;
    for (const owner of whole) {
      if (owner.kind !== 'file') continue;
      for (let i = 0; i < owner.length / BLOCK_SIZE; i++) {
        const cell = cells.get(owner.physical / BLOCK_SIZE + i);
        const f = this.inos.indexOf(owner.ino);
        expect(this.model.files[f].cells.get(owner.fileOffset / BLOCK_SIZE + i)).toBe(cell);
        expect(owner.shareCount).toBe(cell === undefined ? 0 : this.model.owners(cell));
        seen++;
      }
    }
    expect(seen).toBe(this.model.files.reduce((sum, { cells: own }) => sum + own.size, 0));
    expect(pagedOwners(this.#env, 3)).toEqual(whole);
    // From place to place it is the same, but for the order of those that own one and the same block.
    const order = (owners: Owner[]): string[] => owners.map((owner) => JSON.stringify(owner)).sort();
    for (const page of [1, 4]) {
      const streamed = streamedOwners(this.#env, page);
      expect(order(streamed)).toEqual(order(whole));
      expect(streamed.map(({ physical }) => physical)).toEqual(whole.map(({ physical }) => physical));
    }
  }

  /** Remembers the written blocks of all files as a crash would bring them back. */
  #snapshot(): void {
    this.#committed = new Map();
    this.touched.clear();
    if (this.#target >= 0) this.touched.add(this.#target);
    for (const [f, ino] of this.inos.entries()) {
      for (const extent of this.#env.data.extents(ino, 0, 2 ** 40, 1000)) {
        if (extent.unwritten) continue;
        for (let i = 0; i < extent.length / BLOCK_SIZE; i++) {
          const block = extent.physical / BLOCK_SIZE + i;
          this.#committed.set(`${f} ${block}`, Buffer.from(this.#env.ctx.media.bytes(asPhys(block), 1)));
        }
      }
    }
  }

  /** A file that nobody changed since the last commit survives a crash: its blocks were left alone. */
  #checkCommitted(): void {
    for (const [key, bytes] of this.#committed) {
      const [f, block] = key.split(' ').map(Number);
      if (this.touched.has(f)) continue;
      const now = this.#env.ctx.media.bytes(asPhys(block), 1);
      if (!now.equals(bytes)) throw new Error(`block ${block} of file ${f} changed behind the last commit`);
    }
  }
}

function streamedOwners({ data, ctx }: DataParts, page: number): Owner[] {
  const all: Owner[] = [];
  let place = { at: 0, end: 0, start: 0, owner: 0, from: 0 };
  for (let isLast = false; !isLast; ) {
    const most = all.length + page;
    // What crosses to a client and back is a copy.
    place = { ...place };
    isLast = data.ownersFrom(place, ctx.media.blocks, (owner) => all.length < most && all.push(owner) > 0);
  }
  return all;
}

function pagedOwners(env: DataParts, page: number): Owner[] {
  const all: Owner[] = [];
  for (;;) {
    const last = all[all.length - 1];
    const after =
      last === undefined
        ? undefined
        : last.kind === 'file'
          ? { physical: last.physical, ino: last.ino, fileOffset: last.fileOffset }
          : { physical: last.physical, ino: 0, fileOffset: 0 };
    let room = page;
    env.data.owners(
      0,
      env.ctx.media.blocks * BLOCK_SIZE,
      (owner) => all.push(owner) > 0 && --room > 0,
      after,
    );
    if (room > 0) return all;
  }
}
