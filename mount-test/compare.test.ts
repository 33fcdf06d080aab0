import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { currentMounts } from '../src/cli/mounts.js';
import { type Comparison, compareFilesystems } from '../src/compare/compare.js';
import { dataScript } from '../src/compare/data-script.js';
import { Pair, type Sabotage } from '../src/compare/pair.js';
import { scriptText } from '../src/compare/replay.js';
import { daemonOf } from './support/daemon.js';
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

/** The regions of the comparisons that a process makes. */
const regions = (pid: number): string[] =>
  readdirSync('/dev/shm')
    .filter((name) => name.startsWith(`rmapfs-compare-${pid}-`))
    .map((name) => join('/dev/shm', name, 'rmapfs.image'));

/** The region of the only one, once a file was made on it. */
const regionOf = (pid: number): string | undefined =>
  regions(pid).find((region) => existsSync(join(dirname(region), 'rmapfs/round-1/a')));

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

const compareWithLostDaemon = (): void => {
  it('a daemon that ends in the middle is a difference, and nothing of it stays', async () => {
    const lines = ['create a 644', 'write a 0 64K 1', ...Array<string>(200).fill('pause'), 'look a', 'tree'];
    const directory = mkdtempSync(join(tmpdir(), 'rmapfs-replay-'));
    try {
      const file = join(directory, 'script');
      writeFileSync(file, scriptText(lines, 'a test'));
      const child = spawn(process.execPath, [CLI, 'compare', '--replay', file, '--sh', directory], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const pid = child.pid ?? 0;
      const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
      const said = text(child.stdout);
      const region = await waitFor('the first file', () => regionOf(pid), 60_000);
      process.kill(daemonOf(region), 'SIGKILL');
      expect(await ended).toBe(1);
      const output = await said;
      expect(output).toMatch(/\n {2}rmapfs: the daemon of rmapfs has ended: -1 (ENOTCONN|ECONNABORTED)/);
      expect(output).toMatch(/: 1 difference\n/);
      expect(traces(pid)).toEqual([]);
      expect(readFileSync(join(directory, 'difference-1.sh'), 'utf8')).toContain("step 'write a 0 64K 1'");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('a daemon that is gone when it is to be mounted again is a difference too', async () => {
    let victim = '';
    const killer: Sabotage = (line) => {
      if (line === 'pause' && victim === '') {
        [victim] = regions(process.pid);
        process.kill(daemonOf(victim), 'SIGKILL');
      }
      return line;
    };
    const script = ['create a 644', 'remount', 'pause', 'remount', 'look a'];
    const [lost, after] = await withPair(killer, async (pair) => [
      await pair.run(script),
      await pair.run(script),
    ]);
    expect(lost.mismatch).toMatchObject({ line: 'remount', index: 3 });
    expect(lost.mismatch?.rmapfs).toContain('umount');
    expect(after.mismatch).toBeUndefined();
    expect(traces(process.pid)).toEqual([]);
  });
};

if ('XFS' in references()) {
  describe('compare', compareWithXfs);
  describe('compare, when the daemon ends', compareWithLostDaemon);
} else
  it('compare says what is missing', () => {
    const done = cli('compare');
    expect(done.stderr).toMatch(/^rmapfs: cannot compare: [^\n]*XFS[^\n]*\n$/i);
    expect(done.status).toBe(2);
  });
