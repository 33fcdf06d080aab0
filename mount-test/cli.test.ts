import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { daemonOf, mountOf } from './support/daemon.js';
import { CLI, cli, withMount, withRegion } from './support/harness.js';
import { run, waitFor } from './support/run.js';

const MIB = 1024 * 1024;

interface Range {
  physical: number;
  length: number;
  flags: string[];
}

/** Bytes of whole blocks, no two blocks alike. */
function blocks(count: number): Buffer {
  const bytes = Buffer.alloc(count * 4096);
  for (let i = 0; i < count; i++) bytes.writeUInt32LE(i + 1, i * 4096);
  return bytes;
}

describe('clone and dedupe', () => {
  it('clone makes the file, shares the range and keeps the rest', () =>
    withMount({}, (m) => {
      const bytes = blocks(8);
      writeFileSync(m.path('a'), bytes, { mode: 0o640 });
      expect(cli('clone', m.path('a'), m.path('b'))).toMatchObject({ status: 0, stdout: '', stderr: '' });
      expect(readFileSync(m.path('b')).equals(bytes)).toBe(true);
      const args = ['--src-offset', '4K', '--dst-offset', '16K', '--length', '8K'];
      expect(cli('clone', m.path('a'), m.path('b'), ...args).status).toBe(0);
      const mixed = Buffer.from(bytes);
      bytes.copy(mixed, 16384, 4096, 12288);
      expect(readFileSync(m.path('b')).equals(mixed)).toBe(true);
      const refused = cli('clone', m.path('a'), m.path('c'), '--length', '100');
      expect(refused).toMatchObject({ status: 1, stderr: expect.stringMatching(/4096/) });
      expect(existsSync(m.path('c'))).toBe(false);
    }));

  it('dedupe shares what is equal and says when it differs', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a'), blocks(4));
      writeFileSync(m.path('b'), blocks(4));
      const same = cli('dedupe', m.path('a'), '0', m.path('b'), '0', '16K', '--json');
      expect(same.json()).toEqual({ bytesDeduped: 16384, status: 'same' });
      const places = ['a', 'b'].map((name) => cli('extents', m.path(name), '--json').stdout);
      expect(places[0]).toBe(places[1]);
      const differs = cli('dedupe', m.path('a'), '0', m.path('b'), '4K', '4K', '--json');
      expect(differs.json()).toEqual({ bytesDeduped: 0, status: 'differs' });
      expect(cli('dedupe', m.path('a'), '1', m.path('b'), '0', '4K').status).toBe(1);
    }));
});

describe('long lists come in pages and lose nothing', () => {
  it('extents of a scattered file cover it, and fsmap covers the region, without a gap', () =>
    withMount({}, (m) => {
      const count = 2048;
      writeFileSync(m.path('a'), blocks(count));
      expect(cli('clone', m.path('a'), m.path('b')).status).toBe(0);
      // Every other block of the clone gets a block of its own.
      const fd = openSync(m.path('b'), 'r+');
      for (let i = 0; i < count; i += 2) writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, i * 4096);
      closeSync(fd);

      const extents = cli('extents', m.path('b'), '--json').json<(Range & { fileOffset: number })[]>();
      expect(extents.length).toBeGreaterThan(1000);
      let at = 0;
      for (const extent of extents) {
        expect(extent.fileOffset).toBe(at);
        at += extent.length;
      }
      expect(at).toBe(count * 4096);
      expect(extents.filter((extent) => extent.flags.includes('last'))).toEqual([extents.at(-1)]);

      const map = cli('fsmap', m.dir, '--json').json<(Range & { owner: { paths?: string[] } })[]>();
      let covered = 0;
      for (const entry of map) {
        expect(entry.physical).toBeLessThanOrEqual(covered);
        covered = Math.max(covered, entry.physical + entry.length);
      }
      expect(covered).toBe(64 * MIB);
      for (const name of ['/a', '/b']) {
        const owned = map.filter((entry) => entry.owner.paths?.includes(name));
        expect(owned.reduce((sum, entry) => sum + entry.length, 0)).toBe(count * 4096);
      }
      expect(cli('fsmap', m.dir).stdout.trimEnd().split('\n')).toHaveLength(map.length + 1);

      const all = ['--offset', '0', '--length', '18446744073709551615'];
      const owners = cli('owners', m.dir, ...all, '--json').json<(Range & { ino?: number })[]>();
      const known = (list: Range[]): string[] =>
        list.map(({ physical, length }) => `${physical}+${length}`).sort();
      expect(known(owners)).toEqual(known(map));
      const inos = new Set(owners.map(({ ino }) => ino));
      expect(inos.size).toBe(3);
      // A range within: those who share it began before it.
      const shared = map.find(({ flags }) => flags.includes('shared'));
      const middle = ['--offset', `${shared?.physical}`, '--length', '4096'];
      expect(cli('owners', m.dir, ...middle, '--json').json<object[]>()).toMatchObject([
        { physical: shared?.physical, length: 4096, shareCount: 2 },
        { physical: shared?.physical, length: 4096, shareCount: 2 },
      ]);
    }));

  it('a reader that has enough ends the command without a message', () =>
    withMount({}, (m) => {
      const done = run('sh', ['-c', `"$1" "$2" fsmap "$3" | head -n 1`, 'sh', process.execPath, CLI, m.dir]);
      expect(done.stdout).toMatch(/^ *PHYSICAL/);
      expect(done.stderr).toBe('');
    }));
});

