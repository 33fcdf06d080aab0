import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Mounted, withMount } from './support/harness.js';
import { errnoOfCall, sys, tool } from './support/run.js';

const KEEP = 1;
const PUNCH = 3;
const ZERO = 16;
const TIB = 2 ** 40;

/** A file of `blocks` random blocks; returns what it holds. */
function filled(m: Mounted, name: string, blocks: number): Buffer {
  const data = randomBytes(blocks * 4096);
  writeFileSync(m.path(name), data);
  return data;
}
const segments = (m: Mounted, name: string): unknown => sys('segments', m.path(name)).segments;

describe('fallocate', () => {
  it('punch of whole blocks makes a hole, of a part zeroes; the neighbours stay', () =>
    withMount({}, (m) => {
      const data = filled(m, 'f', 8);
      expect(sys('fallocate', m.path('f'), PUNCH, 8192, 8192).errno).toBe('0');
      data.fill(0, 8192, 16384);
      expect(segments(m, 'f')).toEqual([
        [0, 8192],
        [16384, 32768],
      ]);
      expect(statSync(m.path('f')).blocks).toBe(6 * 8);
      expect(sys('fallocate', m.path('f'), PUNCH, 20_000, 3000).errno).toBe('0');
      data.fill(0, 20_000, 23_000);
      expect(readFileSync(m.path('f')).equals(data)).toBe(true);
      expect(sys('fallocate', m.path('f'), PUNCH, 30_000, TIB).errno).toBe('0');
      data.fill(0, 30_000);
      expect(readFileSync(m.path('f')).equals(data)).toBe(true);
    }));

  it('zero-range reads as zeros, with and without keep-size', () =>
    withMount({}, (m) => {
      const data = filled(m, 'f', 4);
      expect(sys('fallocate', m.path('f'), ZERO, 1000, 10_000).errno).toBe('0');
      data.fill(0, 1000, 11_000);
      expect(readFileSync(m.path('f')).equals(data)).toBe(true);
      expect(sys('fallocate', m.path('f'), ZERO | KEEP, 12_000, 20_000).errno).toBe('0');
      data.fill(0, 12_000);
      expect(readFileSync(m.path('f')).equals(data)).toBe(true);
      expect(sys('fallocate', m.path('f'), ZERO, 12_000, 20_000).errno).toBe('0');
      expect(statSync(m.path('f')).size).toBe(32_000);
    }));

  it('plain allocation extends and reads as zeros; keep-size does not extend', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), 'data');
      expect(sys('fallocate', m.path('f'), KEEP, 0, 1024 * 1024).errno).toBe('0');
      expect(statSync(m.path('f'))).toMatchObject({ size: 4, blocks: 2048 });
      expect(sys('fallocate', m.path('f'), 0, 0, 1024 * 1024).errno).toBe('0');
      const expected = Buffer.alloc(1024 * 1024);
      expected.write('data');
      expect(readFileSync(m.path('f')).equals(expected)).toBe(true);
    }));

  it('refuses a length of nothing and a negative offset', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), 'x');
      expect(sys('fallocate', m.path('f'), 0, 0, 0).errno).toBe('EINVAL');
      expect(sys('fallocate', m.path('f'), 0, -1, 10).errno).toBe('EINVAL');
      expect(sys('fallocate', m.path('f'), 2, 0, 4096).errno).toBe('EOPNOTSUPP');
    }));
});

