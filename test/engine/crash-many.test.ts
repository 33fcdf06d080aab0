import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import { FsError } from '../../src/errors.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { CrashMedia } from '../support/crash-media.js';
import { planned } from '../support/data-env.js';
import { FakeClock } from '../support/mem-context.js';

/**
 * Hundreds of names, attributes and shared extents, so that every tree has several leaves, and batches of removals, so
 * that leaves are merged with neighbours that only the last commit knows. Power goes at each flush, and between two.
 */

const BLOCKS = 1536;
const SEED = Number(process.env.RMAPFS_SEED ?? 20_260_101);
const EFFORT = Number(process.env.RMAPFS_EFFORT ?? 1);
const STATES_PER_FLUSH = 4;
const VALUE_BYTES_MAX = 2200;

/** What a file must hold: a byte for its block of data, and of each attribute its length and byte. */
interface File {
  data: number;
  attributes: Record<string, [length: number, byte: number]>;
}
type Files = Record<string, File>;

const clock = new FakeClock();
const bytes = (text: string): Buffer => Buffer.from(text);

function found(engine: RegionEngine): Files {
  const files: Files = {};
  const inos: [string, Ino][] = [];
  engine.readdir(ROOT_INO, 0, (bytesOfName, ino) => {
    const name = Buffer.from(bytesOfName).toString();
    if (name !== '.' && name !== '..') inos.push([name, ino]);
    return true;
  });
  for (const [name, ino] of inos) {
    const plan = newReadPlan();
    engine.read(ino, 0, BLOCK_SIZE, false, plan);
    const data = planned(engine.readSources, plan);
    const file: File = { data: data.every((byte) => byte === data[0]) ? (data[0] ?? 0) : -1, attributes: {} };
    for (const attribute of engine.listxattr(ino)) {
      const value = engine.getxattr(ino, attribute);
      if (value === null) throw new Error(`${name}: a listed attribute is not there`);
      const byte = value.every((b) => b === value[0]) ? value[0] : -1;
      file.attributes[Buffer.from(attribute).toString()] = [value.length, byte];
    }
    files[name] = file;
  }
  return files;
}

/** mulberry32 */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

class Workload {
  files: Files = {};
  readonly #engine: RegionEngine;
  readonly #random: (below: number) => number;
  #made = 0;

  constructor(engine: RegionEngine, random: (below: number) => number) {
    this.#engine = engine;
    this.#random = random;
  }

  /** One batch of one kind. */
  batch(): void {
    const names = Object.keys(this.files).sort();
    const many = 20 + this.#random(90);
    if (names.length < 60) {
      this.#create(200);
      return;
    }
    // The first leaf of a tree has no left neighbour: it is merged with the right one.
    const from = this.#random(2) * this.#random(names.length);
    const every = 1 + this.#random(3);
    const some = names.filter((_, i) => i >= from && (i - from) % every === 0).slice(0, many);
    const steps = [
      this.#unlink,
      this.#unlink,
      this.#attribute,
      this.#removeAttributes,
      this.#rename,
      this.#overwrite,
    ];
    const step = steps[this.#random(steps.length + 2)];
    if (step === undefined) this.#random(2) === 0 ? this.#create(many) : this.#fill();
    else for (const name of some) step.call(this, name);
  }

  #ino(name: string): Ino {
    const ino = this.#engine.lookup(ROOT_INO, bytes(name));
    if (ino === 0) throw new Error(`${name} is gone`);
    return ino;
  }

  /** In the order of their making. */
  #newName(): string {
    this.#made += 1;
    return `file ${`${this.#made}`.padStart(6, '0')}`;
  }

