import { spawn } from 'node:child_process';
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { daemonOf, mountOf } from './support/daemon.js';
import { CLI } from './support/harness.js';
import type { Report } from './support/poison.js';
import { allowOther, asOrdinaryUser, type OrdinaryUser, openUpFuse } from './support/user.js';
import { Victim } from './support/victim.js';

const BLOCK = 4096;
const AS_ROOT = { spawn };
const PLAIN = { status: 0, stdout: '', stderr: '' };

let restoreFuse: () => void;
beforeAll(() => {
  restoreFuse = openUpFuse();
});
afterAll(() => restoreFuse());

/** Writes a file as the user. */
function write(user: OrdinaryUser, name: string, text: string): void {
  expect(user.run('sh', '-c', `printf %s "$2" > "$1"`, 'sh', `${user.dir}/${name}`, text)).toMatchObject(
    PLAIN,
  );
}

describe('an ordinary user', () => {
  it('mounts, uses, unmounts and mounts again, and nobody else gets in', () =>
    asOrdinaryUser(async (user) => {
      expect(user.rmapfs('mount', user.region, user.dir)).toMatchObject(PLAIN);
      const mount = mountOf(user.dir);
      expect(mount).toMatchObject({ type: 'fuse.rmapfs', source: user.region });
      expect(mount?.options).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev', 'user_id=65534']));
      write(user, 'f', 'of the user');
      expect(() => statSync(`${user.dir}/f`)).toThrow(/EACCES/);
      expect(user.rmapfs('umount', user.dir)).toMatchObject(PLAIN);
      expect(daemonOf(user.region)).toBe(0);
      expect(user.rmapfs('mount', user.region, user.dir, '-o', 'noatime,noexec,relatime')).toMatchObject(
        PLAIN,
      );
      expect(mountOf(user.dir)?.options).toEqual(expect.arrayContaining(['noexec', 'noatime']));
      expect(user.run('cat', `${user.dir}/f`).stdout).toBe('of the user');
      expect(user.run('stat', '-c', '%u', user.dir, `${user.dir}/f`).stdout).toBe('65534\n65534\n');
      expect(user.rmapfs('umount', user.dir)).toMatchObject(PLAIN);
    }));

  it('fusermount3 -u from outside ends the daemon, with everything there', () =>
    asOrdinaryUser(async (user) => {
      user.rmapfs('mount', user.region, user.dir);
      write(user, 'f', 'kept');
      expect(user.run('fusermount3', '-u', user.dir).status).toBe(0);
      await user.daemonEnded();
      expect(JSON.parse(user.rmapfs('info', user.region, '--json').stdout)).toMatchObject({ clean: true });
    }));

  it('mounts as the root of a user namespace, with the log where that may write', () =>
    asOrdinaryUser((user) => {
      const mkfs = '"$1" "$2" mkfs "$3" --force > /dev/null';
      const script = `set -e; ${mkfs}; "$1" "$2" mount "$3" "$4"; echo kept > "$4/f"; "$1" "$2" umount "$4"`;
      const args = [process.execPath, CLI, user.region, user.dir];
      expect(user.run('unshare', '-rm', 'sh', '-c', script, 'sh', ...args)).toMatchObject(PLAIN);
      const name = `${user.dir.slice(1).replaceAll('/', '-')}.log`;
      expect(readFileSync(`${user.base}/state/rmapfs/${name}`, 'utf8')).toContain('ended: unmounted');
      user.rmapfs('mount', user.region, user.dir);
      expect(user.run('cat', `${user.dir}/f`).stdout).toBe('kept\n');
    }));

  it('the daemon unmounts by itself on SIGTERM', () =>
    asOrdinaryUser(async (user) => {
      user.rmapfs('mount', user.region, user.dir);
      process.kill(daemonOf(user.region), 'SIGTERM');
      await user.daemonEnded();
      expect(mountOf(user.dir)).toBeUndefined();
    }));

  it("clears a crashed daemon's mount", () =>
    asOrdinaryUser(async (user) => {
      user.rmapfs('mount', user.region, user.dir);
      process.kill(daemonOf(user.region), 'SIGKILL');
      await user.daemonEnded();
      expect(user.rmapfs('umount', user.dir).stderr).toMatch(/clear the mount with: rmapfs umount --force/);
      expect(user.rmapfs('umount', '--force', user.dir)).toMatchObject(PLAIN);
      expect(mountOf(user.dir)).toBeUndefined();
    }));

  it('poisons, and its own processes are signalled; the report counts those it may not look at', () =>
    asOrdinaryUser(async (user) => {
      user.rmapfs('mount', user.region, user.dir);
      write(user, 'f', 'x'.repeat(BLOCK));
      const victim = await Victim.start(user, `${user.dir}/f`, { length: BLOCK, touchAt: 0 });
      const range = ['--file', `${user.dir}/f`, '--offset', '0', '--length', String(BLOCK)];
      const report = JSON.parse(user.rmapfs('poison', ...range, '--json').stdout) as Report & {
        scan: { unreadable: number };
      };
      await victim.settle();
      expect(victim.signals).toHaveLength(1);
      expect(victim.signals[0]).toMatchObject({ signal: 7 });
      expect(report.victims).toMatchObject([{ pid: victim.pid, result: 'delivered' }]);
      expect(report.scan.unreadable).toBeGreaterThan(0);
      user.rmapfs('unpoison', ...range);
      expect(user.rmapfs('poison', ...range).stdout).toMatch(/could not be looked at: [1-9]/);
    }));
});

