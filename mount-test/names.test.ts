import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Mounted, withMount } from './support/harness.js';
import { errnoOfCall, sys, tool } from './support/run.js';

const bytes = (m: Mounted, name: Buffer): Buffer => Buffer.concat([Buffer.from(`${m.dir}/`), name]);

describe('names', () => {
  it('of every byte but "/" and NUL, and of 255 bytes that are not UTF-8', () =>
    withMount({}, async (m) => {
      const names = [Buffer.alloc(255, 0xff), Buffer.alloc(255, 'n'), Buffer.from(' \t\n\\"*?')];
      for (let byte = 1; byte < 256; byte++)
        if (byte !== 0x2f && byte !== 0x2e) names.push(Buffer.from([byte]));
      for (const name of names) writeFileSync(bytes(m, name), name);
      await m.remount();
      for (const name of names) expect(readFileSync(bytes(m, name)).equals(name)).toBe(true);
      const listed = readdirSync(m.dir, 'buffer').map((name) => name.toString('hex'));
      expect(listed.sort()).toEqual(names.map((name) => name.toString('hex')).sort());
      for (const name of names) unlinkSync(bytes(m, name));
      expect(readdirSync(m.dir)).toEqual([]);
    }));

  it('of 256 bytes are refused everywhere', () =>
    withMount({}, (m) => {
      const long = m.path('x'.repeat(256));
      writeFileSync(m.path('f'), '');
      const calls = [
        () => writeFileSync(long, ''),
        () => mkdirSync(long),
        () => symlinkSync('t', long),
        () => linkSync(m.path('f'), long),
        () => renameSync(m.path('f'), long),
        () => statSync(long),
      ];
      expect(calls.map(errnoOfCall)).toEqual(calls.map(() => 'ENAMETOOLONG'));
    }));
});

describe('large directories', () => {
  const COUNT = 20_000;

  it('20,000 entries: the list is complete, cookies lead back, all can be found and removed', () =>
    withMount({ size: '256M' }, async (m) => {
      mkdirSync(m.path('d'));
      expect(sys('create_many', m.path('d'), 'entry-', COUNT).ret).toBe(COUNT);
      const expected = Array.from({ length: COUNT }, (_, i) => `entry-${String(i).padStart(6, '0')}`);
      expect(readdirSync(m.path('d')).sort()).toEqual(expected);
      const cookies = () => sys('telldir', m.path('d'), COUNT + 10, 997);
      expect(cookies()).toMatchObject({ ret: COUNT + 2, wrong: 0 });
      await m.remount();
      expect(cookies()).toMatchObject({ ret: COUNT + 2, wrong: 0 });
      expect(
        tool('find', [m.path('d'), '-type', 'f', '-size', '0', '-name', 'entry-*9']).split('\n').length,
      ).toBe(2001);
      for (const name of expected.filter((_, i) => i % 2 === 0)) unlinkSync(m.path('d', name));
      expect(readdirSync(m.path('d')).sort()).toEqual(expected.filter((_, i) => i % 2 === 1));
      tool('rm', ['-r', m.path('d')]);
      expect(readdirSync(m.dir)).toEqual([]);
    }));

  it('removing while listing neither loses nor repeats an entry', () =>
    withMount({}, (m) => {
      mkdirSync(m.path('d'));
      sys('create_many', m.path('d'), 'e', 3000);
      tool('find', [m.path('d'), '-type', 'f', '-delete']);
      expect(readdirSync(m.path('d'))).toEqual([]);
      rmdirSync(m.path('d'));
    }));
});

describe('trees and links', () => {
  it('200 directories deep', () =>
    withMount({}, async (m) => {
      tool('sh', [
        '-c',
        `cd "$1" && for i in $(seq 200); do mkdir d && cd d || exit 1; done; echo bottom > f`,
        'sh',
        m.dir,
      ]);
      const deep = m.path(...Array.from({ length: 200 }, () => 'd'), 'f');
      expect(readFileSync(deep, 'utf8')).toBe('bottom\n');
      await m.remount();
      expect(readFileSync(deep, 'utf8')).toBe('bottom\n');
      tool('rm', ['-r', m.path('d')]);
    }));

  it('5,000 hard links to one file', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), 'linked');
      for (let i = 1; i < 5000; i++) linkSync(m.path('f'), m.path(`l${i}`));
      expect(statSync(m.path('l4999')).nlink).toBe(5000);
      await m.remount();
      expect(statSync(m.path('f')).nlink).toBe(5000);
      for (let i = 1; i < 5000; i++) unlinkSync(m.path(`l${i}`));
      expect(statSync(m.path('f')).nlink).toBe(1);
      expect(readFileSync(m.path('f'), 'utf8')).toBe('linked');
    }));

  it('symbolic links of 1, 1000 and 4095 bytes', () =>
    withMount({}, async (m) => {
      for (const length of [1, 1000, 4095]) symlinkSync('s'.repeat(length), m.path(`l${length}`));
      await m.remount();
      for (const length of [1, 1000, 4095])
        expect(readlinkSync(m.path(`l${length}`))).toBe('s'.repeat(length));
    }));
});
