import { describe, expect, it } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { BadBlocks } from '../../src/engine/badblock.js';
import { INODE_FLAG_IMMUTABLE } from '../../src/engine/layout.js';
import { S_IFDIR } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import { REFCOUNT_MAX } from '../../src/limits.js';
import { asPhys, BLOCK_SIZE, type Ino, MAX_FILE_SIZE } from '../../src/types.js';
import {
  addFile,
  type DataEnv,
  dataEnv,
  outcome,
  pattern,
  physicalOf,
  readAll,
  writeAll,
} from '../support/data-env.js';

const B = BLOCK_SIZE;
const TIB = 2 ** 40;
const KEEP = 1;
const PUNCH = 3;
const ZERO = 16;

/** A file of `blocks` blocks that hold `byte`. */
function filled(env: DataEnv, byte: number, blocks: number): Ino {
  const ino = addFile(env);
  expect(writeAll(env, ino, 0, pattern(byte, blocks))).toBe(blocks * B);
  return ino;
}

function cloneOf(env: DataEnv, ino: Ino): Ino {
  const copy = addFile(env);
  env.data.cloneRange(ino, 0, copy, 0, 0);
  return copy;
}

function poisonBlock(env: DataEnv, ino: Ino, block: number): number {
  const physical = physicalOf(env.data, ino, block);
  expect(env.data.poison(physical * B, B, false)).toBe(1);
  return physical;
}

function isSound(env: DataEnv): void {
  expect(checkData(env.ctx)).toEqual([]);
}

