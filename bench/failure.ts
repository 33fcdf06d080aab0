import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { compile, inWorkspace, mountRmapfs, show, spread } from './support.js';

/**
 * Memory failure: from the poison to the report, for one block that 1 to 10,000 files share and nobody maps; and
 * from the poison to the handler of the last victim, for 1 to 100 processes that map one file.
 *
 *     npm run build && npx tsc -p bench && node build/bench/failure.js [ROUNDS]
 */

const ROUNDS = Number(process.argv[2] ?? 9);
const OWNERS = [1, 10, 100, 1000, 10_000];
const VICTIMS = [1, 10, 100];
const BLOCK = 4096;

interface Poisoned {
  began: number;
  /** Microseconds from the start to the answer of the ioctl, and to the last byte of the report. */
  answered: number;
  reported: number;
  owners: number;
  victims: number;
  reportBytes: number;
}

function poison(program: string, file: string): Poisoned {
  const line = execFileSync(program, ['poison', file, '0'], { encoding: 'utf8' });
  const [began, answered, reported, owners, victims, reportBytes] = line.split(' ').map(Number);
  return {
    began,
    answered: (answered - began) / 1000,
    reported: (reported - began) / 1000,
    ...{ owners, victims, reportBytes },
  };
}

function expectCount(what: string, found: number, expected: number): void {
  if (found !== expected) throw new Error(`${found} ${what}, expected ${expected}`);
}

/** A process that maps the block, and the time (nanoseconds) when its handler ran. */
async function startVictim(
  program: string,
  file: string,
): Promise<{ child: ChildProcess; told: Promise<number> }> {
  const child = spawn(program, ['victim', file, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.stdout === null) throw new Error('a victim without a pipe');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.value !== 'ready') throw new Error(`a victim said ${String(first.value)}`);
  return { child, told: lines.next().then((line) => Number(line.value)) };
}

function ownersTable(program: string, dir: string): void {
  const source = join(dir, 'source');
  writeFileSync(source, Buffer.alloc(BLOCK, 1));
  let files = 1;
  console.log('owners | poison to answer | poison to report | bytes of report');
  for (const owners of OWNERS) {
    for (; files < owners; files++) copyFileSync(source, join(dir, `file-${files}`));
    const runs = Array.from({ length: ROUNDS }, () => poison(program, source));
    for (const run of runs) expectCount('owners', run.owners, owners);
    const answered = show(spread(runs.map((run) => run.answered / 1000)), 'ms', 2);
    const reported = show(spread(runs.map((run) => run.reported / 1000)), 'ms', 2);
    console.log(`${owners} | ${answered} | ${reported} | ${runs[0].reportBytes}`);
  }
}

async function victimsTable(program: string, dir: string): Promise<void> {
  const file = join(dir, 'mapped');
  writeFileSync(file, Buffer.alloc(BLOCK, 1));
  console.log('\nvictims | poison to the first handler | poison to the last handler');
  for (const count of VICTIMS) {
    const [first, last]: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      const victims = [];
      for (let i = 0; i < count; i++) victims.push(await startVictim(program, file));
      const { began, victims: found } = poison(program, file);
      const told = await Promise.all(victims.map((victim) => victim.told));
      expectCount('victims', found, count);
      first.push((Math.min(...told) - began) / 1e6);
      last.push((Math.max(...told) - began) / 1e6);
    }
    console.log(`${count} | ${show(spread(first), 'ms', 2)} | ${show(spread(last), 'ms', 2)}`);
  }
}

await inWorkspace(async (workspace) => {
  const program = compile('failure.c', join(workspace, 'failure'));
  const target = mountRmapfs(workspace, '256M', 'any CPU');
  const dir = join(target.dir, 'owners');
  mkdirSync(dir);
  try {
    ownersTable(program, dir);
    await victimsTable(program, target.dir);
  } finally {
    await target.unmount();
  }
});
