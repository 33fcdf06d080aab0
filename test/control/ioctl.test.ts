import fs from 'node:fs';
import { describe, expect, test } from 'vitest';
import { checkIoctl, requestFields, systemIoctl } from '../../src/control/ioctl.js';
import { IOC, IOC_TYPE } from '../../src/control/protocol.js';

/** FIONREAD has no size in its number; TIOCGPTN (_IOR('T', 0x30, unsigned int)) has one. */
const TIOCGPTN = 0x80045430;
/** _IOW('T', 0x31, int): unlocks the slave of a pseudo terminal. */
const TIOCSPTLCK = 0x40045431;

describe('the check before ioctl(2)', () => {
  test('takes a record of exactly the right size and direction', () => {
    expect(requestFields(IOC.poison)).toEqual({ direction: 3, size: 40, type: IOC_TYPE, nr: 7 });
    checkIoctl(3, IOC.poison, 'both', Buffer.alloc(40));
    checkIoctl(3, IOC.clone, 'write', Buffer.alloc(40));
    checkIoctl(3, IOC.cloneToken, 'read', Buffer.alloc(16));
  });

  test.each([
    ['a shorter record', 3, IOC.poison, 'both', Buffer.alloc(39)],
    ['a longer record', 3, IOC.poison, 'both', Buffer.alloc(41)],
    ['another direction', 3, IOC.poison, 'read', Buffer.alloc(40)],
    ['a read-only request as both', 3, IOC.cloneToken, 'both', Buffer.alloc(16)],
    ['a negative descriptor', -1, IOC.poison, 'both', Buffer.alloc(40)],
    ['a descriptor that is no integer', 1.5, IOC.poison, 'both', Buffer.alloc(40)],
    ['a request beyond 32 bits', 3, 2 ** 32, 'both', Buffer.alloc(40)],
  ] as const)('refuses %s', (_, fd, request, direction, record) => {
    expect(() => checkIoctl(fd, request, direction, record)).toThrow(RangeError);
  });

  test('refuses what is no Buffer', () => {
    expect(() => checkIoctl(3, IOC.poison, 'both', new Uint8Array(40) as Buffer)).toThrow(RangeError);
  });
});

describe('the system call', () => {
  test('passes a record in and out', () => {
    const master = fs.openSync('/dev/ptmx', 'r+');
    try {
      systemIoctl(master, TIOCSPTLCK, 'write', Buffer.alloc(4));
      const number = Buffer.alloc(4, 0xff);
      systemIoctl(master, TIOCGPTN, 'read', number);
      expect(fs.existsSync(`/dev/pts/${number.readUInt32LE()}`)).toBe(true);
    } finally {
      fs.closeSync(master);
    }
  });

  test('throws an error with the code of the kernel', () => {
    const fd = fs.openSync('/dev/null', 'r');
    try {
      expect(() => systemIoctl(fd, IOC.poison, 'both', Buffer.alloc(40))).toThrow(
        expect.objectContaining({ code: 'ENOTTY' }),
      );
    } finally {
      fs.closeSync(fd);
    }
  });
});
