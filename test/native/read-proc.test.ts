import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { processesMapping, readFileInto } from '../../src/native.js';

const dir = mkdtempSync(join(tmpdir(), 'rmapfs-read-'));
afterAll(() => rmSync(dir, { recursive: true }));
const path = join(dir, 'file');
writeFileSync(path, 'abcdefgh');

describe('readFileInto', () => {
  it('fills the buffer, from a position on', () => {
    const into = Buffer.alloc(4, '.');
    expect([readFileInto(path, into), into.toString()]).toEqual([4, 'abcd']);
    expect([readFileInto(path, into, 2), into.toString()]).toEqual([4, 'cdef']);
  });

  it('says how much there was', () => {
    const into = Buffer.alloc(4, '.');
    expect([readFileInto(path, into, 6), into.toString()]).toEqual([2, 'gh..']);
    expect(readFileInto(path, into, 8)).toBe(0);
    expect(readFileInto(path, into, 2 ** 40)).toBe(0);
    expect(readFileInto(path, Buffer.alloc(0))).toBe(0);
  });

  it('reads what the kernel makes up piece by piece', () => {
    const into = Buffer.alloc(2 ** 20);
    const length = readFileInto('/proc/self/maps', into);
    expect(length).toBeGreaterThan(4096);
    expect(into.toString('latin1', 0, length)).toMatch(/\[stack\]/);
  });

  it('throws with code, call and path', () => {
    const into = Buffer.alloc(1);
    const call = (syscall: string, code: string, args: unknown[]) =>
      expect(() => (readFileInto as (...args: unknown[]) => unknown)(...args)).toThrow(
        expect.objectContaining({ syscall, code }),
      );
    call('open', 'ENOENT', [join(dir, 'none'), into]);
    call('pread', 'EISDIR', [dir, into]);
    call('readFileInto', 'EINVAL', [7, into]);
    call('readFileInto', 'EINVAL', [path, 'no buffer']);
    call('readFileInto', 'EINVAL', [path, into, -1]);
    call('readFileInto', 'EINVAL', [path, into, 0.5]);
    call('readFileInto', 'EINVAL', [`${path}\0`, into]);
  });
});

describe('processesMapping', () => {
  const root = join(dir, 'proc');
  const make = (name: string, maps: string | Buffer) => {
    mkdirSync(join(root, name), { recursive: true });
    writeFileSync(join(root, name, 'maps'), maps);
  };
  const look = (needle: string, except = 0) => processesMapping(root, Buffer.from(needle), except);

  it('names the processes that have the bytes, wherever they stand', () => {
    make('1', ' 00:1b ');
    make('2', 'nothing');
    make('3', '');
    make('4', `${'x'.repeat(65_533)} 00:1b ${'y'.repeat(100)}`);
    make('5', `${'x'.repeat(200_000)} 00:1b `);
    make('6', `${'x'.repeat(65_536)}00:1b `);
    make('7', ' 00:1b ');
    make('x8', ' 00:1b ');
    make('9x', ' 00:1b ');
    const found = look(' 00:1b ', 7);
    expect(found.pids.sort()).toEqual([1, 4, 5]);
    expect(found).toMatchObject({ processes: 6, ended: 0, unreadable: 0 });
  });

  it('every place of a needle in the chunks that a file is read in', () => {
    for (let at = 65_520; at < 65_560; at++) {
      make('4', Buffer.concat([Buffer.alloc(at), Buffer.from('needle'), Buffer.alloc(70_000)]));
      expect(look('needle').pids).toEqual([4]);
    }
  });

  it('counts what has gone and what cannot be read', () => {
    mkdirSync(join(root, '20'));
    mkdirSync(join(root, '21', 'maps'), { recursive: true });
    expect(look('no such bytes')).toMatchObject({ pids: [], ended: 1, unreadable: 1 });
  });

  it('refuses what it cannot look for, and a root that is none', () => {
    const code = (code: string) => expect.objectContaining({ code });
    expect(() => look('')).toThrow(code('EINVAL'));
    expect(() => look('x'.repeat(65))).toThrow(code('EINVAL'));
    expect(() => look('x', -1)).toThrow(code('EINVAL'));
    expect(() => processesMapping(join(dir, 'none'), Buffer.from('x'), 0)).toThrow(code('ENOENT'));
    expect(() => processesMapping(path, Buffer.from('x'), 0)).toThrow(code('ENOTDIR'));
  });

  it('finds the real ones', () => {
    const found = processesMapping('/proc', Buffer.from('[stack]'), 0);
    expect(found.pids).toContain(process.pid);
    expect(processesMapping('/proc', Buffer.from('[stack]'), process.pid).pids).not.toContain(process.pid);
  });
});
