import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkTree } from '../../src/check/tree.js';
import { BadBlocks } from '../../src/engine/badblock.js';
import type { AllocatedRun } from '../../src/engine/context.js';
import { formatStore, openStore, type Store, type StoreOptions } from '../../src/engine/store.js';
import { probe, readSuperblock } from '../../src/engine/superblock.js';
import { FsError } from '../../src/errors.js';
import { asBlocks, asPhys } from '../../src/types.js';
import { FakeClock, HeapMedia } from '../support/mem-context.js';

const options: StoreOptions = {
  clock: new FakeClock(),
  layouts: { breakLayouts: () => {}, remapped: () => {} },
  interrupted: () => false,
  badBlocks: (tree) => new BadBlocks(tree),
};
const format = { label: 'test', uuid: Buffer.alloc(16, 7), created: 1_700_000_000 };

function fresh(blocks: number): { media: HeapMedia; store: Store } {
  const media = new HeapMedia(blocks, 200);
  const store = formatStore(media, format, options);
  store.trx.commit();
  return { media, store };
}

/** Free blocks by the free tree, metadata blocks by the chunk tree. */
function layout(store: Store): { free: Set<number>; meta: Set<number> } {
  const collect = (name: 'free' | 'chunk'): Set<number> => {
    const set = new Set<number>();
    const c = store.trees[name].cursor();
    for (let ok = c.seek(0, 0, 0, 0); ok; ok = c.next()) {
      for (let i = 0; i < c.value(0); i++) set.add(c.key(0) + i);
    }
    return set;
  };
  return { free: collect('free'), meta: collect('chunk') };
}

function checkStore(store: Store, used: ReadonlySet<number>, blocks: number): void {
  for (const tree of Object.values(store.trees)) expect(checkTree(tree)).toEqual([]);
  const { free, meta } = layout(store);
  expect(free.size).toBe(store.space.freeBlocks);
  expect(meta.size).toBe(store.nodes.ownedCount);
  for (let b = 0; b < blocks; b++) {
    const owners = [b === 0 || b === blocks - 1, free.has(b), meta.has(b), used.has(b)].filter(
      Boolean,
    ).length;
    const pending = store.space.isFree(asPhys(b)) && !free.has(b);
    if (owners + (pending ? 1 : 0) !== 1) expect.fail(`block ${b} has ${owners} owners, pending ${pending}`);
  }
}