describe('sparse files', () => {
  it('data at 4 KiB, 5 GiB and 15 TiB: segments, blocks, contents, also after a remount', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), '');
      const places = [4096, 5 * 2 ** 30, 15 * TIB];
      for (const at of places) expect(sys('write', m.path('f'), at, 4096, 0x61).ret).toBe(4096);
      const expected = places.map((at) => [at, at + 4096]);
      expect(segments(m, 'f')).toEqual(expected);
      await m.remount();
      expect(segments(m, 'f')).toEqual(expected);
      expect(statSync(m.path('f'))).toMatchObject({ size: 15 * TIB + 4096, blocks: 24 });
      expect(sys('read', m.path('f'), 15 * TIB - 4096, 8192).bytes).toBe('00'.repeat(64));
      expect(sys('read', m.path('f'), 15 * TIB, 8192)).toMatchObject({ ret: 4096, bytes: '61'.repeat(64) });
    }));

  it('the largest file is 16 TiB: EFBIG beyond, for write, truncate and fallocate', () =>
    withMount({}, (m) => {
      const limit = 2 ** 44;
      const f = m.path('f');
      writeFileSync(f, '');
      expect(sys('write', f, limit - 1, 1, 0x61).ret).toBe(1);
      expect(sys('write', f, limit - 1, 2, 0x62).ret).toBe(1);
      expect(sys('write', f, limit, 1, 0x61).errno).toBe('EFBIG');
      expect(sys('fallocate', f, 0, limit - 4096, 4097).errno).toBe('EFBIG');
      expect(errnoOfCall(() => truncateSync(f, limit + 1))).toBe('EFBIG');
      expect(errnoOfCall(() => truncateSync(f, limit))).toBe('0');
      expect(sys('segments', f).segments).toEqual([[limit - 4096, limit]]);
      expect(sys('read', f, limit - 1, 10).bytes).toBe('62');
    }));

  it('seek: ENXIO past the end, the end is a hole, a hole file has no data', () =>
    withMount({}, (m) => {
      filled(m, 'f', 2);
      truncateSync(m.path('f'), 3 * 4096);
      const seek = (whence: string, offset: number) => {
        const { ret, errno } = sys('seek', m.path('f'), whence, offset);
        return ret < 0 ? errno : ret;
      };
      expect(['data', 'hole'].map((whence) => seek(whence, 100))).toEqual([100, 8192]);
      expect(['data', 'hole'].map((whence) => seek(whence, 9000))).toEqual(['ENXIO', 9000]);
      expect(['data', 'hole'].map((whence) => seek(whence, 12288))).toEqual(['ENXIO', 'ENXIO']);
    }));

  it('truncate down and up again shows zeros, never the old bytes', () =>
    withMount({}, (m) => {
      const data = filled(m, 'f', 4);
      truncateSync(m.path('f'), 5000);
      truncateSync(m.path('f'), 16384);
      data.fill(0, 5000);
      expect(readFileSync(m.path('f')).equals(data)).toBe(true);
      expect(statSync(m.path('f')).blocks).toBe(16);
      sys('append', m.path('f'), 0, 10, 1);
      expect(
        readFileSync(m.path('f'))
          .subarray(5000, 16384)
          .every((byte) => byte === 0),
      ).toBe(true);
    }));

  it('a write far past the end leaves zeros between, also within the last block', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), 'abc');
      sys('write', m.path('f'), 100_000, 3, 0x7a);
      const expected = Buffer.alloc(100_003);
      expected.write('abc');
      expected.write('zzz', 100_000);
      expect(readFileSync(m.path('f')).equals(expected)).toBe(true);
    }));
});

describe('statfs', () => {
  it('agrees with df, with info and with what files take', () =>
    withMount({}, (m) => {
      tool('sync', [m.dir]);
      const before = sys('statvfs', m.dir);
      expect(before).toMatchObject({ frsize: 4096, namemax: 255 });
      expect(Number(before.blocks)).toBeLessThanOrEqual(16384);
      filled(m, 'f', 1000);
      tool('sync', [m.dir]);
      const after = sys('statvfs', m.dir);
      const taken = Number(before.free) - Number(after.free);
      expect(taken).toBeGreaterThanOrEqual(1000);
      expect(taken).toBeLessThan(1064);
      expect(Number(after.available)).toBeLessThanOrEqual(Number(after.free));
      expect(tool('df', ['--output=fstype', m.dir]).trim().split('\n')[1]).toBe('fuse.rmapfs');
    }));
});
