import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { helper } from './support/compile.js';
import { cli, type Mounted, withMount } from './support/harness.js';
import { errnoOfCall, tool, waitFor } from './support/run.js';

const RECORD_BYTES = 64;

/** Numbers that a running fsynclog acknowledged. */
function startLog(m: Mounted): { acknowledged: () => number } {
  const child = m.spawn(helper('fsynclog'), [m.dir]);
  if (!child.stdout) throw new Error('fsynclog was started without pipes');
  let last = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (/^\d+$/.test(line)) last = Number(line);
  });
  return { acknowledged: () => last };
}

/**
 * Every acknowledged record must be whole; the log may have more, but nothing torn in what was acknowledged.
 */
function checkLog(dir: string, acknowledged: number): void {
  const log = readFileSync(`${dir}/log`, 'latin1');
  expect(log.length).toBeGreaterThanOrEqual(acknowledged * RECORD_BYTES);
  for (let n = 1; n <= acknowledged; n++) {
    const record = log.slice((n - 1) * RECORD_BYTES, n * RECORD_BYTES);
    expect(record.startsWith(`record ${String(n).padStart(10, '0')} .`), `record ${n} is "${record}"`).toBe(
      true,
    );
    if (n % 10 === 0) expect(readFileSync(`${dir}/file.${n}`, 'latin1')).toBe(record);
  }
}

describe('kill -9 of the daemon', () => {
  it('loses nothing that fsync acknowledged, five times in a row on one region', () =>
    withMount({}, async (m) => {
      for (let round = 0; round < 5; round++) {
        for (const name of readdirSync(m.dir)) unlinkSync(m.path(name));
        const { acknowledged } = startLog(m);
        const wanted = 40 + 37 * round;
        await waitFor(`${wanted} acknowledged records`, () => (acknowledged() >= wanted ? true : undefined));
        await m.kill9();
        m.mount();
        checkLog(m.dir, acknowledged());
      }
    }));

  it('leaves the last commit whole: a file is as it was or as it was written, and all can be read', () =>
    withMount({}, async (m) => {
      const old = randomBytes(500_000);
      writeFileSync(m.path('stable'), old);
      writeFileSync(m.path('replaced'), old);
      tool('sync', [m.dir]);
      const fresh = randomBytes(500_000);
      writeFileSync(m.path('incoming'), fresh);
      renameSync(m.path('incoming'), m.path('replaced'));
      for (let i = 0; i < 200; i++) writeFileSync(m.path(`junk${i}`), randomBytes(5000));
      await m.kill9();
      m.mount();
      expect(readFileSync(m.path('stable')).equals(old)).toBe(true);
      const replaced = readFileSync(m.path('replaced'));
      expect([old, fresh].some((data) => data.equals(replaced))).toBe(true);
      for (const name of readdirSync(m.dir)) readFileSync(m.path(name));
      expect(cli('info', m.dir, '--json').json<{ shutdown: unknown }>().shutdown).toBeFalsy();
    }));

  it('changes nothing of the last commit in place: names and attributes go in batches after the fsync', () =>
    withMount({}, async (m) => {
      const name = (n: number): string => m.path(`file ${String(n).padStart(4, '0')}`);
      const attributes = (command: string, length: number, from: number, to: number): void => {
        const files = Array.from({ length: to - from }, (_, i) => name(from + i));
        const value = `0x${'61'.repeat(length)}`;
        tool(
          'setfattr',
          command === 'set' ? ['-n', 'user.v', '-v', value, ...files] : ['-x', 'user.v', ...files],
        );
      };
      for (let n = 0; n < 400; n++) writeFileSync(name(n), `contents of ${n} `.repeat(20));
      attributes('set', 900, 200, 260);
      for (let round = 0; round < 4; round++) {
        const first = 50 * round;
        for (let n = first; n < first + 24; n++) unlinkSync(name(n));
        tool('sync', [m.dir]);
        for (let n = first + 24; n < first + 50; n++) unlinkSync(name(n));
        attributes(round % 2 === 0 ? 'remove' : 'set', 40, 200, 260);
        await m.kill9();
        expect(cli('fsck', m.region)).toMatchObject({ status: 0 });
        m.mount();
        for (let n = first + 24; n < 400; n++) {
          if (n < first + 50 && !existsSync(name(n))) continue;
          expect(readFileSync(name(n), 'utf8')).toBe(`contents of ${n} `.repeat(20));
        }
        for (let n = first + 24; n < first + 50; n++) if (existsSync(name(n))) unlinkSync(name(n));
        attributes('set', 900, 200, 260);
      }
    }));

  it('gives the space of unlinked open files back', () =>
    withMount({}, async (m) => {
      const free = () => cli('info', m.dir, '--json').json<{ blocks: { free: number } }>().blocks.free;
      tool('sync', [m.dir]);
      const before = free();
      const holder = m.spawn('sh', [
        '-c',
        `exec 3>"$1"; head -c 8000000 /dev/zero >&3; rm "$1"; sync "$2"; echo; read x`,
        'sh',
        m.path('f'),
        m.dir,
      ]);
      await waitFor('the unlinked file', () => (holder.stdout?.read() ? true : undefined));
      expect(existsSync(m.path('f'))).toBe(false);
      expect(before - free()).toBeGreaterThan(1900);
      await m.kill9();
      m.mount();
      expect(before - free()).toBeLessThan(64);
    }));

  it('makes waiting and later calls fail with ENOTCONN until the mount is cleared', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), 'x');
      process.kill(m.daemonPid, 'SIGKILL');
      await waitFor('ENOTCONN', () =>
        errnoOfCall(() => readdirSync(m.dir)) === 'ENOTCONN' ? true : undefined,
      );
      const cleared = cli('umount', m.dir, '--force');
      expect(cleared.status, cleared.stderr).toBe(0);
      expect(readdirSync(m.dir)).toEqual([]);
      m.mount();
    }));
});
