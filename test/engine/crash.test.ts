import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { checkNamespace } from '../../src/check/namespace.js';
import { checkRegion } from '../../src/check/region.js';
import { checkTree } from '../../src/check/tree.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import { FsError } from '../../src/errors.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asIno, asPhys, BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { CrashMedia } from '../support/crash-media.js';
import { planned } from '../support/data-env.js';
import { FakeClock } from '../support/mem-context.js';

const BLOCKS = 320;
const FILES = 4;

class PowerCut extends Error {}

type Op =
  | { kind: 'write'; f: number; offset: number; length: number; byte: number }
  | { kind: 'clone'; f: number; to: number }
  | { kind: 'truncate'; f: number; size: number }
  | { kind: 'punch'; f: number; offset: number; length: number }
  | { kind: 'rename'; f: number; to: number }
  | { kind: 'unlink'; f: number }
  | { kind: 'trim' }
  | { kind: 'relabel'; label: string }
  | { kind: 'commit' };

const f = fc.nat(FILES - 1);
const bytes = fc.nat(9 * BLOCK_SIZE);
const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    kind: fc.constant('write' as const),
    f,
    offset: bytes,
    length: bytes,
    byte: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({ kind: fc.constant('clone' as const), f, to: f }),
  fc.record({ kind: fc.constant('truncate' as const), f, size: bytes }),
  fc.record({ kind: fc.constant('punch' as const), f, offset: bytes, length: bytes }),
  fc.record({ kind: fc.constant('rename' as const), f, to: f }),
  fc.record({ kind: fc.constant('unlink' as const), f }),
  fc.record({ kind: fc.constant('trim' as const) }),
  fc.record({
    kind: fc.constant('relabel' as const),
    label: fc.string({ maxLength: 9, unit: 'grapheme-ascii' }),
  }),
  fc.record({ kind: fc.constant('commit' as const) }),
);

const nameOf = (n: number): Uint8Array => Buffer.from(`file${n}`);

function apply(engine: RegionEngine, o: Op): void {
  if (o.kind === 'commit') {
    engine.commit();
    return;
  }
  if (o.kind === 'trim') {
    engine.trim(0, BLOCKS * BLOCK_SIZE, 0);
    return;
  }
  if (o.kind === 'relabel') {
    engine.relabel(o.label);
    expect(engine.info.label).toBe(o.label);
    return;
  }
  let ino = engine.lookup(ROOT_INO, nameOf(o.f));
  if (ino === 0) ino = engine.create(ROOT_INO, nameOf(o.f), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
  switch (o.kind) {
    case 'write':
      engine.write(ino, o.offset, Buffer.alloc(o.length, o.byte), o.length, false);
      return;
    case 'truncate':
      engine.truncate(ino, o.size);
      return;
    case 'punch':
      if (o.length > 0) engine.fallocate(ino, 3, o.offset, o.length);
      return;
    case 'unlink':
      engine.inactivate(engine.unlink(ROOT_INO, nameOf(o.f)));
      return;
    case 'clone': {
      const to = engine.lookup(ROOT_INO, nameOf(o.to));
      if (to !== 0 && to !== ino) engine.cloneRange(ino, 0, to, 0, 0);
      return;
    }
    case 'rename': {
      const gone = engine.rename(ROOT_INO, nameOf(o.f), ROOT_INO, nameOf(o.to), 0);
      if (gone !== 0) engine.inactivate(gone);
    }
  }
}

function tolerant(engine: RegionEngine, o: Op): void {
  try {
    apply(engine, o);
  } catch (error) {
    // EINVAL: a clone that ends within a block of the destination.
    if (!(error instanceof FsError) || (error.code !== 'ENOSPC' && error.code !== 'EINVAL')) throw error;
  }
}

type Snapshot = Map<string, { ino: Ino; size: number; data: Buffer }>;

function snapshot(engine: RegionEngine): Snapshot {
  const out: Snapshot = new Map();
  for (let n = 0; n < FILES; n++) {
    const ino = engine.lookup(ROOT_INO, nameOf(n));
    if (ino === 0) continue;
    const plan = newReadPlan();
    engine.read(ino, 0, 20 * BLOCK_SIZE, false, plan);
    const size = engine.names.inodes.size(ino);
    out.set(`file${n}`, { ino: asIno(ino), size, data: planned(engine.readSources, plan) });
  }
  return out;
}

const shape = (s: Snapshot): string => JSON.stringify([...s].map(([name, v]) => [name, v.ino, v.size]));

function sound(engine: RegionEngine): string[] {
  const { context, trees } = engine.store;
  return [...Object.values(trees).flatMap(checkTree), ...checkNamespace(context), ...checkData(context)];
}

describe('after a power cut at any moment', () => {
  it('the last commit is there, whole; data that were not overwritten since are unchanged', () => {
    const property = fc.property(
      fc.array(op, { minLength: 1, maxLength: 25 }),
      fc.array(op, { maxLength: 6 }),
      fc.constantFrom('between', 'first flush', 'second flush'),
      fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      (before, after, when, seed) => {
        const empty = Buffer.alloc(BLOCKS * BLOCK_SIZE, 0xee);
        const first = memoryMedia(BLOCKS, { image: empty });
        const clock = new FakeClock();
        mkfs(first, { label: 'c', clock, uid: 0, gid: 0 });
        let flushesLeft = Number.POSITIVE_INFINITY;
        const beforeFlush = (): void => {
          if (flushesLeft-- <= 0) throw new PowerCut('power cut in a flush');
        };
        const media = new CrashMedia(BLOCKS, { beforeFlush }, first.bytes(asPhys(0), BLOCKS));
        const engine = openEngine(media, { clock });
        for (const o of before) tolerant(engine, o);
        engine.commit();
        const committed = snapshot(engine);
        const txid = engine.info.txid;
        // A commit in here (asked for, or made by a reservation) would be a later state to come back to.
        const seen = [committed];
        for (const o of after) {
          if (o.kind === 'commit') continue;
          tolerant(engine, o);
          seen.push(snapshot(engine));
        }
        const committedMeanwhile = engine.store.trx.txid !== txid + 1;
        if (when !== 'between') {
          flushesLeft = when === 'first flush' ? 0 : 1;
          if (engine.store.trx.dirty) expect(() => engine.commit()).toThrow(/power cut/);
        }
        const image = media.crashImage({ seed });
        // The slot that was being written may be torn; nothing else may be wrong before the next mount.
        expect(checkRegion(image).problems.filter(({ kind }) => kind !== 'superblock')).toEqual([]);
        const again = openEngine(image, { clock });
        expect(sound(again)).toEqual([]);
        const found = snapshot(again);
        const last = seen[seen.length - 1];
        const allowed = committedMeanwhile ? seen : when === 'second flush' ? [committed, last] : [committed];
        expect(allowed.map(shape)).toContain(shape(found));
        for (const [name, { ino, data }] of found) {
          const versions = seen.flatMap((s) =>
            [...s.values()].filter((v) => v.ino === ino).map((v) => v.data),
          );
          if (versions.some((v) => v.equals(data))) continue;
          for (let i = 0; i < data.length; i++) {
            if (!versions.some((v) => (i < v.length ? v[i] : 0) === data[i])) {
              expect.fail(`${name}, byte ${i} is ${data[i]}: it never held that`);
            }
          }
        }
      },
    );
    fc.assert(property, { numRuns: 150 });
  });
});
