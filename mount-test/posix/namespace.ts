import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { expect } from 'vitest';
import { errnoOfCall, sys } from '../support/run.js';
import type { PosixCases } from './place.js';

const O_CREAT_EXCL = 0o301;
const O_DIRECTORY = 0o200000;
const O_NOFOLLOW = 0o400000;

export const namespaceCases: PosixCases = {
  'create: O_EXCL of an existing file is EEXIST, also of a dangling link': (p) => {
    symlinkSync('nowhere', p.path('l'));
    const codes = [p.file('f'), p.path('l')].map((path) => sys('open', path, O_CREAT_EXCL, 0o644).errno);
    expect(codes).toEqual(['EEXIST', 'EEXIST']);
  },
  'create: through a dangling link makes its target': (p) => {
    symlinkSync('target', p.path('l'));
    writeFileSync(p.path('l'), 'x');
    expect(readFileSync(p.path('target'), 'utf8')).toBe('x');
  },
  'create: a path through a file is ENOTDIR, through nothing ENOENT': (p) => {
    p.file('f');
    const codes = ['f/x', 'none/x'].map((name) => errnoOfCall(() => writeFileSync(p.path(name), '')));
    expect(codes).toEqual(['ENOTDIR', 'ENOENT']);
  },
  'open: a directory for writing is EISDIR, a file with O_DIRECTORY ENOTDIR': (p) => {
    expect(sys('open', p.directory('d'), 1, 0).errno).toBe('EISDIR');
    expect(sys('open', p.file('f'), O_DIRECTORY, 0).errno).toBe('ENOTDIR');
  },
  'open: O_NOFOLLOW of a link is ELOOP': (p) => {
    p.file('f');
    symlinkSync('f', p.path('l'));
    expect(sys('open', p.path('l'), O_NOFOLLOW, 0).errno).toBe('ELOOP');
  },
  'open: O_TRUNC empties and keeps the inode': (p) => {
    const before = statSync(p.file('f', 'content')).ino;
    writeFileSync(p.path('f'), '');
    expect(statSync(p.path('f'))).toMatchObject({ size: 0, ino: before });
  },
  'mkdir: link counts of the directory and its parent': (p) => {
    const top = p.directory('top');
    mkdirSync(`${top}/a`);
    mkdirSync(`${top}/b`);
    expect([top, `${top}/a`].map((path) => statSync(path).nlink)).toEqual([4, 2]);
    rmdirSync(`${top}/b`);
    expect(statSync(top).nlink).toBe(3);
  },
  'mkdir: EEXIST over a file, a directory and a dangling link': (p) => {
    symlinkSync('nowhere', p.path('l'));
    const codes = [p.file('f'), p.directory('d'), p.path('l')].map((path) =>
      errnoOfCall(() => mkdirSync(path)),
    );
    expect(codes).toEqual(['EEXIST', 'EEXIST', 'EEXIST']);
  },
  'rmdir: ENOTEMPTY, ENOTDIR, ENOENT, EINVAL of "."': (p) => {
    mkdirSync(p.path('d/e'), { recursive: true });
    const codes = [p.path('d'), p.file('f'), p.path('none'), `${p.dir}/d/.`].map((path) =>
      errnoOfCall(() => rmdirSync(path)),
    );
    expect(codes).toEqual(['ENOTEMPTY', 'ENOTDIR', 'ENOENT', 'EINVAL']);
  },
  'unlink: of a directory is EISDIR or EPERM, of nothing ENOENT': (p) => {
    expect(errnoOfCall(() => unlinkSync(p.directory('d')))).toMatch(/^(EISDIR|EPERM)$/);
    expect(errnoOfCall(() => unlinkSync(p.path('none')))).toBe('ENOENT');
  },
  'unlink: an open file keeps working without a name': (p) => {
    expect(sys('unlinked_io', p.path('f'))).toMatchObject({ ret: 8, wrote: 8, nlink: 0, same: true });
    expect(readdirSync(p.dir)).toEqual([]);
  },
  'link: the same inode, count 2, and the other name survives': (p) => {
    linkSync(p.file('a', 'linked'), p.path('b'));
    expect(statSync(p.path('a')).ino).toBe(statSync(p.path('b')).ino);
    expect(statSync(p.path('a')).nlink).toBe(2);
    unlinkSync(p.path('a'));
    expect(readFileSync(p.path('b'), 'utf8')).toBe('linked');
    expect(statSync(p.path('b')).nlink).toBe(1);
  },
  'link: of a directory EPERM, onto an existing name EEXIST': (p) => {
    expect(errnoOfCall(() => linkSync(p.directory('d'), p.path('e')))).toBe('EPERM');
    expect(errnoOfCall(() => linkSync(p.file('f'), p.file('g')))).toBe('EEXIST');
  },
  'link: of a symbolic link links the link': (p) => {
    symlinkSync('nowhere', p.path('l'));
    linkSync(p.path('l'), p.path('m'));
    expect(readlinkSync(p.path('m'))).toBe('nowhere');
    expect(lstatSync(p.path('m')).nlink).toBe(2);
  },
  'symlink: size is the length of the target, mode 777': (p) => {
    symlinkSync('some/target', p.path('l'));
    expect(lstatSync(p.path('l'))).toMatchObject({ size: 11, mode: 0o120777 });
  },
  'symlink: EEXIST, and ENAMETOOLONG for 4096 bytes': (p) => {
    expect(errnoOfCall(() => symlinkSync('t', p.file('f')))).toBe('EEXIST');
    expect(errnoOfCall(() => symlinkSync('t'.repeat(4096), p.path('l')))).toBe('ENAMETOOLONG');
  },
  'symlink: a ring is ELOOP': (p) => {
    symlinkSync('b', p.path('a'));
    symlinkSync('a', p.path('b'));
    expect(errnoOfCall(() => statSync(p.path('a')))).toBe('ELOOP');
  },
  'readlink: of a file is EINVAL': (p) => {
    expect(errnoOfCall(() => readlinkSync(p.file('f')))).toBe('EINVAL');
  },
  'mknod: FIFO, socket and device nodes keep type and number': (p) => {
    for (const [name, mode] of [
      ['fifo', 0o10644],
      ['sock', 0o140644],
      ['chr', 0o20644],
      ['blk', 0o60644],
    ] as const) {
      expect(sys('mknod', p.path(name), mode, 8, 300).errno).toBe('0');
      expect(sys('statx', p.path(name)).mode).toBe(mode);
    }
    expect(sys('statx', p.path('blk')).rdev).toEqual([8, 300]);
  },
  'tmpfile: has no name until it is linked': (p) => {
    expect(sys('tmpfile', p.dir, '', 'text')).toMatchObject({ ret: 0, nlinkBefore: 0 });
    expect(readdirSync(p.dir)).toEqual([]);
    expect(sys('tmpfile', p.dir, p.path('named'), 'text')).toMatchObject({ ret: 0, wrote: 4, nlinkAfter: 1 });
    expect(readFileSync(p.path('named'), 'utf8')).toBe('text');
  },
  'tmpfile: linking onto an existing name is EEXIST': (p) => {
    expect(sys('tmpfile', p.dir, p.file('f', 'old'), 'text').errno).toBe('EEXIST');
    expect(readFileSync(p.path('f'), 'utf8')).toBe('old');
  },
  'readdir: "." and ".." lead to the directory and its parent': (p) => {
    const d = p.directory('d');
    expect(statSync(`${d}/.`).ino).toBe(statSync(d).ino);
    expect(statSync(`${d}/..`).ino).toBe(statSync(p.dir).ino);
  },
  'readdir: a list of 500 names is complete and telldir leads back': (p) => {
    sys('create_many', p.dir, 'n', 500);
    expect(readdirSync(p.dir)).toHaveLength(500);
    expect(sys('telldir', p.dir, 1000, 7)).toMatchObject({ ret: 502, wrong: 0 });
  },
  'readdir: neither loses nor repeats an entry while others come and go': (p) => {
    expect(sys('list_churning', p.dir, 2000, 20)).toMatchObject({ ret: 2000, errno: '0' });
  },
  'readdir: types are given': (p) => {
    p.file('f');
    p.directory('d');
    symlinkSync('f', p.path('l'));
    const types = readdirSync(p.dir, { withFileTypes: true }).map((e) => [
      e.name,
      e.isFile(),
      e.isDirectory(),
    ]);
    expect(types.sort()).toEqual([
      ['d', false, true],
      ['f', true, false],
      ['l', false, false],
    ]);
  },
  'a trailing slash of a file is ENOTDIR': (p) => {
    expect(errnoOfCall(() => statSync(`${p.file('f')}/`))).toBe('ENOTDIR');
  },
  'a removed working directory: creating in it is ENOENT': (p) => {
    const d = mkdtempSync(p.path('d-'));
    const made = sys('mknod', `${d}/../${d.split('/').pop()}/f`, 0o100644, 0, 0);
    expect(made.errno).toBe('0');
    unlinkSync(`${d}/f`);
    rmdirSync(d);
    expect(sys('mknod', `${d}/f`, 0o100644, 0, 0).errno).toBe('ENOENT');
  },
};
