import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { describe, expect, it } from 'vitest';
import { mountOf } from './support/daemon.js';
import { type CliResult, cli, type Mounted, withMount, withRegion } from './support/harness.js';
import { sys, tool } from './support/run.js';

const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

/** Exit status 1 and one clear sentence that mentions `what`. */
function expectRefusal(done: CliResult, what: RegExp): void {
  expect({ status: done.status, stderr: done.stderr }).toMatchObject({ status: 1 });
  expect(done.stdout).toBe('');
  expect(done.stderr.trim().split('\n'), done.stderr).toHaveLength(1);
  expect(done.stderr).toMatch(what);
  expect(done.stderr, 'a stack trace is no sentence').not.toMatch(/\bat .*:\d+:\d+/);
}

/** A mount that must be refused, with the region left as it is and nothing mounted. */
function expectMountRefused(m: Mounted, what: RegExp): void {
  const before = digest(m.region);
  expectRefusal(cli('mount', m.region, m.dir), what);
  expect(digest(m.region)).toBe(before);
  expect(mountOf(m.dir)).toBeUndefined();
}

/** A loop device of the region. */
function withLoop(m: Mounted, test: (loop: string) => void): void {
  const loop = tool('losetup', ['-f', '--show', m.region]).trim();
  try {
    test(loop);
  } finally {
    tool('losetup', ['-d', loop]);
  }
}

describe('a region of somebody else', () => {
  it('is told to root by mkfs and mount, and in a directory for everybody it is refused', () =>
    withMount({}, async (m) => {
      await m.umount();
      chownSync(m.region, 1001, 1001);
      const told = /warning: .* can be changed by others \(it belongs to user 1001\)/;
      expect(cli('mkfs', m.region, '--force')).toMatchObject({
        status: 0,
        stderr: expect.stringMatching(told),
      });
      expect(cli('mount', m.region, m.dir)).toMatchObject({ status: 0, stderr: expect.stringMatching(told) });
      cli('umount', m.dir);
      expect(cli('mount', m.region, m.dir, '-o', 'nosuid,nodev')).toMatchObject({ status: 0, stderr: '' });
      cli('umount', m.dir);
      chmodSync(m.base, 0o1777);
      for (const options of ['rw', 'ro']) {
        expectRefusal(
          cli('mount', m.region, m.dir, '-o', options),
          /user 1001 in a directory where everybody/,
        );
      }
      expectRefusal(cli('mkfs', m.region, '--force'), /user 1001 in a directory where everybody|denied/);
    }));
});

describe('one filesystem twice', () => {
  it('by a loop device of the mounted region: mount, mkfs and repair are refused, it stays whole', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), 'kept');
      withLoop(m, (loop) => {
        for (const args of [
          ['mount', loop, m.base],
          ['mkfs', loop, '--force'],
        ]) {
          expectRefusal(cli(...args), /in use|mounted/);
        }
        expect(cli('fsck', '--repair', loop)).toMatchObject({
          status: 8,
          stderr: expect.stringMatching(/in use/),
        });
      });
      expect(readFileSync(m.path('f'), 'utf8')).toBe('kept');
    }));

  it('as a copy: its uuid is mounted, and -o nouuid says that it is meant', () =>
    withMount({}, async (m) => {
      await m.umount();
      const copy = `${m.region}.copy`;
      copyFileSync(m.region, copy);
      m.mount();
      mkdirSync(`${m.base}/second`);
      expectRefusal(cli('mount', copy, `${m.base}/second`), /uuid .* is mounted already .*nouuid/);
      expect(cli('mount', copy, `${m.base}/second`, '-o', 'nouuid').status).toBe(0);
      expect(cli('umount', `${m.base}/second`).status).toBe(0);
      await m.umount();
      expect(cli('mount', copy, m.dir).status).toBe(0);
      expect(cli('umount', m.dir).status).toBe(0);
      m.mount();
    }));
});

