import { closeSync, mkdirSync, opendirSync, openSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { anonymousKilobytes, inWorkspace, mountRmapfs } from './support.js';

/**
 * One directory with many entries: microseconds for each creation, stat and removal, by tenths of the way. The
 * lines should be flat.
 *
 *     npx tsc -p bench && node build/bench/directory.js [ENTRIES] [REGION_SIZE]
 */

const ENTRIES = Number(process.argv[2] ?? 1_000_000);
const REGION_SIZE = process.argv[3] ?? '4G';
const TENTHS = 10;

const seconds = (): number => Number(process.hrtime.bigint()) / 1e9;
const name = (i: number): string => `entry-${String(i).padStart(7, '0')}`;

/** Runs `each` for every entry and prints the microseconds that one takes, a number a tenth. */
function phase(title: string, each: (i: number) => void): void {
  const step = Math.floor(ENTRIES / TENTHS);
  const times: string[] = [];
  for (let tenth = 0; tenth < TENTHS; tenth++) {
    const start = seconds();
    for (let i = tenth * step; i < (tenth + 1) * step; i++) each(i);
    times.push((((seconds() - start) / step) * 1e6).toFixed(1).padStart(7));
  }
  console.log(`${title.padEnd(18)}${times.join('')}`);
}

function list(title: string, dir: string): void {
  const start = seconds();
  const open = opendirSync(dir, { bufferSize: 1024 });
  let count = 0;
  while (open.readSync() !== null) count++;
  open.closeSync();
  console.log(`${title.padEnd(18)}${(seconds() - start).toFixed(2)} s for ${count} entries`);
}

await inWorkspace(async (workspace) => {
  const target = mountRmapfs(workspace, REGION_SIZE);
  const dir = join(target.dir, 'large');
  mkdirSync(dir);
  const path = (i: number): string => join(dir, name(i));
  console.log(`${ENTRIES} entries; microseconds for one, by tenths`);
  try {
    phase('create', (i) => closeSync(openSync(path(i), 'wx')));
    list('list', dir);
    phase('stat, in order', (i) => statSync(path(i)));
    // 7919 is prime, so this is every entry once.
    phase('stat, scattered', (i) => statSync(path((i * 7919) % ENTRIES)));
    console.log(`daemon            ${anonymousKilobytes(target.region)} KiB of its own`);
    phase('remove', (i) => unlinkSync(path(i)));
    list('list, empty', dir);
  } finally {
    await target.unmount();
  }
});
