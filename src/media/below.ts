import {
  closeSync,
  existsSync,
  constants as open,
  openSync,
  readdirSync,
  readFileSync,
  type Stats,
  statSync,
} from 'node:fs';
import { hasCode, lockRange } from '../native.js';
import { deviceName, SECTOR_BYTES } from './sysfs.js';

/** Bytes of a file or block device that a region lies on. */
export interface Place {
  readonly path: string;
  readonly offset: number;
  /** 0: to the end. */
  readonly length: number;
  /** Where in it is not known (device mapper, RAID): the whole, which others may lie on too. */
  readonly isShared: boolean;
}

/** The node of a block device under /dev, whatever path it was named by. File locks are kept by node. */
function deviceNode(device: string, sysfs = '/sys'): string {
  const name = /^DEVNAME=(.+)$/m.exec(read(`${sysfs}/dev/block/${device}/uevent`) ?? '')?.[1];
  return name === undefined ? `/dev/block/${device}` : `/dev/${name}`;
}

/**
 * What a block device ("MAJOR:MINOR") lies on, level by level: the disk of a partition, the file of a loop device, the
 * devices below device mapper and RAID.
 */
export function placesBelow(device: string, sysfs = '/sys', whole: Place | null = null): Place[] {
  const from = whole ?? { path: '', offset: 0, length: 0, isShared: false };
  const directory = `${sysfs}/dev/block/${device}`;
  const part = (path: string, start: number, size: number): Place => ({
    path,
    offset: from.offset + start,
    length: from.length === 0 ? size : from.length,
    isShared: from.isShared,
  });
  if (existsSync(`${directory}/partition`)) {
    const disk = (read(`${directory}/../dev`) ?? '').trim();
    const [start, size] = [number(`${directory}/start`), number(`${directory}/size`)];
    const place = part(deviceNode(disk, sysfs), start * SECTOR_BYTES, size * SECTOR_BYTES);
    return [place, ...placesBelow(disk, sysfs, place)];
  }
  const file = read(`${directory}/loop/backing_file`)?.replace(/\n$/, '');
  if (file !== undefined) {
    const place = part(file, number(`${directory}/loop/offset`), number(`${directory}/loop/sizelimit`));
    const stat = statIfThere(file);
    return [place, ...(stat?.isBlockDevice() ? placesBelow(deviceName(stat.rdev), sysfs, place) : [])];
  }
  return slavesOf(directory).flatMap((slave) => {
    const place = { path: deviceNode(slave, sysfs), offset: 0, length: 0, isShared: true };
    return [place, ...placesBelow(slave, sysfs, place)];
  });
}

function slavesOf(directory: string): string[] {
  if (!existsSync(`${directory}/slaves`)) return [];
  return readdirSync(`${directory}/slaves`).map((name) =>
    (read(`${directory}/slaves/${name}/dev`) ?? '').trim(),
  );
}

/** Loop devices that lie on the bytes of a file, as paths under /dev. */
export function loopsOver(place: Place, sysfs = '/sys'): string[] {
  const file = statIfThere(place.path);
  if (file === undefined || !existsSync(`${sysfs}/block`)) return [];
  return readdirSync(`${sysfs}/block`)
    .filter((name) => {
      const loop = `${sysfs}/block/${name}/loop`;
      const backing = read(`${loop}/backing_file`)?.replace(/\n$/, '');
      if (backing === undefined) return false;
      const stat = statIfThere(backing);
      if (stat?.ino !== file.ino || stat.dev !== file.dev) return false;
      return overlap(place, { offset: number(`${loop}/offset`), length: number(`${loop}/sizelimit`) });
    })
    .map((name) => `/dev/${name}`);
}

type Bytes = Pick<Place, 'offset' | 'length'>;
const end = ({ offset, length }: Bytes): number =>
  length === 0 ? Number.POSITIVE_INFINITY : offset + length;
const overlap = (a: Bytes, b: Bytes): boolean => a.offset < end(b) && b.offset < end(a);

/**
 * Locks an open region and what it lies on, so that it is not opened by another way: as the file of a loop device, as
 * the disk of a partition. A writer is refused also where a loop device over it
 * has a user, of whatever kind. Returns the
 * descriptors that hold the locks. Throws EAGAIN or EBUSY when another has it.
 */
export function claimPlaces(fd: number, readOnly: boolean): number[] {
  const held: number[] = [];
  const path = `/proc/self/fd/${fd}`;
  try {
    const stat = statSync(path);
    const device = stat.isBlockDevice() ? deviceName(stat.rdev) : null;
    const self = { path: device === null ? path : deviceNode(device), offset: 0, length: 0, isShared: false };
    const places = [self, ...(device === null ? [] : placesBelow(device))];
    for (const place of places) lockPlace(place, readOnly, held);
    const own = new Set(places.map((place) => place.path));
    const above = readOnly
      ? []
      : places.filter((place) => !place.isShared).flatMap((place) => loopsOver(place));
    // Not kept: one that is idle may be a disk of which we use a part.
    for (const loop of above) if (!own.has(loop)) closeIfOpen(openIfThere(loop, open.O_RDWR | open.O_EXCL));
    return held;
  } catch (error) {
    for (const one of held) closeSync(one);
    throw error;
  }
}

function lockPlace(place: Place, readOnly: boolean, held: number[]): void {
  const isExclusive = !readOnly && !place.isShared;
  const fd = openIfThere(place.path, isExclusive ? open.O_RDWR : open.O_RDONLY);
  if (fd === null) return;
  held.push(fd);
  lockRange(fd, isExclusive, place.offset, place.length);
}

/** Null for what we may not open, or is not in this mount namespace: others of our kind cannot get at it either. */
function openIfThere(path: string, flags: number): number | null {
  try {
    return openSync(path, flags | open.O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM', 'EROFS', 'ENXIO'].some((code) => hasCode(error, code))) return null;
    throw error;
  }
}

function closeIfOpen(fd: number | null): void {
  if (fd !== null) closeSync(fd);
}

/** Undefined for what is not there, or may not be looked at. */
function statIfThere(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (hasCode(error, 'EACCES')) return undefined;
    throw error;
  }
}

/** The text of a file of sysfs; undefined where there is none. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ENXIO')) return undefined;
    throw error;
  }
}

const number = (path: string): number => Number(read(path) ?? 0);
