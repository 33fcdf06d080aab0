import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli, withMount } from './support/harness.js';
import { run, runAs, tool } from './support/run.js';

const MIB = 2 ** 20;
const label = (dir: string, ...args: string[]): string =>
  tool('python3', [
    '-c',
    `import fcntl,os,sys
fd=os.open(sys.argv[1],os.O_RDONLY)
if len(sys.argv)>2: fcntl.ioctl(fd,0x41009432,sys.argv[2].encode().ljust(256,b"\\0"))
print(fcntl.ioctl(fd,0x81009431,bytes(256)).split(b"\\0")[0].decode(),end="")`,
    dir,
    ...args,
  ]);

describe('the filesystem as a whole', () => {
  it('trim gives the blocks of removed files back, and only those', () =>
    withMount({ size: '64M' }, async (m) => {
      const allocated = (): number => statSync(m.region).blocks * 512;
      const data = Buffer.alloc(8 * MIB, 'kept');
      mkdirSync(m.path('d'));
      writeFileSync(m.path('d/kept'), data);
      writeFileSync(m.path('gone'), Buffer.alloc(24 * MIB, 7));
      tool('sync', [m.dir]);
      expect(allocated()).toBeGreaterThan(32 * MIB);
      rmSync(m.path('gone'));
      const { trimmed } = cli('trim', m.dir, '--json').json<{ trimmed: number }>();
      expect(trimmed).toBeGreaterThan(50 * MIB);
      expect(allocated()).toBeLessThan(12 * MIB);
      expect(tool('fstrim', ['-v', m.path('d')])).toMatch(/bytes\) trimmed/);
      expect(run('fstrim', ['-o', '64M', m.dir]).status).not.toBe(0);
      expect(runAs(65534, 'fstrim', m.dir).status).not.toBe(0);
      await m.kill9();
      m.mount();
      const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
      expect(digest(readFileSync(m.path('d/kept')))).toBe(digest(data));
      writeFileSync(m.path('again'), Buffer.alloc(24 * MIB, 9));
      truncateSync(m.path('again'), 0);
    }));

  it('a label is read and set, and stays', () =>
    withMount({}, async (m) => {
      expect(label(m.dir)).toBe('');
      expect(label(m.dir, 'of the lake')).toBe('of the lake');
      expect(() => label(m.dir, 'x'.repeat(65))).toThrow(/Invalid argument/);
      await m.kill9();
      expect(cli('info', m.region, '--json').json()).toMatchObject({ label: 'of the lake' });
      m.mount();
      expect(label(m.dir)).toBe('of the lake');
    }));

  it('a time that is beyond what can be kept is the nearest one that can, also after a remount', () =>
    withMount({}, async (m) => {
      const times = [
        '-9223372036854775808',
        '-9007199254740992',
        '-3000000000',
        '9007199254740992',
        '16299260426',
      ];
      for (const time of times) tool('touch', ['-d', `@${time}`, m.path(time)]);
      const stat = (): string[] => times.map((time) => tool('stat', ['-c', '%Y', m.path(time)]).trim());
      const kept = [
        '-9007199254740991',
        '-9007199254740991',
        '-3000000000',
        '9007199254740991',
        '16299260426',
      ];
      expect(stat()).toEqual(kept);
      await m.remount();
      expect(stat()).toEqual(kept);
      utimesSync(m.path('16299260426'), 1, 1);
    }));
});
