import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ADDON = join(import.meta.dirname, '../../build/Release/rmapfs.node');

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'rmapfs-fault-'));
});

afterAll(() => rmSync(dir, { recursive: true }));

/** Runs `script` in a process of its own, with a mapping `view` (8 pages) of the file `path` and its `addon`. */
function inProcess(script: string): { status: number | null; signal: string | null; output: string } {
  const path = join(dir, 'file');
  writeFileSync(path, Buffer.alloc(8 * 4096, 1));
  const head = `
    const fs = require('node:fs');
    const path = ${JSON.stringify(path)};
    const addon = require(${JSON.stringify(ADDON)});
    const fd = fs.openSync(path, 'r+');
    const mapped = (addon) => addon.map(8 * 4096, addon.PROT_READ | addon.PROT_WRITE, addon.MAP_SHARED, fd, 0);
    const view = mapped(addon);
  `;
  const done = spawnSync(process.execPath, ['-e', head + script], { encoding: 'utf8' });
  return { status: done.status, signal: done.signal, output: done.stdout.trim() };
}

describe('a fault of the medium', () => {
  test('is counted once a page, with its place, and the rest of the mapping is the file', () => {
    const { output } = inProcess(`
      fs.truncateSync(path, 3 * 4096);
      const before = [addon.mediumFaults(), addon.faultOf(view)];
      view.fill(9);
      const after = [addon.mediumFaults(), addon.faultOf(view)];
      console.log(JSON.stringify([before, ...after, view[5 * 4096], fs.readFileSync(path)[0]]));
    `);
    expect(JSON.parse(output)).toEqual([[0, -1], 5, 3 * 4096, 9, 9]);
  });

  test('in a worker is one of the process, and belongs to its mapping', () => {
    const { output } = inProcess(`
      const { Worker } = require('node:worker_threads');
      const worker = new Worker(\`
        const { parentPort, workerData } = require('node:worker_threads');
        const fs = require('node:fs');
        const addon = require(workerData.addon);
        const fd = fs.openSync(workerData.path, 'r+');
        const view = addon.map(4096, addon.PROT_READ, addon.MAP_SHARED, fd, 7 * 4096);
        fs.truncateSync(workerData.path, 4096);
        parentPort.postMessage([view[0], addon.faultOf(view)]);
      \`, { eval: true, workerData: { addon: ${JSON.stringify(ADDON)}, path } });
      worker.on('message', (m) => console.log(JSON.stringify([m, addon.mediumFaults(), addon.faultOf(view)])));
    `);
    expect(JSON.parse(output)).toEqual([[0, 0], 1, -1]);
  });

  test('that is not ours goes to the action from before: here that of another copy of the addon', () => {
    const copy = join(dir, 'copy.node');
    copyFileSync(ADDON, copy);
    const { output } = inProcess(`
      const other = require(${JSON.stringify(copy)});
      const theirs = mapped(other);
      fs.truncateSync(path, 4096);
      view[4096];
      console.log(JSON.stringify([addon.mediumFaults(), other.mediumFaults(), other.faultOf(theirs)]));
    `);
    expect(JSON.parse(output)).toEqual([1, 0, -1]);
  });

  test('a SIGBUS that a process sends ends it, as without a mapping', () => {
    const { signal, output } = inProcess(`
      process.kill(process.pid, 'SIGBUS');
      setTimeout(() => console.log('still here'), 1000);
    `);
    expect([signal, output]).toEqual(['SIGBUS', '']);
  });

  test('a mapping is no more ours when it is unmapped', () => {
    const { output } = inProcess(`
      addon.unmap(view);
      const again = mapped(addon);
      fs.truncateSync(path, 4096);
      again[4096];
      console.log(JSON.stringify([addon.mediumFaults(), addon.faultOf(again)]));
    `);
    expect(JSON.parse(output)).toEqual([1, 4096]);
  });
});
