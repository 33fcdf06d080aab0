import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { compile, inWorkspace, mountRmapfs, show, spread } from './support.js';

/**
 * What others notice of failures of a block with 10,000 owners, one after the other: a reader of another file, whose
 * reads all reach the daemon; and the failures themselves, of processes that follow the events.
 *
 *     npm run build && npx tsc -p bench && node build/bench/beside-failure.js [ROUNDS]
 */

const ROUNDS = Number(process.argv[2] ?? 15);
const OWNERS = 10_000;
const FOLLOWERS = 4;
const WARM_UP = 5;
const BLOCK = 4096;
const CLI = join(process.cwd(), 'dist/cli/main.js');

class Reader {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(program: string, file: string) {
    this.#child = spawn(program, [file], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = linesOf(this.#child)[Symbol.asyncIterator]();
  }

  static async start(program: string, file: string): Promise<Reader> {
    const reader = new Reader(program, file);
    await reader.#lines.next();
    return reader;
  }

  /** The line that it prints at its end, as a row of a table. */
  async stop(): Promise<string> {
    this.#child.stdin?.end();
    const [count, median, p99, p999, longest] = String((await this.#lines.next()).value).split(' ');
    return `${count} | ${median} us | ${p99} us | ${p999} us | ${longest} us`;
  }
}

function linesOf(child: ChildProcess): Interface {
  if (child.stdout === null) throw new Error('a program without a pipe');
  return createInterface({ input: child.stdout });
}

/** Milliseconds from the ioctl to its answer. */
function poison(program: string, file: string): number {
  const line = execFileSync(program, ['poison', file, '0'], { encoding: 'utf8' });
  const [began, answered, , owners] = line.split(' ').map(Number);
  if (owners !== OWNERS) throw new Error(`${owners} owners`);
  return (answered - began) / 1e6;
}

/** Processes that follow the events, each when it has printed one. */
async function followers(dir: string, count: number): Promise<ChildProcess[]> {
  const children = Array.from({ length: count }, () =>
    spawn(process.execPath, [CLI, 'events', dir, '--follow', '--json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  for (const child of children) {
    const lines = linesOf(child);
    await new Promise((resolve) => lines.once('line', resolve));
  }
  return children;
}

async function stop(children: readonly ChildProcess[]): Promise<void> {
  for (const child of children) {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    await ended;
  }
}

async function followersTable(program: string, dir: string, source: string): Promise<void> {
  const [alone, followed]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(poison(program, source));
    const children = await followers(dir, FOLLOWERS);
    followed.push(poison(program, source));
    await stop(children);
  }
  console.log('followers | poison to answer');
  console.log(`0 | ${show(spread(alone), 'ms')}`);
  console.log(`${FOLLOWERS} | ${show(spread(followed), 'ms')}`);
}

async function readersTable(program: string, reader: string, dir: string, source: string): Promise<void> {
  const other = join(dir, 'other');
  writeFileSync(other, Buffer.alloc(BLOCK, 2));
  console.log('\nbeside | reads | median | 99% | 99.9% | longest');
  const quiet = await Reader.start(reader, other);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  console.log(`nothing | ${await quiet.stop()}`);
  const busy = await Reader.start(reader, other);
  const times = [];
  for (let round = 0; round < ROUNDS; round++) times.push(poison(program, source));
  console.log(`${ROUNDS} poisons, ${show(spread(times), 'ms')} each | ${await busy.stop()}`);
}

await inWorkspace(async (workspace) => {
  const program = compile('failure.c', join(workspace, 'failure'));
  const reader = compile('reader.c', join(workspace, 'reader'));
  const target = mountRmapfs(workspace, '256M', 'any CPU');
  const dir = join(target.dir, 'owners');
  mkdirSync(dir);
  try {
    const source = join(dir, 'source');
    writeFileSync(source, Buffer.alloc(BLOCK, 1));
    for (let i = 1; i < OWNERS; i++) copyFileSync(source, join(dir, `file-${i}`));
    for (let i = 0; i < WARM_UP; i++) poison(program, source);
    await followersTable(program, target.dir, source);
    await readersTable(program, reader, target.dir, source);
  } finally {
    await target.unmount();
  }
});
