import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { expect } from 'vitest';
import { errnoOfCall, sys, tool } from '../support/run.js';
import type { Place, PosixCases } from './place.js';

const EXCHANGE = 2;
const BLOCK = 4096;
const XATTR_MAX_BYTES = 65_536;

/** Runs `test` while the file has chattr(1) flags, and takes them away after it. */
function withFlags(path: string, flags: string, test: () => void): void {
  tool('chattr', [`+${flags}`, path]);
  try {
    test();
  } finally {
    tool('chattr', [`-${flags}`, path]);
  }
}

/** A path whose last part is bytes, which need not be UTF-8. */
const bytePath = (p: Place, name: Uint8Array): Buffer => Buffer.concat([Buffer.from(`${p.dir}/`), name]);

/** Sets atime and mtime and says what came back. */
function timesAfter(p: Place, sec: number, nsec: number): unknown {
  sys('utimens', p.file('f'), sec, nsec, sec, nsec);
  const { atime, mtime } = sys('statx', p.path('f'));
  expect(atime).toEqual(mtime);
  return mtime;
}

/** Makes a file with data in these blocks and holes between them. */
function sparseFile(p: Place, blocks: number, data: readonly number[]): string {
  const fd = openSync(p.path('f'), 'w+');
  for (const block of data) writeSync(fd, Buffer.alloc(BLOCK, 'd'), 0, BLOCK, block * BLOCK);
  closeSync(fd);
  truncateSync(p.path('f'), blocks * BLOCK);
  return p.path('f');
}

