import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { allRequestsServed, anonymousKilobytes, inWorkspace, mountRmapfs, type Target } from './support.js';

/**
 * The daemon's memory over many requests: files are made, written, read, renamed, listed and removed again and
 * again. The memory should rise at first, while code is compiled and the heap finds its size, and then stay.
 *
 *     npx tsc -p bench && node build/bench/heap.js [MILLIONS_OF_REQUESTS]
 */

const MILLIONS = Number(process.argv[2] ?? 10);
const SAMPLES = 20;
/** Files that are there at a time. */
const FILES = 2000;

const buffer = Buffer.alloc(8192, 'x');

/** One file's life; that of the file FILES rounds ago ends. */
function round(dir: string, i: number): void {
  const path = join(dir, `file-${i}`);
  const fd = openSync(path, 'w+');
  writeSync(fd, buffer, 0, buffer.length, (i % 7) * 4096);
  readSync(fd, buffer, 0, 4096, (i % 7) * 4096);
  if (i % 1000 === 0) fsyncSync(fd);
  closeSync(fd);
  renameSync(path, `${path}.moved`);
  statSync(`${path}.moved`);
  if (i % 1000 === 0) readdirSync(dir);
  if (i >= FILES) unlinkSync(join(dir, `file-${i - FILES}.moved`));
}

function measure(target: Target): void {
  const dir = join(target.dir, 'd');
  mkdirSync(dir);
  console.log('   requests   KiB of the daemon   requests/s');
  let i = 0;
  for (let sample = 1; sample <= SAMPLES; sample++) {
    const before = allRequestsServed(target.dir);
    const start = process.hrtime.bigint();
    const goal = (MILLIONS * 1e6 * sample) / SAMPLES;
    while (allRequestsServed(target.dir) < goal) for (let n = 0; n < 5000; n++) round(dir, i++);
    const served = allRequestsServed(target.dir);
    const rate = (served - before) / (Number(process.hrtime.bigint() - start) / 1e9);
    const memory = anonymousKilobytes(target.region);
    console.log(
      `${String(served).padStart(11)}${String(memory).padStart(20)}${rate.toFixed(0).padStart(13)}`,
    );
  }
}

await inWorkspace(async (workspace) => {
  const target = mountRmapfs(workspace, '512M');
  try {
    measure(target);
  } finally {
    await target.unmount();
  }
});
