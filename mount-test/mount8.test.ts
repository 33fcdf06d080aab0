import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { daemonOf, isAlive, mountOf } from './support/daemon.js';
import { cli, type Mounted, withRegion } from './support/harness.js';
import { errnoOfCall, type Finished, run, tool, waitFor } from './support/run.js';

/** Where mount(8) looks for it. What is there already is put aside for the time of the tests. */
const HELPER = '/sbin/mount.fuse.rmapfs';
const ASIDE = `${HELPER}.aside`;
const CLI = resolve(import.meta.dirname, '../dist/cli/main.js');
const MAIN = resolve(import.meta.dirname, '../dist/cli/mount-helper-main.js');

beforeAll(() => {
  if (existsSync(HELPER)) renameSync(HELPER, ASIDE);
  writeFileSync(HELPER, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  chmodSync(HELPER, 0o755);
});
afterAll(() => {
  rmSync(HELPER);
  if (existsSync(ASIDE)) renameSync(ASIDE, HELPER);
});

const mount8 = (...args: string[]): Finished => run('mount', args);

/** umount(8), then the end of the daemon. */
async function umount8(m: Mounted): Promise<void> {
  tool('umount', [m.dir]);
  await waitFor('the end of the daemon', () => (daemonOf(m.region) === 0 ? true : undefined));
}

const withFormatted = (test: (m: Mounted) => Promise<void>): Promise<void> =>
  withRegion({ size: '16M' }, (m) => {
    m.mkfs();
    return test(m);
  });

describe('mount -t fuse.rmapfs', () => {
  it('mounts live, with the region as the source and no option that nobody asked for; umount(8) ends it', () =>
    withFormatted(async (m) => {
      expect(mount8('-t', 'fuse.rmapfs', m.region, m.dir)).toMatchObject({
        status: 0,
        stdout: '',
        stderr: '',
      });
      writeFileSync(m.path('f'), 'live');
      const mount = mountOf(m.dir);
      expect(mount).toMatchObject({ source: m.region, type: 'fuse.rmapfs' });
      expect(mount?.options).not.toEqual(expect.arrayContaining(['nosuid']));
      expect(mount?.options).not.toEqual(expect.arrayContaining(['nodev']));
      await umount8(m);
      expect(cli('info', m.region, '--json').json()).toMatchObject({ clean: true, inodes: 2 });
    }));

  it('takes the flags of mount(2), and suid and dev from root; nosubtype gives the plain type', () =>
    withFormatted(async (m) => {
      mount8('-t', 'fuse.rmapfs', '-o', 'noatime,nosuid,nodev,noexec,allow_other,nosubtype', m.region, m.dir);
      expect(mountOf(m.dir)).toMatchObject({ type: 'fuse', source: m.region });
      expect(mountOf(m.dir)?.options).toEqual(
        expect.arrayContaining([
          'noatime',
          'nosuid',
          'nodev',
          'noexec',
          'allow_other',
          'default_permissions',
        ]),
      );
      expect(cli('umount', m.dir).status).toBe(0);
      mount8('-t', 'fuse.rmapfs', '-o', 'suid,dev,exec', m.region, m.dir);
      for (const flag of ['nosuid', 'nodev', 'noexec']) expect(mountOf(m.dir)?.options).not.toContain(flag);
      tool('mknod', [m.path('null'), 'c', '1', '3']);
      expect(readFileSync(m.path('null'), 'utf8')).toBe('');
      await umount8(m);
    }));

  it('a line of fstab', () =>
    withFormatted(async (m) => {
      const fstab = `${m.base}/fstab`;
      writeFileSync(fstab, `${m.region} ${m.dir} fuse.rmapfs noauto,user,exec,log=${m.base}/log,x-y=1 0 0\n`);
      expect(mount8('-T', fstab, m.dir)).toMatchObject({ status: 0, stderr: '' });
      const options = mountOf(m.dir)?.options;
      expect(options).toEqual(expect.arrayContaining(['nosuid', 'nodev']));
      expect(options).not.toContain('noexec');
      expect(readFileSync(`${m.base}/log`, 'utf8')).toContain(m.dir);
      await umount8(m);
    }));

  it('remount,ro keeps what was written and refuses changes; remount,rw takes it back', () =>
    withFormatted(async (m) => {
      mount8('-t', 'fuse.rmapfs', m.region, m.dir);
      writeFileSync(m.path('f'), 'before');
      expect(mount8('-o', 'remount,ro', m.dir)).toMatchObject({ status: 0, stderr: '' });
      expect(errnoOfCall(() => writeFileSync(m.path('g'), ''))).toBe('EROFS');
      expect(readFileSync(m.path('f'), 'utf8')).toBe('before');
      expect(mount8('-o', 'remount,rw,noatime', m.dir)).toMatchObject({ status: 0, stderr: '' });
      writeFileSync(m.path('g'), '');
      expect(mountOf(m.dir)?.options).toContain('noatime');
      await umount8(m);
      mount8('-t', 'fuse.rmapfs', '-o', 'ro', m.region, m.dir);
      const refused = mount8('-o', 'remount,rw', m.dir);
      expect(refused).toMatchObject({
        status: 32,
        stderr: expect.stringMatching(/opened read-only; unmount it/),
      });
      await umount8(m);
    }));

  it.each([
    ['an unknown option', ['-o', 'warp'], 1, /There is no mount option 'warp'/],
    ['a wrong policy', ['-o', 'policy=all'], 1, /'all' is no policy/],
  ])('%s is an error that mount(8) passes on', (_, options, status, sentence) =>
    withFormatted(async (m) => {
      const done = mount8('-t', 'fuse.rmapfs', ...options, m.region, m.dir);
      expect(done).toMatchObject({ status, stderr: expect.stringMatching(sentence) });
      expect(mountOf(m.dir)).toBeUndefined();
    }),
  );

  it('-s passes over unknown options, -f checks only', () =>
    withFormatted(async (m) => {
      expect(mount8('-f', '-t', 'fuse.rmapfs', m.region, m.dir).status).toBe(0);
      expect(mountOf(m.dir)).toBeUndefined();
      const done = run(HELPER, [m.region, m.dir, '-s', '-n', '-v', '-o', 'rw,warp']);
      expect(done).toMatchObject({ status: 0, stderr: expect.stringMatching(/mounted on/) });
      await umount8(m);
      expect(run(HELPER, [m.region])).toMatchObject({ status: 1, stderr: expect.stringMatching(/^Usage: /) });
    }));
});

describe('what mount(8) users expect', () => {
  it('a second mount of the region is refused, there and elsewhere, and the first one goes on', () =>
    withFormatted(async (m) => {
      mkdirSync(`${m.base}/other`);
      mount8('-t', 'fuse.rmapfs', m.region, m.dir);
      for (const dir of [m.dir, `${m.base}/other`]) {
        const done = mount8('-t', 'fuse.rmapfs', m.region, dir);
        expect(done).toMatchObject({ status: 32, stderr: expect.stringMatching(/is in use: it is mounted/) });
      }
      writeFileSync(m.path('f'), '');
      await umount8(m);
    }));

  it('the next mount, and fsck, wait for the end of the daemon that umount(8) has left', () =>
    withFormatted(async (m) => {
      mount8('-t', 'fuse.rmapfs', m.region, m.dir);
      writeFileSync(m.path('f'), 'last');
      const last = daemonOf(m.region);
      process.kill(last, 'SIGSTOP');
      try {
        // umount(8) would ask the stopped daemon for its type first.
        tool('fusermount3', ['-u', m.dir]);
        const next = [
          spawn('mount', ['-t', 'fuse.rmapfs', m.region, m.dir], { stdio: 'ignore' }),
          spawn(process.execPath, [CLI, 'fsck', m.region], { stdio: 'ignore' }),
        ];
        const ends = next.map((child) => new Promise((done) => child.once('exit', done)));
        // Time to fail for one that does not wait.
        await new Promise((done) => setTimeout(done, 1000));
        expect(next.map((child) => child.exitCode)).toEqual([null, null]);
        next[1].kill('SIGKILL');
        await ends[1];
        process.kill(last, 'SIGCONT');
        expect(await ends[0]).toBe(0);
      } finally {
        // It has ended where all went well.
        if (isAlive(last)) process.kill(last, 'SIGCONT');
      }
      expect(readFileSync(m.path('f'), 'utf8')).toBe('last');
      await umount8(m);
    }));

  it('umount(8) of a busy mount says so and changes nothing', () =>
    withFormatted(async (m) => {
      mount8('-t', 'fuse.rmapfs', m.region, m.dir);
      const user = m.spawn('sh', ['-c', 'cd "$1" && touch in && read line', 'sh', m.dir]);
      await waitFor('the user', () => (existsSync(m.path('in')) ? true : undefined));
      expect(run('umount', [m.dir])).toMatchObject({ status: 32, stderr: expect.stringMatching(/busy/) });
      expect(daemonOf(m.region)).not.toBe(0);
      user.stdin?.end();
      await waitFor('the end of the user', () => (user.exitCode === null ? undefined : true));
      await umount8(m);
    }));

  it('a mount hides files and another mount, and both come back', () =>
    withFormatted(async (m) => {
      const second = `${m.base}/second`;
      writeFileSync(m.path('under'), '');
      expect(cli('mkfs', second, '--size', '16M').status).toBe(0);
      for (const region of [m.region, second]) {
        expect(mount8('-t', 'fuse.rmapfs', region, m.dir)).toMatchObject({ status: 0, stderr: '' });
        writeFileSync(m.path(region === second ? 'two' : 'one'), '');
      }
      expect(tool('ls', [m.dir])).toBe('two\n');
      // The daemon below must not take away what covers it.
      process.kill(daemonOf(m.region), 'SIGTERM');
      await waitFor('its refusal', () => (/is mounted over/.test(m.logTail()) ? true : undefined));
      expect(tool('ls', [m.dir])).toBe('two\n');
      expect(cli('umount', m.dir).status).toBe(0);
      expect(tool('ls', [m.dir])).toBe('one\n');
      expect(cli('umount', m.dir).status).toBe(0);
      expect(tool('ls', [m.dir])).toBe('under\n');
    }));
});