describe('bad blocks', () => {
  it('flushes the new bytes before it takes the mark off', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 3);
    const physical = poisonBlock(env, ino, 1);
    const steps: string[] = [];
    const { media } = env.mem;
    media.flush = () => {
      const done = media.bytes(asPhys(physical), 1).equals(pattern(9, 1));
      steps.push(
        `flush, ${done ? 'new' : 'old'} bytes, ${media.dirty.has(physical) ? 'noted' : 'not noted'}`,
      );
    };
    env.mem.trees.badblock.onChange = () => {
      steps.push('mark');
      env.mem.trx.noteChange('badblock', [physical]);
    };
    expect(writeAll(env, ino, B, pattern(9, 1))).toBe(B);
    expect(steps).toEqual(['flush, new bytes, noted', 'mark']);
    expect(readAll(env.data, ino, B, B).equals(pattern(9, 1))).toBe(true);
    expect(physicalOf(env.data, ino, 1)).toBe(physical);
    isSound(env);
  });

  it('is EIO for parts of the block and for write-back, and nothing changes', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 3);
    poisonBlock(env, ino, 1);
    for (const latent of [false, true]) {
      if (latent) {
        env.data.unpoison(0, Number.POSITIVE_INFINITY);
        env.data.poison(physicalOf(env.data, ino, 1) * B, B, true);
      }
      const page = pattern(9, 1);
      // Nobody knows of a latent one yet: see the next case.
      if (!latent) expect(outcome(() => env.data.write(ino, B, page, B, true))).toBe('EIO');
      expect(outcome(() => env.data.write(ino, B + 1, page, 10, false))).toBe('EIO');
      expect(outcome(() => env.data.fallocate(ino, PUNCH, B + 10, 100))).toBe('EIO');
      expect(outcome(() => env.data.fallocate(ino, PUNCH, 0, B + 100))).toBe('EIO');
      expect(outcome(() => env.data.fallocate(ino, ZERO, B + 10, 2 * B))).toBe('EIO');
      expect(outcome(() => env.data.truncate(ino, B + 5))).toBe('EIO');
      expect(outcome(() => readAll(env.data, ino, 0, 3 * B))).toBe('EIO');
      expect(env.inodes.size(ino)).toBe(3 * B);
      expect(readAll(env.data, ino, 0, B).equals(pattern(1, 1))).toBe(true);
      expect(env.bad.count).toBe(1);
    }
    isSound(env);
  });

  it('stores what is written back over a latent block, which stays latent', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 3);
    const physical = physicalOf(env.data, ino, 1);
    env.data.poison(physical * B, B, true);
    expect(env.data.write(ino, B, pattern(9, 1), B, true)).toBe(B);
    expect(env.bad.first(physical, 1, true)).toBe(physical);
    expect(env.bad.first(physical, 1, false)).toBe(-1);
    env.data.unpoison(physical * B, B);
    expect(readAll(env.data, ino, B, B).equals(pattern(9, 1))).toBe(true);
    isSound(env);
  });

  it('stops a read and a write short before the bad block', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 4);
    poisonBlock(env, ino, 2);
    const plan = newReadPlan();
    env.data.read(ino, 100, 4 * B, true, plan);
    expect(plan.bytes).toBe(2 * B - 100);
    expect(env.data.write(ino, 10, pattern(5, 3), 2 * B, false)).toBe(2 * B - 10);
    expect(readAll(env.data, ino, 3 * B, B).readUInt8(5)).toBe(1);
  });

  it('writes several blocks across a bad one, whole, and heals it', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 4);
    poisonBlock(env, ino, 1);
    poisonBlock(env, ino, 2);
    expect(writeAll(env, ino, 0, pattern(7, 4))).toBe(4 * B);
    expect(readAll(env.data, ino, 0, 4 * B).equals(pattern(7, 4))).toBe(true);
    expect(env.bad.count).toBe(0);
    isSound(env);
  });

  it('gives the writer of a shared bad block a new one, and heals in place for the last owner', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 3);
    const other = cloneOf(env, ino);
    const physical = poisonBlock(env, ino, 1);
    expect(outcome(() => env.data.write(ino, B, pattern(2, 1), 100, false))).toBe('EIO');
    expect(writeAll(env, ino, B, pattern(2, 1))).toBe(B);
    expect(physicalOf(env.data, ino, 1)).not.toBe(physical);
    expect(readAll(env.data, ino, B, B).equals(pattern(2, 1))).toBe(true);
    expect(outcome(() => readAll(env.data, other, B, B))).toBe('EIO');
    expect(writeAll(env, other, B, pattern(3, 1))).toBe(B);
    expect(physicalOf(env.data, other, 1)).toBe(physical);
    expect(env.bad.count).toBe(0);
    isSound(env);
  });

  it.each([
    ['punch', (env: DataEnv, ino: Ino) => env.data.fallocate(ino, PUNCH, B, B)],
    ['zero-range', (env: DataEnv, ino: Ino) => env.data.fallocate(ino, ZERO, B, B)],
    ['truncate', (env: DataEnv, ino: Ino) => env.data.truncate(ino, B)],
    ['unlink', (env: DataEnv, ino: Ino) => env.data.freeData(ino)],
  ])('%s takes the file off the block, which never becomes free', (_name, release) => {
    const env = dataEnv({ blocks: 32 });
    const ino = filled(env, 1, 3);
    const physical = poisonBlock(env, ino, 1);
    release(env, ino);
    env.mem.trx.commit();
    expect(env.ctx.space.isFree(asPhys(physical))).toBe(false);
    expect(env.bad.count).toBe(1);
    const hog = addFile(env);
    writeAll(env, hog, 0, pattern(9, 32));
    const used = env.data.extents(hog, 0, TIB, 100);
    const meets = used.some((e) => e.physical <= physical * B && e.physical + e.length > physical * B);
    expect(meets).toBe(false);
    expect(env.data.unpoison(physical * B, B)).toBe(1);
    expect(env.ctx.space.isFree(asPhys(physical))).toBe(true);
    isSound(env);
  });

  it('clones and dedupes shared bad blocks, but does not read one', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 3);
    const same = filled(env, 1, 3);
    poisonBlock(env, ino, 1);
    const copy = cloneOf(env, ino);
    expect(env.data.dedupeRange(ino, 0, copy, 0, 3 * B)).toBe(3 * B);
    expect(outcome(() => env.data.dedupeRange(ino, 0, same, 0, 3 * B))).toBe('EIO');
    expect(env.data.copyRange(ino, 1, same, 0, 2 * B)).toBe(B - 1);
    expect(outcome(() => env.data.copyRange(ino, B + 1, same, 0, 10))).toBe('EIO');
    isSound(env);
  });

  it('keeps the list: runs merge and split, latent ones stay apart, the tree brings all back', () => {
    const env = dataEnv();
    expect(env.data.poison(100 * B + 5, 1, false)).toBe(1);
    expect(env.data.poison(101 * B, 4 * B, false)).toBe(4);
    expect(env.data.poison(104 * B, 3 * B, true)).toBe(2);
    expect(env.data.poison(100 * B, 5 * B, false)).toBe(0);
    expect(env.data.unpoison(102 * B, B)).toBe(1);
    const since = env.mem.clock.sec;
    const expected = [
      { physical: 100 * B, length: 2 * B, latent: false, since },
      { physical: 103 * B, length: 2 * B, latent: false, since },
      { physical: 105 * B, length: 2 * B, latent: true, since },
    ];
    expect(env.data.badBlocks(0, 100)).toEqual(expected);
    expect(env.data.badBlocks(103 * B, 1)).toEqual([expected[1]]);
    expect(env.data.isBad(105 * B, 2 * B)).toBe(false);
    expect(env.data.isBad(104 * B, 2 * B)).toBe(true);
    expect(env.data.poison(105 * B, B, false)).toBe(1);
    const reread = new BadBlocks(env.mem.trees.badblock);
    for (let block = 98; block < 110; block++) {
      for (const latent of [false, true]) {
        expect(reread.first(block, 1, latent)).toBe(env.bad.first(block, 1, latent));
      }
    }
    expect(reread.count).toBe(6);
    isSound(env);
  });

  it('refuses ranges outside the device and takes 0 and 2^64-1 for all of it', () => {
    const env = dataEnv({ blocks: 64 });
    expect(outcome(() => env.data.poison(65 * B, 1, false))).toBe('ENXIO');
    expect(outcome(() => env.data.poison(64 * B, B + 1, false))).toBe('ENXIO');
    expect(outcome(() => env.data.poison(-1, 1, false))).toBe('EINVAL');
    expect(outcome(() => env.data.poison(0, 0, false))).toBe('EINVAL');
    expect(env.bad.count).toBe(0);
    expect(env.data.poison(0, Number.POSITIVE_INFINITY, false)).toBe(65);
    expect(env.data.unpoison(0, 2 ** 64 - 1)).toBe(65);
    isSound(env);
  });
});

