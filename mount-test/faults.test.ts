import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CLI, cli, cliOk, type Mounted, withMount } from './support/harness.js';
import { BLOCK, badBlocks, unreadable } from './support/poison.js';
import { runAs, sys, tool } from './support/run.js';
import { Victim } from './support/victim.js';

interface FaultRun {
  seed: number;
  candidates: number;
  ranges: { physical: number; length: number }[];
  reports: { victims: { pid: number }[] }[];
}

function makeFile(m: Mounted, name: string, blocks: number): string {
  const file = m.path(name);
  writeFileSync(file, Buffer.alloc(blocks * BLOCK, name));
  return file;
}

const unpoisonAll = (m: Mounted): string =>
  cliOk('unpoison', m.dir, '--offset', '0', '--length', '18446744073709551615');

describe('poison by choice', () => {
  it('the same seed makes the same blocks fail again', () =>
    withMount({}, (m) => {
      makeFile(m, 'a', 20);
      makeFile(m, 'b', 20);
      const first = cli('poison', m.dir, '--random', '5', '--json').json<FaultRun>();
      expect(first.candidates).toBe(40);
      const bad = badBlocks(m).map(({ physical, length }) => ({ physical, length }));
      expect(bad.reduce((sum, range) => sum + range.length, 0)).toBe(5 * BLOCK);
      unpoisonAll(m);
      expect(badBlocks(m)).toEqual([]);
      cliOk('poison', m.dir, '--random', '5', '--seed', String(first.seed));
      expect(badBlocks(m).map(({ physical, length }) => ({ physical, length }))).toEqual(bad);
    }));

  it('every nth block of one file, whose readers and mappers are told', () =>
    withMount({}, async (m) => {
      const file = makeFile(m, 'a', 12);
      makeFile(m, 'b', 12);
      const victim = await Victim.start(m, file, { length: 4 * BLOCK, touchAt: 3 * BLOCK });
      const args = ['poison', '--owner', file, '--every-nth', '4', '--json'];
      const done = cli(...args).json<FaultRun>();
      expect(done.reports).toHaveLength(3);
      expect(done.reports.flatMap((report) => report.victims)).toMatchObject([{ pid: victim.pid }]);
      await victim.settle();
      expect(victim.signals).toHaveLength(1);
      expect(unreadable(file, 12)).toEqual([3, 7, 11]);
      expect(unreadable(m.path('b'), 12)).toEqual([]);
      cliOk('poison', m.dir, '--owner', file);
      expect(unreadable(file, 12)).toHaveLength(12);
      expect((await victim.quit()).status).toBe(0);
    }));

  it('is for root and the owner of the mount', () =>
    withMount({}, (m) => {
      makeFile(m, 'a', 4);
      const done = runAs(65534, process.execPath, CLI, 'poison', m.dir, '--random', '1');
      expect([done.status, done.stderr]).toEqual([
        1,
        expect.stringMatching(/root and to the user who mounted/),
      ]);
      expect(badBlocks(m)).toEqual([]);
    }));
});

describe('rmapfs scenario', () => {
  it('waits for a file, an event and the end of a process, and can be replayed', () =>
    withMount({}, async (m) => {
      const file = makeFile(m, 'data', 8);
      const victim = await Victim.start(m, file, { length: 8 * BLOCK, touchAt: BLOCK, sigbus: 'default' });
      const scenario = `${m.base}/scenario.json`;
      const steps = [
        { do: 'wait-file', path: 'go' },
        { do: 'poison-random', count: 2, owner: 'data', policy: 'notify' },
        { do: 'unpoison', file: 'data', offset: 0, length: 8 * BLOCK },
        { do: 'wait-event', type: 'healed' },
        { do: 'poison', file: 'data', offset: BLOCK, length: BLOCK },
        { do: 'wait-process', pid: victim.pid },
        { do: 'wait-event', type: 'media-error', count: 2 },
      ];
      writeFileSync(scenario, JSON.stringify({ title: 'a test', seed: 11, steps }));
      writeFileSync(m.path('go'), '');
      const first = cli('scenario', 'run', scenario, m.dir, '--json').json<{
        seed: number;
        steps: { ranges?: unknown }[];
      }>();
      expect(await victim.end()).toMatchObject({ signal: 'SIGBUS' });
      expect(first).toMatchObject({ seed: 11, title: 'a test' });
      expect(first.steps).toHaveLength(steps.length);
      expect(unreadable(file, 8)).toEqual([1]);
      unpoisonAll(m);
      const again = cli('scenario', 'run', scenario, m.dir, '--json').json<typeof first>();
      expect(again.steps[1].ranges).toEqual(first.steps[1].ranges);
    }));

  it('names the line and the field that are wrong, and does nothing', () =>
    withMount({}, (m) => {
      const scenario = `${m.base}/scenario.json`;
      const text = '{ "steps": [\n  { "do": "poison",\n    "ofset": 0, "length": 4096 } ] }\n';
      writeFileSync(scenario, text);
      const done = cli('scenario', 'run', scenario, m.dir);
      expect([done.status, done.stderr]).toEqual([1, expect.stringMatching(/line 3, steps\.0\.ofset: /)]);
      expect(badBlocks(m)).toEqual([]);
    }));
});

describe('rmapfs map', () => {
  it('draws owners, shared, bad, metadata and free space, in text and as SVG', () =>
    withMount({ size: '8M' }, (m) => {
      makeFile(m, 'large', 512);
      makeFile(m, 'small <&> "x"', 64);
      tool('cp', [m.path('large'), m.path('copy')]);
      sys('write', m.path('copy'), 0, 256 * BLOCK, 1);
      cliOk('poison', '--file', m.path('large'), '--offset', '1M', '--length', '4K');
      const text = cliOk('map', m.dir, '--legend');
      for (const key of [
        'free',
        'superblock',
        'metadata',
        'shared by several files',
        'bad',
        '/large',
        '/copy',
      ]) {
        expect(text).toMatch(new RegExp(`^  \\S +[0-9.]+ [KMG]iB  ${key}$`, 'm'));
      }
      expect(text).toMatch(/^ +0 bytes S.*M.*$/m);
      expect(text.match(/X/g)).toHaveLength(2);
      expect(text).not.toContain('\u001b');
      const svg = `${m.base}/map.svg`;
      expect(cliOk('map', m.dir, '--svg', svg)).toBe('');
      const picture = readFileSync(svg, 'utf8');
      expect(picture).toContain('/small &lt;&amp;&gt; &quot;x&quot;');
      const shown = [...text.split('\n\n')[1].matchAll(/X+/g)].length;
      expect(picture.match(/fill="#d6202a"/g)).toHaveLength(shown + 1);
      const failed = cli('map', m.dir, '--svg', `${m.base}/none/map.svg`);
      expect([failed.status, failed.stderr]).toEqual([1, expect.stringMatching(/cannot write/)]);
      expect(existsSync(`${m.base}/none`)).toBe(false);
    }));
});
