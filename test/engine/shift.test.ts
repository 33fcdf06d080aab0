import { describe, expect, it } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { BLOCK_SIZE } from '../../src/types.js';
import { addFile, dataEnv, outcome, pattern, physicalOf, readAll, writeAll } from '../support/data-env.js';

const COLLAPSE = 8;
const INSERT = 32;
const UNSHARE = 64;
const blocks = (n: number): number => n * BLOCK_SIZE;

/** A file of ten blocks that are numbered in their first byte, and half a block. */
function tenBlocks() {
  const env = dataEnv({ blocks: 256 });
  const ino = addFile(env);
  writeAll(env, ino, 0, Buffer.concat([pattern(7, 10), Buffer.alloc(BLOCK_SIZE / 2, 9)]));
  const numbers = (): number[] => {
    const found: number[] = [];
    const size = env.inodes.size(ino);
    for (let at = 0; at < size; at += BLOCK_SIZE) found.push(readAll(env.data, ino, at, 1)[0]);
    return found;
  };
  return { env, ino, numbers };
}

describe('collapse', () => {
  it('moves the rest down, with its blocks', () => {
    const { env, ino, numbers } = tenBlocks();
    const moved = physicalOf(env.data, ino, 6);
    env.data.fallocate(ino, COLLAPSE, blocks(2), blocks(3));
    expect(numbers()).toEqual([0, 1, 5, 6, 7, 8, 9, 9]);
    expect(env.inodes.size(ino)).toBe(blocks(7) + BLOCK_SIZE / 2);
    expect(physicalOf(env.data, ino, 3)).toBe(moved);
    expect(checkData(env.ctx)).toEqual([]);
  });

  it.each([
    ['an offset within a block', 1, blocks(1)],
    ['a length within a block', 0, 100],
    ['a length of 0', 0, 0],
    ['a range up to the end', blocks(2), blocks(9)],
    ['a range past the end', blocks(20), blocks(1)],
    ['a range far past the end', 2 ** 52, blocks(1)],
  ])('refuses %s', (_what, offset, length) => {
    const { env, ino, numbers } = tenBlocks();
    expect(outcome(() => env.data.fallocate(ino, COLLAPSE, offset, length))).toBe('EINVAL');
    expect(numbers()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]);
  });

  it('gives preallocated blocks past the end back', () => {
    const { env, ino } = tenBlocks();
    env.data.fallocate(ino, 1, blocks(11), blocks(20));
    env.data.fallocate(ino, COLLAPSE, blocks(2), blocks(3));
    const last = env.data.extents(ino, 0, blocks(100), 9).at(-1);
    expect((last?.fileOffset ?? 0) + (last?.length ?? 0)).toBe(blocks(8));
    expect(checkData(env.ctx)).toEqual([]);
  });

  it('takes no KEEP_SIZE', () => {
    const { env, ino } = tenBlocks();
    expect(outcome(() => env.data.fallocate(ino, COLLAPSE | 1, 0, blocks(1)))).toBe('EOPNOTSUPP');
    expect(outcome(() => env.data.fallocate(ino, INSERT | 1, 0, blocks(1)))).toBe('EOPNOTSUPP');
  });
});

describe('insert', () => {
  it('makes a hole and moves the rest up', () => {
    const { env, ino, numbers } = tenBlocks();
    env.data.fallocate(ino, INSERT, blocks(9), blocks(2));
    expect(numbers()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 9, 9]);
    expect(physicalOf(env.data, ino, 9)).toBe(0);
    expect(checkData(env.ctx)).toEqual([]);
  });

  it('is undone by a collapse of the same range', () => {
    const { env, ino, numbers } = tenBlocks();
    const before = env.data.extents(ino, 0, blocks(100), 100);
    env.data.fallocate(ino, INSERT, blocks(4), 2 ** 40);
    env.data.fallocate(ino, COLLAPSE, blocks(4), 2 ** 40);
    expect(env.data.extents(ino, 0, blocks(100), 100)).toEqual(before);
    expect(numbers()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]);
  });

  it.each([
    ['EINVAL', 'at the end', blocks(11), blocks(1)],
    ['EINVAL', 'within a block', 512, blocks(1)],
    ['EFBIG', 'more than the largest file', 0, 2 ** 44],
    ['EFBIG', 'more than the largest file, behind the end', blocks(50), 2 ** 44],
  ])('refuses with %s what is %s', (code, _what, offset, length) => {
    const { env, ino } = tenBlocks();
    expect(outcome(() => env.data.fallocate(ino, INSERT, offset, length))).toBe(code);
    expect(env.inodes.size(ino)).toBe(blocks(10) + BLOCK_SIZE / 2);
  });

  it('refuses to move preallocated blocks out of the largest file', () => {
    const { env, ino } = tenBlocks();
    env.data.fallocate(ino, 1, 2 ** 44 - blocks(1), blocks(1));
    expect(outcome(() => env.data.fallocate(ino, INSERT, 0, blocks(1)))).toBe('EFBIG');
  });
});

describe('unshare', () => {
  function twins() {
    const { env, ino, numbers } = tenBlocks();
    const twin = addFile(env);
    env.data.cloneRange(ino, 0, twin, 0, 0);
    return { env, ino, twin, numbers };
  }

  it('gives the range blocks of its own and leaves the rest shared', () => {
    const { env, ino, twin, numbers } = twins();
    env.data.fallocate(ino, UNSHARE, blocks(2), blocks(3));
    const shared = [...Array(11).keys()].filter(
      (block) => physicalOf(env.data, ino, block) === physicalOf(env.data, twin, block),
    );
    expect(shared).toEqual([0, 1, 5, 6, 7, 8, 9, 10]);
    expect(numbers()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]);
    expect(checkData(env.ctx)).toEqual([]);
  });

  it('stops with EIO at a bad block', () => {
    const { env, ino } = twins();
    env.data.poison(blocks(physicalOf(env.data, ino, 3)), BLOCK_SIZE, false);
    expect(outcome(() => env.data.fallocate(ino, UNSHARE, 0, blocks(10)))).toBe('EIO');
    const flags = env.data.extents(ino, 0, blocks(11), 100).map((extent) => extent.shared);
    expect(flags).toEqual([false, true, true]);
  });
});

describe('cost', () => {
  it('is one step an extent, not a block', () => {
    const { env, ino } = tenBlocks();
    let steps = 0;
    env.mem.trx.onReserve = () => steps++;
    env.data.fallocate(ino, INSERT, 0, 2 ** 43);
    expect(steps).toBe(2);
    env.data.fallocate(ino, COLLAPSE, 0, 2 ** 43);
    expect(steps).toBe(4);
  });
});
