import { randomBytes } from 'node:crypto';
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Mounted, withMount } from './support/harness.js';
import { sys, tool } from './support/run.js';

/** What statx says of a file, without what reading it may change. */
function facts(path: string): Record<string, unknown> {
  const { atime: _, ...rest } = sys('statx', path);
  return rest;
}

describe('a remount keeps', () => {
  it('contents, sizes, modes, owners, times, links and inode numbers', () =>
    withMount({}, async (m) => {
      const data = randomBytes(777_777);
      writeFileSync(m.path('f'), data);
      linkSync(m.path('f'), m.path('hard'));
      symlinkSync('f', m.path('soft'));
      mkdirSync(m.path('d/e'), { recursive: true });
      tool('chown', ['-h', '1234:5678', m.path('f'), m.path('soft')]);
      tool('chmod', ['6751', m.path('f')]);
      tool('mkfifo', [m.path('pipe')]);
      sys('mknod', m.path('dev'), 0o20600, 259, 70_000);
      sys('utimens', m.path('f'), -5, 123_456_789, 5_000_000_000, 987_654_321);
      const names = ['f', 'hard', 'soft', 'd', 'd/e', 'pipe', 'dev'];
      const before = names.map((name) => facts(m.path(name)));
      expect(before[0]).toMatchObject({
        mode: 0o106751,
        uid: 1234,
        gid: 5678,
        mtime: [5_000_000_000, 987_654_321],
      });
      expect(sys('statx', m.path('f')).atime).toEqual([-5, 123_456_789]);
      await m.remount();
      expect(sys('statx', m.path('f')).atime).toEqual([-5, 123_456_789]);
      expect(names.map((name) => facts(m.path(name)))).toEqual(before);
      expect(readFileSync(m.path('hard')).equals(data)).toBe(true);
      expect(readlinkSync(m.path('soft'))).toBe('f');
    }));

  it('extended attributes', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), 'x');
      expect(sys('setxattr', m.path('f'), 'user.small', 'value', 0).errno).toBe('0');
      expect(sys('setxattr', m.path('f'), 'trusted.t', 'secret', 0).errno).toBe('0');
      expect(sys('setxattr_long', m.path('f'), 'user.long', 10_000).errno).toBe('0');
      await m.remount();
      expect(sys('getxattr', m.path('f'), 'user.small', 100).bytes).toBe(
        Buffer.from('value').toString('hex'),
      );
      expect(sys('getxattr', m.path('f'), 'trusted.t', 100).ret).toBe(6);
      expect(sys('getxattr', m.path('f'), 'user.long', 65536).bytes).toBe('76'.repeat(10_000));
      expect(sys('listxattr', m.path('f'), 1000).ret).toBe('user.small\0trusted.t\0user.long\0'.length);
    }));

  it('cookies of telldir lead to the same entries, also when others are gone', () =>
    withMount({}, async (m) => {
      mkdirSync(m.path('d'));
      sys('create_many', m.path('d'), 'n', 1000);
      const places = [0, 1, 2, 3, 500, 1001].map((nth) => sys('cookie', m.path('d'), nth));
      const kept = new Set(places.map(({ name }) => name));
      for (const name of readdirSync(m.path('d'))) {
        if (!kept.has(name) && name.endsWith('7')) unlinkSync(m.path('d', name));
      }
      await m.remount();
      const found = places.map(({ cookie }) => sys('entry_at', m.path('d'), String(cookie)).name);
      expect(found).toEqual(places.map(({ name }) => name));
    }));

  it('holes, unwritten space and sharing', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('sparse'), randomBytes(4096));
      truncateSync(m.path('sparse'), 10 * 1024 * 1024);
      sys('fallocate', m.path('sparse'), 0, 5 * 1024 * 1024, 65536);
      writeFileSync(m.path('a'), randomBytes(1024 * 1024));
      tool('cp', [m.path('a'), m.path('b')]);
      const state = (mounted: Mounted) => [
        sys('segments', mounted.path('sparse')).segments,
        statSync(mounted.path('sparse')).blocks,
        tool('cmp', [mounted.path('a'), mounted.path('b')]),
      ];
      const before = state(m);
      await m.remount();
      expect(state(m)).toEqual(before);
    }));

  it('an empty region and a second round of changes', () =>
    withMount({}, async (m) => {
      await m.remount();
      writeFileSync(m.path('one'), '1');
      await m.remount();
      writeFileSync(m.path('two'), '2');
      await m.remount();
      expect(readFileSync(m.path('one'), 'utf8') + readFileSync(m.path('two'), 'utf8')).toBe('12');
    }));

  it('a region on disk', () =>
    withMount({ on: 'disk' }, async (m) => {
      const data = randomBytes(100_000);
      writeFileSync(m.path('f'), data);
      await m.remount();
      expect(readFileSync(m.path('f')).equals(data)).toBe(true);
    }));
});
