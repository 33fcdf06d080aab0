import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Mounted, withMount } from './support/harness.js';
import { errnoOfCall, sys, tool } from './support/run.js';

const CHUNK = Buffer.alloc(256 * 1024, 'f');

/** Writes until ENOSPC; returns the bytes that were taken. */
function fill(path: string): number {
  const fd = openSync(path, 'w');
  let total = 0;
  try {
    const error = errnoOfCall(() => {
      for (;;) total += writeSync(fd, CHUNK);
    });
    expect(error).toBe('ENOSPC');
  } finally {
    closeSync(fd);
  }
  return total;
}

const sync = (m: Mounted): string => tool('sync', [m.dir]);

describe('a full region', () => {
  it('answers ENOSPC, keeps every byte, and can be emptied and filled again to the same degree', () =>
    withMount({ size: '24M' }, async (m) => {
      const sizes: number[] = [];
      for (let round = 0; round < 3; round++) {
        const written = fill(m.path('f'));
        sizes.push(written);
        const data = readFileSync(m.path('f'));
        expect(data.length).toBeGreaterThanOrEqual(written);
        expect(data.every((byte) => byte === 0x66)).toBe(true);
        unlinkSync(m.path('f'));
        sync(m);
      }
      expect(Math.min(...sizes)).toBeGreaterThan(18 * 1024 * 1024);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(512 * 1024);
      await m.remount();
      expect(Math.abs(fill(m.path('f')) - (sizes[0] ?? 0))).toBeLessThan(512 * 1024);
    }));

  it('still lets an unshared block be overwritten, a file be truncated and removed', () =>
    withMount({ size: '16M' }, (m) => {
      writeFileSync(m.path('small'), Buffer.alloc(40_960, 's'));
      fill(m.path('big'));
      expect(sys('write', m.path('small'), 100, 20_000, 0x74).ret).toBe(20_000);
      // The metadata's reserve moves a little with the trees.
      expect(Number(sys('statvfs', m.dir).available)).toBeLessThan(64);
      tool('truncate', ['-s', '1M', m.path('big')]);
      unlinkSync(m.path('big'));
      sync(m);
      writeFileSync(m.path('next'), CHUNK);
      expect(readFileSync(m.path('small')).subarray(99, 102).toString()).toBe('stt');
    }));

  it('answers ENOSPC for a copy-on-write that needs a block, and both files stay whole', () =>
    withMount({ size: '16M' }, (m) => {
      writeFileSync(m.path('a'), Buffer.alloc(2 * 1024 * 1024, 'a'));
      tool('cp', [m.path('a'), m.path('b')]);
      fill(m.path('big'));
      const outcomes = new Set<string>();
      for (let at = 0; at < 2 * 1024 * 1024; at += 65536)
        outcomes.add(sys('write', m.path('b'), at, 65536, 0x62).errno);
      expect(outcomes).toContain('ENOSPC');
      expect(readFileSync(m.path('a')).every((byte) => byte === 0x61)).toBe(true);
      const b = readFileSync(m.path('b'));
      for (let at = 0; at < b.length; at += 4096) {
        const block = b.subarray(at, at + 4096);
        expect(
          block.every((byte) => byte === block[0]),
          `block at ${at} is torn`,
        ).toBe(true);
      }
    }));

  it('full of small files and directories: ENOSPC, then all can be listed and removed', () =>
    withMount({ size: '8M' }, async (m) => {
      tool('mkdir', [m.path('d')]);
      const made = sys(
        'create_many',
        m.path('d'),
        'an-entry-with-a-rather-long-name-to-take-space-',
        1_000_000,
      );
      expect(made.errno).toBe('ENOSPC');
      const names = readdirSync(m.path('d'));
      expect(names.length).toBeGreaterThan(1000);
      await m.remount();
      expect(readdirSync(m.path('d')).length).toBe(names.length);
      tool('rm', ['-r', m.path('d')]);
      expect(readdirSync(m.dir)).toEqual([]);
      writeFileSync(m.path('again'), CHUNK);
      expect(statSync(m.path('again')).size).toBe(CHUNK.length);
    }));
});
