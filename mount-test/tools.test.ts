import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Mounted, withMount } from './support/harness.js';
import { run, tool } from './support/run.js';

const ROOT = resolve(import.meta.dirname, '..');

/** Content, link, mode, owner and time of everything below a directory, one line each, in a fixed order. */
const listing = (dir: string): string =>
  tool('sh', ['-c', `cd "$1" && find . -printf '%P %y %m %U %G %n %s %l %T@\\n' | LC_ALL=C sort`, 'sh', dir]);

/** A small tree with a bit of everything, made with ordinary system calls. */
function makeTree(dir: string): void {
  mkdirSync(`${dir}/deep/er/still`, { recursive: true });
  writeFileSync(`${dir}/empty`, '');
  writeFileSync(`${dir}/one`, 'x');
  writeFileSync(`${dir}/deep/page`, randomBytes(4096));
  writeFileSync(`${dir}/deep/er/large`, randomBytes(1_234_567));
  tool('sh', [
    '-c',
    `cd "$1" && ln one hard && ln -s deep/page link && ln -s /nowhere dangling && mkfifo pipe &&
     chmod 4711 one && chmod 0 empty && touch -d '1999-12-31 23:59:58.123456789' deep/page deep/er &&
     truncate -s 3M sparse && printf end | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none`,
    'sh',
    dir,
  ]);
}

function sourceTree(m: Mounted): string {
  const source = `${m.base}/source`;
  mkdirSync(source);
  makeTree(source);
  return source;
}

describe('ordinary tools', () => {
  it('cp -a of a tree keeps contents, modes, links, owners and times', () =>
    withMount({}, (m) => {
      const source = sourceTree(m);
      tool('cp', ['-a', source, m.path('copy')]);
      tool('diff', ['-r', '--no-dereference', `${source}/deep`, m.path('copy/deep')]);
      expect(readFileSync(m.path('copy/sparse')).equals(readFileSync(`${source}/sparse`))).toBe(true);
      // The top directory's size and a directory's link count are the filesystem's own affair.
      const comparable = (dir: string) =>
        listing(dir).replace(/ d (\d+) (\d+) (\d+) \d+ \d+/g, ' d $1 $2 $3');
      expect(comparable(m.path('copy'))).toBe(comparable(source));
    }));

  it('cp -a of this project with a part of its packages, then cp within the mount, then rm -r', () =>
    withMount({ size: '256M' }, (m) => {
      mkdirSync(m.path('tree'));
      for (const part of ['src', 'test', 'docs', 'node_modules/typescript'])
        tool('cp', ['-a', `${ROOT}/${part}`, m.path('tree')]);
      for (const part of ['src', 'test', 'typescript'])
        tool('diff', [
          '-r',
          part === 'typescript' ? `${ROOT}/node_modules/typescript` : `${ROOT}/${part}`,
          m.path('tree', part),
        ]);
      tool('cp', ['-a', m.path('tree'), m.path('twin')]);
      tool('diff', ['-r', m.path('tree'), m.path('twin')]);
      tool('rm', ['-r', m.path('tree'), m.path('twin')]);
      expect(tool('ls', ['-A', m.dir])).toBe('');
    }));

  it('mv renames, replaces and moves across filesystems', () =>
    withMount({}, (m) => {
      const source = sourceTree(m);
      tool('mv', [source, m.path('moved')]);
      tool('mv', [m.path('moved/deep'), m.path('elsewhere')]);
      expect(tool('ls', [m.path('elsewhere')])).toBe('er\npage\n');
      writeFileSync(m.path('new'), 'new');
      writeFileSync(m.path('old'), 'old');
      tool('mv', [m.path('new'), m.path('old')]);
      expect(readFileSync(m.path('old'), 'utf8')).toBe('new');
      expect(run('test', ['-e', m.path('new')]).status).toBe(1);
      tool('mv', [m.path('elsewhere'), `${m.base}/back`]);
      expect(run('test', ['-e', m.path('elsewhere')]).status).toBe(1);
    }));

  it('dd with odd sizes, with seek, with O_DIRECT and with O_APPEND', () =>
    withMount({}, (m) => {
      const data = randomBytes(300_000);
      writeFileSync(`${m.base}/data`, data);
      tool('dd', [`if=${m.base}/data`, `of=${m.path('odd')}`, 'bs=777', 'status=none']);
      expect(readFileSync(m.path('odd')).equals(data)).toBe(true);
      tool('dd', [
        `if=${m.base}/data`,
        `of=${m.path('odd')}`,
        'bs=1000',
        'count=1',
        'seek=5',
        'conv=notrunc',
        'status=none',
      ]);
      data.copy(data, 5000, 0, 1000);
      expect(readFileSync(m.path('odd')).equals(data)).toBe(true);
      const whole = randomBytes(64 * 4096);
      writeFileSync(`${m.base}/whole`, whole);
      tool('dd', [`if=${m.base}/whole`, `of=${m.path('direct')}`, 'bs=16384', 'oflag=direct', 'status=none']);
      tool('dd', [`if=${m.path('direct')}`, `of=${m.base}/back`, 'bs=8192', 'iflag=direct', 'status=none']);
      expect(readFileSync(`${m.base}/back`).equals(whole)).toBe(true);
      tool('dd', [
        `if=${m.base}/data`,
        `of=${m.path('direct')}`,
        'bs=1000',
        'count=1',
        'oflag=append',
        'conv=notrunc',
        'status=none',
      ]);
      expect(readFileSync(m.path('direct')).length).toBe(whole.length + 1000);
    }));

  it('tar from and to the mount gives the same tree', () =>
    withMount({}, (m) => {
      const source = sourceTree(m);
      tool('sh', ['-c', `tar -C ${source} -cf - . | tar -C ${m.dir} -xpf -`]);
      tool('tar', ['-C', m.dir, '--sort=name', '-cf', `${m.base}/out.tar`, '.']);
      tool('tar', ['-C', m.dir, '-df', `${m.base}/out.tar`]);
      mkdirSync(`${m.base}/again`);
      tool('tar', ['-C', `${m.base}/again`, '-xpf', `${m.base}/out.tar`]);
      expect(
        readFileSync(`${m.base}/again/deep/er/large`).equals(readFileSync(`${source}/deep/er/large`)),
      ).toBe(true);
      expect(tool('stat', ['-c', '%a %h', `${m.base}/again/one`])).toBe('4711 2\n');
    }));

  it('rsync -aH round trip, and again with nothing to do', () =>
    withMount({}, (m) => {
      const source = sourceTree(m);
      tool('rsync', ['-aHS', `${source}/`, m.path('there/')]);
      tool('rsync', ['-aHS', m.path('there/'), `${m.base}/back/`]);
      tool('diff', ['-r', '--no-dereference', `${source}/deep`, `${m.base}/back/deep`]);
      expect(tool('rsync', ['-aHSi', `${source}/`, m.path('there/')])).toBe('');
    }));

  it('gcc builds a program on the mount, which runs there', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a.c'), '#include <stdio.h>\nint main(void) { puts("built here"); return 0; }\n');
      tool('cc', ['-o', m.path('a.out'), m.path('a.c')]);
      expect(tool(m.path('a.out'), [])).toBe('built here\n');
    }));
});

