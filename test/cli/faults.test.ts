import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sample, seededRandom } from '../../src/cli/random.js';
import { FSMAP_FLAG, FSMAP_OWNER, POISON_FLAG, POLICIES } from '../../src/control/protocol.js';
import { FAULT_BLOCKS_MAX } from '../../src/limits.js';
import { FakeMount } from '../control/fake-mount.js';
import { type CliResult, runFake } from './run.js';

const BLOCK = 4096;

let fake: FakeMount;
beforeEach(() => {
  fake = new FakeMount();
  fake.poisoned = { physical: 0, length: BLOCK, latent: false, owners: [], victims: [], shutdown: false };
  const record = (block: number, blocks: number, owner: number, shared = false) => ({
    physical: block * BLOCK,
    length: blocks * BLOCK,
    owner,
    fileOffset: 0,
    flags: shared ? FSMAP_FLAG.shared : 0,
    detail: shared ? 2 : 1,
  });
  fake.fsmap = [
    record(0, 1, FSMAP_OWNER.superblock),
    record(1, 9, FSMAP_OWNER.metadata),
    record(10, 4, 20, true),
    record(10, 4, 21, true),
    record(14, 2, 22),
    record(20, 4, 23),
    record(24, 40, FSMAP_OWNER.free),
  ];
});
afterEach(() => fake.remove());

const run = (...args: string[]): Promise<CliResult> =>
  runFake(fake.system, 'poison', fake.directory, ...args);

/** The blocks that were poisoned, in the order of the requests. */
function poisoned(): number[] {
  const requests = fake.requests('poison') as { offset: number; length: number }[];
  return requests.flatMap(({ offset, length }) =>
    Array.from({ length: length / BLOCK }, (_, i) => offset / BLOCK + i),
  );
}

describe('the seeded generator', () => {
  test('gives the same numbers for ever', () => {
    const random = seededRandom(42);
    expect([random(1000), random(1000), random(2 ** 32)]).toEqual([601, 852, 750819984]);
  });

  test('samples without repeating, all when asked for all', () => {
    for (let seed = 0; seed < 50; seed++) {
      const chosen = sample(5, 12, seed);
      expect(new Set(chosen).size).toBe(5);
      expect(chosen).toEqual([...chosen].sort((a, b) => a - b));
      expect(chosen.every((n) => n >= 0 && n < 12)).toBe(true);
    }
    expect(sample(7, 7, 1)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(
      new Set(Array.from({ length: 50 }, (_, seed) => String(sample(2, 12, seed)))).size,
    ).toBeGreaterThan(20);
  });
});

describe('poison by choice', () => {
  test('--every-nth counts the blocks of data, shared ones once; neighbours go together', async () => {
    expect(await run('--every-nth', '3')).toMatchObject({ status: 0, stderr: '' });
    expect(poisoned()).toEqual([12, 15, 22]);
    fake.log.length = 0;
    expect((await run('--every-nth', '1')).status).toBe(0);
    expect(fake.requests('poison')).toMatchObject([
      { offset: 10 * BLOCK, length: 6 * BLOCK },
      { offset: 20 * BLOCK, length: 4 * BLOCK },
    ]);
  });

  test('--random with a seed does the same again, and prints a seed that was not given', async () => {
    const first = await run('--random', '4', '--json');
    const { seed, candidates, ranges } = JSON.parse(first.stdout);
    expect(candidates).toBe(10);
    const blocks = poisoned();
    expect(new Set(blocks).size).toBe(4);
    expect(blocks.every((b) => (b >= 10 && b < 16) || (b >= 20 && b < 24))).toBe(true);
    fake.log.length = 0;
    const again = await run('--random', '4', '--seed', String(seed), '--json');
    expect(JSON.parse(again.stdout).ranges).toEqual(ranges);
    expect(poisoned()).toEqual(blocks);
  });

  test('--owner takes the blocks of a file, in its order, with policy and kind', async () => {
    const extent = (fileBlock: number, block: number, blocks: number) => ({
      fileOffset: fileBlock * BLOCK,
      physical: block * BLOCK,
      length: blocks * BLOCK,
      flags: 0,
    });
    fake.extents = [extent(0, 22, 2), extent(2, 10, 1), extent(5, 14, 2)];
    const owner = fake.file('data');
    expect((await run('--owner', owner, '--latent', '--policy', 'late')).status).toBe(0);
    expect(poisoned()).toEqual([22, 23, 10, 14, 15]);
    expect(fake.requests('poison')[0]).toMatchObject({
      flags: POISON_FLAG.latent,
      policy: POLICIES.indexOf('late'),
    });
    fake.log.length = 0;
    expect((await run('--owner', owner, '--every-nth', '2')).status).toBe(0);
    expect(poisoned()).toEqual([23, 14]);
  });

  test('more than there is, and nothing to choose from', async () => {
    expect(await run('--random', '11')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(
        /^rmapfs: cannot poison 11 blocks at random .*: there are 10 blocks only/,
      ),
    });
    expect((await run('--every-nth', '11')).stderr).toMatch(/choose a smaller n/);
    fake.fsmap = [{ ...fake.fsmap[5], length: (FAULT_BLOCKS_MAX + 1) * BLOCK }];
    expect((await run('--every-nth', '1')).stderr).toMatch(/at most 65536/);
    fake.fsmap = [];
    expect((await run('--random', '1')).stderr).toMatch(/no block that holds data/);
    expect(fake.requests('poison')).toEqual([]);
  });

  test.each([
    [['--random', '1', '--offset', '0'], /name a range/],
    [['--random', '1', '--every-nth', '2'], /give one of/],
    [['--seed', '1'], /--seed goes with --random/],
    [['--random', '0'], /number from 1 on/],
    [['--random', '1', '--seed', '4294967296'], /4294967295/],
    [[], /give --offset and --length, or --random/],
    [['--offset', '0'], /give --offset and --length/],
  ])('wrong usage: %s', async (args, message) => {
    const done = await run(...args);
    expect(done.status).toBe(2);
    expect(done.stderr).toMatch(message);
  });
});
