import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loopsOver, placesBelow } from '../../src/media/below.js';

/** A sysfs of files: what a machine with these devices has. */
let sysfs: string;

beforeEach(() => {
  sysfs = mkdtempSync(join(tmpdir(), 'rmapfs-sysfs-'));
  mkdirSync(join(sysfs, 'dev/block'), { recursive: true });
  mkdirSync(join(sysfs, 'block'));
});

afterEach(() => rmSync(sysfs, { recursive: true }));

function device(at: string, number: string, files: Record<string, string> = {}): void {
  const name = at.split('/').at(-1);
  for (const [file, text] of Object.entries({ ...files, dev: number, uevent: `DEVNAME=${name}` })) {
    mkdirSync(dirname(join(sysfs, 'devices', at, file)), { recursive: true });
    writeFileSync(join(sysfs, 'devices', at, file), `${text}\n`);
  }
  symlinkSync(join(sysfs, 'devices', at), join(sysfs, 'dev/block', number));
  symlinkSync(join(sysfs, 'devices', at), join(sysfs, 'block', String(name)));
}

const place = (path: string, offset: number, length: number, isShared = false) => ({
  path,
  offset,
  length,
  isShared,
});

describe('what a device lies on', () => {
  test('a disk on nothing', () => {
    device('sda', '8:0', { size: '2048' });
    expect(placesBelow('8:0', sysfs)).toEqual([]);
  });

  test('a partition on its bytes of the disk', () => {
    device('sda', '8:0', { size: '20480' });
    device('sda/sda2', '8:2', { partition: '2', start: '2048', size: '4096' });
    expect(placesBelow('8:2', sysfs)).toEqual([place('/dev/sda', 2048 * 512, 4096 * 512)]);
  });

  test('a partition of a loop device on bytes of its file', () => {
    device('loop3', '7:3', {
      'loop/backing_file': '/no/such/image',
      'loop/offset': '4096',
      'loop/sizelimit': '0',
    });
    device('loop3/loop3p1', '259:0', { partition: '1', start: '8', size: '16' });
    expect(placesBelow('259:0', sysfs)).toEqual([
      place('/dev/loop3', 4096, 8192),
      place('/no/such/image', 8192, 8192),
    ]);
    expect(placesBelow('7:3', sysfs)).toEqual([place('/no/such/image', 4096, 0)]);
  });

  test('a device of the device mapper on all of its slaves, shared', () => {
    device('sda', '8:0', { size: '20480' });
    device('sda/sda1', '8:1', { partition: '1', start: '8', size: '16' });
    device('loop0', '7:0', {
      'loop/backing_file': '/no/such/image',
      'loop/offset': '0',
      'loop/sizelimit': '0',
    });
    device('dm-0', '253:0', { 'slaves/sda1/dev': '8:1', 'slaves/loop0/dev': '7:0' });
    expect(placesBelow('253:0', sysfs).toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      place('/dev/loop0', 0, 0, true),
      place('/dev/sda', 4096, 8192, true),
      place('/dev/sda1', 0, 0, true),
      place('/no/such/image', 0, 0, true),
    ]);
  });

  test('loop devices over a file are found where bytes are the same', () => {
    const file = join(sysfs, 'image');
    writeFileSync(file, '');
    const over = (name: string, number: string, offset: number, limit: number, of = file) =>
      device(name, number, {
        'loop/backing_file': of,
        'loop/offset': String(offset),
        'loop/sizelimit': String(limit),
      });
    over('loop0', '7:0', 0, 4096);
    over('loop1', '7:1', 4096, 0);
    over('loop2', '7:2', 0, 0, join(sysfs, 'block'));
    const found = (offset: number, length: number) =>
      loopsOver(place(file, offset, length), sysfs).toSorted();
    expect(found(0, 0)).toEqual(['/dev/loop0', '/dev/loop1']);
    expect(found(0, 4096)).toEqual(['/dev/loop0']);
    expect(found(4096, 1)).toEqual(['/dev/loop1']);
  });
});
