import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { helper } from './support/compile.js';
import { cli, type Mounted, withMount } from './support/harness.js';
import { run, sys, sysAs, tool } from './support/run.js';

const USER = 12345;
const OTHER = 23456;
const O_RDONLY = 0;
const O_WRONLY = 1;
const O_CREAT = 0o100;

function owned(m: Mounted, name: string, uid: number, mode: number): string {
  writeFileSync(m.path(name), 'text');
  chownSync(m.path(name), uid, uid);
  chmodSync(m.path(name), mode);
  return m.path(name);
}
const openAs = (uid: number, path: string, flags: number): string =>
  sysAs(uid, 'open', path, flags, 0o644).errno;

describe('permissions of an ordinary user', () => {
  it('by mode and owner', () =>
    withMount({}, (m) => {
      const own = owned(m, 'own', USER, 0o600);
      const readable = owned(m, 'readable', OTHER, 0o644);
      const closed = owned(m, 'closed', OTHER, 0o600);
      expect([own, readable, closed].map((file) => openAs(USER, file, O_RDONLY))).toEqual([
        '0',
        '0',
        'EACCES',
      ]);
      expect([own, readable, closed].map((file) => openAs(USER, file, O_WRONLY))).toEqual([
        '0',
        'EACCES',
        'EACCES',
      ]);
    }));

  it("creating needs a writable directory; the new file is the user's", () =>
    withMount({}, (m) => {
      mkdirSync(m.path('mine'));
      chownSync(m.path('mine'), USER, USER);
      expect(openAs(USER, m.path('mine/f'), O_CREAT | O_WRONLY)).toBe('0');
      expect(statSync(m.path('mine/f'))).toMatchObject({ uid: USER, gid: USER, mode: 0o100644 });
      expect(openAs(OTHER, m.path('mine/g'), O_CREAT | O_WRONLY)).toBe('EACCES');
    }));

  it('a setgid directory hands its group down', () =>
    withMount({}, (m) => {
      mkdirSync(m.path('d'));
      chownSync(m.path('d'), USER, OTHER);
      chmodSync(m.path('d'), 0o2775);
      expect(openAs(USER, m.path('d/f'), O_CREAT | O_WRONLY)).toBe('0');
      expect(statSync(m.path('d/f')).gid).toBe(OTHER);
      mkdirSync(m.path('d/sub'));
      expect(statSync(m.path('d/sub'))).toMatchObject({ gid: OTHER, mode: 0o42755 });
    }));

  it('the sticky bit keeps others from removing and renaming', () =>
    withMount({}, (m) => {
      mkdirSync(m.path('t'));
      chmodSync(m.path('t'), 0o1777);
      owned(m, 't/theirs', OTHER, 0o666);
      const asUser = (...words: string[]) =>
        run('setpriv', [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', ...words]).status;
      expect(asUser('rm', '-f', m.path('t/theirs'))).not.toBe(0);
      expect(asUser('mv', m.path('t/theirs'), m.path('t/taken'))).not.toBe(0);
      owned(m, 't/own', USER, 0o600);
      expect(asUser('rm', m.path('t/own'))).toBe(0);
    }));

  it('a write by another clears setuid and setgid', () =>
    withMount({}, (m) => {
      const file = owned(m, 'f', OTHER, 0o6777);
      expect(sysAs(USER, 'write', file, 0, 4, 65).ret).toBe(4);
      expect(statSync(file).mode & 0o7777).toBe(0o777);
    }));

  it("chown clears setuid; only the owner may chmod; trusted attributes are root's", () =>
    withMount({}, (m) => {
      const file = owned(m, 'f', USER, 0o4755);
      chownSync(file, OTHER, OTHER);
      expect(statSync(file).mode & 0o7777).toBe(0o755);
      expect(sysAs(USER, 'utimens', file, 1, 0, 1, 0).errno).toBe('EPERM');
      expect(sys('setxattr', file, 'trusted.a', 'x', 0).errno).toBe('0');
      expect(sysAs(OTHER, 'getxattr', file, 'trusted.a', 10).errno).toBe('ENODATA');
      expect(sysAs(USER, 'setxattr', file, 'user.a', 'x', 0).errno).toBe('EACCES');
      expect(sysAs(OTHER, 'setxattr', file, 'user.a', 'x', 0).errno).toBe('0');
    }));

  it('an empty ACL is a removed one, and one that is not there is removed without an error', () =>
    withMount({}, (m) => {
      const directory = m.path('d');
      mkdirSync(directory);
      for (const name of ['default', 'access'].map((kind) => `system.posix_acl_${kind}`)) {
        tool('setfacl', ['-m', 'u:12345:rwx', '-m', 'd:u:12345:rwx', directory]);
        expect(tool('getfattr', ['-d', '-m', '-', directory])).toContain(name);
        for (let times = 0; times < 2; times++) tool('setfattr', ['-n', name, '-v', '0x02000000', directory]);
        tool('setfattr', ['-x', name, directory]);
        expect(tool('getfattr', ['-d', '-m', '-', directory])).not.toContain(name);
      }
      expect(run('setfattr', ['-x', 'user.none', directory]).stderr).toContain('No such attribute');
    }));

  it('poison is not for everyone', () =>
    withMount({}, (m) => {
      owned(m, 'f', USER, 0o666);
      const poison = ['poison', '--file', m.path('f'), '--offset', '0', '--length', '4096'];
      const main = new URL('../dist/cli/main.js', import.meta.url).pathname;
      const done = run('setpriv', [
        `--reuid=${USER}`,
        `--regid=${USER}`,
        '--clear-groups',
        process.execPath,
        main,
        ...poison,
      ]);
      expect(done.status).toBe(1);
      expect(cli('badblocks', m.dir, '--json').json()).toEqual([]);
    }));
});

describe('without allow_other', () => {
  it('another user cannot use the mount', () =>
    withMount({ options: [] }, (m) => {
      owned(m, 'f', USER, 0o666);
      expect(sysAs(USER, 'statx', m.path('f')).errno).toBe('EACCES');
    }));

  it('an idmapped mount shifts owners both ways, and gives nobody rights', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('five'), '');
      chownSync(m.path('five'), 5, 5);
      chmodSync(m.dir, 0o777);
      mkdirSync(m.path('at'));
      const seen = JSON.parse(tool(helper('idmap'), [m.dir]));
      expect(seen).toEqual({ errno: '0', seen: 100_005, made: 5, poison: 'EPERM' });
    }));
});
