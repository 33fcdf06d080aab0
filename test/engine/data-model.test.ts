import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { type DataEnv, dataEnv, readAll, STALE } from '../support/data-env.js';
import { op, Pair } from '../support/data-pair.js';

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
