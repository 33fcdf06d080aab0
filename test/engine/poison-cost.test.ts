import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { BLOCK_SIZE, ROOT_INO } from '../../src/types.js';
import { FakeClock, HeapMedia } from '../support/mem-context.js';

const BLOCKS = 4096;

/** Counts the steps that `run` takes: each is one reservation. */
function stepsOf(engine: RegionEngine, run: () => void): number {
  const { trx } = engine.store;
  const reserve = trx.reserve.bind(trx);
  let steps = 0;
  trx.reserve = (reservation) => {
    steps++;
    reserve(reservation);
  };
  try {
    run();
  } finally {
    trx.reserve = reserve;
  }
  return steps;
}

describe('poison costs by runs, not by blocks', () => {
  it('of a whole device, and back', () => {
    const media = new HeapMedia(BLOCKS, 200);
    const clock = new FakeClock();
    mkfs(media, { label: 'poison', clock, uid: 0, gid: 0 });
    const engine = openEngine(media, { clock });
    const ino = engine.create(ROOT_INO, Buffer.from('a'), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
    for (const at of [0, 100, 200])
      engine.write(ino, at * BLOCK_SIZE, Buffer.alloc(50 * BLOCK_SIZE), 50 * BLOCK_SIZE, false);
    engine.commit();
    engine.fallocate(ino, 3, 110 * BLOCK_SIZE, 10 * BLOCK_SIZE);
    const { free } = engine.space();
    const range = [64 * BLOCK_SIZE, (BLOCKS - 65) * BLOCK_SIZE] as const;
    expect(engine.poison(200 * BLOCK_SIZE, 20 * BLOCK_SIZE, true)).toBe(20);
    const marked: number[] = [];
    expect(stepsOf(engine, () => marked.push(engine.poison(...range, false)))).toBeLessThan(20);
    expect(marked).toEqual([BLOCKS - 65]);
    expect(engine.badBlocks(0, 9).map(({ length }) => length)).toEqual([(BLOCKS - 65) * BLOCK_SIZE]);
    expect(engine.poison(...range, false)).toBe(0);
    expect(engine.store.space.freeBlocks).toBe(0);
    expect(checkRegion(media).problems).toEqual([]);
    expect(stepsOf(engine, () => marked.push(engine.unpoison(...range)))).toBeLessThan(20);
    expect(marked).toEqual([BLOCKS - 65, BLOCKS - 65]);
    expect(engine.space()).toMatchObject({ free, bad: 0 });
    engine.close();
    expect(checkRegion(media).problems).toEqual([]);
  });
});