describe('clone, dedupe and copy: arguments', () => {
  /** [what, source size, source offset, destination size, destination offset, length, answer, size after] */
  const clones: [string, number, number, number, number, number, string, number][] = [
    ['whole file', 16 * B, 0, 0, 0, 0, 'OK', 16 * B],
    ['middle', 16 * B, 4 * B, 16 * B, 4 * B, 4 * B, 'OK', 16 * B],
    ['source offset 1', 16 * B, 1, 16 * B, 0, B, 'EINVAL', 16 * B],
    ['source offset 512', 16 * B, 512, 16 * B, 0, B, 'EINVAL', 16 * B],
    ['destination offset 1', 16 * B, 0, 16 * B, 1, B, 'EINVAL', 16 * B],
    ['length 100', 16 * B, 0, 16 * B, 0, 100, 'EINVAL', 16 * B],
    ['length 6144', 16 * B, 0, 16 * B, 0, 6144, 'EINVAL', 16 * B],
    ['unaligned end of the source, grows', 65436, 0, 0, 0, 65436, 'OK', 65436],
    ['unaligned end of the source, within the destination', 65436, 0, 32 * B, 0, 65436, 'EINVAL', 32 * B],
    ['both end at the same place', 65436, 0, 65436, 0, 65436, 'OK', 65436],
    ['length 0 from block 4', 16 * B, 4 * B, 16 * B, 4 * B, 0, 'OK', 16 * B],
    ['length 0 at the end', 16 * B, 16 * B, 32 * B, 0, 0, 'OK', 32 * B],
    ['length 0 of an empty file', 0, 0, 4 * B, 0, 0, 'OK', 4 * B],
    ['beyond the end', 16 * B, 17 * B, 32 * B, 0, B, 'EINVAL', 32 * B],
    ['across the end', 16 * B, 15 * B, 32 * B, 0, 2 * B, 'EINVAL', 32 * B],
    ['beyond the end of the destination', 16 * B, 0, B, 40 * B, B, 'OK', 41 * B],
    ['beyond its unaligned end', 16 * B, 0, 100, 8 * B, B, 'OK', 9 * B],
    ['beyond the largest file', 16 * B, 0, 0, MAX_FILE_SIZE, B, 'EFBIG', 0],
  ];
  it.each(clones)('clone: %s', (_what, srcSize, srcOffset, dstSize, dstOffset, length, answer, after) => {
    const env = dataEnv();
    const src = addFile(env);
    const dst = addFile(env);
    writeAll(env, src, 0, Buffer.alloc(srcSize, 1));
    writeAll(env, dst, 0, Buffer.alloc(dstSize, 2));
    expect(outcome(() => env.data.cloneRange(src, srcOffset, dst, dstOffset, length))).toBe(answer);
    expect(env.inodes.size(dst)).toBe(after);
    isSound(env);
  });

  it('within one file: adjacent and growing ranges, never overlapping ones', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 16);
    expect(outcome(() => env.data.cloneRange(ino, 0, ino, B, 4 * B))).toBe('EINVAL');
    expect(outcome(() => env.data.cloneRange(ino, 0, ino, 0, 4 * B))).toBe('EINVAL');
    env.data.cloneRange(ino, 0, ino, 4 * B, 4 * B);
    env.data.cloneRange(ino, 0, ino, 20 * B, 16 * B);
    expect(env.inodes.size(ino)).toBe(36 * B);
    expect(readAll(env.data, ino, 4 * B, 4 * B).equals(pattern(1, 4))).toBe(true);
    expect(outcome(() => env.data.copyRange(ino, 0, ino, 100, B))).toBe('EINVAL');
    expect(outcome(() => env.data.dedupeRange(ino, 0, ino, B, 4 * B))).toBe('EINVAL');
    isSound(env);
  });

  it('refuses directories and immutable destinations', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 1);
    const dst = addFile(env);
    env.mem.trx.reserve({ dataBlocks: 0, records: 2, freeing: false });
    env.inodes.setFlags(dst, INODE_FLAG_IMMUTABLE);
    expect(outcome(() => env.data.cloneRange(ino, 0, dst, 0, 0))).toBe('EPERM');
    env.data.cloneRange(dst, 0, ino, 0, 0);
    env.mem.trx.reserve({ dataBlocks: 0, records: 1, freeing: false });
    env.inodes.setMode(dst, S_IFDIR | 0o755);
    expect(outcome(() => env.data.cloneRange(dst, 0, ino, 0, 0))).toBe('EISDIR');
    expect(outcome(() => env.data.copyRange(ino, 0, dst, 0, 1))).toBe('EISDIR');
  });

  it('dedupe: same, different, cut down, past the end', () => {
    const env = dataEnv();
    const a = filled(env, 1, 4);
    const b = filled(env, 1, 4);
    expect(env.data.dedupeRange(a, 0, b, 0, 0)).toBe(0);
    expect(env.data.dedupeRange(a, 0, b, 0, 100)).toBe(100);
    expect(env.data.sharedBlocks()).toEqual({ shared: 0, saved: 0 });
    expect(env.data.dedupeRange(a, 0, b, 0, B + 100)).toBe(B + 100);
    expect(env.data.sharedBlocks()).toEqual({ shared: 1, saved: 1 });
    expect(outcome(() => env.data.dedupeRange(a, 1, b, 0, 4 * B - 1))).toBe('EINVAL');
    expect(outcome(() => env.data.dedupeRange(a, B, b, 0, 4 * B))).toBe('EINVAL');
    writeAll(env, b, 3 * B, Buffer.from([99]));
    expect(env.data.dedupeRange(a, 0, b, 0, 4 * B)).toBe(-1);
    expect(env.data.sharedBlocks()).toEqual({ shared: 1, saved: 1 });
    isSound(env);
  });

  it('copy_file_range: clipped at the end of the source, shares what is aligned, the tail too', () => {
    const env = dataEnv();
    const src = addFile(env);
    const dst = addFile(env);
    writeAll(env, src, 0, Buffer.alloc(2 * B + 100, 5));
    expect(env.data.copyRange(src, 3 * B, dst, 0, B)).toBe(0);
    const before = env.mem.space.freeBlocks;
    expect(env.data.copyRange(src, 0, dst, 0, 10 * B)).toBe(2 * B + 100);
    expect(env.mem.space.freeBlocks).toBe(before);
    expect(env.inodes.size(dst)).toBe(2 * B + 100);
    expect(env.data.sharedBlocks()).toEqual({ shared: 3, saved: 3 });
    isSound(env);
  });

  it('answers EMLINK where a block has as many owners as it can have', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 2);
    cloneOf(env, ino);
    const cursor = env.mem.trees.refcount.cursor();
    cursor.seek(0, 0, 0, 0);
    env.mem.trx.enforce = false;
    cursor.set(1, REFCOUNT_MAX);
    env.mem.trx.enforce = true;
    const more = addFile(env);
    expect(outcome(() => env.data.cloneRange(ino, 0, more, 0, 0))).toBe('EMLINK');
    expect(env.inodes.size(more)).toBe(0);
  });
});

