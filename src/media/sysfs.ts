import { readFileSync } from 'node:fs';
import { BLOCK_SIZE } from '../types.js';

/** The numbers of a device that decide how it is mapped, in bytes. */
export interface DeviceGeometry {
  bytes: number;
  /** Mappings start and end at multiples of this. */
  align: number;
}

/**
 * Unit of a block device's `size` attribute, whatever its sector size (Documentation/ABI/stable/sysfs-block), and of
 * st_blocks.
 */
export const SECTOR_BYTES = 512;

/** "MAJOR:MINOR" of a device number as stat(2) gives it, in the kernel's encoding (new_encode_dev()). */
export function deviceName(rdev: number): string {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xf_ff00);
  return `${major}:${minor}`;
}

/** Size of a block device. Throws the error of node:fs when sysfs does not have it. */
export function blockDevice(rdev: number, sysfs = '/sys'): DeviceGeometry {
  const sectors = readNumber(`${sysfs}/dev/block/${deviceName(rdev)}/size`);
  return { bytes: sectors * SECTOR_BYTES, align: BLOCK_SIZE };
}

/**
 * Size and alignment of a devdax character device (Documentation/ABI/testing/sysfs-bus-dax). Null when the
 * character device is no devdax.
 */
export function daxDevice(rdev: number, sysfs = '/sys'): DeviceGeometry | null {
  const device = `${sysfs}/dev/char/${deviceName(rdev)}`;
  try {
    const align = readNumber(`${device}/align`);
    return { bytes: Math.floor(readNumber(`${device}/size`) / align) * align, align };
  } catch {
    // Other character devices have no such attributes: there is nothing more to tell than "no devdax".
    return null;
  }
}

function readNumber(path: string): number {
  const text = readFileSync(path, 'latin1').trim();
  const value = Number(text);
  if (text === '' || !Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`${path} holds "${text}"`);
  return value;
}
