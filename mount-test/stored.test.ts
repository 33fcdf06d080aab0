import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { helper } from './support/compile.js';
import { CLI, cli, killGroup, type Mounted, withMount } from './support/harness.js';
import { run, tool, waitFor } from './support/run.js';

/** What was stored through a mapping that stays open, and has not been written back by anybody. */

const EXEC = 'build/Release/rmapfs-exec';

/** Runs a test beside a process that has stored into every fourth page of a file, and keeps the mapping only. */
async function whileStored(m: Mounted, test: () => void): Promise<void> {
  const child = m.spawn(helper('storer'), [m.path('f')]);
  await waitFor('the stores', () => (child.stdout?.read() ? true : undefined));
  test();
  const ended = new Promise((resolve) => child.once('exit', resolve));
  killGroup(child);
  await ended;
}

const EXPECTED = Buffer.alloc(64 * 4096);
for (let page = 0; page < 64; page += 4)
  EXPECTED.write(`RECORD ${String(page).padStart(2, '0')}`, page * 4096);

const COPIES: Record<string, (from: string, to: string) => readonly [string, ...string[]]> = {
  cp: (from, to) => ['cp', from, to],
  'cp --reflink=never': (from, to) => ['cp', '--reflink=never', from, to],
  'cp --sparse=always': (from, to) => ['cp', '--sparse=always', from, to],
  'cp --reflink=always': (from, to) => [EXEC, 'cp', '--reflink=always', from, to],
  'tar -S': (from, to) => [
    'sh',
    '-c',
    `tar -Scf - -C "$(dirname ${from})" "$(basename ${from})" | tar -xOf - > ${to}`,
  ],
  'rsync -S': (from, to) => ['rsync', '-S', from, to],
};

describe('stores through a mapping that stays open', () => {
  for (const kind of ['hole', 'unwritten', 'shared']) {
    for (const [name, command] of Object.entries(COPIES)) {
      it(`${name} has them all, over ${kind} blocks`, () =>
        withMount({}, async (m) => {
          if (kind === 'shared') {
            writeFileSync(m.path('other'), Buffer.alloc(64 * 4096));
            tool('cp', [m.path('other'), m.path('f')]);
          } else {
            writeFileSync(m.path('f'), '');
            truncateSync(m.path('f'), 64 * 4096);
            if (kind === 'unwritten') tool('fallocate', ['-l', String(64 * 4096), m.path('f')]);
          }
          const [program, ...args] = command(m.path('f'), m.path('copy'));
          await whileStored(m, () => tool(program, args));
          expect(readFileSync(m.path('copy')).equals(EXPECTED)).toBe(true);
          if (kind === 'shared') expect(readFileSync(m.path('other')).every((byte) => byte === 0)).toBe(true);
        }));
    }
  }

  it('lseek, FIEMAP, extents, stat and owners see the blocks', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), '');
      truncateSync(m.path('f'), 64 * 4096);
      // The kernel has the attributes of an empty file.
      expect(tool('stat', ['-c', '%b', m.path('f')]).trim()).toBe('0');
      await whileStored(m, () => {
        expect(tool('stat', ['-c', '%b', m.path('f')]).trim()).toBe(String(16 * 8));
        const extents = cli('extents', m.path('f'), '--json').json<
          { physical: number; fileOffset: number }[]
        >();
        const expected = Array.from({ length: 16 }, (_, i) => 4 * i);
        expect(extents.map(({ fileOffset }) => fileOffset / 4096)).toEqual(expected);
        expect(tool(EXEC, ['filefrag', '-v', m.path('f')]).match(/^ +\d+:/gm)).toHaveLength(16);
        const at = ['--offset', String(extents[3].physical), '--length', '4096'];
        const owners = cli('owners', m.dir, ...at, '--json').json();
        expect(owners).toMatchObject([{ kind: 'file', paths: ['/f'], fileOffset: 12 * 4096 }]);
      });
    }));

  it.each(['hole', 'shared'])('poison by file offset finds the block of a page over a %s block', (kind) =>
    withMount({}, async (m) => {
      writeFileSync(m.path('f'), '');
      truncateSync(m.path('f'), 64 * 4096);
      if (kind === 'shared') {
        writeFileSync(m.path('other'), Buffer.alloc(64 * 4096, 'o'));
        tool('cp', [m.path('other'), m.path('f')]);
      }
      await whileStored(m, () => {
        const poisoned = cli('poison', '--file', m.path('f'), '--offset', '0', '--length', '4096', '--json');
        expect(poisoned.json<{ victims: unknown[] }>().victims).toHaveLength(1);
      });
      if (kind === 'shared') expect(readFileSync(m.path('other'), 'latin1')).toBe('o'.repeat(64 * 4096));
    }),
  );
});

describe('a clone onto a file that others store to', () => {
  it('comes before a store or after it, whichever page it goes to', () =>
    withMount({}, (m) => {
      const args = ['exec', '--', helper('remapstorm'), m.path('source'), m.path('target'), '200'];
      const storm = run(process.execPath, [CLI, ...args]);
      expect(storm).toMatchObject({ status: 0, stderr: '' });
      expect(JSON.parse(storm.stdout)).toEqual({ rounds: 200, stale: 0, lost: 0, kept: 0 });
    }));
});
