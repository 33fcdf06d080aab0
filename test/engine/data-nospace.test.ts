import { describe, expect, it } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { FsError } from '../../src/errors.js';
import { RECORDS_PER_STEP } from '../../src/limits.js';
import { BLOCK_SIZE, type Ino } from '../../src/types.js';
import { addFile, type DataEnv, dataEnv, outcome, pattern, readAll, writeAll } from '../support/data-env.js';

const B = BLOCK_SIZE;
const BLOCKS = 8;

interface Scene {
  env: DataEnv;
  /** What the operations work on: shared in part, with a hole, unwritten blocks and an unaligned end. */
  file: Ino;
  source: Ino;
}

function scene(): Scene {
  const env = dataEnv({ blocks: 96 });
  const [file, source, third] = [addFile(env), addFile(env), addFile(env)];
  writeAll(env, file, 0, pattern(1, BLOCKS));
  writeAll(env, source, 0, pattern(2, BLOCKS));
  env.data.cloneRange(file, B, third, 0, 3 * B);
  env.data.fallocate(file, 3, 5 * B, B);
  env.data.fallocate(file, 16, 6 * B, B);
  env.data.fallocate(source, 3, 3 * B, B);
  env.data.truncate(file, BLOCKS * B - 100);
  env.mem.trx.commit();
  return { env, file, source };
}

/** [name, operation, whether a failure may leave some blocks new and some old] */
const operations: [string, (s: Scene) => unknown, boolean][] = [
  ['write', ({ env, file }) => writeAll(env, file, 100, pattern(7, 7)), false],
  ['write-back', ({ env, file }) => env.data.write(file, 0, pattern(7, 8), 8 * B, true), true],
  ['write beyond the end', ({ env, file }) => writeAll(env, file, 9 * B + 5, pattern(7, 2)), false],
  ['truncate down', ({ env, file }) => env.data.truncate(file, B + 7), true],
  ['truncate up', ({ env, file }) => env.data.truncate(file, 20 * B), false],
  ['punch', ({ env, file }) => env.data.fallocate(file, 3, 100, 6 * B), true],
  ['zero-range', ({ env, file }) => env.data.fallocate(file, 16, 100, 9 * B), true],
  ['preallocate', ({ env, file }) => env.data.fallocate(file, 0, 0, 12 * B), true],
  ['clone', ({ env, file, source }) => env.data.cloneRange(source, 0, file, 0, 0), true],
  ['clone beyond the end', ({ env, file, source }) => env.data.cloneRange(source, 0, file, 9 * B, 0), true],
  ['copy', ({ env, file, source }) => env.data.copyRange(source, 10, file, 10, 5 * B), true],
  ['copy, unaligned', ({ env, file, source }) => env.data.copyRange(source, 10, file, 20, 5 * B), true],
];

function contents({ env, file }: Scene): Buffer {
  const bytes = readAll(env.data, file, 0, 100 * B);
  return Buffer.concat([bytes, Buffer.alloc(100 * B - bytes.length)]);
}

describe('every reservation fails once', () => {
  it.each(operations)('%s', (_name, run, partial) => {
    const before = contents(scene());
    const done = scene();
    run(done);
    const after = contents(done);
    const whole = done.env.inodes.size(done.file);
    let completed = false;
    for (let n = 1; !completed; n++) {
      expect(n).toBeLessThan(100);
      const s = scene();
      const size = s.env.inodes.size(s.file);
      s.env.mem.trx.failReserveIn = n;
      let answer: unknown = 0;
      let failed = false;
      try {
        answer = run(s);
      } catch (error) {
        if (!(error instanceof FsError) || error.code !== 'ENOSPC') throw error;
        failed = true;
      }
      completed = s.env.mem.trx.failReserveIn > 0;
      s.env.mem.trx.failReserveIn = 0;
      expect(checkData(s.env.ctx)).toEqual([]);
      const now = contents(s);
      if (completed) expect(now.equals(after)).toBe(true);
      else expectOldOrNew(now, before, after);
      if (failed && !partial) {
        expect(now.equals(before)).toBe(true);
        expect(s.env.inodes.size(s.file)).toBe(size);
      }
      const sizeNow = s.env.inodes.size(s.file);
      expect(sizeNow >= Math.min(size, whole) && sizeNow <= Math.max(size, whole)).toBe(true);
      if (!failed && typeof answer === 'number') expect(answer).toBeGreaterThan(0);
    }
  });
});

/** Every byte is what it was, or what it shall be, or a zero where a hole is made on the way. */
function expectOldOrNew(now: Buffer, before: Buffer, after: Buffer): void {
  for (let i = 0; i < now.length; i++) {
    if (now[i] !== before[i] && now[i] !== after[i] && now[i] !== 0) {
      throw new Error(`byte ${i} is ${now[i]}: neither ${before[i]} nor ${after[i]}`);
    }
  }
}

describe('a full region', () => {
  it('writes what fits, then overwrites in place, punches and truncates without any space', () => {
    const env = dataEnv({ blocks: 40 });
    const ino = addFile(env);
    const free = env.mem.space.availableBlocks;
    expect(writeAll(env, ino, 0, pattern(1, 60))).toBe(free * B);
    expect(outcome(() => writeAll(env, ino, free * B, pattern(1, 1)))).toBe('ENOSPC');
    expect(env.inodes.size(ino)).toBe(free * B);
    expect(writeAll(env, ino, 10, pattern(2, 4))).toBe(4 * B);
    const clone = addFile(env);
    env.data.cloneRange(ino, 0, clone, 0, 0);
    expect(outcome(() => writeAll(env, clone, 5, pattern(3, 1)))).toBe('ENOSPC');
    expect(readAll(env.data, clone, 0, free * B).equals(readAll(env.data, ino, 0, free * B))).toBe(true);
    env.data.fallocate(clone, 3, 0, 4 * B);
    env.data.truncate(clone, 5 * B + 3);
    env.data.truncate(ino, 3 * B);
    expect(writeAll(env, clone, 0, pattern(4, 2))).toBe(2 * B);
    expect(checkData(env.ctx)).toEqual([]);
  });

  it('refuses to preallocate more than there is and takes nothing for it', () => {
    const env = dataEnv({ blocks: 40 });
    const ino = addFile(env);
    const free = env.mem.space.freeBlocks;
    expect(outcome(() => env.data.fallocate(ino, 0, 0, 1000 * B))).toBe('ENOSPC');
    expect(env.inodes.size(ino)).toBe(0);
    expect(env.mem.space.freeBlocks).toBe(free);
  });

  it('keeps every step within RECORDS_PER_STEP', () => {
    for (const [, run] of operations) {
      const s = scene();
      s.env.mem.trx.mostRecords = 0;
      run(s);
      s.env.data.poison(0, Number.POSITIVE_INFINITY, false);
      s.env.data.unpoison(0, Number.POSITIVE_INFINITY);
      expect(s.env.mem.trx.mostRecords).toBeLessThanOrEqual(RECORDS_PER_STEP);
    }
  });
});