  #create(many: number): void {
    const first = Object.keys(this.files)[0];
    for (let i = 0; i < many; i++) {
      const name = this.#newName();
      const ino = this.#engine.create(ROOT_INO, bytes(name), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
      this.files = { ...this.files, [name]: { data: 0, attributes: {} } };
      if (first === undefined || i % 3 === 0) this.#overwrite(name);
      else if (this.files[first].data !== 0) {
        this.#engine.cloneRange(this.#ino(first), 0, ino, 0, BLOCK_SIZE);
        this.files = { ...this.files, [name]: { data: this.files[first].data, attributes: {} } };
      }
    }
  }

  #unlink(name: string): void {
    const { [name]: _gone, ...rest } = this.files;
    const ino = this.#engine.unlink(ROOT_INO, bytes(name));
    this.files = rest;
    this.#engine.inactivate(ino);
  }

  #attribute(name: string): void {
    const attribute = `user.${this.#random(4)}`;
    const length = 1 + this.#random(VALUE_BYTES_MAX);
    const byte = 1 + this.#random(255);
    this.#engine.setxattr(this.#ino(name), bytes(attribute), Buffer.alloc(length, byte), 0);
    const file = this.files[name];
    const attributes = { ...file.attributes, [attribute]: [length, byte] as [number, number] };
    this.files = { ...this.files, [name]: { ...file, attributes } };
  }

  #removeAttributes(name: string): void {
    for (const attribute of Object.keys(this.files[name].attributes)) {
      this.#engine.removexattr(this.#ino(name), bytes(attribute));
      const { [attribute]: _gone, ...attributes } = this.files[name].attributes;
      this.files = { ...this.files, [name]: { ...this.files[name], attributes } };
    }
  }

  #rename(name: string): void {
    const to = this.#newName();
    this.#engine.rename(ROOT_INO, bytes(name), ROOT_INO, bytes(to), 0);
    const { [name]: file, ...rest } = this.files;
    this.files = { ...rest, [to]: file };
  }

  /** Until nothing is free: metadata chunks go back to the data meanwhile, and nodes that are in the way move. */
  #fill(): void {
    const name = this.#newName();
    const ino = this.#engine.create(ROOT_INO, bytes(name), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
    this.files = { ...this.files, [name]: { data: 0, attributes: {} } };
    const piece = Buffer.alloc(32 * BLOCK_SIZE, 1 + this.#random(255));
    try {
      for (let at = 0; ; ) {
        at += this.#engine.write(ino, at, piece, piece.length, false);
        this.files = { ...this.files, [name]: { data: piece[0], attributes: {} } };
      }
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== 'ENOSPC') throw error;
      fills += 1;
    }
    this.#unlink(name);
  }

  /** Into a new block where it is shared, in place where it is not: then the old and the new byte are both right. */
  #overwrite(name: string): void {
    const data = 1 + this.#random(255);
    this.#engine.truncate(this.#ino(name), 0);
    this.files = { ...this.files, [name]: { ...this.files[name], data: 0 } };
    this.#engine.write(this.#ino(name), 0, Buffer.alloc(BLOCK_SIZE, data), BLOCK_SIZE, false);
    this.files = { ...this.files, [name]: { ...this.files[name], data } };
  }
}

let states = 0;
let fills = 0;

function run(seed: number, batches: number): void {
  const random = randomOf(seed);
  const first = memoryMedia(BLOCKS);
  mkfs(first, { label: 'c', clock, uid: 0, gid: 0 });
  // Set once the engine is open.
  let workload: Workload | null = null;
  let committed: Files = {};
  let flush = 0;
  const look = (allowed: readonly Files[]): void => {
    for (const { name, media: image } of media.crashImages(STATES_PER_FLUSH, seed + flush)) {
      states += 1;
      const at = `seed ${seed}, flush ${flush}, ${name}`;
      const others = checkRegion(image).problems.filter(({ kind }) => kind !== 'superblock');
      expect([at, others]).toEqual([at, []]);
      const after = found(openEngine(image, { clock }));
      const right = allowed.find((files) => JSON.stringify(sorted(files)) === JSON.stringify(sorted(after)));
      if (right === undefined) expect([at, after]).toEqual([at, allowed[0]]);
    }
  };
  const beforeFlush = (): void => {
    if (workload === null) return;
    flush += 1;
    // A commit has two flushes: nodes, then the superblock.
    const isSecond = flush % 2 === 0;
    look(isSecond ? [committed, workload.files] : [committed]);
    if (isSecond) committed = workload.files;
  };
  const media: CrashMedia = new CrashMedia(BLOCKS, { beforeFlush }, first.bytes(asPhys(0), BLOCKS));
  const engine = openEngine(media, { clock });
  workload = new Workload(engine, random);
  for (let i = 0; i < batches; i++) {
    workload.batch();
    look([committed]);
    if (random(3) > 0 && engine.dirty) engine.commit();
  }
}

const sorted = (files: Files): unknown[] =>
  Object.entries(files)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { data, attributes }]) => [name, data, Object.entries(attributes).sort()]);

describe('many names and attributes, power cut at any moment', () => {
  it(
    'the last commit is there, whole, and nothing of it was changed in place',
    () => {
      for (let n = 0; n < 2 * EFFORT; n++) run(SEED + n, 16);
      console.log(
        `crash states tried: ${states}, filled ${fills} times (RMAPFS_SEED=${SEED}, RMAPFS_EFFORT=${EFFORT})`,
      );
      expect(states).toBeGreaterThan(200);
    },
    120_000 * EFFORT,
  );
});
