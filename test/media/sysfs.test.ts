import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { blockDevice, daxDevice, deviceName } from '../../src/media/sysfs.js';

let sysfs: string;

beforeEach(() => {
  sysfs = mkdtempSync(join(tmpdir(), 'rmapfs-sysfs-'));
});

afterEach(() => rmSync(sysfs, { recursive: true }));

/** An attribute tree as the kernel has it for one device. */
function device(kind: 'block' | 'char', name: string, attributes: Record<string, string>): void {
  const dir = join(sysfs, 'dev', kind, name);
  mkdirSync(dir, { recursive: true });
  for (const [key, value] of Object.entries(attributes)) writeFileSync(join(dir, key), value);
}

test('device numbers are split as the kernel joins them', () => {
  expect(deviceName(0x103)).toBe('1:3');
  expect(deviceName((0xfff << 8) | 0xff)).toBe('4095:255');
  // A minor above 255 has its high bits above the major: 259:300000.
  expect(deviceName((259 << 8) | (300_000 & 0xff) | ((300_000 & ~0xff) << 12))).toBe('259:300000');
  expect(deviceName(((250 << 8) | 0xff | (0xf_ff00 << 12)) >>> 0)).toBe('250:1048575');
  expect(deviceName(statSync('/dev/null').rdev)).toBe('1:3');
});

test('a block device counts sectors of 512 bytes', () => {
  device('block', '259:0', { size: `${6 * 2 ** 21}\n` });
  expect(blockDevice(259 << 8, sysfs)).toEqual({ bytes: 6 * 2 ** 30, align: 4096 });
  expect(() => blockDevice(260 << 8, sysfs)).toThrow('ENOENT');
  device('block', '261:0', { size: 'many\n' });
  expect(() => blockDevice(261 << 8, sysfs)).toThrow(RangeError);
});

test('a devdax device counts bytes and has an alignment, which its size is cut to', () => {
  device('char', '252:5', { size: `${4 * 2 ** 30 + 4096}\n`, align: `${2 ** 21}\n` });
  expect(daxDevice((252 << 8) | 5, sysfs)).toEqual({ bytes: 4 * 2 ** 30, align: 2 ** 21 });
});

test('other character devices are no devdax', () => {
  device('char', '1:3', { uevent: '' });
  expect(daxDevice((1 << 8) | 3, sysfs)).toBeNull();
  expect(daxDevice((9 << 8) | 9, sysfs)).toBeNull();
  expect(daxDevice(statSync('/dev/null').rdev)).toBeNull();
});
