import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { run, sys, sysAs, tool } from '../support/run.js';
import type { Place, PosixCases } from './place.js';

const NAMED = 12345;
const OTHER = 23456;
const O_RDONLY = 0;
const O_RDWR = 2;
const O_CREAT = 0o100;

const mode = (p: Place, name: string): number => statSync(p.path(name)).mode & 0o7777;
const setfacl = (p: Place, ...args: string[]): void => {
  tool('setfacl', args, { cwd: p.dir });
};

/** The ACL as getfacl(1) prints it, one entry a word; effective rights and the header are left out. */
function acl(p: Place, name: string): string {
  const text = tool('getfacl', ['-cnE', name], { cwd: p.dir });
  return text.trim().split(/\s+/).join(' ');
}

/** Makes, by a shell with this umask, a file and a directory. */
function makeUnder(p: Place, umask: string, dir: string): void {
  tool('sh', ['-c', `umask ${umask}; cd "$1"; : > file; mkdir dir`, 'sh', p.path(dir)]);
}

/** A directory that everybody may pass through. */
function open(p: Place, name: string): string {
  chmodSync(p.dir, 0o755);
  return p.directory(name);
}

export const aclCases: PosixCases = {
  'acl: a named user and a mask; the group bits of the mode are the mask': (p) => {
    chmodSync(p.file('f'), 0o640);
    setfacl(p, '-m', `u:${NAMED}:rwx,m::rw`, 'f');
    expect(acl(p, 'f')).toBe(`user::rw- user:${NAMED}:rwx group::r-- mask::rw- other::---`);
    expect(mode(p, 'f')).toBe(0o660);
  },
  'acl: decides access of the named user and nobody else': (p) => {
    chmodSync(p.dir, 0o755);
    chmodSync(p.file('f', 'text'), 0o600);
    setfacl(p, '-m', `u:${NAMED}:r`, 'f');
    const as = (uid: number, flags: number) => sysAs(uid, 'open', p.path('f'), flags, 0).errno;
    expect([as(NAMED, O_RDONLY), as(NAMED, O_RDWR), as(OTHER, O_RDONLY)]).toEqual(['0', 'EACCES', 'EACCES']);
    setfacl(p, '-x', `u:${NAMED}`, 'f');
    expect(as(NAMED, O_RDONLY)).toBe('EACCES');
  },
  'acl: the mask takes rights away from named users and groups': (p) => {
    chmodSync(p.dir, 0o755);
    chmodSync(p.file('f'), 0o600);
    setfacl(p, '-m', `u:${NAMED}:rw,g:${OTHER}:rw,m::r`, 'f');
    const as = (uid: number, flags: number) => sysAs(uid, 'open', p.path('f'), flags, 0).errno;
    expect([as(NAMED, O_RDONLY), as(NAMED, O_RDWR)]).toEqual(['0', 'EACCES']);
    expect([as(OTHER, O_RDONLY), as(OTHER, O_RDWR)]).toEqual(['0', 'EACCES']);
  },
  'acl: chmod changes owner, mask and others, and leaves the rest': (p) => {
    p.file('f');
    setfacl(p, '-m', `u:${NAMED}:rwx,g::rx`, 'f');
    chmodSync(p.path('f'), 0o4741);
    expect(acl(p, 'f')).toBe(`user::rwx user:${NAMED}:rwx group::r-x mask::r-- other::--x`);
    expect(mode(p, 'f')).toBe(0o4741);
  },
  'acl: without a mask chmod changes the group entry': (p) => {
    p.file('f');
    chmodSync(p.path('f'), 0o751);
    expect(acl(p, 'f')).toBe('user::rwx group::r-x other::--x');
  },
  'acl: one that the mode can say is not kept': (p) => {
    p.file('f');
    setfacl(p, '-m', `u:${NAMED}:r`, 'f');
    setfacl(p, '--set', 'u::rwx,g::r,o::-', 'f');
    expect(mode(p, 'f')).toBe(0o740);
    expect(sys('getxattr', p.path('f'), 'system.posix_acl_access', 4096).errno).toBe('ENODATA');
  },
  'acl: taking it away leaves the mode, which then means the group': (p) => {
    chmodSync(p.file('f'), 0o600);
    setfacl(p, '-m', `u:${NAMED}:rw`, 'f');
    expect(sys('removexattr', p.path('f'), 'system.posix_acl_access').errno).toBe('0');
    expect([acl(p, 'f'), mode(p, 'f')]).toEqual(['user::rw- group::rw- other::---', 0o660]);
  },
  'acl: a file inherits the default ACL instead of the umask': (p) => {
    open(p, 'd');
    setfacl(p, '-d', '-m', `u::rwx,u:${NAMED}:rwx,g::rx,o::rx`, 'd');
    makeUnder(p, '077', 'd');
    expect(acl(p, 'd/file')).toBe(`user::rw- user:${NAMED}:rwx group::r-x mask::rw- other::r--`);
    expect(mode(p, 'd/file')).toBe(0o664);
    const asUser = sysAs(NAMED, 'open', p.path('d/file'), O_RDWR, 0).errno;
    expect(asUser).toBe('0');
  },
  'acl: a directory inherits it as access and as default ACL': (p) => {
    p.directory('d');
    setfacl(p, '-d', '-m', `u:${NAMED}:rx,g::-,o::-`, 'd');
    makeUnder(p, '027', 'd');
    const both = `user:${NAMED}:r-x group::--- mask::r-x other::---`;
    const defaults = both.replaceAll(/(\S+)/g, 'default:$1');
    expect(acl(p, 'd/dir')).toBe(`user::rwx ${both} default:user::rwx ${defaults}`);
    mkdirSync(p.path('d/dir/deeper'));
    expect(acl(p, 'd/dir/deeper')).toBe(acl(p, 'd/dir'));
  },
  'acl: a default ACL of three entries only limits the mode': (p) => {
    p.directory('d');
    setfacl(p, '-d', '--set', 'u::rwx,g::r,o::-', 'd');
    makeUnder(p, '0', 'd');
    expect([mode(p, 'd/file'), mode(p, 'd/dir')]).toEqual([0o640, 0o740]);
    expect(sys('getxattr', p.path('d/file'), 'system.posix_acl_access', 4096).errno).toBe('ENODATA');
  },
  'acl: FIFOs and files without a name inherit, symbolic links do not': (p) => {
    const d = p.directory('d');
    setfacl(p, '-d', '-m', `u:${NAMED}:rw,g::r,o::-`, 'd');
    sys('mknod', `${d}/fifo`, 0o10666, 0, 0);
    expect(acl(p, 'd/fifo')).toBe(`user::rw- user:${NAMED}:rw- group::r-- mask::rw- other::---`);
    expect(sys('tmpfile', d, `${d}/named`, 'text').ret).toBe(0);
    expect(acl(p, 'd/named')).toBe(`user::rw- user:${NAMED}:rw- group::r-- mask::r-- other::---`);
    symlinkSync('nowhere', `${d}/link`);
    expect(sys('statx', `${d}/link`).mode).toBe(0o120777);
  },
  'acl: the umask applies where there is no default ACL, to every kind': (p) => {
    const d = p.directory('d');
    makeUnder(p, '0137', 'd');
    expect([mode(p, 'd/file'), mode(p, 'd/dir')]).toEqual([0o640, 0o640]);
    sys('mknod', `${d}/fifo`, 0o10666, 0, 0);
    expect(mode(p, 'd/fifo')).toBe(0o666 & ~process.umask());
  },
  'acl: removing the default ACL, also one that is not there': (p) => {
    p.directory('d');
    setfacl(p, '-d', '-m', `u:${NAMED}:rw`, 'd');
    setfacl(p, '-k', 'd');
    setfacl(p, '-k', 'd');
    expect(acl(p, 'd')).toBe('user::rwx group::r-x other::r-x');
  },
  'acl: a default ACL of a file is refused': (p) => {
    p.file('f');
    expect(run('setfacl', ['-d', '-m', `u:${NAMED}:r`, p.path('f')]).status).toBe(1);
  },
  'acl: an owner outside the group loses set-group-ID by setting one': (p) => {
    chmodSync(p.dir, 0o755);
    p.file('f');
    chownSync(p.path('f'), NAMED, OTHER);
    chmodSync(p.path('f'), 0o2755);
    const as = ['--reuid', `${NAMED}`, '--regid', `${NAMED}`, '--clear-groups', '--inh-caps=-all'];
    tool('setpriv', [...as, 'setfacl', '-m', `u:${OTHER}:r`, p.path('f')]);
    expect(mode(p, 'f')).toBe(0o755);
    chmodSync(p.path('f'), 0o2755);
    setfacl(p, '-m', `u:${OTHER}:rw`, 'f');
    expect(mode(p, 'f')).toBe(0o2775);
  },
  'acl: only the owner sets it': (p) => {
    chmodSync(p.dir, 0o755);
    chmodSync(p.file('f'), 0o666);
    const value = sysAs(NAMED, 'setxattr', p.path('f'), 'system.posix_acl_access', 'no acl', 0);
    expect(value.errno).toMatch(/^(EPERM|EOPNOTSUPP|EINVAL)$/);
  },
  'acl: named in the list of attributes': (p) => {
    p.file('f');
    setfacl(p, '-m', `u:${NAMED}:r`, 'f');
    const names = Buffer.from(String(sys('listxattr', p.path('f'), 1000).bytes), 'hex').toString();
    expect(names.split('\0')).toContain('system.posix_acl_access');
  },
  'acl: a copy with cp -p has it, one without has not': (p) => {
    chmodSync(p.file('f'), 0o640);
    setfacl(p, '-m', `u:${NAMED}:rw`, 'f');
    tool('cp', ['-p', p.path('f'), p.path('kept')]);
    expect(acl(p, 'kept')).toBe(acl(p, 'f'));
    writeFileSync(p.path('plain'), '');
    expect(acl(p, 'plain')).toBe('user::rw- group::r-- other::r--');
  },
  'acl: O_CREAT by the named user in a directory that only the ACL opens': (p) => {
    chmodSync(open(p, 'd'), 0o700);
    expect(sysAs(NAMED, 'open', p.path('d/f'), O_CREAT | O_RDWR, 0o600).errno).toBe('EACCES');
    setfacl(p, '-m', `u:${NAMED}:rwx`, 'd');
    expect(sysAs(NAMED, 'open', p.path('d/f'), O_CREAT | O_RDWR, 0o600).errno).toBe('0');
  },
};
