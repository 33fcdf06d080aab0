import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fusermountOptions } from '../../src/daemon/fusermount.js';
import { checkMountpoint, mountOptions, unmount } from '../../src/daemon/mount.js';
import { topMount } from '../../src/daemon/mountinfo.js';
import type { DaemonOptions } from '../../src/daemon/options.js';

const options: DaemonOptions = {
  region: '/dev/shm/a, region',
  mountpoint: '/mnt',
  source: '/dev/shm/a, region',
  subtype: true,
  readOnly: false,
  nouuid: false,
  allowOther: true,
  policy: 'early',
  cache: 'auto',
  extraOptions: [],
  logFile: null,
  foreground: false,
};

describe('mountOptions', () => {
  it('are those of a FUSE mount whose permissions the kernel checks', () => {
    expect(mountOptions(options, 1, 2)).toBe(
      'fd=3,rootmode=40000,user_id=1,group_id=2,default_permissions,rw,allow_other',
    );
    const other = { ...options, readOnly: true, allowOther: false, extraOptions: ['noatime', 'context=x'] };
    expect(mountOptions(other, 0, 0)).toBe(
      'fd=3,rootmode=40000,user_id=0,group_id=0,default_permissions,ro,noatime,context=x',
    );
  });

  it.each(['fd=5', 'rootmode=0', 'user_id=1', 'rw', 'allow_other'])('refuses %s from the user', (option) => {
    expect(() => mountOptions({ ...options, extraOptions: [option] }, 0, 0)).toThrow(/set by rmapfs itself/);
  });
});

describe('fusermountOptions', () => {
  it('name the source with commas and backslashes escaped', () => {
    expect(fusermountOptions(options)).toBe(
      'default_permissions,rw,fsname=/dev/shm/a\\, region,subtype=rmapfs,allow_other',
    );
    const other = { ...options, source: '/a\\b', subtype: false, readOnly: true, allowOther: false };
    expect(fusermountOptions({ ...other, extraOptions: ['noatime'] })).toBe(
      'default_permissions,ro,fsname=/a\\\\b,noatime',
    );
  });

  it.each(['suid', 'dev'])('refuse %s, which fusermount3 would pass over', (option) => {
    expect(() => fusermountOptions({ ...options, extraOptions: [option] })).toThrow(/for root/);
  });
});

describe('topMount', () => {
  const table = [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
    '30 22 0:26 / /mnt/with\\040space rw - tmpfs tmpfs rw',
    '31 22 0:27 / /mnt/x rw shared:3 master:2 - tmpfs tmpfs rw',
    '32 31 0:28 / /mnt/x rw - fuse.rmapfs /dev/shm/a\\040b rw,user_id=0',
    '',
  ].join('\n');

  it('names the topmost mount of a path', () => {
    expect(topMount(table, '/mnt/x')).toEqual({
      device: '0:28',
      type: 'fuse.rmapfs',
      source: '/dev/shm/a b',
    });
    expect(topMount(table, '/mnt/with space')).toMatchObject({ type: 'tmpfs', source: 'tmpfs' });
    expect(topMount(table, '/mnt')).toBeNull();
  });
});

describe.runIf(process.geteuid?.() === 0)('checkMountpoint', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'rmapfs-mountpoint-'));
    mkdirSync(join(dir, 'dir'));
    symlinkSync('dir', join(dir, 'link'));
    writeFileSync(join(dir, 'file'), '');
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it('resolves symbolic links', async () => {
    expect(await checkMountpoint(join(dir, 'link'))).toBe(join(dir, 'dir'));
  });

  it.each([
    ['none', /mount point .*none does not exist/],
    ['file', /file is not a directory/],
    ['file/below', /is not a directory/],
  ])('refuses %s in one sentence', async (name, message) => {
    await expect(checkMountpoint(join(dir, name))).rejects.toThrow(message);
  });

  it('takes a directory that something is mounted on', async () => {
    expect(await checkMountpoint('/proc')).toBe('/proc');
  });

  it('unmounts nothing but the filesystem that is meant', async () => {
    await expect(unmount('/proc', '0:0')).rejects.toThrow(/proc of .* is mounted over \/proc/);
    expect(await unmount(join(dir, 'dir'), '0:0')).toBe('done');
  });
});