/** Names, sizes and numbers at their limits, file flags, and views of one file that must agree. */
export const limitCases: PosixCases = {
  'xattr: a value of 64 KiB, one byte more is E2BIG': (p) => {
    p.file('f');
    expect(sys('setxattr_long', p.path('f'), 'user.a', XATTR_MAX_BYTES).errno).toBe('0');
    expect(sys('getxattr', p.path('f'), 'user.a', XATTR_MAX_BYTES).bytes).toBe('76'.repeat(XATTR_MAX_BYTES));
    expect(sys('setxattr_long', p.path('f'), 'user.a', XATTR_MAX_BYTES + 1).errno).toBe('E2BIG');
    expect(sys('getxattr', p.path('f'), 'user.a', 0).ret).toBe(XATTR_MAX_BYTES);
  },
  'xattr: a name of 255 bytes, one more is ERANGE, a bare namespace is no name': (p) => {
    p.file('f');
    const name = `user.${'n'.repeat(250)}`;
    expect(sys('setxattr', p.path('f'), name, 'v', 0).errno).toBe('0');
    expect(sys('getxattr', p.path('f'), name, 10).ret).toBe(1);
    expect(sys('setxattr', p.path('f'), `${name}n`, 'v', 0).errno).toBe('ERANGE');
    expect(sys('setxattr', p.path('f'), 'user.', 'v', 0).errno).toBe('EINVAL');
  },
  'xattr: user, trusted and security are kept apart': (p) => {
    p.file('f');
    const names = ['user.same', 'trusted.same', 'security.same'];
    for (const name of names) expect(sys('setxattr', p.path('f'), name, name, 0).errno).toBe('0');
    for (const name of names) {
      expect(sys('getxattr', p.path('f'), name, 100).bytes).toBe(Buffer.from(name).toString('hex'));
    }
  },
  'times: before 1970, after 2038 and after 2106': (p) => {
    for (const [sec, nsec] of [
      [-1, 1],
      [-(2 ** 31) + 1, 999_999_999],
      [2 ** 31, 0],
      [2 ** 32 + 5, 123_456_789],
      [7_258_118_400, 1],
    ] as const) {
      expect(timesAfter(p, sec, nsec)).toEqual([sec, nsec]);
    }
  },
  'names: 255 bytes that are not UTF-8, one more is ENAMETOOLONG': (p) => {
    const name = Buffer.from(Array.from({ length: 255 }, (_, i) => (i % 128) + 128));
    closeSync(openSync(bytePath(p, name), 'wx'));
    expect(readdirSync(p.dir, { encoding: 'buffer' }).map((entry) => entry.equals(name))).toEqual([true]);
    expect(statSync(bytePath(p, name)).isFile()).toBe(true);
    const longer = Buffer.concat([name, Buffer.from('x')]);
    expect(errnoOfCall(() => openSync(bytePath(p, longer), 'wx'))).toBe('ENAMETOOLONG');
    unlinkSync(bytePath(p, name));
    expect(readdirSync(p.dir)).toEqual([]);
  },
  'symlink: a target of 4095 bytes': (p) => {
    const target = 't'.repeat(4095);
    symlinkSync(target, p.path('l'));
    expect(readlinkSync(p.path('l'))).toBe(target);
  },
  'symlink: a target that is not UTF-8': (p) => {
    const target = Buffer.from([0xff, 0xfe, 0x80, 0x2f, 0xc0]);
    symlinkSync(target, p.path('l'));
    expect(readlinkSync(p.path('l'), { encoding: 'buffer' }).equals(target)).toBe(true);
  },
  'renameat2 EXCHANGE: two directories with contents in different parents': (p) => {
    mkdirSync(p.path('a/x/one'), { recursive: true });
    mkdirSync(p.path('b/y/two'), { recursive: true });
    expect(sys('renameat2', p.path('a/x'), p.path('b/y'), EXCHANGE).errno).toBe('0');
    expect([readdirSync(p.path('a/x')), readdirSync(p.path('b/y'))]).toEqual([['two'], ['one']]);
    expect(statSync(p.path('a/x/..')).ino).toBe(statSync(p.path('a')).ino);
    expect([p.path('a'), p.path('b')].map((path) => statSync(path).nlink)).toEqual([3, 3]);
  },
  'renameat2 EXCHANGE: a directory with one above it is EINVAL': (p) => {
    mkdirSync(p.path('a/b/c'), { recursive: true });
    expect(sys('renameat2', p.path('a'), p.path('a/b/c'), EXCHANGE).errno).toBe('EINVAL');
    expect(sys('renameat2', p.path('a/b/c'), p.path('a'), EXCHANGE).errno).toMatch(/^(EINVAL|ENOTEMPTY)$/);
  },
  'write: O_APPEND of four processes loses and mixes nothing': (p) => {
    const [processes, count] = [4, 200];
    expect(sys('append_many', p.file('f'), processes, count).errno).toBe('0');
    const text = readFileSync(p.path('f'), 'latin1');
    expect(text.length).toBe(processes * count * 16);
    const records = text.match(/.{16}/g) ?? [];
    for (const letter of 'abcd') {
      expect(records.filter((record) => record === letter.repeat(16))).toHaveLength(count);
    }
  },
  'O_DIRECT: 512 bytes at 512': (p) => {
    p.file('f', Buffer.alloc(2 * BLOCK, 'a'));
    expect(sys('direct_write', p.path('f'), 512, 512, 0x62).ret).toBe(512);
    expect(sys('direct_read', p.path('f'), 512, 512).bytes).toBe('62'.repeat(64));
    expect(readFileSync(p.path('f')).equals(Buffer.alloc(2 * BLOCK, 'a').fill('b', 512, 1024))).toBe(true);
  },
  'O_DIRECT: past the end gives what there is': (p) => {
    p.file('f', Buffer.alloc(1000, 'a'));
    expect(sys('direct_read', p.path('f'), 0, BLOCK).ret).toBe(1000);
    expect(sys('direct_read', p.path('f'), BLOCK, BLOCK).ret).toBe(0);
  },
  'coherence: a mapping, O_DIRECT and cached reads agree after every change': (p) => {
    expect(sys('coherent', p.path('f'))).toMatchObject({ ret: 0, step: 20 });
  },
  'seek: data and holes exactly to the block': (p) => {
    const f = sparseFile(p, 40, [0, 1, 8, 24, 39]);
    const inBlocks = sys('segments', f).segments as [number, number][];
    expect(inBlocks.map(([from, to]) => [from / BLOCK, to / BLOCK])).toEqual([
      [0, 2],
      [8, 9],
      [24, 25],
      [39, 40],
    ]);
    const seek = (whence: string, at: number) => sys('seek', f, whence, at).ret;
    expect([seek('data', 2 * BLOCK), seek('data', 8 * BLOCK + 7)]).toEqual([8 * BLOCK, 8 * BLOCK + 7]);
    expect([seek('hole', 7), seek('hole', 5 * BLOCK + 1)]).toEqual([2 * BLOCK, 5 * BLOCK + 1]);
  },
  'flags: an immutable file cannot be changed in any way': (p) => {
    p.file('f', 'text');
    withFlags(p.path('f'), 'i', () => {
      const codes = [
        sys('open', p.path('f'), 1, 0).errno,
        errnoOfCall(() => truncateSync(p.path('f'), 0)),
        errnoOfCall(() => unlinkSync(p.path('f'))),
        errnoOfCall(() => renameSync(p.path('f'), p.path('g'))),
        errnoOfCall(() => linkSync(p.path('f'), p.path('g'))),
        sys('utimens', p.path('f'), 1, 1, 1, 1).errno,
        sys('setxattr', p.path('f'), 'user.a', 'v', 0).errno,
      ];
      expect(codes).toEqual(new Array(codes.length).fill('EPERM'));
    });
    unlinkSync(p.path('f'));
  },
  'flags: an append-only file takes appends and nothing else': (p) => {
    p.file('f', 'text');
    withFlags(p.path('f'), 'a', () => {
      expect(sys('append', p.path('f'), 0, 2, 0x7a).ret).toBe(2);
      expect(sys('open', p.path('f'), 1, 0).errno).toBe('EPERM');
      expect(errnoOfCall(() => truncateSync(p.path('f'), 0))).toBe('EPERM');
      expect(errnoOfCall(() => unlinkSync(p.path('f')))).toBe('EPERM');
    });
    expect(readFileSync(p.path('f'), 'utf8')).toBe('textzz');
  },
  'flags: an append-only directory takes new names and gives none away': (p) => {
    const d = p.directory('d');
    withFlags(d, 'a', () => {
      p.file('d/f');
      expect(errnoOfCall(() => unlinkSync(`${d}/f`))).toBe('EPERM');
      expect(errnoOfCall(() => renameSync(`${d}/f`, p.path('g')))).toBe('EPERM');
    });
    rmSync(d, { recursive: true });
  },
  'flags: nodump is shown, and inherited by what is made in a directory': (p) => {
    const d = p.directory('d');
    const flags = (path: string): string => tool('lsattr', ['-d', path]).split(' ')[0];
    withFlags(d, 'd', () => p.file('d/f'));
    expect([flags(d).includes('d'), flags(`${d}/f`).includes('d')]).toEqual([false, true]);
  },
};