describe('mkfs refuses', () => {
  it('a size below the minimum, and says which', () =>
    withRegion({}, (m) => {
      expectRefusal(cli('mkfs', m.region, '--size', '64K'), /\b(1048576|1 ?Mi?B?|1024 ?Ki?B?)\b/);
      expect(() => readFileSync(m.region)).toThrow('ENOENT');
    }));

  it('a region that holds a filesystem, without --force', () =>
    withRegion({}, (m) => {
      m.mkfs();
      const before = digest(m.region);
      expectRefusal(cli('mkfs', m.region, '--size', '64M'), /--force/);
      expect(digest(m.region)).toBe(before);
      expect(cli('mkfs', m.region, '--size', '64M', '--force').status).toBe(0);
      expect(digest(m.region)).not.toBe(before);
    }));

  it('a region that is mounted, even with --force', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), 'kept');
      expectRefusal(cli('mkfs', m.region, '--size', '64M', '--force'), /in use|mounted/);
      expect(readFileSync(m.path('f'), 'utf8')).toBe('kept');
    }));

  it('a directory and a path in no directory', () =>
    withRegion({}, (m) => {
      expectRefusal(cli('mkfs', m.dir, '--size', '64M'), /director/);
      expectRefusal(cli('mkfs', `${m.base}/none/region`, '--size', '64M'), /none/);
    }));
});

describe('mount refuses', () => {
  it('a region that does not exist', () =>
    withRegion({}, (m) => expectRefusal(cli('mount', m.region, m.dir), /region.*(exist|found)/)));

  it('a region that is not ours', () =>
    withRegion({}, (m) => {
      writeFileSync(m.region, Buffer.alloc(64 * 1024 * 1024, 'not ours '));
      expectMountRefused(m, /rmapfs/);
      writeFileSync(m.region, '');
      expectMountRefused(m, /rmapfs|empty|small|short/);
    }));

  it('a truncated region', () =>
    withRegion({}, (m) => {
      m.mkfs();
      truncateSync(m.region, 32 * 1024 * 1024);
      expectMountRefused(m, /truncated|shorter|smaller|size/);
    }));

  it('a region whose nodes are damaged: a sentence, and what to do', () =>
    withMount({ damaged: true }, async (m) => {
      writeFileSync(m.path('f'), 'x');
      await m.umount();
      const region = openSync(m.region, 'r+');
      writeSync(region, Buffer.alloc(62 * 4096, 0xdd), 0, 62 * 4096, 4096);
      closeSync(region);
      expectMountRefused(m, /the region is damaged \(corruption in block .*\); run rmapfs fsck --repair/);
    }));

  it('a region of another version', () =>
    withRegion({}, (m) => {
      m.mkfs();
      changeVersion(m.region);
      expectMountRefused(m, /version/);
    }));

  it('a region that is mounted already', () =>
    withMount({}, (m) => {
      mkdirSync(`${m.base}/second`);
      writeFileSync(m.path('f'), 'kept');
      expectRefusal(cli('mount', m.region, `${m.base}/second`), /in use|mounted|locked/);
      expect(mountOf(`${m.base}/second`)).toBeUndefined();
      expect(readFileSync(m.path('f'), 'utf8')).toBe('kept');
    }));

  it('a missing mount point, a file as mount point and a busy mount point', () =>
    withMount({}, (m) => {
      writeFileSync(`${m.base}/file`, '');
      const other = `${m.base}/other`;
      expect(cli('mkfs', other, '--size', '16M').status).toBe(0);
      expectRefusal(cli('mount', other, `${m.base}/none`), /none.*exist/);
      expectRefusal(cli('mount', other, `${m.base}/file`), /director/);
      expectRefusal(cli('mount', other, m.dir), /mounted there already/);
      expect(mountOf(m.dir)?.source).toBe(m.region);
    }));
});

/** Raises the u32 version that follows the magic number in both superblock slots. */
function changeVersion(region: string): void {
  const fd = openSync(region, 'r+');
  const word = Buffer.alloc(4);
  word.writeUInt32LE(9999);
  for (const slot of [0, 4096]) writeSync(fd, word, 0, 4, slot + VERSION_OFFSET);
  closeSync(fd);
}
const VERSION_OFFSET = 8;

