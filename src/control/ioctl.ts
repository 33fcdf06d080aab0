import { createRequire } from 'node:module';

/**
 * ioctl(2) for the control client. The package `ioctl` 2.0.2 hands the kernel whatever it gets: a Buffer
 * shorter than the request's size lets the kernel write past its end. Everything is checked here first.
 */

/** Which way the record travels, seen from the caller: to the daemon, from it, or both. */
export type Direction = 'write' | 'read' | 'both';

/** One ioctl with a record. Throws an Error with `code` ("ENXIO") and `errno` when the kernel refuses. */
export type Ioctl = (fd: number, request: number, direction: Direction, record: Buffer) => void;

const DIRECTION_BITS: Record<Direction, number> = { write: 1, read: 2, both: 3 };

/** The fields of a request number, as asm-generic/ioctl.h packs them. */
export interface RequestFields {
  /** _IOC_WRITE 1, _IOC_READ 2. */
  direction: number;
  size: number;
  type: number;
  nr: number;
}

export function requestFields(request: number): RequestFields {
  return {
    direction: request >>> 30,
    size: (request >>> 16) & 0x3fff,
    type: (request >>> 8) & 0xff,
    nr: request & 0xff,
  };
}

/** Throws RangeError unless descriptor, direction and record are what the request number says. */
export function checkIoctl(fd: number, request: number, direction: Direction, record: Buffer): void {
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fff_ffff) throw new RangeError(`${fd} is no descriptor`);
  if (!Number.isInteger(request) || request < 0 || request > 0xffff_ffff) {
    throw new RangeError(`${request} is no ioctl request number`);
  }
  const name = `ioctl 0x${request.toString(16)}`;
  const fields = requestFields(request);
  if (fields.direction !== DIRECTION_BITS[direction]) {
    throw new RangeError(`${name} has the direction ${fields.direction}, not ${DIRECTION_BITS[direction]}`);
  }
  if (!Buffer.isBuffer(record) || record.length !== fields.size) {
    throw new RangeError(`${name} carries ${fields.size} bytes, not ${record.length}`);
  }
}

type PackageIoctl = (fd: number, request: number, record: Buffer) => number;

let loaded: PackageIoctl | undefined;

/** The package's addon registers itself once a process: it is loaded at the first use only. */
function packageIoctl(): PackageIoctl {
  loaded ??= createRequire(import.meta.url)('ioctl') as PackageIoctl;
  return loaded;
}

export const systemIoctl: Ioctl = (fd, request, direction, record) => {
  checkIoctl(fd, request, direction, record);
  packageIoctl()(fd, request, record);
};
