import {
  appendFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Mounted, withMount } from './support/harness.js';
import { sys, tool } from './support/run.js';

const ROOT = resolve(import.meta.dirname, '..');
/** The whole long test: npm ci compiles the addon. */
const LONG_MS = 20 * 60_000;

describe('LMDB', () => {
  const record = (i: number): string => ` key-${String(i).padStart(6, '0')}\n ${`value ${i} `.repeat(12)}\n`;

  it('load, dump, copy with compaction; what mdb_load committed is there after kill -9', () =>
    withMount({}, async (m) => {
      const records = Array.from({ length: 8000 }, (_, i) => record(i)).join('');
      writeFileSync(
        `${m.base}/in`,
        `VERSION=3\nformat=print\ntype=btree\nmapsize=33554432\nHEADER=END\n${records}DATA=END\n`,
      );
      mkdirSync(m.path('db'));
      tool('mdb_load', ['-f', `${m.base}/in`, m.path('db')]);
      const dump = tool('mdb_dump', ['-p', m.path('db')]);
      expect(dump).toContain(records);
      await m.kill9();
      m.mount();
      expect(tool('mdb_dump', ['-p', m.path('db')])).toBe(dump);
      expect(tool('mdb_stat', [m.path('db')])).toMatch(/Entries: 8000/);
      mkdirSync(m.path('copy'));
      tool('mdb_copy', ['-c', m.path('db'), m.path('copy')]);
      expect(tool('mdb_dump', ['-p', m.path('copy')])).toContain(records);
      // mdb_load again, over what is there: pages are freed and used again, read through the mapping.
      tool('mdb_load', ['-f', `${m.base}/in`, m.path('db')]);
      expect(tool('mdb_dump', ['-p', m.path('db')])).toContain(records);
    }));
});

describe('editing in place', () => {
  const LINES = Array.from({ length: 3000 }, (_, i) => `line ${i} old\n`).join('');
  const EDITED = LINES.replaceAll('old', 'new');

  const file = (m: Mounted): string => {
    writeFileSync(m.path('f'), LINES, { mode: 0o640 });
    linkSync(m.path('f'), m.path('hard'));
    return m.path('f');
  };

  it.each([
    ['no', 1],
    ['yes', 2],
  ])('vim with backupcopy=%s, with a swap file and a backup', (backupcopy, links) =>
    withMount({}, (m) => {
      const path = file(m);
      const commands = [`set backup backupcopy=${backupcopy} directory=. backupdir=.`, '%s/old/new/', 'wq'];
      tool('vim.tiny', ['-u', 'NONE', '-e', '-s', ...commands.flatMap((command) => ['-c', command]), path]);
      expect(readFileSync(path, 'utf8')).toBe(EDITED);
      expect(readFileSync(`${path}~`, 'utf8')).toBe(LINES);
      expect(statSync(path)).toMatchObject({ mode: 0o100640, nlink: links });
      expect(readFileSync(m.path('hard'), 'utf8')).toBe(links === 2 ? EDITED : LINES);
      expect(readdirSync(m.dir).sort()).toEqual(['f', 'f~', 'hard']);
    }),
  );

  it('sed -i with and without a suffix', () =>
    withMount({}, (m) => {
      const path = file(m);
      tool('sed', ['-i.orig', 's/old/new/', path]);
      expect([readFileSync(path, 'utf8'), readFileSync(`${path}.orig`, 'utf8')]).toEqual([EDITED, LINES]);
      expect(statSync(path)).toMatchObject({ mode: 0o100640, nlink: 1 });
      tool('sed', ['-i', 's/new/old/', path]);
      expect(readFileSync(path, 'utf8')).toBe(LINES);
      expect(readdirSync(m.dir).sort()).toEqual(['f', 'f.orig', 'hard']);
    }));
});