describe('sizes', () => {
  it('clones, copies, punches and seeks in files of many TiB by their extents', () => {
    const env = dataEnv();
    const src = addFile(env);
    for (const at of [0, 5 * TIB, 15 * TIB]) writeAll(env, src, at, pattern(1, 2));
    env.data.truncate(src, MAX_FILE_SIZE);
    const dst = addFile(env);
    const reserves = env.mem.trx.reserves;
    env.data.cloneRange(src, 0, dst, 0, 0);
    expect(env.data.copyRange(src, 0, dst, 0, 9 * TIB)).toBe(9 * TIB);
    expect(env.data.copyRange(src, 0, dst, 1, 6 * TIB)).toBe(6 * TIB);
    expect(env.data.dedupeRange(src, 8 * TIB, dst, 8 * TIB, 8 * TIB)).toBe(8 * TIB);
    expect(readAll(env.data, dst, 15 * TIB, 2 * B).equals(pattern(1, 2))).toBe(true);
    expect(readAll(env.data, dst, 5 * TIB + 1, 2 * B).equals(pattern(1, 2))).toBe(true);
    expect(env.data.seek(src, 4, 4)).toBe(2 * B);
    expect(env.data.seek(src, 2 * B, 3)).toBe(5 * TIB);
    env.data.fallocate(dst, PUNCH, 0, MAX_FILE_SIZE);
    expect(env.inodes.blocks(dst)).toBe(0);
    env.data.truncate(src, 0);
    expect(env.mem.trx.reserves - reserves).toBeLessThan(100);
    isSound(env);
  });

  it('clones to the end of an empty file from its start only', () => {
    const env = dataEnv();
    const [src, dst] = [addFile(env), addFile(env)];
    expect(outcome(() => env.data.cloneRange(src, 0, dst, B, 0))).toBe('OK');
    expect(outcome(() => env.data.cloneRange(src, B, dst, B, 0))).toBe('EINVAL');
  });

  it('refuses what ends beyond the largest file, and writes up to it', () => {
    const env = dataEnv();
    const ino = addFile(env);
    expect(outcome(() => env.data.truncate(ino, MAX_FILE_SIZE + 1))).toBe('EFBIG');
    expect(outcome(() => env.data.fallocate(ino, 0, MAX_FILE_SIZE, 1))).toBe('EFBIG');
    expect(outcome(() => writeAll(env, ino, MAX_FILE_SIZE, Buffer.alloc(1)))).toBe('EFBIG');
    expect(writeAll(env, ino, MAX_FILE_SIZE - 10, Buffer.alloc(20, 1))).toBe(10);
    expect(env.inodes.size(ino)).toBe(MAX_FILE_SIZE);
    isSound(env);
  });

  it('lists extents, cut where sharing and badness change', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 8);
    const other = addFile(env);
    env.data.cloneRange(ino, 2 * B, other, 0, 3 * B);
    env.data.fallocate(ino, KEEP, 8 * B, 2 * B);
    poisonBlock(env, ino, 3);
    const list = env.data.extents(ino, 0, TIB, 100);
    const brief = list.map((e) => [
      e.fileOffset / B,
      e.length / B,
      `${e.shared ? 's' : ''}${e.bad ? 'b' : ''}${e.unwritten ? 'u' : ''}`,
    ]);
    expect(brief).toEqual([
      [0, 2, ''],
      [2, 1, 's'],
      [3, 1, 'sb'],
      [4, 1, 's'],
      [5, 3, ''],
      [8, 2, 'u'],
    ]);
    expect(env.data.extents(ino, 2 * B, 1, 100).length).toBe(1);
    expect(env.data.extents(ino, 0, TIB, 2).length).toBe(2);
  });

  it('never shows what was stored past the end of the file', () => {
    const env = dataEnv();
    const ino = addFile(env);
    writeAll(env, ino, 0, Buffer.alloc(100, 1));
    const clone = cloneOf(env, ino);
    const physical = physicalOf(env.data, ino, 0);
    env.mem.media.bytes(asPhys(physical), 1).fill(0x77, 100);
    env.data.truncate(ino, 300);
    writeAll(env, clone, 200, Buffer.from([5]));
    const expected = Buffer.alloc(300).fill(1, 0, 100);
    expect(readAll(env.data, ino, 0, 1000).equals(expected)).toBe(true);
    const other = Buffer.alloc(201).fill(1, 0, 100);
    other[200] = 5;
    expect(readAll(env.data, clone, 0, 1000).equals(other)).toBe(true);
    isSound(env);
  });
});