describe('who may', () => {
  it('another user may look at the mount and its own files, no more', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), blocks(1));
      const asNobody = (...args: string[]) =>
        run(process.execPath, [CLI, ...args], { uid: 65534, gid: 65534 });
      expect(asNobody('info', m.dir, '--json').status).toBe(0);
      expect(asNobody('extents', m.path('f'), '--json').status).toBe(0);
      const range = ['--offset', '0', '--length', '4096'];
      for (const args of [
        ['fsmap', m.dir],
        ['owners', m.dir, ...range],
        ['poison', m.dir, ...range],
      ]) {
        expect(asNobody(...args)).toMatchObject({
          status: 1,
          stdout: '',
          stderr: expect.stringMatching(/^rmapfs: cannot .* root .*\n$/),
        });
      }
      expect(cli('badblocks', m.dir, '--json').json()).toEqual([]);
    }));
});

describe('a mount whose daemon is gone', () => {
  it('is named by every command, with what clears it, and cleared by a path below it', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), blocks(1));
      process.kill(m.daemonPid, 'SIGKILL');
      await waitFor('end of the daemon', () => (daemonOf(m.region) === 0 ? true : undefined), 10_000);
      m.daemonPid = 0;
      const hint = new RegExp(`gone; clear (it|the mount) with: rmapfs umount --force ${m.dir}`);
      for (const args of [
        ['info', m.dir],
        ['fsmap', m.path('f')],
        ['umount', m.dir],
        ['mount', m.region, m.dir],
      ]) {
        expect(cli(...args)).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(hint) });
      }
      expect(cli('umount', '--force', m.path('f')).status).toBe(0);
      expect(mountOf(m.dir)).toBeUndefined();
    }));
});

describe('--foreground', () => {
  it('stays until a signal, then unmounts and ends with 0', () =>
    withRegion({}, async (m) => {
      m.mkfs();
      const child = spawn(process.execPath, [CLI, 'mount', m.region, m.dir, '--foreground'], {
        stdio: 'ignore',
      });
      const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
      await waitFor('the mount', () => mountOf(m.dir), 20_000);
      await sleep(300);
      expect(child.exitCode).toBe(null);
      expect(cli('info', m.path('.'), '--json').json()).toMatchObject({ region: m.region });
      child.kill('SIGINT');
      expect(await ended).toBe(0);
      expect(mountOf(m.dir)).toBeUndefined();
      expect(cli('info', m.region, '--json').json()).toMatchObject({ clean: true });
    }));

  it('ends with 1 and the reason when the region cannot be mounted', () =>
    withRegion({}, (m) => {
      writeFileSync(m.region, Buffer.alloc(MIB));
      const done = cli('mount', m.region, m.dir, '--foreground');
      expect(done.status).toBe(1);
      expect(done.stderr).toMatch(/rmapfs: cannot mount .*empty/);
      expect(mountOf(m.dir)).toBeUndefined();
    }));
});

describe('mount options', () => {
  it('reach the kernel and the daemon', () =>
    withMount({ options: ['noatime,nosuid', 'policy=late,x-something'] }, (m) => {
      const line = readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find((text) => text.includes(m.dir));
      expect(line).toMatch(/nosuid/);
      expect(line).toMatch(/noatime/);
      expect(cli('info', m.dir, '--json').json()).toMatchObject({ policy: 'late', readOnly: false });
    }));

  it('a region with a space and a mount point with one', () =>
    withRegion({}, (m) => {
      const [region, dir] = [`${m.base}/my region`, `${m.base}/my mount`];
      mkdirSync(dir);
      expect(cli('mkfs', region, '--size', '16M').status).toBe(0);
      expect(cli('mount', region, dir)).toMatchObject({ status: 0, stderr: '' });
      writeFileSync(`${dir}/f`, 'x');
      expect(cli('umount', `${dir}/f`)).toMatchObject({ status: 0, stdout: '', stderr: '' });
      expect(cli('info', region, '--json').json()).toMatchObject({ clean: true, inodes: 2 });
    }));
});
