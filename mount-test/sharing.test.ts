import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli, cliOk, type Mounted, withMount } from './support/harness.js';
import { sys, tool } from './support/run.js';

const MIB = 1024 * 1024;

interface Extent {
  fileOffset: number;
  physical: number;
  length: number;
  flags: string[];
}
interface MapRecord {
  physical: number;
  length: number;
  owner: { kind: string; ino?: number; fileOffset?: number; shareCount?: number };
  flags: string[];
}
interface Info {
  blocks: { total: number; free: number; shared: number; bad: number };
}

const extents = (file: string): Extent[] => cli('extents', file, '--json').json<Extent[]>();
const blocks = (m: Mounted): Info['blocks'] => cli('info', m.dir, '--json').json<Info>().blocks;
const places = (file: string): number[][] => extents(file).map((e) => [e.fileOffset, e.physical, e.length]);
/**
 * fsync of the directory: freed blocks can be used again after it. (syncfs(2) does not reach a FUSE daemon.)
 */
const commit = (m: Mounted): string => tool('sync', [m.dir]);

/** Blocks that a small change of metadata may take at most. */
const METADATA_SLACK_BLOCKS = 64;

describe('a copy shares', () => {
  it('cp of 8 MiB takes no space; both files own the same blocks, and fsmap shows each twice', () =>
    withMount({}, (m) => {
      const data = randomBytes(8 * MIB);
      writeFileSync(m.path('a'), data);
      commit(m);
      const before = blocks(m);
      tool('cp', [m.path('a'), m.path('b')]);
      commit(m);
      const after = blocks(m);
      expect(before.free - after.free).toBeLessThan(METADATA_SLACK_BLOCKS);
      expect(after.shared - before.shared).toBe(2048);
      expect(places(m.path('b'))).toEqual(places(m.path('a')));
      expect(extents(m.path('b')).every((e) => e.flags.includes('shared'))).toBe(true);
      expect(readFileSync(m.path('b')).equals(data)).toBe(true);

      const inos = ['a', 'b'].map((name) => statSync(m.path(name)).ino);
      const map = cli('fsmap', m.dir, '--json').json<MapRecord[]>();
      const owned = (ino?: number) =>
        map.filter((r) => r.owner.ino === ino).map((r) => [r.physical, r.length]);
      expect(owned(inos[0])).toEqual(owned(inos[1]));
      expect(owned(inos[0]).reduce((sum, [, length]) => sum + Number(length), 0)).toBe(8 * MIB);
    }));

  it('fsmap covers the whole region without a gap', () =>
    withMount({}, (m) => {
      for (let i = 0; i < 20; i++) writeFileSync(m.path(`f${i}`), randomBytes(10_000 * (i + 1)));
      tool('cp', [m.path('f19'), m.path('copy')]);
      for (let i = 0; i < 20; i += 2) unlinkSync(m.path(`f${i}`));
      commit(m);
      let end = 0;
      for (const record of cli('fsmap', m.dir, '--json').json<MapRecord[]>()) {
        expect(record.physical, JSON.stringify(record)).toBeLessThanOrEqual(end);
        end = Math.max(end, record.physical + record.length);
      }
      expect(end).toBe(64 * MIB);
    }));

  it('owners of a shared block are both files with their paths and offsets', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a'), randomBytes(64 * 1024));
      tool('cp', [m.path('a'), m.path('b')]);
      const physical = extents(m.path('a'))[0]?.physical ?? -1;
      const owners = cli(
        'owners',
        m.dir,
        '--offset',
        String(physical + 8192),
        '--length',
        '4096',
        '--json',
      ).json<{ kind: string; paths: string[]; fileOffset: number; length: number; shareCount: number }[]>();
      const summary = owners.map((o) => [o.kind, o.paths, o.fileOffset, o.length, o.shareCount]);
      expect(summary.sort((x, y) => String(x[1]).localeCompare(String(y[1])))).toEqual([
        ['file', ['/a'], 8192, 4096, 2],
        ['file', ['/b'], 8192, 4096, 2],
      ]);
    }));

  it('writing one copy leaves the other as it was and takes space for the written blocks only', () =>
    withMount({}, (m) => {
      const data = randomBytes(4 * MIB);
      writeFileSync(m.path('a'), data);
      tool('cp', [m.path('a'), m.path('b')]);
      commit(m);
      const before = blocks(m);
      expect(sys('write', m.path('b'), 1_000_000, 5000, 0x42).ret).toBe(5000);
      commit(m);
      expect(readFileSync(m.path('a')).equals(data)).toBe(true);
      const changed = Buffer.from(data);
      changed.fill(0x42, 1_000_000, 1_005_000);
      expect(readFileSync(m.path('b')).equals(changed)).toBe(true);
      expect(before.shared - blocks(m).shared).toBe(2);
      expect(before.free - blocks(m).free).toBeLessThan(2 + METADATA_SLACK_BLOCKS);
    }));

  it('truncate, punch, append and removal of one copy leave the other', () =>
    withMount({}, (m) => {
      const data = randomBytes(MIB);
      writeFileSync(m.path('a'), data);
      for (const name of ['t', 'p', 'e', 'r']) tool('cp', [m.path('a'), m.path(name)]);
      truncateSync(m.path('t'), 5000);
      sys('fallocate', m.path('p'), 3, 10_000, 100_000);
      sys('append', m.path('e'), 0, 10_000, 7);
      unlinkSync(m.path('r'));
      expect(readFileSync(m.path('a')).equals(data)).toBe(true);
      expect(readFileSync(m.path('t')).equals(data.subarray(0, 5000))).toBe(true);
      expect(readFileSync(m.path('p')).equals(Buffer.from(data).fill(0, 10_000, 110_000))).toBe(true);
      expect(readFileSync(m.path('e')).subarray(0, MIB).equals(data)).toBe(true);
    }));

  it('a store through a mapping of the copy reaches the copy only', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('a'), Buffer.alloc(16384, 'a'));
      tool('cp', [m.path('a'), m.path('b')]);
      sys('mmap_write', m.path('b'), 'shared', 5000, 'COPY', 'msync');
      expect(readFileSync(m.path('a'), 'utf8')).toBe('a'.repeat(16384));
      await m.remount();
      expect(readFileSync(m.path('a'), 'utf8')).toBe('a'.repeat(16384));
      expect(readFileSync(m.path('b')).subarray(4999, 5005).toString()).toBe('aCOPYa');
    }));
});