describe('commands on a mount refuse', () => {
  it('a range outside the device (ENXIO) and one that is not aligned', () =>
    withMount({}, (m) => {
      const before = cli('badblocks', m.dir, '--json').stdout;
      for (const offset of ['64M', '1T'])
        expectRefusal(cli('poison', m.dir, '--offset', offset, '--length', '4096'), /outside|ENXIO|device/);
      expectRefusal(cli('poison', m.dir, '--offset', '67104768', '--length', '8192'), /outside|ENXIO|device/);
      expectRefusal(cli('poison', m.dir, '--offset', '4097', '--length', '4096'), /4096/);
      expectRefusal(cli('poison', m.dir, '--offset', '4096', '--length', '100'), /4096/);
      expectRefusal(cli('poison', m.dir, '--offset', '4096', '--length', '0'), /4096|above 0/);
      expect(cli('badblocks', m.dir, '--json').stdout).toBe(before);
    }));

  it('a file range that has no block (hole), and one past the end', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), 'x');
      truncateSync(m.path('f'), 1024 * 1024);
      const poison = (offset: string) =>
        cli('poison', '--file', m.path('f'), '--offset', offset, '--length', '4096');
      expectRefusal(poison('64K'), /hole|no block/);
      expectRefusal(poison('2M'), /hole|no block|end/);
      expect(cli('badblocks', m.dir, '--json').json()).toEqual([]);
      expect(sys('read', m.path('f'), 65536, 4096).ret).toBe(4096);
    }));

  it('a path that is not on a mount', () =>
    withRegion({}, (m) => {
      for (const command of ['fsmap', 'umount', 'owners'])
        expectRefusal(
          cli(command, m.dir, ...(command === 'owners' ? ['--offset', '0', '--length', '4096'] : [])),
          /not on a mounted rmapfs|no.* rmapfs/,
        );
      expectRefusal(cli('info', `${m.base}/none`), /none/);
    }));

  it('a clone across mounts, and of a file that does not exist', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('f'), 'x');
      expectRefusal(cli('clone', m.path('none'), m.path('g')), /none/);
      expectRefusal(cli('clone', m.path('f'), `${m.base}/outside`), /EXDEV|other|mount/);
    }));
});

describe('wrong usage', () => {
  const wrong: readonly (readonly string[])[] = [
    ['frobnicate'],
    ['mount'],
    ['mount', '/dev/shm/x', '/tmp', '-o', 'no_such_option'],
    ['mount', '/dev/shm/x', '/tmp', '-o', 'policy=never'],
    ['mkfs', '/dev/shm/x', '--size', 'big'],
    ['mkfs', '/dev/shm/x', '--frobnicate'],
    ['poison', '/tmp', '--offset', '-1', '--length', '4096'],
    ['poison', '/tmp', '--length', '4096'],
    ['owners', '/tmp', '--offset', '0'],
    ['info', '/tmp', 'extra', 'words'],
  ];

  it.each(wrong.map((args) => [args.join(' '), args] as const))(
    '%s: status 2 and the usage line',
    (_, args) => {
      const done = cli(...args);
      expect(done.status).toBe(2);
      expect(done.stdout).toBe('');
      expect(done.stderr).toMatch(/usage: rmapfs/i);
    },
  );

  it('--help of every command shows an example and ends with 0', () => {
    const commands = [...cli('--help').stdout.matchAll(/^ {2}([a-z]+)\b/gm)].map((match) => String(match[1]));
    expect(commands).toEqual(
      expect.arrayContaining(['mkfs', 'mount', 'umount', 'info', 'poison', 'fsmap', 'owners']),
    );
    for (const command of commands.filter((name) => name !== 'help')) {
      const done = cli(command, '--help');
      expect(done.status).toBe(0);
      expect(done.stdout, command).toMatch(/Examples?:\n.*rmapfs/);
    }
  });
});
