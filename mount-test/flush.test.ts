import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cli, cliOk, type Mounted, withRegion } from './support/harness.js';
import { errnoOfCall, run, tool } from './support/run.js';

/** A region on a disk that is smaller than it says: a loop device of a sparse file on a tmpfs of 24 MiB. */
async function withLyingDisk(m: Mounted, test: (device: string) => Promise<void> | void): Promise<void> {
  const small = join(m.base, 'small');
  mkdirSync(small);
  tool('mount', ['-t', 'tmpfs', '-o', 'size=24M', 'none', small]);
  const image = join(small, 'disk');
  tool('truncate', ['-s', '128M', image]);
  const device = tool('losetup', ['--find', '--show', image]).trim();
  try {
    await test(device);
  } finally {
    run('umount', [m.dir]);
    run('losetup', ['--detach', device]);
    run('umount', ['-l', small]);
  }
}

const MIB = Buffer.alloc(1 << 20, 0x5a);

function fill(m: Mounted, name: string, mebibytes: number): number {
  const fd = openSync(m.path(name), 'w');
  for (let i = 0; i < mebibytes; i++) writeSync(fd, MIB);
  return fd;
}

describe('a disk that refuses what a commit writes', () => {
  it('fsync is EIO for each open file, the mount is shut down and says why, and the last commit is there', () =>
    withRegion({ damaged: true }, (m) =>
      withLyingDisk(m, (device) => {
        cliOk('mkfs', device);
        cliOk('mount', device, m.dir);
        const kept = openSync(m.path('kept'), 'w');
        writeSync(kept, 'acknowledged');
        fsyncSync(kept);
        const big = fill(m, 'big', 60);
        expect(errnoOfCall(() => fsyncSync(big))).toBe('EIO');
        expect(errnoOfCall(() => fsyncSync(kept))).toBe('EIO');
        expect(errnoOfCall(() => writeFileSync(m.path('more'), 'x'))).toBe('EIO');
        closeSync(big);
        closeSync(kept);
        expect(cli('info', m.dir, '--json').json<{ shutdown: boolean }>().shutdown).toBe(true);
        const events = cliOk('events', m.dir, '--json');
        expect(events).toMatch(/"type":\s*"shutdown"/);
        expect(events).toMatch(/a commit failed: flush: /);
        const unmounted = cli('umount', m.dir);
        expect(unmounted).toMatchObject({ status: 0 });
        expect(unmounted.stderr).toMatch(/was shut down \(.*\); what was not yet durable is lost/);
        cliOk('mount', device, m.dir, '-o', 'ro');
        expect(readFileSync(m.path('kept'), 'utf8')).toBe('acknowledged');
      }),
    ));

  it('umount says that the last commit failed', () =>
    withRegion({ damaged: true }, (m) =>
      withLyingDisk(m, (device) => {
        cliOk('mkfs', device);
        cliOk('mount', device, m.dir);
        closeSync(fill(m, 'big', 60));
        const unmounted = cli('umount', m.dir);
        expect(unmounted.status).toBe(1);
        expect(unmounted.stderr).toMatch(
          /it is unmounted, but .*; what was not yet durable is lost: see its log/,
        );
      }),
    ));
});
