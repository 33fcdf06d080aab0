import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { daemonOf, isAlive, mountOf } from './support/daemon.js';
import { CLI, cli, cliOk, type Mounted, withRegion } from './support/harness.js';
import { errnoOfCall, tool, waitFor } from './support/run.js';

const MIB = 2 ** 20;
const ENDED = /^(EIO|ENOTCONN|ECONNABORTED)$/;

interface Scene {
  readonly m: Mounted;
  readonly region: string;
  /** A file beside the region, on its filesystem. */
  readonly other: string;
}

/** A sparse region of 16 MiB on a filesystem that has room for it, with a file that was fsynced. */
async function onSmallDisk(test: (scene: Scene) => Promise<void>): Promise<void> {
  await withRegion({}, async (m) => {
    const disk = join(m.base, 'disk');
    mkdirSync(disk);
    tool('mount', ['-t', 'tmpfs', '-o', 'size=24M', 'tmpfs', disk]);
    const region = join(disk, 'region');
    try {
      cliOk('mkfs', region, '--size', '16M', '--sparse');
      await test({ m, region, other: join(disk, 'other') });
    } finally {
      const pid = daemonOf(region);
      if (mountOf(m.dir) !== undefined) tool('umount', ['-l', m.dir]);
      if (pid !== 0) process.kill(pid, 'SIGKILL');
      await waitFor('end of the daemon', () => (pid === 0 || !isAlive(pid) ? true : undefined), 20_000);
      tool('umount', ['-l', disk]);
    }
  });
}

function keep(m: Mounted): void {
  const fd = openSync(m.path('kept'), 'w');
  writeSync(fd, 'kept');
  fsyncSync(fd);
  closeSync(fd);
}

/** The lines of the daemon's log that are no news: there must be one. */
const errorsLogged = (m: Mounted): string[] =>
  readFileSync(m.log, 'utf8')
    .split('\n')
    .filter((line) => /rmapfs\[\d+\] (error|warn)|\bat .*:\d+:\d+/.test(line));

async function expectCleanEnd({ m, region }: Scene, pid: number, why: RegExp): Promise<void> {
  await waitFor('end of the daemon', () => (isAlive(pid) ? undefined : true), 20_000);
  expect(errorsLogged(m)).toEqual([expect.stringMatching(why)]);
  expect(errnoOfCall(() => readFileSync(m.path('kept')))).toBe('ENOTCONN');
  cliOk('umount', m.dir, '--force');
  expect(mountOf(m.dir)).toBeUndefined();
  expect(daemonOf(region)).toBe(0);
}

describe('a region whose medium is gone', () => {
  it('in a sparse file on a full disk: fsync says EIO, one line, and what was fsynced before is there', () =>
    onSmallDisk(async (scene) => {
      const { m, region, other } = scene;
      cliOk('mount', region, m.dir);
      const pid = daemonOf(region);
      keep(m);
      writeFileSync(other, Buffer.alloc(20 * MIB));
      const fd = openSync(m.path('lost'), 'w');
      const outcome = errnoOfCall(() => {
        for (let i = 0; i < 12; i++) writeSync(fd, Buffer.alloc(MIB, 7));
        fsyncSync(fd);
      });
      expect(outcome).toMatch(ENDED);
      errnoOfCall(() => closeSync(fd));
      await expectCleanEnd(scene, pid, /ended: byte \d+ of .*sparse, and its filesystem has no room/);
      rmSync(other);
      expect(cli('fsck', region)).toMatchObject({ status: 0 });
      cliOk('mount', region, m.dir);
      expect(readFileSync(m.path('kept'), 'utf8')).toBe('kept');
      cliOk('umount', m.dir);
    }));

  it('that shrank: a read, a commit and an unmount end it, and none of them in success', () =>
    onSmallDisk(async (scene) => {
      const { m, region } = scene;
      for (const how of ['read', 'fsync', 'umount']) {
        cliOk('mkfs', region, '--size', '16M', '--sparse', '--force');
        rmSync(m.log, { force: true });
        cliOk('mount', region, m.dir, '-o', 'cache=none');
        const pid = daemonOf(region);
        keep(m);
        writeFileSync(m.path('data'), Buffer.alloc(8 * MIB, 7));
        tool('sync', [m.path('data')]);
        truncateSync(region, 2 * MIB);
        if (how === 'umount') {
          tool('umount', [m.dir]);
          await waitFor('end of the daemon', () => (isAlive(pid) ? undefined : true), 20_000);
          expect(errorsLogged(m)).toEqual([
            expect.stringMatching(/ended: .*shrank from 16777216 to 2097152/),
          ]);
          continue;
        }
        const act = how === 'read' ? () => readFileSync(m.path('data')) : () => keep(m);
        expect(errnoOfCall(act), how).toMatch(ENDED);
        await expectCleanEnd(scene, pid, /ended: .*shrank from 16777216 to 2097152 bytes/);
      }
    }));

  it('in the foreground: the command says why and ends with status 1', () =>
    onSmallDisk(async ({ m, region }) => {
      const child = m.spawn(process.execPath, [CLI, 'mount', '--foreground', region, m.dir]);
      let said = '';
      child.stderr?.on('data', (data) => {
        said += data;
      });
      const status = new Promise((resolve) => child.once('exit', resolve));
      await waitFor('the mount', () => mountOf(m.dir), 20_000);
      await waitFor('the mount', () => (errnoOfCall(() => keep(m)) === '0' ? true : undefined), 20_000);
      truncateSync(region, 2 * MIB);
      expect(errnoOfCall(() => keep(m))).toMatch(ENDED);
      expect(await status).toBe(1);
      expect(said).toContain('shrank from 16777216 to 2097152');
    }));

  it('fsck of one that is shorter than its filesystem, and mkfs without room, say so and leave nothing', () =>
    onSmallDisk(async ({ region, other }) => {
      writeFileSync(other, Buffer.alloc(16 * MIB));
      const second = `${region}2`;
      const done = cli('mkfs', second, '--size', '16M');
      expect(done).toMatchObject({ status: 1, stdout: '' });
      expect(done.stderr).toMatch(/no room for 16777216 bytes.*--sparse/);
      expect(errnoOfCall(() => readFileSync(second))).toBe('ENOENT');
    }));
});
