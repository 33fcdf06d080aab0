import { closeSync, mkdirSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli, cliOk, type Mounted, withMount } from './support/harness.js';
import { run, sys, tool } from './support/run.js';

interface Stats {
  operations: Record<string, { count: number } | undefined>;
}

const READS = 10;

/** Requests to read that the daemon gets while a file is read READS times by read(2). */
function requestsOf(m: Mounted, name: string): number {
  const count = () => cli('stats', m.dir, '--json').json<Stats>().operations.read?.count ?? 0;
  const fd = openSync(m.path(name), 'r');
  readSync(fd, Buffer.alloc(4096), 0, 4096, 0);
  const before = count();
  for (let i = 0; i < READS; i++) readSync(fd, Buffer.alloc(4096), 0, 4096, 0);
  closeSync(fd);
  return count() - before;
}

/** FS_XFLAG_DAX, as `xfs_io -c "chattr +x"` sets it. */
function setDax(path: string, on: boolean): void {
  tool('xfs_io', ['-r', '-c', `chattr ${on ? '+' : '-'}x`, path]);
}

const mountWith = (cache: string, test: (m: Mounted) => void): Promise<void> =>
  withMount({ options: ['allow_other', `cache=${cache}`] }, test);

describe('cache', () => {
  it('auto: read(2) of a cached page does not reach the region, of a file with the dax flag it does', () =>
    mountWith('auto', (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(4096, 'a'));
      expect(requestsOf(m, 'f')).toBe(0);
      setDax(m.path('f'), true);
      expect(requestsOf(m, 'f')).toBe(READS);
      setDax(m.path('f'), false);
      expect(requestsOf(m, 'f')).toBe(0);
    }));

  it('auto: what is made in a directory with the dax flag has it', () =>
    mountWith('auto', (m) => {
      mkdirSync(m.path('d'));
      setDax(m.path('d'), true);
      writeFileSync(m.path('d/f'), Buffer.alloc(4096, 'a'));
      expect(requestsOf(m, 'd/f')).toBe(READS);
    }));

  it('none: every read(2) reaches the region', () =>
    mountWith('none', (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(4096, 'a'));
      expect(requestsOf(m, 'f')).toBe(READS);
      expect(sys('mmap_write', m.path('f'), 'shared', 5, 'mapped', 'nosync').read).toBe(
        Buffer.from('mapped').toString('hex'),
      );
    }));

  it('always: the dax flag means nothing', () =>
    mountWith('always', (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(4096, 'a'));
      setDax(m.path('f'), true);
      expect(requestsOf(m, 'f')).toBe(0);
    }));

  it('none: read(2) stops before a bad block, a mapped read of a neighbour is whole', () =>
    mountWith('none', (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(3 * 4096, 'a'));
      cliOk('poison', '--file', m.path('f'), '--offset', '4096', '--length', '4096');
      expect(sys('read', m.path('f'), 0, 3 * 4096).ret).toBe(4096);
      expect(sys('read', m.path('f'), 4096, 4096).errno).toBe('EIO');
      expect(sys('mmap_read', m.path('f'), 2 * 4096, 3).bytes).toBe('616161');
      expect(sys('mmap_read', m.path('f'), 0, 3).bytes).toBe('616161');
      expect(sys('write', m.path('f'), 4096, 4096, 0x62).ret).toBe(4096);
      expect(readFileSync(m.path('f')).equals(Buffer.alloc(3 * 4096, 'a').fill('b', 4096, 8192))).toBe(true);
    }));

  it('another word is refused', () => {
    const refused = run(process.execPath, ['dist/cli/main.js', 'mount', '/none', '/none', '-o', 'cache=off']);
    expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining('auto, none, always')]);
  });
});