describe('clone', () => {
  it('of a whole file, of a range, and over what is there', () =>
    withMount({}, (m) => {
      const [a, b] = [randomBytes(40_000), randomBytes(65536)];
      writeFileSync(m.path('a'), a);
      writeFileSync(m.path('b'), b);
      cliOk('clone', m.path('a'), m.path('whole'));
      expect(readFileSync(m.path('whole')).equals(a)).toBe(true);
      expect(places(m.path('whole'))).toEqual(places(m.path('a')));
      cliOk(
        'clone',
        m.path('a'),
        m.path('b'),
        '--src-offset',
        '8192',
        '--dst-offset',
        '16384',
        '--length',
        '12288',
      );
      a.copy(b, 16384, 8192, 8192 + 12288);
      expect(readFileSync(m.path('b')).equals(b)).toBe(true);
    }));

  it('a process that maps the destination sees the clone at once', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a'), Buffer.alloc(8192, 'a'));
      writeFileSync(m.path('b'), Buffer.alloc(8192, 'b'));
      expect(sys('mmap_read', m.path('b'), 0, 2).bytes).toBe('6262');
      cliOk('clone', m.path('a'), m.path('b'));
      expect(sys('mmap_read', m.path('b'), 0, 2).bytes).toBe('6161');
    }));

  it('after a store through a mapping takes the stored bytes', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a'), Buffer.alloc(8192, 'a'));
      sys('mmap_write', m.path('a'), 'shared', 0, 'NEW', 'nosync');
      cliOk('clone', m.path('a'), m.path('b'));
      expect(readFileSync(m.path('b')).subarray(0, 4).toString()).toBe('NEWa');
    }));
});

describe('copy_file_range', () => {
  it('shares the aligned middle and copies the ragged ends', () =>
    withMount({}, (m) => {
      const data = randomBytes(100_000);
      writeFileSync(m.path('a'), data);
      expect(sys('copy_file_range', m.path('a'), 1000, m.path('b'), 1000, 60_000).ret).toBe(60_000);
      const expected = Buffer.alloc(61_000);
      data.copy(expected, 1000, 1000, 61_000);
      expect(readFileSync(m.path('b')).equals(expected)).toBe(true);
      expect(extents(m.path('b')).some((e) => e.flags.includes('shared'))).toBe(true);
      expect(sys('copy_file_range', m.path('a'), 3, m.path('c'), 10, 99_997).ret).toBe(99_997);
      expect(readFileSync(m.path('c')).subarray(10).equals(data.subarray(3))).toBe(true);
    }));

  it('ends at the end of the source, and refuses overlap in one file', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a'), randomBytes(10_000));
      expect(sys('copy_file_range', m.path('a'), 9000, m.path('b'), 0, 50_000).ret).toBe(1000);
      expect(sys('copy_file_range', m.path('a'), 20_000, m.path('b'), 0, 50_000).ret).toBe(0);
      expect(sys('copy_file_range', m.path('a'), 0, m.path('a'), 100, 5000).errno).toBe('EINVAL');
    }));
});
