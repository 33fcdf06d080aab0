import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { expect } from 'vitest';
import { errnoOfCall, sys } from '../support/run.js';
import type { PosixCases } from './place.js';

const NOREPLACE = 1;
const EXCHANGE = 2;
const WHITEOUT = 4;
const rename = (from: string, to: string): string => errnoOfCall(() => renameSync(from, to));

export const renameCases: PosixCases = {
  'rename: replaces a file; the old inode is gone': (p) => {
    const ino = statSync(p.file('a', 'new')).ino;
    p.file('b', 'old');
    renameSync(p.path('a'), p.path('b'));
    expect(readFileSync(p.path('b'), 'utf8')).toBe('new');
    expect(statSync(p.path('b')).ino).toBe(ino);
    expect(readdirSync(p.dir)).toEqual(['b']);
  },
  'rename: onto a link to the same inode does nothing': (p) => {
    linkSync(p.file('a'), p.path('b'));
    expect(rename(p.path('a'), p.path('b'))).toBe('0');
    expect(readdirSync(p.dir).sort()).toEqual(['a', 'b']);
  },
  'rename: a name onto itself does nothing': (p) => {
    expect(rename(p.file('a', 'x'), p.path('a'))).toBe('0');
    expect(readFileSync(p.path('a'), 'utf8')).toBe('x');
  },
  'rename: file over directory EISDIR, directory over file ENOTDIR': (p) => {
    expect(rename(p.file('f'), p.directory('d'))).toBe('EISDIR');
    expect(rename(p.path('d'), p.path('f'))).toBe('ENOTDIR');
  },
  'rename: directory over an empty directory works, over a full one ENOTEMPTY': (p) => {
    mkdirSync(p.path('full/child'), { recursive: true });
    p.directory('empty');
    expect(rename(p.directory('d'), p.path('full'))).toMatch(/^(ENOTEMPTY|EEXIST)$/);
    expect(rename(p.path('d'), p.path('empty'))).toBe('0');
    expect(readdirSync(p.dir).sort()).toEqual(['empty', 'full']);
  },
  'rename: a directory into itself or its child is EINVAL': (p) => {
    mkdirSync(p.path('d/e'), { recursive: true });
    expect(rename(p.path('d'), p.path('d/e/f'))).toBe('EINVAL');
    expect(rename(p.path('d'), p.path('d/x'))).toBe('EINVAL');
  },
  'rename: a child over its ancestor is ENOTEMPTY': (p) => {
    mkdirSync(p.path('d/e'), { recursive: true });
    expect(rename(p.path('d/e'), p.path('d'))).toMatch(/^(ENOTEMPTY|EEXIST)$/);
  },
  'rename: a directory to another parent changes ".." and the link counts': (p) => {
    p.directory('from');
    p.directory('to');
    mkdirSync(p.path('from/d'));
    renameSync(p.path('from/d'), p.path('to/d'));
    expect(statSync(p.path('to/d/..')).ino).toBe(statSync(p.path('to')).ino);
    expect([p.path('from'), p.path('to')].map((path) => statSync(path).nlink)).toEqual([2, 3]);
  },
  'rename: a symbolic link moves itself, not its target': (p) => {
    p.file('f', 'x');
    symlinkSync('f', p.path('l'));
    renameSync(p.path('l'), p.path('m'));
    expect(readlinkSync(p.path('m'))).toBe('f');
  },
  'rename: ENOENT of a missing source, and nothing is replaced': (p) => {
    expect(rename(p.path('none'), p.file('f', 'kept'))).toBe('ENOENT');
    expect(readFileSync(p.path('f'), 'utf8')).toBe('kept');
  },
  'renameat2 NOREPLACE: EEXIST, or moves': (p) => {
    p.file('a', 'a');
    p.file('b', 'b');
    expect(sys('renameat2', p.path('a'), p.path('b'), NOREPLACE).errno).toBe('EEXIST');
    expect(sys('renameat2', p.path('a'), p.path('c'), NOREPLACE).errno).toBe('0');
    expect(readdirSync(p.dir).sort()).toEqual(['b', 'c']);
  },
  'renameat2 EXCHANGE: of a file and a directory in two directories': (p) => {
    mkdirSync(p.path('x/dir/child'), { recursive: true });
    p.directory('y');
    p.file('y/file', 'f');
    expect(sys('renameat2', p.path('x/dir'), p.path('y/file'), EXCHANGE).errno).toBe('0');
    expect(readFileSync(p.path('x/dir'), 'utf8')).toBe('f');
    expect(readdirSync(p.path('y/file'))).toEqual(['child']);
    expect([p.path('x'), p.path('y')].map((path) => statSync(path).nlink)).toEqual([2, 3]);
    expect(statSync(p.path('y/file/..')).ino).toBe(statSync(p.path('y')).ino);
  },
  'renameat2 EXCHANGE: with nothing there is ENOENT, with NOREPLACE EINVAL': (p) => {
    p.file('a');
    expect(sys('renameat2', p.path('a'), p.path('none'), EXCHANGE).errno).toBe('ENOENT');
    p.file('b');
    expect(sys('renameat2', p.path('a'), p.path('b'), EXCHANGE | NOREPLACE).errno).toBe('EINVAL');
  },
  'renameat2 WHITEOUT: leaves a character device 0/0': (p) => {
    p.file('a', 'moved');
    expect(sys('renameat2', p.path('a'), p.path('b'), WHITEOUT).errno).toBe('0');
    const left = sys('statx', p.path('a'));
    expect([Number(left.mode) & 0o170000, left.rdev]).toEqual([0o20000, [0, 0]]);
    expect(readFileSync(p.path('b'), 'utf8')).toBe('moved');
  },
};