describe('edges', () => {
  it('sees that an unaligned read reaches into a bad block', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 3);
    poisonBlock(env, ino, 1);
    expect(outcome(() => readAll(env.data, ino, B - 10, 20))).toBe('EIO');
    expect(readAll(env.data, ino, B - 10, 10).length).toBe(10);
  });

  it('notes what it zeroes, in place and in a copy, so that a flush makes it durable', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 2);
    cloneOf(env, ino);
    writeAll(env, ino, B, pattern(2, 1));
    for (const block of [0, 1]) {
      env.mem.media.flush();
      env.data.fallocate(ino, PUNCH, block * B + 10, 10);
      expect([...env.mem.media.dirty]).toEqual([physicalOf(env.data, ino, block)]);
    }
    isSound(env);
  });

  it('shares a range beyond the end of the destination and zeroes what lay past that end', () => {
    const env = dataEnv();
    const src = filled(env, 1, 2);
    const dst = addFile(env);
    writeAll(env, dst, 0, Buffer.alloc(B, 2));
    env.data.truncate(dst, 100);
    expect(env.data.copyRange(src, 0, dst, 4 * B, 2 * B)).toBe(2 * B);
    const expected = Buffer.alloc(4 * B).fill(2, 0, 100);
    expect(readAll(env.data, dst, 0, 4 * B).equals(expected)).toBe(true);
    expect(env.data.sharedBlocks().shared).toBe(2);
    isSound(env);
  });
});

