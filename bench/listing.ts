import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { RegionEngine } from '../src/engine/index.js';
import { S_IFREG } from '../src/engine/mode.js';
import { BLOCK_SIZE, type Clock, type Ino, ROOT_INO } from '../src/types.js';
import { anonymousKilobytes, built, CLI, formatRegion, inWorkspace, mountRegion } from './support.js';

/**
 * The memory of commands whose answer is long: a file of very many extents, a block of very many owners. The largest
 * resident set of the command, and by how much the daemon's own memory has grown when it has ended.
 *
 *     npx tsc -p bench && node build/bench/listing.js [EXTENTS] [OWNERS] [REGION_SIZE]
 */

const EXTENTS = Number(process.argv[2] ?? 1_000_000);
const OWNERS = Number(process.argv[3] ?? 100_000);
const REGION_SIZE = process.argv[4] ?? '2G';
/** Prints the largest resident set, in KiB, as the last line of standard error. */
const PEAK = 'data:text/javascript,process.on("exit",()=>console.error(process.resourceUsage().maxRSS))';

// The addon is found beside what `npm run build` makes, not beside this program.
const { openEngine } = await built<typeof import('../src/engine/index.js')>('engine/index.js');
const { openRegion } = await built<typeof import('../src/media/region.js')>('media/region.js');

const clock: Clock = {
  now(into) {
    into.sec = 1_700_000_000;
    into.nsec = 0;
  },
  seconds: () => 1_700_000_000,
};

function create(engine: RegionEngine, name: string): Ino {
  return engine.create(ROOT_INO, Buffer.from(name), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
}

/** Returns the physical offset of the block that all have; it is the first of three. */
function build(region: string): number {
  const media = openRegion(region, { readOnly: false });
  try {
    const engine = openEngine(media, { clock });
    const bytes = Buffer.alloc(3 * BLOCK_SIZE, 7);
    const pair = create(engine, 'pair');
    for (const block of [0, 2, 4]) engine.write(pair, block * BLOCK_SIZE, bytes, BLOCK_SIZE, false);
    const long = create(engine, 'long');
    // Two blocks of another file in turn, which are no neighbours: no two extents are one.
    for (let i = 0; i < EXTENTS; i++) {
      engine.cloneRange(pair, (i % 2) * 4 * BLOCK_SIZE, long, i * BLOCK_SIZE, BLOCK_SIZE);
    }
    const wide = create(engine, 'wide');
    engine.write(wide, 0, bytes, bytes.length, false);
    for (let i = 1; i < OWNERS; i++) engine.cloneRange(wide, 0, create(engine, `clone ${i}`), 0, 0);
    const [{ physical }] = engine.extents(wide, 0, BLOCK_SIZE, 1);
    engine.close();
    return physical;
  } finally {
    media.close();
  }
}

function countLines(path: string): number {
  const buffer = Buffer.alloc(2 ** 20);
  const fd = openSync(path, 'r');
  let lines = 0;
  for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) {
    for (let at = buffer.indexOf(10); at >= 0 && at < n; at = buffer.indexOf(10, at + 1)) lines++;
  }
  closeSync(fd);
  return lines;
}

await inWorkspace(async (workspace) => {
  const region = formatRegion(workspace, REGION_SIZE);
  const physical = build(region);
  const target = mountRegion(workspace, region, 'any CPU');
  const out = join(workspace, 'output');

  const measure = (name: string, ...args: string[]): void => {
    const before = anonymousKilobytes(region);
    const start = process.hrtime.bigint();
    const fd = openSync(out, 'w');
    const child = spawnSync(process.execPath, ['--import', PEAK, CLI, ...args], {
      stdio: ['ignore', fd, 'pipe'],
      encoding: 'utf8',
    });
    closeSync(fd);
    if (child.status !== 0) throw new Error(`${name}: ${child.stderr}`);
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    const peak = Number(child.stderr.trim().split('\n').at(-1));
    const grown = anonymousKilobytes(region) - before;
    const cells = [
      countLines(out),
      `${(statSync(out).size / 1e6).toFixed(1)} MB`,
      `${seconds.toFixed(1)} s`,
      `${(peak / 1024).toFixed(0)} MiB`,
      `${(grown / 1024).toFixed(1)} MiB`,
    ];
    console.log(`${name.padEnd(24)}${cells.map((cell) => String(cell).padStart(12)).join('')}`);
  };

  console.log(
    `a file of ${EXTENTS} extents, a block of ${OWNERS} owners; daemon ${anonymousKilobytes(region)} KiB`,
  );
  console.log(`${''.padEnd(24)}       lines      output        time   command's  daemon's growth`);
  try {
    const at = (offset: number): string[] => ['--offset', `${offset}`, '--length', `${BLOCK_SIZE}`];
    measure('info', 'info', target.dir, '--json');
    measure('extents', 'extents', join(target.dir, 'long'), '--json');
    measure('fsmap', 'fsmap', target.dir, '--json');
    measure('owners', 'owners', target.dir, ...at(physical), '--json');
    measure('owners, mid-extent', 'owners', target.dir, ...at(physical + BLOCK_SIZE), '--json');
    measure('poison', 'poison', target.dir, ...at(physical), '--json');
    measure('extents again', 'extents', join(target.dir, 'long'), '--json');
  } finally {
    await target.unmount();
  }
});