describe('free space and transaction', () => {
  it('hands out each block once, never one that the last commit needs, and survives a remount', () => {
    const step = fc.record({
      kind: fc.constantFrom('allocate', 'allocate', 'free', 'free', 'commit', 'remount', 'records'),
      goal: fc.nat(700),
      want: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const blocks = 700;
        const { media, store: first } = fresh(blocks);
        let store = first;
        const runs: { start: number; length: number }[] = [];
        let used = new Set<number>();
        const run: AllocatedRun = { start: asPhys(0), length: asBlocks(0) };
        const pending = new Set<number>();
        let next = 1;
        for (const { kind, goal, want } of steps) {
          try {
            if (kind === 'allocate') {
              store.trx.reserve({ dataBlocks: want, records: 4, freeing: false });
              if (!store.trx.dirty) pending.clear();
              store.space.allocate(goal, want, run);
              for (let b = run.start; b < run.start + run.length; b = asPhys(b + 1)) {
                expect(used.has(b)).toBe(false);
                used.add(b);
              }
              runs.push({ start: run.start, length: run.length });
            } else if (kind === 'free' && runs.length > 0) {
              store.trx.reserve({ dataBlocks: 0, records: 4, freeing: true });
              const [gone] = runs.splice(goal % runs.length, 1);
              store.space.free(asPhys(gone.start), asBlocks(gone.length));
              for (let b = gone.start; b < gone.start + gone.length; b++) used.delete(b);
            } else if (kind === 'records') {
              store.trx.reserve({ dataBlocks: 0, records: 40, freeing: false });
              for (let i = 0; i < 40; i++) store.trees.parent.insert(next++, 1, 2, 3, new Uint32Array(0));
            } else if (kind === 'commit') {
              store.trx.commit();
            } else if (kind === 'remount') {
              store.trx.commit();
              store = openStore(media, options);
            }
          } catch (error) {
            if (!(error instanceof FsError)) throw error;
            expect(error.code).toBe('ENOSPC');
          }
          checkStore(store, used, blocks);
        }
        store.trx.commit();
        checkStore(openStore(media, options), used, blocks);
        used = new Set();
      }),
      { numRuns: 40 },
    );
  });

  it('does not reuse a freed block before its commit', () => {
    const { store } = fresh(300);
    const run: AllocatedRun = { start: asPhys(0), length: asBlocks(0) };
    store.trx.reserve({ dataBlocks: 20, records: 2, freeing: false });
    store.space.allocate(100, 20, run);
    store.trx.commit();
    store.space.free(asPhys(100), asBlocks(20));
    expect(store.space.isFree(asPhys(100))).toBe(true);
    store.trx.reserve({ dataBlocks: 20, records: 2, freeing: false });
    store.space.allocate(100, 20, run);
    expect(run.start).not.toBe(100);
    store.trx.commit();
    store.space.allocate(100, 20, run);
    expect(run.start).toBe(100);
  });

  it('can always free: a region filled to the last block is emptied again', () => {
    for (const blocks of [256, 300, 1000, 5000]) {
      const { store } = fresh(blocks);
      const runs: AllocatedRun[] = [];
      let records = 1;
      try {
        for (;;) {
          store.trx.reserve({ dataBlocks: 1, records: 8, freeing: false });
          const run: AllocatedRun = { start: asPhys(0), length: asBlocks(0) };
          store.space.allocate(0, 1, run);
          store.trees.parent.insert(records++, 1, 2, 3, new Uint32Array(0));
          runs.push(run);
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
      expect(runs.length).toBeGreaterThan(blocks / 4);
      runs.sort((a, b) => (a.start % 7) - (b.start % 7));
      for (const run of runs) {
        store.trx.reserve({ dataBlocks: 0, records: 64, freeing: true });
        store.space.free(run.start, run.length);
        store.trees.parent.remove(--records, 1, 2, 3);
      }
      store.trx.commit();
      expect(store.space.freeBlocks + store.nodes.ownedCount).toBe(blocks - 2);
    }
  });

  it('leaves bad blocks out when they are freed and when it allocates', () => {
    const { store } = fresh(300);
    const bad = store.context.bad as BadBlocks;
    const run: AllocatedRun = { start: asPhys(0), length: asBlocks(0) };
    store.space.allocate(100, 3, run);
    store.trx.commit();
    bad.mark({ from: 101, to: 102, latent: false, since: 5 });
    store.space.free(asPhys(100), asBlocks(3));
    bad.mark({ from: 200, to: 201, latent: false, since: 5 });
    store.space.quarantine(asPhys(200), asBlocks(1));
    store.trx.commit();
    expect([100, 101, 102, 200].map((b) => store.space.isFree(asPhys(b)))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    bad.clear(200, 201);
    store.space.restore(asPhys(200), asBlocks(1));
    expect(store.space.isFree(asPhys(200))).toBe(true);
  });

  it('notices a double free', () => {
    const { store } = fresh(300);
    store.space.free(asPhys(120), asBlocks(1));
    expect(() => store.trx.commit()).toThrow(/free already/);
  });
});

describe('superblock', () => {
  const slot = (media: HeapMedia, n: 0 | 1): Buffer => media.bytes(asPhys(n === 0 ? 0 : media.blocks - 1), 1);

  it('is read back from either slot; the newer transaction counts', () => {
    const { media, store } = fresh(300);
    expect(readSuperblock(media)).toMatchObject({ label: 'test', txid: 2, blocks: 300, clean: false });
    store.trees.orphan.insert(77, 0, 0, 0, new Uint32Array(0));
    store.trx.commitClean();
    expect(readSuperblock(media)).toMatchObject({ txid: 3, clean: true });
    slot(media, 1)[100] ^= 1;
    expect(readSuperblock(media)).toMatchObject({ txid: 2, clean: false });
    const old = openStore(media, options);
    expect(old.trees.orphan.count).toBe(0);
    slot(media, 0)[100] ^= 1;
    expect(() => readSuperblock(media)).toThrow(/both superblock slots are damaged/);
  });

  it('says what is wrong with a region that is not ours', () => {
    const media = new HeapMedia(300, 300);
    expect(probe(media)).toEqual({ kind: 'empty' });
    expect(() => readSuperblock(media)).toThrow(/empty; make a filesystem/);
    media.bytes(asPhys(0), 1).write('XFSB');
    expect(probe(media)).toMatchObject({ kind: 'foreign', detail: 'it holds XFS' });
    const { media: ours } = fresh(300);
    const cut = new HeapMedia(260, 300);
    ours.bytes(asPhys(0), 1).copy(cut.bytes(asPhys(0), 1));
    expect(() => readSuperblock(cut)).toThrow(/it was truncated/);
  });

  it('refuses a region that is too small', () => {
    expect(() => formatStore(new HeapMedia(255, 300), format, options)).toThrow(/smallest one has 1048576/);
  });
});