describe('layouts', () => {
  it('asks before every change of blocks and tells after it; a refusal changes nothing', () => {
    const env = dataEnv();
    const ino = filled(env, 1, 6);
    const other = filled(env, 2, 6);
    cloneOf(env, ino);
    const told: string[] = [];
    env.layouts.remapped = (who, from, count) => told.push(`${who === ino} ${from}+${count}`);
    env.data.fallocate(ino, PUNCH, B, 2 * B);
    writeAll(env, ino, 4 * B, pattern(3, 1));
    env.data.cloneRange(other, 0, ino, 0, B);
    env.data.truncate(ino, 5 * B);
    expect(told).toEqual(['true 1+2', 'true 4+1', 'true 0+1', 'true 5+1']);
    const changes = (): number => Object.values(env.mem.trees).reduce((sum, tree) => sum + tree.changes, 0);
    const free = env.mem.space.freeBlocks;
    const before = changes();
    env.layouts.breakLayouts = () => {
      throw new Error('interrupted');
    };
    expect(() => env.data.fallocate(ino, PUNCH, 0, B)).toThrow('interrupted');
    expect(() => env.data.fallocate(ino, ZERO, 0, B)).toThrow('interrupted');
    expect(() => env.data.truncate(ino, 0)).toThrow('interrupted');
    expect(() => env.data.cloneRange(other, 0, ino, 0, B)).toThrow('interrupted');
    expect(() => writeAll(env, ino, B, pattern(1, 1))).toThrow('interrupted');
    expect(changes()).toBe(before);
    expect(env.mem.space.freeBlocks).toBe(free);
  });
});

describe('the last commit', () => {
  it('is made before a block is overwritten that was shared in it', () => {
    const env = dataEnv();
    const a = filled(env, 1, 4);
    const b = cloneOf(env, a);
    env.mem.trx.commit();
    const { commits } = env.mem.trx;
    env.data.freeData(b);
    expect(env.mem.trx.commits).toBe(commits);
    writeAll(env, a, B, pattern(2, 1));
    expect(env.mem.trx.commits).toBe(commits + 1);
    writeAll(env, a, 2 * B, pattern(2, 1));
    expect(env.mem.trx.commits).toBe(commits + 1);
  });

  it('is made before a part of such a block is zeroed, or a bad one healed', () => {
    const env = dataEnv();
    const a = filled(env, 1, 4);
    for (const change of [
      () => env.data.fallocate(a, PUNCH, 10, 10),
      () => writeAll(env, a, B, pattern(2, 1)),
    ]) {
      const b = cloneOf(env, a);
      if (env.bad.count === 0) poisonBlock(env, a, 1);
      env.mem.trx.commit();
      env.data.freeData(b);
      const { commits } = env.mem.trx;
      change();
      expect(env.mem.trx.commits).toBe(commits + 1);
    }
  });
});
