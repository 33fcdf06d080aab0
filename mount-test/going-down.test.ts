import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli, type Mounted, withMount } from './support/harness.js';
import { errnoOfCall, type Finished, run, tool } from './support/run.js';

/** XFS_IOC_GOINGDOWN with its argument, on a directory; prints the errno's name, or 0. */
const SCRIPT = `
import errno, fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
try:
    fcntl.ioctl(fd, 0x8004587d, struct.pack('I', int(sys.argv[2])))
    print(0)
except OSError as error:
    print(errno.errorcode[error.errno])
`;
const MODE = { flushAll: 0, flushLog: 1, flushNothing: 2 } as const;

const goDown = (dir: string, mode: number, uid = 0): Finished =>
  run('python3', ['-c', SCRIPT, dir, String(mode)], { uid, gid: uid });

/** Everything that a program can try on the mount but its root fails with EIO, cached or not. */
function expectAllEio(m: Mounted, fd: number): void {
  const tries: Record<string, () => unknown> = {
    'a read from a cached page': () => readSync(fd, Buffer.alloc(1), 0, 1, 0),
    'a write': () => writeSync(fd, 'x', 0),
    'an open': () => readFileSync(m.path('f')),
    'a new file': () => writeFileSync(m.path('new'), ''),
  };
  for (const [what, attempt] of Object.entries(tries)) expect(errnoOfCall(attempt), what).toBe('EIO');
  for (const command of ['stat "$1"/f', 'ls "$1"', 'rm "$1"/f', 'mkdir "$1"/d', 'mv "$1"/f "$1"/g']) {
    const done = run('sh', ['-c', command, 'sh', m.dir], { env: { ...process.env, LC_ALL: 'C' } });
    expect(done.stderr, command).toMatch(/Input\/output error/);
  }
}

describe('XFS_IOC_GOINGDOWN', () => {
  it.each([
    ['the default', MODE.flushAll, true],
    ['a log flush', MODE.flushLog, true],
    ['no flush', MODE.flushNothing, false],
  ])('%s: EIO until the next mount, which has what was committed', (_, mode, kept) =>
    withMount({ size: '16M' }, async (m) => {
      writeFileSync(m.path('f'), 'committed');
      const fd = openSync(m.path('f'), 'r+');
      tool('sync', [m.path('f')]);
      tool('mkdir', [m.path('later')]);
      readFileSync(m.path('f'));
      expect(goDown(m.dir, mode)).toMatchObject({ status: 0, stdout: '0\n', stderr: '' });
      expectAllEio(m, fd);
      expect(goDown(m.dir, mode).stdout).toBe('0\n');
      closeSync(fd);
      expect(cli('info', m.dir, '--json').json()).toMatchObject({ shutdown: true });
      tool('umount', [m.dir]);
      await m.ended();
      // Nothing is damaged: nobody is told to repair anything.
      expect(cli('mount', m.region, m.dir)).toMatchObject({ status: 0, stderr: '' });
      await m.umount();
      m.mount();
      expect(readFileSync(m.path('f'), 'utf8')).toBe('committed');
      expect(errnoOfCall(() => readFileSync(m.path('later')))).toBe(kept ? 'EISDIR' : 'ENOENT');
    }),
  );

  it('rmapfs umount works after it', () =>
    withMount({ size: '16M' }, async (m) => {
      goDown(m.dir, MODE.flushNothing);
      await m.remount();
      writeFileSync(m.path('f'), '');
    }));

  it('is for root, and for the three modes', () =>
    withMount({ size: '16M' }, (m) => {
      expect(goDown(m.dir, MODE.flushNothing, 65534).stdout).toBe('EPERM\n');
      expect(goDown(m.dir, 3).stdout).toBe('EINVAL\n');
      writeFileSync(m.path('f'), '');
    }));
});
