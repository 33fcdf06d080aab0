import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { expect } from 'vitest';
import { sys, sysAs, tool } from '../support/run.js';
import type { Place, PosixCases } from './place.js';

const CREATE = 1;
const REPLACE = 2;
const USER = 12345;

/**
 * Sets all times of a path back, runs `change`, and says which times are new: some of "atime mtime ctime".
 */
function timesChangedBy(path: string, change: () => void): string {
  sys('utimens', path, 1000, 0, 1000, 0);
  const before = sys('statx', path);
  tool('sleep', ['0.02']);
  change();
  const after = sys('statx', path);
  const changed = ['atime', 'mtime', 'ctime'].filter((name) => String(before[name]) !== String(after[name]));
  return changed.join(' ');
}
const mode = (p: Place, name: string): number => statSync(p.path(name)).mode & 0o7777;

export const attributeCases: PosixCases = {
  'chmod: every bit, of a file and a directory': (p) => {
    p.file('f');
    p.directory('d');
    for (const bits of [0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777])
      for (const name of ['f', 'd']) {
        chmodSync(p.path(name), bits);
        expect(mode(p, name)).toBe(bits);
      }
  },
  'create: the umask applies to files and directories': (p) => {
    tool('sh', ['-c', `umask 027; cd "$1"; : > f; mkdir d`, 'sh', p.dir]);
    expect([mode(p, 'f'), mode(p, 'd')]).toEqual([0o640, 0o750]);
  },
  'chown: owner and group, of a link itself too, -1 leaves one': (p) => {
    p.file('f');
    symlinkSync('f', p.path('l'));
    chownSync(p.path('f'), 70_000, 80_000);
    tool('chown', ['-h', '5:6', p.path('l')]);
    tool('chgrp', ['90000', p.path('f')]);
    expect(statSync(p.path('f'))).toMatchObject({ uid: 70_000, gid: 90_000 });
    expect(lstatSync(p.path('l'))).toMatchObject({ uid: 5, gid: 6 });
  },
  'chown: clears setuid and setgid of a program, leaves them on a directory': (p) => {
    chmodSync(p.file('f'), 0o6755);
    chmodSync(p.directory('d'), 0o6755);
    for (const name of ['f', 'd']) chownSync(p.path(name), 1, 1);
    expect([mode(p, 'f'), mode(p, 'd')]).toEqual([0o755, 0o6755]);
  },
  'chown: of nothing (-1, -1) sets ctime, and clears setuid': (p) => {
    p.file('f');
    const none = 0xffff_ffff;
    expect(timesChangedBy(p.path('f'), () => chownSync(p.path('f'), none, none))).toBe('ctime');
    chmodSync(p.path('f'), 0o4755);
    chownSync(p.path('f'), none, none);
    expect(mode(p, 'f')).toBe(0o755);
  },
  'setgid: a directory hands its group and the bit to what is made in it': (p) => {
    chownSync(p.directory('d'), 0, 4321);
    chmodSync(p.path('d'), 0o2777);
    writeFileSync(p.path('d/f'), '');
    mkdirSync(p.path('d/e'));
    expect([statSync(p.path('d/f')).gid, statSync(p.path('d/e')).gid, mode(p, 'd/e') & 0o2000]).toEqual([
      4321, 4321, 0o2000,
    ]);
  },
  'setuid: a write and a truncate by another user clear it': (p) => {
    for (const [name, call] of [
      ['w', 'write'],
      ['a', 'append'],
    ] as const) {
      p.file(name, 'text');
      chmodSync(p.path(name), 0o4777);
      expect(sysAs(USER, call, p.path(name), 0, 2, 65).ret).toBe(2);
      expect(mode(p, name)).toBe(0o777);
    }
  },
  'access: an ordinary user is refused by mode': (p) => {
    chmodSync(p.dir, 0o755);
    chmodSync(p.file('f'), 0o600);
    expect(sysAs(USER, 'open', p.path('f'), 0, 0).errno).toBe('EACCES');
    expect(sysAs(USER, 'open', p.path('g'), 0o101, 0o644).errno).toBe('EACCES');
    chmodSync(p.path('f'), 0o604);
    expect(sysAs(USER, 'open', p.path('f'), 0, 0).errno).toBe('0');
  },
  'times: set with nanoseconds, before 1970, omitted and now': (p) => {
    p.file('f');
    sys('utimens', p.path('f'), -100, 999_999_999, 2_000_000_000, 1);
    expect(sys('statx', p.path('f'))).toMatchObject({
      atime: [-100, 999_999_999],
      mtime: [2_000_000_000, 1],
    });
    sys('utimens', p.path('f'), 0, 'omit', 7, 8);
    expect(sys('statx', p.path('f'))).toMatchObject({ atime: [-100, 999_999_999], mtime: [7, 8] });
    sys('utimens', p.path('f'), 0, 'now', 0, 'now');
    expect(Math.abs(statSync(p.path('f')).mtimeMs - Date.now())).toBeLessThan(60_000);
  },
  'times: write and truncate change mtime and ctime': (p) => {
    p.file('f', 'abc');
    expect(timesChangedBy(p.path('f'), () => sys('write', p.path('f'), 0, 1, 1))).toBe('mtime ctime');
    expect(timesChangedBy(p.path('f'), () => truncateSync(p.path('f'), 1))).toBe('mtime ctime');
  },
  'times: chmod, link and rename change ctime only': (p) => {
    p.file('f');
    expect(timesChangedBy(p.path('f'), () => chmodSync(p.path('f'), 0o600))).toBe('ctime');
    expect(timesChangedBy(p.path('f'), () => linkSync(p.path('f'), p.path('g')))).toBe('ctime');
    expect(timesChangedBy(p.path('f'), () => unlinkSync(p.path('g')))).toBe('ctime');
    expect(
      timesChangedBy(
        p.path('f'),
        () => renameSync(p.path('f'), p.path('h')) ?? renameSync(p.path('h'), p.path('f')),
      ),
    ).toBe('ctime');
  },
  'times: creating, removing and renaming change mtime and ctime of the directory': (p) => {
    const d = p.directory('d');
    expect(timesChangedBy(d, () => writeFileSync(`${d}/f`, ''))).toBe('mtime ctime');
    expect(timesChangedBy(d, () => renameSync(`${d}/f`, `${d}/g`))).toBe('mtime ctime');
    expect(timesChangedBy(d, () => unlinkSync(`${d}/g`))).toBe('mtime ctime');
    expect(timesChangedBy(d, () => mkdirSync(`${d}/e`))).toBe('mtime ctime');
  },
  'times: a read of an old file changes atime only (relatime)': (p) => {
    p.file('f', 'abc');
    expect(timesChangedBy(p.path('f'), () => readFileSync(p.path('f')))).toBe('atime');
  },
  'times: failing calls change nothing': (p) => {
    p.file('f');
    p.directory('d');
    expect(timesChangedBy(p.path('d'), () => sys('renameat2', p.path('f'), p.path('d'), 0))).toBe('');
    expect(timesChangedBy(p.path('f'), () => sys('setxattr', p.path('f'), 'user.x', 'v', REPLACE))).toBe('');
  },
  'times: the birth time does not change': (p) => {
    p.file('f');
    const birth = sys('statx', p.path('f')).btime;
    sys('utimens', p.path('f'), 1, 1, 1, 1);
    sys('write', p.path('f'), 0, 10, 1);
    expect(sys('statx', p.path('f')).btime).toEqual(birth);
    expect(Number(sys('statx', p.path('f')).mask) & 0x800).toBe(0x800);
  },
  'xattr: set, get, list, remove': (p) => {
    p.file('f');
    expect(sys('setxattr', p.path('f'), 'user.a', 'value', 0).errno).toBe('0');
    expect(sys('getxattr', p.path('f'), 'user.a', 100)).toMatchObject({ ret: 5, bytes: '76616c7565' });
    expect(Buffer.from(String(sys('listxattr', p.path('f'), 1000).bytes), 'hex').toString()).toContain(
      'user.a\0',
    );
    expect(sys('removexattr', p.path('f'), 'user.a').errno).toBe('0');
    expect(sys('getxattr', p.path('f'), 'user.a', 100).errno).toBe('ENODATA');
  },
  'xattr: CREATE, REPLACE, ENODATA and ERANGE': (p) => {
    p.file('f');
    const set = (flags: number) => sys('setxattr', p.path('f'), 'user.a', 'value', flags).errno;
    expect([set(REPLACE), set(CREATE), set(CREATE), set(REPLACE)]).toEqual(['ENODATA', '0', 'EEXIST', '0']);
    expect(sys('getxattr', p.path('f'), 'user.a', 3).errno).toBe('ERANGE');
    expect(sys('getxattr', p.path('f'), 'user.a', 0).ret).toBe(5);
    expect(sys('removexattr', p.path('f'), 'user.b').errno).toBe('ENODATA');
    expect(sys('listxattr', p.path('f'), 2).errno).toBe('ERANGE');
  },
  'xattr: an empty value, an unknown namespace, user.* of a symbolic link': (p) => {
    p.file('f');
    symlinkSync('f', p.path('l'));
    expect(sys('setxattr', p.path('f'), 'user.empty', '', 0).errno).toBe('0');
    expect(sys('getxattr', p.path('f'), 'user.empty', 10).ret).toBe(0);
    expect(sys('setxattr', p.path('f'), 'nonsense.a', 'v', 0).errno).toBe('EOPNOTSUPP');
    expect(sys('setxattr', p.path('l'), 'user.a', 'v', 0).errno).toBe('EPERM');
  },
  'xattr: changes ctime only': (p) => {
    p.file('f');
    expect(timesChangedBy(p.path('f'), () => sys('setxattr', p.path('f'), 'user.a', 'v', 0))).toBe('ctime');
  },
  'xattr: trusted.* is hidden from an ordinary user': (p) => {
    chmodSync(p.dir, 0o755);
    chmodSync(p.file('f'), 0o666);
    expect(sys('setxattr', p.path('f'), 'trusted.a', 'v', 0).errno).toBe('0');
    expect(sysAs(USER, 'getxattr', p.path('f'), 'trusted.a', 10).errno).toBe('ENODATA');
    expect(sysAs(USER, 'listxattr', p.path('f'), 100).bytes).not.toContain(
      Buffer.from('trusted').toString('hex'),
    );
  },
  'statfs: names of 255 bytes, blocks that add up': (p) => {
    const s = sys('statvfs', p.dir);
    expect(s.namemax).toBe(255);
    expect(Number(s.free)).toBeLessThanOrEqual(Number(s.blocks));
    expect(Number(s.available)).toBeLessThanOrEqual(Number(s.free));
  },
};
