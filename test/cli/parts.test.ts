import { describe, expect, test } from 'vitest';
import { parseLength, parseSize } from '../../src/cli/arguments.js';
import { logDirectories, logFileName } from '../../src/cli/log-file.js';
import { DEFAULT_MOUNT_CHOICES, parseMountOptions } from '../../src/cli/mount-options.js';
import { mountOf, parseMountinfo } from '../../src/cli/mounts.js';
import { formatTable, humanSize } from '../../src/cli/output.js';
import { isRunning, processIdentity } from '../../src/cli/processes.js';
import { WHOLE_DEVICE } from '../../src/control/codec.js';

describe('sizes', () => {
  test.each([
    ['0', 0],
    ['4096', 4096],
    ['4K', 4096],
    ['4k', 4096],
    ['3M', 3 * 2 ** 20],
    ['2G', 2 ** 31],
    ['16T', 2 ** 44],
  ])('%s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(['', 'K', '4KB', '4.5K', '-1', '+1', '0x10', '1 K', '1e3', '18446744073709551616'])(
    '%j is refused',
    (text) => {
      expect(() => parseSize(text)).toThrow();
    },
  );

  test('2^64-1 is the whole device', () => {
    expect(parseLength('18446744073709551615')).toBe(WHOLE_DEVICE);
    expect(parseLength('18446744073709551614')).not.toBe(WHOLE_DEVICE);
  });

  test('are shown for people', () => {
    expect([0, 1023, 1024, 1536 * 1024, 2 ** 44].map(humanSize)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1.0 KiB',
      '1.5 MiB',
      '16.0 TiB',
    ]);
  });
});

describe('mount options', () => {
  const parse = (...lists: string[]) =>
    lists.reduce((choices, list) => parseMountOptions(list, choices), DEFAULT_MOUNT_CHOICES);

  test('add up over several -o', () => {
    expect(parse('ro,noatime', 'allow_other,policy=late,cache=none,nosuid')).toEqual({
      readOnly: true,
      allowOther: true,
      policy: 'late',
      subtype: true,
      log: null,
      cache: 'none',
      nouuid: false,
      extraOptions: ['noatime', 'nosuid'],
    });
  });

  test('the last one counts', () => {
    expect(parse('ro,rw').readOnly).toBe(false);
    expect(parse('policy=kill', 'policy=notify').policy).toBe('notify');
  });

  test('what other programs put there has no effect', () => {
    expect(
      parse('defaults,noauto,_netdev,x-systemd.automount,fsname=/r,subtype=rmapfs,default_permissions'),
    ).toEqual(DEFAULT_MOUNT_CHOICES);
  });

  test.each(['warp', 'fd=3', 'user_id=0', 'policy=', 'cache=off', 'remount'])('%s is refused', (option) => {
    expect(() => parse(option)).toThrow();
  });
});

describe('mountinfo', () => {
  const TEXT = [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
    '40 22 0:50 / /mnt/a\\040b rw,nosuid - fuse.rmapfs /dev/shm/my\\040region rw,user_id=0',
    '41 22 0:51 / /mnt/a\\040b/in rw - tmpfs tmpfs rw',
    '42 22 0:52 / /mnt/a\\040b rw master:3 propagate_from:2 - fuse.rmapfs /dev/shm/second rw',
    '',
  ].join('\n');

  test('is parsed with optional fields and octal escapes', () => {
    const mounts = parseMountinfo(TEXT);
    expect(mounts).toHaveLength(4);
    expect(mounts[1]).toMatchObject({
      mountpoint: '/mnt/a b',
      type: 'fuse.rmapfs',
      source: '/dev/shm/my region',
      options: ['rw', 'nosuid'],
    });
  });

  test('the nearest mount and the topmost of several counts', () => {
    const mounts = parseMountinfo(TEXT);
    const source = (at: string) => mountOf(mounts, at)?.source;
    expect(source('/mnt/a b')).toBe('/dev/shm/second');
    expect(source('/mnt/a b/x/y')).toBe('/dev/shm/second');
    expect(source('/mnt/a b/in/x')).toBe('tmpfs');
    expect(source('/mnt/a bc')).toBe('/dev/sda1');
    expect(source('/')).toBe('/dev/sda1');
  });
});

test('logs have a place and a name', () => {
  expect(logDirectories(0, { XDG_STATE_HOME: '/s' })).toEqual(['/var/log/rmapfs', '/s/rmapfs']);
  expect(logDirectories(1000, { XDG_STATE_HOME: '/s' })).toEqual(['/s/rmapfs']);
  expect(logDirectories(1000, {})[0]).toMatch(/\/\.local\/state\/rmapfs$/);
  expect(logFileName('/mnt/pmem')).toBe('mnt-pmem.log');
  expect(logFileName('/')).toBe('root.log');
  expect(logFileName(`/${'d/'.repeat(2000)}e`).length).toBeLessThan(255);
});

test('a table is as wide as its cells', () => {
  const columns = [
    { title: 'N', align: 'right', text: (row: [number, string]) => `${row[0]}` },
    { title: 'NAME', align: 'left', text: (row: [number, string]) => row[1] },
  ] as const;
  expect(
    formatTable(columns, [
      [1, 'a'],
      [100, ''],
    ]),
  ).toBe('  N  NAME\n  1  a\n100\n');
});

test('a process is known by its start time too', () => {
  const self = processIdentity(process.pid);
  if (self === null) throw new Error('this process must have an entry in /proc');
  expect(isRunning(self)).toBe(true);
  expect(isRunning({ ...self, startTicks: '1' })).toBe(false);
  expect(processIdentity(2 ** 22 + 1)).toBe(null);
});