describe('git', () => {
  const git = (m: Mounted, ...args: string[]) =>
    tool('git', ['-C', m.path('repo'), '-c', 'user.name=T', '-c', 'user.email=t@example.org', ...args]);

  it('init, add, commit, gc, fsck and clone', () =>
    withMount({ size: '128M' }, (m) => {
      tool('git', ['init', '-q', m.path('repo')]);
      cpSync(`${ROOT}/src`, m.path('repo/src'), { recursive: true });
      // git keeps no empty directories.
      tool('find', [m.path('repo/src'), '-type', 'd', '-empty', '-delete']);
      git(m, 'add', '.');
      git(m, 'commit', '-q', '-m', 'first');
      for (let i = 0; i < 5; i++) {
        writeFileSync(m.path('repo/changing'), randomBytes(20_000));
        git(m, 'add', '.');
        git(m, 'commit', '-q', '-m', `change ${i}`);
      }
      git(m, 'gc', '-q', '--aggressive');
      git(m, 'fsck', '--full', '--strict');
      expect(git(m, 'status', '--porcelain')).toBe('');
      expect(git(m, 'rev-list', '--count', 'HEAD')).toBe('6\n');
      tool('git', ['clone', '-q', m.path('repo'), m.path('clone')]);
      tool('diff', ['-r', m.path('repo/src'), m.path('clone/src')]);
    }));
});

describe('sqlite3', () => {
  const FILL = `
    PRAGMA mmap_size=67108864;
    CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5000)
      INSERT INTO t SELECT i, hex(randomblob(100)) FROM n;
    CREATE INDEX b ON t(body);
    DELETE FROM t WHERE id % 3 = 0;
    UPDATE t SET body = body || 'x' WHERE id % 2 = 0;
    VACUUM;`;

  for (const journal of ['delete', 'wal'])
    it(`journal_mode=${journal} with mmap_size, integrity_check, also after a remount`, () =>
      withMount({}, async (m) => {
        const sql = (text: string) => tool('sqlite3', [m.path('db'), text]).trim();
        sql(`PRAGMA journal_mode=${journal};${FILL}`);
        expect(sql('PRAGMA mmap_size=67108864; PRAGMA integrity_check;')).toMatch(/^67108864\nok$/);
        const sum = sql('SELECT count(*), sum(length(body)) FROM t');
        expect(sum.split('|')[0]).toBe('3334');
        await m.remount();
        expect(sql('SELECT count(*), sum(length(body)) FROM t')).toBe(sum);
        expect(sql('PRAGMA integrity_check')).toBe('ok');
      }));
});