describe('processes of other users', () => {
  let restoreConf: () => void;
  beforeAll(() => {
    restoreConf = allowOther();
  });
  afterAll(() => restoreConf());

  it("of root, on an ordinary user's mount: not told, but counted; the page goes, and the next touch meets it", () =>
    asOrdinaryUser(async (user) => {
      expect(user.rmapfs('mount', user.region, user.dir, '-o', 'allow_other')).toMatchObject(PLAIN);
      write(user, 'f', 'x'.repeat(2 * BLOCK));
      const options = { length: 2 * BLOCK, touchAt: 0 } as const;
      const own = await Victim.start(user, `${user.dir}/f`, options);
      const other = await Victim.start(AS_ROOT, `${user.dir}/f`, options);
      const range = ['--file', `${user.dir}/f`, '--offset', '0', '--length', String(BLOCK)];
      const report = JSON.parse(user.rmapfs('poison', ...range, '--json').stdout) as Report & {
        scan: { unreadable: number };
      };
      for (const each of [own, other]) await each.settle();
      expect(own.signals).toHaveLength(1);
      expect(other.signals).toEqual([]);
      expect(report.victims).toMatchObject([{ pid: own.pid, result: 'delivered' }]);
      expect(report.scan.unreadable).toBeGreaterThan(0);
      // Nor may its siginfo be changed.
      expect(await other.touch(0)).toMatchObject({ event: 'fault', code: 'BUS_ADRERR' });
      expect((await other.touch(BLOCK)).event).toBe('touch');
      for (const each of [own, other]) expect((await each.quit()).status).toBe(0);
    }));
});

describe('what an ordinary user may not', () => {
  it.each([
    [['-o', 'suid'], /option suid is for root/],
    [['-o', 'dev'], /option dev is for root/],
    [['-o', 'dirsync,lazytime'], /fusermount3: /],
  ])('%j is refused with a sentence, and nothing is left', (options, sentence) =>
    asOrdinaryUser((user) => {
      const done = user.rmapfs('mount', user.region, user.dir, ...options);
      expect(done.status).toBe(1);
      expect(done.stderr).toMatch(/^rmapfs: cannot mount [^\n]*\n$/);
      expect(done.stderr).toMatch(sentence);
      expect(mountOf(user.dir)).toBeUndefined();
      expect(daemonOf(user.region)).toBe(0);
    }),
  );

  it('allow_other needs user_allow_other in /etc/fuse.conf', () =>
    asOrdinaryUser((user) => {
      const allowed = /^\s*user_allow_other\s*$/m.test(readFileSync('/etc/fuse.conf', 'utf8'));
      const done = user.rmapfs('mount', user.region, user.dir, '-o', 'allow_other');
      if (allowed) expect(done).toMatchObject(PLAIN);
      else
        expect(done).toMatchObject({
          status: 1,
          stderr: expect.stringMatching(/has a line user_allow_other;/),
        });
    }));

  it("another one's directory is no mount point", () =>
    asOrdinaryUser((user) => {
      const done = user.rmapfs('mount', user.region, '/usr');
      expect(done).toMatchObject({ status: 1, stderr: expect.stringMatching(/not yours to mount on/) });
    }));
});

describe('a read-only region', () => {
  it('mounts with -o ro only: reads work, changes are EROFS', () =>
    asOrdinaryUser((user) => {
      user.rmapfs('mount', user.region, user.dir);
      write(user, 'f', 'kept');
      user.rmapfs('umount', user.dir);
      chmodSync(user.region, 0o444);
      const writable = user.rmapfs('mount', user.region, user.dir);
      expect(writable).toMatchObject({ status: 1, stderr: expect.stringMatching(/-o ro/) });
      expect(user.rmapfs('mount', user.region, user.dir, '-o', 'ro')).toMatchObject(PLAIN);
      expect(user.run('cat', `${user.dir}/f`).stdout).toBe('kept');
      for (const script of ['echo >> f', 'rm f', 'mkdir d', 'chmod 600 f', 'ln f g']) {
        const done = user.run('sh', '-c', `cd "$1" && ${script}`, 'sh', user.dir);
        expect(done.status, script).not.toBe(0);
        expect(done.stderr, script).toMatch(/[Rr]ead-only file system/);
      }
      expect(user.rmapfs('umount', user.dir)).toMatchObject(PLAIN);
    }));
});
