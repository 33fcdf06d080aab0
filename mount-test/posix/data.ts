import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { expect } from 'vitest';
import { errnoOfCall, sys } from '../support/run.js';
import type { PosixCases } from './place.js';

const PUNCH = 3;
const KEEP = 1;
const page = (letter: string): Buffer => Buffer.alloc(4096, letter);

export const dataCases: PosixCases = {
  'read: at and past the end gives nothing': (p) => {
    const fd = openSync(p.file('f', 'abc'), 'r');
    const buffer = Buffer.alloc(10);
    expect([0, 3, 100].map((at) => readSync(fd, buffer, 0, 10, at))).toEqual([3, 0, 0]);
    closeSync(fd);
  },
  'read: of a directory is EISDIR': (p) => {
    const fd = openSync(p.directory('d'), 'r');
    expect(errnoOfCall(() => readSync(fd, Buffer.alloc(1)))).toBe('EISDIR');
    closeSync(fd);
  },
  'read: on a descriptor for writing, and write on one for reading, is EBADF': (p) => {
    const [w, r] = [openSync(p.file('f'), 'w'), openSync(p.path('f'), 'r')];
    expect(errnoOfCall(() => readSync(w, Buffer.alloc(1)))).toBe('EBADF');
    expect(errnoOfCall(() => writeSync(r, 'x'))).toBe('EBADF');
    closeSync(w);
    closeSync(r);
  },
  'write: in the middle keeps both sides, over the end extends': (p) => {
    const fd = openSync(p.file('f', 'aaaaaa'), 'r+');
    writeSync(fd, 'bb', 2);
    writeSync(fd, 'cccc', 5);
    closeSync(fd);
    expect(readFileSync(p.path('f'), 'utf8')).toBe('aabbacccc');
  },
  'write: O_APPEND goes to the end whatever the offset': (p) => {
    p.file('f', 'abc');
    expect(sys('append', p.path('f'), 0, 3, 0x7a).ret).toBe(3);
    expect(readFileSync(p.path('f'), 'utf8')).toBe('abczzz');
  },
  'write: two descriptors see each other at once': (p) => {
    const [one, two] = [openSync(p.file('f', 'aaaa'), 'r+'), openSync(p.path('f'), 'r')];
    writeSync(one, 'b', 1);
    const buffer = Buffer.alloc(4);
    readSync(two, buffer, 0, 4, 0);
    expect(buffer.toString()).toBe('abaa');
    closeSync(one);
    closeSync(two);
  },
  'write: of no bytes changes neither size nor mtime': (p) => {
    const before = statSync(p.file('f', 'x'), { bigint: true });
    expect(sys('write', p.path('f'), 100, 0, 0).ret).toBe(0);
    expect(statSync(p.path('f'), { bigint: true })).toMatchObject({ size: 1n, mtimeNs: before.mtimeNs });
  },
  'write: one byte at every place of three pages': (p) => {
    const fd = openSync(p.path('f'), 'w+');
    const expected = Buffer.alloc(3 * 4096);
    for (let at = 0; at < expected.length; at += 61) {
      expected[at] = at % 251;
      writeSync(fd, expected, at, 1, at);
    }
    ftruncateSync(fd, expected.length);
    closeSync(fd);
    expect(readFileSync(p.path('f')).equals(expected)).toBe(true);
  },
  'write: a gap past the end reads as zeros': (p) => {
    p.file('f', 'abc');
    sys('write', p.path('f'), 10_000, 1, 0x78);
    const data = readFileSync(p.path('f'));
    expect(data.length).toBe(10_001);
    expect(data.subarray(3, 10_000).every((byte) => byte === 0)).toBe(true);
  },
  'O_DIRECT: a read sees a cached write, a cached read sees a direct write': (p) => {
    p.file('f', page('a'));
    expect(sys('direct_read', p.path('f'), 0, 4096).bytes).toBe('61'.repeat(64));
    expect(sys('direct_write', p.path('f'), 0, 4096, 0x62).ret).toBe(4096);
    expect(readFileSync(p.path('f')).equals(page('b'))).toBe(true);
  },
  'truncate: shrinks, extends with zeros, and does not show old bytes': (p) => {
    p.file('f', Buffer.concat([page('a'), page('b')]));
    truncateSync(p.path('f'), 4100);
    truncateSync(p.path('f'), 8192);
    const expected = Buffer.concat([page('a'), Buffer.alloc(4096)]).fill('b', 4096, 4100);
    expect(readFileSync(p.path('f')).equals(expected)).toBe(true);
  },
  'truncate: of a directory EISDIR, to a negative size EINVAL': (p) => {
    expect(errnoOfCall(() => truncateSync(p.directory('d'), 0))).toBe('EISDIR');
    const fd = openSync(p.file('f'), 'r');
    expect(errnoOfCall(() => ftruncateSync(fd, 1))).toMatch(/^(EINVAL|EBADF)$/);
    closeSync(fd);
  },
  'fallocate: keep-size past the end keeps the size and takes blocks': (p) => {
    expect(sys('fallocate', p.file('f', 'x'), KEEP, 0, 1 << 20).errno).toBe('0');
    expect(statSync(p.path('f')).size).toBe(1);
    expect(statSync(p.path('f')).blocks).toBeGreaterThanOrEqual(2048);
  },
  'fallocate: plain extends with zeros': (p) => {
    expect(sys('fallocate', p.file('f', 'x'), 0, 0, 10_000).errno).toBe('0');
    expect(readFileSync(p.path('f')).equals(Buffer.alloc(10_000).fill('x', 0, 1))).toBe(true);
  },
  'fallocate: punch makes zeros and a hole, the size stays': (p) => {
    p.file('f', Buffer.alloc(16384, 'a'));
    expect(sys('fallocate', p.path('f'), PUNCH, 4096, 8192).errno).toBe('0');
    expect(readFileSync(p.path('f')).equals(Buffer.alloc(16384, 'a').fill(0, 4096, 12288))).toBe(true);
    expect(sys('seek', p.path('f'), 'hole', 0).ret).toBe(4096);
    expect(sys('seek', p.path('f'), 'data', 4096).ret).toBe(12288);
  },
  'fallocate: EINVAL for no length, EFBIG past the largest offset, EOPNOTSUPP for punch that extends': (
    p,
  ) => {
    p.file('f');
    expect(sys('fallocate', p.path('f'), 0, 0, 0).errno).toBe('EINVAL');
    expect(sys('fallocate', p.path('f'), 0, '0x7fffffffffffffff', 2).errno).toBe('EFBIG');
    expect(sys('fallocate', p.path('f'), 2, 0, 4096).errno).toBe('EOPNOTSUPP');
  },
  'seek: SEEK_DATA and SEEK_HOLE at and past the end are ENXIO': (p) => {
    p.file('f', 'abc');
    for (const whence of ['data', 'hole'])
      expect([3, 100].map((at) => sys('seek', p.path('f'), whence, at).errno)).toEqual(['ENXIO', 'ENXIO']);
    expect(sys('seek', p.path('f'), 'hole', 0).ret).toBe(3);
  },
  'seek: an empty file and a file that is all hole have no data': (p) => {
    p.file('f');
    expect(sys('seek', p.path('f'), 'data', 0).errno).toBe('ENXIO');
    truncateSync(p.path('f'), 100_000);
    expect(sys('seek', p.path('f'), 'data', 0).errno).toBe('ENXIO');
    expect(sys('seek', p.path('f'), 'hole', 5).ret).toBe(5);
  },
  'copy_file_range: whole, ragged, past the end, within one file': (p) => {
    const data = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 253));
    p.file('a', data);
    expect(sys('copy_file_range', p.path('a'), 0, p.path('b'), 0, 60_000).ret).toBe(50_000);
    expect(readFileSync(p.path('b')).equals(data)).toBe(true);
    expect(sys('copy_file_range', p.path('a'), 17, p.path('c'), 5, 9000).ret).toBe(9000);
    expect(readFileSync(p.path('c')).subarray(5).equals(data.subarray(17, 9017))).toBe(true);
    expect(sys('copy_file_range', p.path('a'), 50_000, p.path('c'), 0, 10).ret).toBe(0);
    expect(sys('copy_file_range', p.path('a'), 0, p.path('a'), 10, 100).errno).toBe('EINVAL');
  },
  'mmap: a store is read by read(2), a write by a load': (p) => {
    p.file('f', page('a'));
    expect(sys('mmap_write', p.path('f'), 'shared', 10, 'mapped', 'nosync').read).toBe(
      Buffer.from('mapped').toString('hex'),
    );
    sys('write', p.path('f'), 10, 6, 0x77);
    expect(sys('mmap_read', p.path('f'), 10, 6).bytes).toBe('77'.repeat(6));
  },
  'mmap: a private store stays private': (p) => {
    p.file('f', page('a'));
    sys('mmap_write', p.path('f'), 'private', 0, 'private', 'msync');
    expect(readFileSync(p.path('f')).equals(page('a'))).toBe(true);
  },
  'mmap: bytes past the end within the last page are zero and are not written': (p) => {
    p.file('f', 'abc');
    expect(sys('mmap_read', p.path('f'), 0, 10).bytes).toBe(`616263${'00'.repeat(7)}`);
    sys('mmap_write', p.path('f'), 'shared', 1, 'XYZ', 'msync');
    expect(readFileSync(p.path('f'), 'utf8')).toBe('aXY');
    truncateSync(p.path('f'), 6);
    expect(readFileSync(p.path('f'), 'latin1')).toBe('aXY\0\0\0');
  },
};
