import { checkRegion } from '../src/check/region.js';
import { mkfs, openEngine, type RegionEngine } from '../src/engine/index.js';
import { S_IFREG } from '../src/engine/mode.js';
import { newReadPlan } from '../src/engine/read.js';
import { memoryMedia } from '../src/media/memory.js';
import { BLOCK_SIZE, type Clock, type Ino, ROOT_INO } from '../src/types.js';

/**
 * Sharing at scale, on an engine in memory: many clones of one file, a file of very many extents. Microseconds for one
 * operation, by tenths of the way; the lines should be flat.
 *
 *     npx tsc -p bench && node build/bench/sharing.js [CLONES] [EXTENTS]
 */

const CLONES = Number(process.argv[2] ?? 10_000);
const EXTENTS = Number(process.argv[3] ?? 1_000_000);
const REGION_BLOCKS = 2 ** 18;
const TENTHS = 10;
/** Operations that are timed one by one in the large file. */
const SAMPLES = 1000;

const clock: Clock = {
  now(into) {
    into.sec = 1_700_000_000;
    into.nsec = 0;
  },
  seconds: () => 1_700_000_000,
};

const micros = (): number => Number(process.hrtime.bigint()) / 1000;

function phase(title: string, count: number, each: (i: number) => void): void {
  const step = Math.max(1, Math.floor(count / TENTHS));
  const times: string[] = [];
  for (let from = 0; from + step <= count; from += step) {
    const start = micros();
    for (let i = from; i < from + step; i++) each(i);
    times.push(((micros() - start) / step).toFixed(1).padStart(8));
  }
  console.log(`${title.padEnd(22)}${times.join('')}`);
}

function once(title: string, run: () => unknown): void {
  const start = micros();
  const answer = run();
  const text = typeof answer === 'number' ? `, ${answer}` : '';
  console.log(`${title.padEnd(22)}${((micros() - start) / 1000).toFixed(1)} ms${text}`);
}

function fresh(): RegionEngine {
  const media = memoryMedia(REGION_BLOCKS);
  mkfs(media, { label: 'bench', clock, uid: 0, gid: 0 });
  return openEngine(media, { clock });
}

const create = (engine: RegionEngine, name: string): Ino =>
  engine.create(ROOT_INO, Buffer.from(name), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
const bytes = Buffer.alloc(BLOCK_SIZE, 7);
const write = (engine: RegionEngine, ino: Ino, block: number): number =>
  engine.write(ino, block * BLOCK_SIZE, bytes, BLOCK_SIZE, false);

function check(engine: RegionEngine): void {
  const { media } = engine.store.context;
  engine.close();
  once('fsck', () => checkRegion(media).problems.length);
}

function countOwners(engine: RegionEngine, physical: number): number {
  let count = 0;
  engine.owners(physical, BLOCK_SIZE, () => ++count > 0);
  return count;
}

/** A file of 16 extents and its clones. */
function manyClones(): void {
  const engine = fresh();
  const source = create(engine, 'source');
  for (let i = 0; i < 16; i++) write(engine, source, 2 * i);
  const clones: Ino[] = [];
  console.log(`${CLONES} clones of a file of 16 extents`);
  phase('clone', CLONES, (i) => {
    clones.push(create(engine, `clone ${i}`));
    engine.cloneRange(source, 0, clones[i], 0, 0);
  });
  const [{ physical }] = engine.extents(source, 0, BLOCK_SIZE, 1);
  once('owners of a block', () => countOwners(engine, physical));
  once('statfs', () => engine.space().saved);
  phase('copy-on-write', CLONES, (i) => write(engine, clones[i], 2 * (i % 16)));
  phase('unlink', CLONES, (i) => engine.inactivate(engine.unlink(ROOT_INO, Buffer.from(`clone ${i}`))));
  check(engine);
}

/** A file whose blocks are two blocks of another one in turn: no two of its extents are one. */
function manyExtents(): void {
  const engine = fresh();
  const source = create(engine, 'source');
  write(engine, source, 0);
  write(engine, source, 2);
  const long = create(engine, 'long');
  console.log(`a file of ${EXTENTS} extents`);
  phase('build', EXTENTS, (i) =>
    engine.cloneRange(source, (i % 2) * 2 * BLOCK_SIZE, long, i * BLOCK_SIZE, BLOCK_SIZE),
  );
  engine.commit();
  const plan = newReadPlan();
  // 7919 is prime: the samples lie all over the file.
  const at = (i: number): number => (i * 7919 * 131) % EXTENTS;
  phase('read', SAMPLES, (i) => engine.read(long, at(i) * BLOCK_SIZE, BLOCK_SIZE, false, plan));
  phase('page of 100 extents', SAMPLES, (i) => engine.extents(long, at(i) * BLOCK_SIZE, 2 ** 40, 100));
  phase('copy-on-write', SAMPLES, (i) => write(engine, long, at(i)));
  phase('punch', SAMPLES, (i) => engine.fallocate(long, 3, at(i) * BLOCK_SIZE, BLOCK_SIZE));
  const copy = create(engine, 'copy');
  once('clone of all', () => engine.cloneRange(long, 0, copy, 0, 0));
  once('commit', () => engine.commit());
  once('unlink', () => engine.inactivate(engine.unlink(ROOT_INO, Buffer.from('copy'))));
  check(engine);
}

manyClones();
manyExtents();
