import { closeSync, openSync, readFileSync, readSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { withMount } from './support/harness.js';
import { errnoOfCall, run, sys } from './support/run.js';
import { Victim } from './support/victim.js';

const hex = (text: string): string => Buffer.from(text).toString('hex');

describe('mappings through the page cache', () => {
  it('a store through a shared mapping is seen by read(2) at once and after a remount', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(16384, 'a'));
      expect(sys('mmap_write', m.path('f'), 'shared', 8190, 'HELLO', 'nosync').read).toBe(hex('HELLO'));
      expect(readFileSync(m.path('f')).subarray(8188, 8197).toString()).toBe('aaHELLOaa');
      await m.remount();
      expect(readFileSync(m.path('f')).subarray(8188, 8197).toString()).toBe('aaHELLOaa');
    }));

  it('msync makes it durable: it survives kill -9 of the daemon', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(8192, 'a'));
      expect(sys('mmap_write', m.path('f'), 'shared', 4096, 'DURABLE', 'msync').ret).toBe(0);
      await m.kill9();
      m.mount();
      expect(readFileSync(m.path('f')).subarray(4096, 4103).toString()).toBe('DURABLE');
    }));

  it('a store into a hole through a mapping allocates, and its neighbours stay zero', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), '');
      truncateSync(m.path('f'), 1024 * 1024);
      sys('mmap_write', m.path('f'), 'shared', 500_000, 'IN A HOLE', 'msync');
      await m.remount();
      const data = readFileSync(m.path('f'));
      expect(data.subarray(500_000, 500_009).toString()).toBe('IN A HOLE');
      data.fill(0, 500_000, 500_009);
      expect(data.every((byte) => byte === 0)).toBe(true);
    }));

  it('MAP_SYNC is refused as on any page cache, with and without the dax flag', () =>
    withMount({}, (m) => {
      for (const flag of ['-x', '+x']) {
        writeFileSync(m.path(flag), Buffer.alloc(4096, 'a'));
        expect(run('xfs_io', ['-c', `chattr ${flag}`, m.path(flag)]).status).toBe(0);
        expect(sys('map_sync', m.path(flag), 'shared')).toMatchObject({ ret: -1, errno: 'EOPNOTSUPP' });
        // Other types of mapping never validated the flag.
        expect(sys('map_sync', m.path(flag), 'private').ret).toBe(0);
      }
    }));

  it('a store through a private mapping changes no file', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(4096, 'a'));
      expect(sys('mmap_write', m.path('f'), 'private', 0, 'PRIVATE', 'nosync').read).toBe(hex('aaaaaaa'));
    }));

  it('write(2), punch and truncate by another process are seen through a mapping at once', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(16384, 'a'));
      const victim = await Victim.start(m, m.path('f'), { length: 16384 });
      const fd = openSync(m.path('f'), 'r+');
      writeSync(fd, 'bc', 0);
      closeSync(fd);
      expect((await victim.touch(0)).value).toBe('b'.charCodeAt(0));
      sys('fallocate', m.path('f'), 3, 4096, 4096);
      expect((await victim.touch(4096)).value).toBe(0);
      expect((await victim.touch(8192)).value).toBe('a'.charCodeAt(0));
      truncateSync(m.path('f'), 8192);
      expect(await victim.touch(8192)).toMatchObject({ event: 'fault', code: 'BUS_ADRERR' });
      await victim.quit();
    }));

  it('a store by one process is seen by another that maps the same file', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(8192));
      const [one, two] = [await Victim.start(m, m.path('f')), await Victim.start(m, m.path('f'))];
      await one.store(17);
      expect((await two.touch(17)).value).toBe(0x5a);
      await one.quit();
      await two.quit();
    }));

  it('a direct read and a direct write agree with a mapping', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(8192, 'a'));
      const victim = await Victim.start(m, m.path('f'), { length: 8192 });
      await victim.store(100);
      const read = sys('direct_read', m.path('f'), 0, 4096);
      expect(read.ret).toBe(4096);
      expect(sys('direct_write', m.path('f'), 0, 4096, 66).ret).toBe(4096);
      expect((await victim.touch(100)).value).toBe(66);
      const fd = openSync(m.path('f'), 'r');
      const byte = Buffer.alloc(1);
      readSync(fd, byte, 0, 1, 100);
      closeSync(fd);
      expect(byte[0]).toBe(66);
      await victim.quit();
    }));

  it('a mapping keeps an unlinked file alive', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), Buffer.alloc(8192, 'k'));
      const victim = await Victim.start(m, m.path('f'), { length: 8192, close: true, unlink: true });
      expect(errnoOfCall(() => readFileSync(m.path('f')))).toBe('ENOENT');
      expect((await victim.touch(4096)).value).toBe('k'.charCodeAt(0));
      await victim.quit();
    }));
});
