import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isAlive, mountOf } from './support/daemon.js';
import { CLI, cli, cliOk, killGroup, type Mounted, withMount, withRegion } from './support/harness.js';
import { errnoOfCall, run, tool, waitFor } from './support/run.js';

describe('mount and unmount', () => {
  it('shows type, source and options as a kernel filesystem does', () =>
    withMount({ options: ['allow_other', 'noatime', 'nosuid'] }, (m) => {
      const mount = mountOf(m.dir);
      expect(mount).toMatchObject({ type: 'fuse.rmapfs', source: m.region });
      expect(mount?.options).toEqual(
        expect.arrayContaining(['rw', 'noatime', 'nosuid', 'default_permissions']),
      );
    }));

  it('read-only: reads work, changes are EROFS, and the region stays as it is', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), 'kept');
      await m.umount();
      const before = tool('sha256sum', [m.region]);
      cliOk('mount', m.region, m.dir, '-o', 'ro');
      expect(readFileSync(m.path('f'), 'utf8')).toBe('kept');
      expect(errnoOfCall(() => writeFileSync(m.path('g'), ''))).toBe('EROFS');
      expect(cli('poison', '--file', m.path('f'), '--offset', '0', '--length', '4096').status).toBe(1);
      cliOk('umount', m.dir);
      expect(tool('sha256sum', [m.region])).toBe(before);
    }));

  it('logs to the file that -o log= names, or through logger(1)', () =>
    withRegion({}, async (m) => {
      m.mkfs();
      const file = join(m.base, 'log');
      cliOk('mount', m.region, m.dir, '-o', `log=${file}`);
      cliOk('umount', m.dir);
      expect(readFileSync(file, 'utf8')).toMatch(
        / rmapfs\[\d+\] info: .* on .*\n.* info: ended: unmounted\n$/s,
      );
      const heard = join(m.base, 'heard');
      writeFileSync(join(m.base, 'logger'), `#!/bin/sh\necho "$@" > ${heard}\nexec cat >> ${heard}\n`, {
        mode: 0o755,
      });
      const env = { ...process.env, PATH: `${m.base}:${process.env.PATH}` };
      const mounted = run(process.execPath, [CLI, 'mount', m.region, m.dir, '-o', 'log=syslog'], { env });
      expect(mounted).toMatchObject({ status: 0, stderr: '' });
      cliOk('umount', m.dir);
      const ended = (): true | undefined =>
        /ended: unmounted/.test(readFileSync(heard, 'utf8')) ? true : undefined;
      await waitFor('the end of the log', ended);
      expect(readFileSync(heard, 'utf8')).toMatch(
        /^--tag rmapfs --priority daemon.info\n.* rmapfs\[\d+\] info: /,
      );
    }));

  it('umount(8) from outside ends the daemon, and everything is there', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), 'outside');
      const pid = m.daemonPid;
      tool('umount', [m.dir]);
      await waitFor('the end of the daemon', () => (isAlive(pid) ? undefined : true));
      m.mount();
      expect(readFileSync(m.path('f'), 'utf8')).toBe('outside');
      expect(cli('info', m.dir, '--json').json<{ clean: boolean }>().clean).toBe(true);
    }));

  it('a busy mount cannot be unmounted and goes on; afterwards it can', () =>
    withMount({}, async (m) => {
      const fd = openSync(m.path('f'), 'w+');
      const done = cli('umount', m.dir);
      expect(done.status).toBe(1);
      expect(done.stderr).toMatch(/in use|busy/);
      writeFileSync(fd, 'still here');
      closeSync(fd);
      await m.remount();
      expect(readFileSync(m.path('f'), 'utf8')).toBe('still here');
    }));

  it('a mount in another mount namespace is told at once, by umount and by who uses the region next', () =>
    withMount({}, async (m) => {
      const pid = m.daemonPid;
      const child = m.spawn('unshare', [
        '-m',
        '--propagation',
        'private',
        'sh',
        '-c',
        'echo in; exec sleep 300',
      ]);
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      const who = new RegExp(`process ${child.pid} \\(sleep\\) in mnt:\\[\\d+\\] on ${m.dir}`);
      for (const args of [
        ['umount', m.dir],
        ['info', m.region],
        ['mount', m.region, m.dir],
      ]) {
        expect(cli(...args)).toMatchObject({ status: 1, stderr: expect.stringMatching(who) });
      }
      killGroup(child);
      await waitFor('the end of the daemon', () => (isAlive(pid) ? undefined : true));
      m.mount();
    }));

  it('a relative path and a path below the mount name it', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), '');
      const relative = run(
        process.execPath,
        [new URL('../dist/cli/main.js', import.meta.url).pathname, 'info', '.', '--json'],
        { cwd: m.dir },
      );
      expect(JSON.parse(relative.stdout).uuid).toBe(
        cli('info', m.path('f'), '--json').json<{ uuid: string }>().uuid,
      );
    }));

  it('info of an unmounted region', () =>
    withMount({}, async (m) => {
      await m.umount();
      expect(cli('info', m.region, '--json').json()).toMatchObject({ size: 64 * 1024 * 1024, clean: true });
      m.mount();
    }));
});

/** Starts a shell loop that uses the mount, waits until it runs, and kills it after a moment. */
async function killedAmid(m: Mounted, script: string, marker: string): Promise<void> {
  const child = m.spawn('sh', ['-c', script, 'sh', m.dir]);
  await waitFor('the client', () =>
    errnoOfCall(() => readFileSync(m.path(marker))) === '0' ? true : undefined,
  );
  await new Promise((done) => setTimeout(done, 50));
  await waitFor('the end of the client and its children', () => (killGroup(child) ? undefined : true));
}

describe('a client killed in the middle', () => {
  const scripts: Record<string, string> = {
    'of large writes': 'cd "$1"; while :; do head -c 20000000 /dev/zero > big; : > marker; done',
    'of copies':
      'cd "$1"; head -c 9000000 /dev/urandom > a; : > marker; while :; do cp a b; cp b c; rm b c; done',
    'of creating and removing': 'cd "$1"; : > marker; while :; do mkdir d; touch d/1 d/2 d/3; rm -r d; done',
    'of listing and reading':
      'cd "$1"; seq 2000 | xargs touch; : > marker; while :; do ls -l > /dev/null; cat * > /dev/null; done',
  };
  it.each(Object.entries(scripts))('%s', (_, script) =>
    withMount({ size: '128M' }, async (m) => {
      for (let round = 0; round < 3; round++) {
        await killedAmid(m, script, 'marker');
        writeFileSync(m.path('after'), `round ${round}`);
        expect(readFileSync(m.path('after'), 'utf8')).toBe(`round ${round}`);
        tool('find', [m.dir, '-mindepth', '1', '-delete']);
      }
      await m.remount();
      expect(tool('ls', ['-A', m.dir])).toBe('');
    }),
  );
});