describe('rsync', () => {
  it('-aHAX there and back: hard links, ACLs and extended attributes, then nothing to do', () =>
    withMount({}, (m) => {
      const from = m.path('from');
      mkdirSync(`${from}/d/e`, { recursive: true });
      for (const name of ['one', 'd/two', 'd/e/three']) writeFileSync(`${from}/${name}`, name.repeat(5000));
      linkSync(`${from}/one`, `${from}/d/hard`);
      tool('setfacl', ['-m', 'u:12345:rw-,m::rw-', `${from}/one`]);
      tool('setfacl', ['-d', '-m', 'g:321:r-x', `${from}/d`]);
      for (const name of ['user.a', 'trusted.b', 'security.c'])
        sys('setxattr', `${from}/d/two`, name, name, 0);
      // rsync leaves the times of a directory that differ by less than a second.
      tool('find', [from, '-exec', 'touch', '-h', '-d', '@1000000000.123456789', '{}', '+']);
      const itemized = (...args: string[]): string => tool('rsync', ['-aHAXi', ...args]);
      const facts = (dir: string): unknown => [
        tool('sh', [
          '-c',
          'cd "$1" && getfacl -Rn . && find . -printf "%P %n %s %m %T@\\n" | sort',
          'sh',
          dir,
        ]),
        ['user.a', 'trusted.b', 'security.c'].map((name) => sys('getxattr', `${dir}/d/two`, name, 100).bytes),
      ];
      expect(itemized(`${from}/`, m.path('there/'))).not.toBe('');
      expect(itemized(m.path('there/'), m.path('back/'))).not.toBe('');
      expect(facts(m.path('back'))).toEqual(facts(from));
      expect(itemized('--checksum', `${from}/`, m.path('back/'))).toBe('');
      appendFileSync(`${from}/one`, 'more');
      itemized('--inplace', `${from}/`, m.path('back/'));
      expect(facts(m.path('back'))).toEqual(facts(from));
    }));
});

describe('find, du and df', () => {
  /** df counts the nodes of the trees as well, by chunks of 64 blocks that stay: so few names need two at most. */
  const METADATA_BLOCKS_MAX = 3 * 64;

  it('agree on what there is: names, blocks and inodes', () =>
    withMount({}, (m) => {
      const numbers = (program: string, args: string[]): number[] =>
        (tool(program, args).match(/\d+/g) ?? []).map(Number);
      const used = (): number[] => {
        tool('sync', [m.dir]);
        return [
          ...numbers('df', ['-B4096', '--output=used', m.dir]),
          ...numbers('df', ['--output=iused', m.dir]),
        ];
      };
      const [blocksBefore, inodesBefore] = used();
      for (let i = 0; i < 60; i++) {
        mkdirSync(m.path(`d${i}`));
        writeFileSync(m.path(`d${i}/f`), Buffer.alloc(i * 3000, 'x'));
        tool('truncate', ['-s', '10M', m.path(`d${i}/f`)]);
      }
      linkSync(m.path('d59/f'), m.path('d0/hard'));
      const [blocks, inodes] = used();
      expect(inodes - inodesBefore).toBe(120);
      expect(tool('find', [m.dir, '-mindepth', '1', '-printf', 'x'])).toHaveLength(121);
      expect(numbers('du', ['--inodes', '-s', m.dir])[0]).toBe(inodes);
      const data = Array.from({ length: 60 }, (_, i) => Math.ceil((i * 3000) / 4096)).reduce((a, b) => a + b);
      expect(numbers('du', ['-s', '-B4096', m.dir])[0]).toBe(data);
      expect(numbers('du', ['-s', '-B1M', '--apparent-size', m.dir])[0]).toBeGreaterThanOrEqual(600);
      expect(blocks - blocksBefore).toBeGreaterThanOrEqual(data);
      expect(blocks - blocksBefore).toBeLessThan(data + METADATA_BLOCKS_MAX);
      tool('sh', ['-c', 'rm -r "$1"/d*', 'sh', m.dir]);
      expect(used()[1]).toBe(inodesBefore);
      expect(used()[0]).toBeLessThan(blocksBefore + METADATA_BLOCKS_MAX);
    }));
});

// npm ci fetches the packages and compiles the addon: minutes, and a network.
if (process.env.RMAPFS_LONG)
  describe('this project', () => {
    it(
      'is cloned, installed with npm ci, built, checked and tested on the mount',
      () =>
        withMount({ size: '2G', limitMs: LONG_MS }, (m) => {
          tool('git', ['clone', '-q', ROOT, m.path('rmapfs')]);
          const npm = (...args: string[]): string =>
            tool('npm', args, { cwd: m.path('rmapfs'), timeout: LONG_MS });
          npm('ci', '--no-audit', '--no-fund');
          npm('run', 'typecheck');
          const built = tool(m.path('rmapfs/dist/cli/main.js'), ['mkfs', m.path('region'), '--size', '16M']);
          expect(built).not.toBe('');
          expect(npm('exec', '--', 'vitest', 'run', '--project', 'unit', 'test/media')).toMatch(
            /Tests .*passed/,
          );
        }),
      LONG_MS,
    );
  });
