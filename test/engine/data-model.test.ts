import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { checkTree } from '../../src/check/tree.js';
import { BadBlocks } from '../../src/engine/badblock.js';
import { DataOps } from '../../src/engine/data.js';
import { InodeTable } from '../../src/engine/inode.js';
import { formatStore, openStore, type Store, type StoreOptions } from '../../src/engine/store.js';
import { type DataEnv, type DataParts, dataEnv, readAll, STALE } from '../support/data-env.js';
import { op, Pair } from '../support/data-pair.js';
import { FakeClock, HeapMedia } from '../support/mem-context.js';

const REGION_BLOCKS = 192;

/** Checks that all agrees whenever a step begins: a commit may fall there. */
function checkedEnv(commitOnReserve: boolean): DataEnv {
  const env = dataEnv({ blocks: REGION_BLOCKS });
  env.mem.trx.commitOnReserve = commitOnReserve;
  env.mem.trx.onReserve = () => expect(checkData(env.ctx)).toEqual([]);
  return env;
}

describe('file data against the model', () => {
  it('agrees after every operation, between all steps, and leaves committed blocks alone', () => {
    fc.assert(
      fc.property(fc.array(op, { minLength: 1, maxLength: 40 }), fc.boolean(), (ops, commits) => {
        const pair = new Pair(checkedEnv(commits));
        pair.fill();
        for (const op of ops) pair.run(op);
      }),
      { numRuns: 200, interruptAfterTimeLimit: 15_000 },
    );
  });

  it('never shows what a freed or fresh block held before', () => {
    fc.assert(
      fc.property(fc.array(op, { minLength: 1, maxLength: 25 }), (ops) => {
        const env = dataEnv({ blocks: REGION_BLOCKS });
        const pair = new Pair(env);
        for (const op of ops) {
          if (op.kind !== 'poison' && op.kind !== 'poisonPhysical') pair.run(op);
          for (const [f, ino] of pair.inos.entries()) {
            const bytes = readAll(env.data, ino, 0, pair.model.files[f].size);
            expect(bytes.includes(STALE)).toBe(false);
          }
        }
      }),
      { numRuns: 60, interruptAfterTimeLimit: 10_000 },
    );
  });
});

describe('file data on the real store', () => {
  const options: StoreOptions = {
    clock: new FakeClock(),
    layouts: { breakLayouts: () => {}, remapped: () => {} },
    badBlocks: (tree) => new BadBlocks(tree),
  };
  const format = { label: 'data', uuid: Buffer.alloc(16, 3), created: 1_700_000_000 };

  function partsOf(store: Store): DataParts {
    const { context: ctx } = store;
    if (!(ctx.bad instanceof BadBlocks)) throw new Error('the store has another index');
    const inodes = new InodeTable(ctx);
    return { ctx, inodes, bad: ctx.bad, data: new DataOps(ctx, inodes, ctx.bad, () => 'tree') };
  }

  it('agrees with the model, and again after a remount', () => {
    fc.assert(
      fc.property(fc.array(op, { minLength: 1, maxLength: 30 }), (ops) => {
        const media = new HeapMedia(640, 200);
        const store = formatStore(media, format, options);
        store.trx.commit();
        const pair = new Pair(partsOf(store));
        pair.fill();
        for (const op of ops) pair.run(op);
        store.trx.commit();
        const again = openStore(media, options);
        for (const tree of Object.values(again.trees)) expect(checkTree(tree)).toEqual([]);
        pair.remounted(partsOf(again));
        pair.run({ kind: 'write', f: 0, offset: 3, length: 30_000, byte: 9, fromPageCache: false });
      }),
      { numRuns: 60, interruptAfterTimeLimit: 15_000 },
    );
  });
});
