import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { currentMounts } from '../src/cli/mounts.js';
import { type Comparison, compareFilesystems } from '../src/compare/compare.js';
import { dataScript } from '../src/compare/data-script.js';
import { Pair, type Sabotage } from '../src/compare/pair.js';
import { scriptText } from '../src/compare/replay.js';
import { CLI, cli } from './support/harness.js';
import { references } from './support/reference.js';
import { run, waitFor } from './support/run.js';

/** rmapfs and kernel XFS side by side: the named cases, random operations, and the comparison itself. */

const SEED = Number(process.env.RMAPFS_SEED ?? 1);
const OPERATIONS = 2000;
const LIMIT_MS = 110_000;

async function withPair<T>(sabotage: Sabotage, use: (pair: Pair) => Promise<T>): Promise<T> {
  const pair = await Pair.make(sabotage);
  try {
    return await use(pair);
  } finally {
    await pair.remove();
  }
}

const honest: Sabotage = (line) => line;

/** What a comparison of the process has left. */
function traces(pid: number): string[] {
  const mine = `rmapfs-compare-${pid}-`;
  const mounts = currentMounts().filter((mount) => mount.mountpoint.includes(mine));
  const files = readdirSync('/dev/shm').filter((name) => name.startsWith(mine));
  return [...mounts.map((mount) => mount.mountpoint), ...files];
}

const compareWithXfs = (): void => {
  it('every named case is as on XFS, but for what is meant to differ', () => {
    const done = run(process.execPath, [CLI, 'compare', '--ops', '0', '--json'], { timeout: LIMIT_MS });
    expect(done.stderr).toBe('');
    const result = JSON.parse(done.stdout) as Comparison;
    expect(result.differences).toEqual([]);
    expect(done.status).toBe(0);
    expect(result.cases).toBeGreaterThan(190);
    console.log(`${result.cases} cases, ${result.rows.reduce((sum, row) => sum + row.count, 0)} answers`);
  });

  it(`${OPERATIONS} random operations of seed ${SEED} are as on XFS`, () =>
    withPair(honest, async (pair) => {
      const options = { seed: SEED, operations: OPERATIONS, randomOnly: true };
      const result = await compareFilesystems(pair, options);
      expect(result.differences).toEqual([]);
      expect(result.operations).toBeGreaterThan(OPERATIONS);
    }));

  it('an operation that does something else is found, and shrunk to what shows it', async () => {
    const script = dataScript(5, 'exact', 120, false);
    const wrong: Sabotage = (line) => line.replace(/^insert /, 'punch ');
    const options = { seed: 1, operations: 0, script };
    const [difference] = await withPair(
      wrong,
      async (pair) => (await compareFilesystems(pair, options)).differences,
    );
    expect(difference.script.some((line) => line.startsWith('insert '))).toBe(true);
    expect(difference.script.length).toBeLessThan(6);
    expect(difference.xfs).not.toBe(difference.rmapfs);
    expect((await withPair(wrong, (pair) => pair.run(difference.script))).mismatch?.line).toBe(
      difference.line,
    );
    const directory = mkdtempSync(join(tmpdir(), 'rmapfs-replay-'));
    try {
      const file = join(directory, 'script');
      writeFileSync(file, scriptText(difference.script, 'found by a test'));
      const replayed = cli('compare', '--replay', file);
      expect(replayed.stdout).toContain(': no difference');
      expect(replayed.status).toBe(0);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('Ctrl-C takes everything away', async () => {
    const child = spawn(process.execPath, [CLI, 'compare', '--ops', '100000'], { stdio: 'ignore' });
    const pid = child.pid ?? 0;
    const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
    await waitFor('both mounts', () => (traces(pid).length >= 3 ? true : undefined), 60_000);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(traces(pid)).toEqual([]);
  });

  it('an ordinary user is told in one sentence', () => {
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];
    const done = run('setpriv', [...user, process.execPath, CLI, 'compare']);
    expect(done.stderr).toBe('rmapfs: cannot compare: only root may mount XFS; run it as root\n');
    expect(done.status).toBe(2);
  });
};

if ('XFS' in references()) describe('compare', compareWithXfs);
else
  it('compare says what is missing', () => {
    const done = cli('compare');
    expect(done.stderr).toMatch(/^rmapfs: cannot compare: [^\n]*XFS[^\n]*\n$/i);
    expect(done.status).toBe(2);
  });
