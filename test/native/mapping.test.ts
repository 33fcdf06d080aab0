import { constants as bufferConstants } from 'node:buffer';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { advise, constants, map, sync, unmap } from '../../src/native.js';
import { failure } from '../support/failure.js';

const { MAP_SHARED, MAP_PRIVATE, PAGESIZE, PROT_READ, PROT_WRITE } = constants;
const RW = PROT_READ | PROT_WRITE;
const GIB = 2 ** 30;
const FILE_BYTES = 6 * GIB;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let dir: string;
let fd: number;
let path: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'rmapfs-map-'));
  path = join(dir, 'file');
  fd = openSync(path, 'w+');
  ftruncateSync(fd, FILE_BYTES);
});

afterAll(() => {
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

const mapsOf = (file: string): number =>
  readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .filter((line) => line.includes(file)).length;

describe('map', () => {
  test('is the file itself, in both directions, without a copy', () => {
    const view = map(2 * PAGESIZE, RW, MAP_SHARED, fd, PAGESIZE);
    view.write('through the mapping', 100, 'latin1');
    const read = Buffer.alloc(19);
    readSync(fd, read, 0, 19, PAGESIZE + 100);
    expect(read.toString('latin1')).toBe('through the mapping');
    writeSync(fd, Buffer.from('through the file'), 0, 16, 2 * PAGESIZE);
    expect(view.toString('latin1', PAGESIZE, PAGESIZE + 16)).toBe('through the file');
    unmap(view);
  });

  test.each([2 ** 31, 2 ** 32, 2 ** 32 + PAGESIZE, 5 * GIB])('offset %d is exact', (offset) => {
    const view = map(PAGESIZE, RW, MAP_SHARED, fd, offset);
    view.writeDoubleLE(offset, 8);
    const read = Buffer.alloc(8);
    readSync(fd, read, 0, 8, offset + 8);
    expect(read.readDoubleLE()).toBe(offset);
    unmap(view);
  });

  test('a window of 4 GiB, the largest Buffer, reaches its last byte', () => {
    const size = bufferConstants.MAX_LENGTH;
    const view = map(size, RW, MAP_SHARED, fd, PAGESIZE);
    expect(view.length).toBe(size);
    view[size - 1] = 77;
    const read = Buffer.alloc(1);
    readSync(fd, read, 0, 1, PAGESIZE + size - 1);
    expect(read[0]).toBe(77);
    unmap(view);
  });

  test('a private mapping keeps its changes to itself', () => {
    const view = map(PAGESIZE, RW, MAP_PRIVATE, fd, 3 * PAGESIZE, constants.MADV_RANDOM);
    view[0] = 9;
    const read = Buffer.alloc(1);
    readSync(fd, read, 0, 1, 3 * PAGESIZE);
    expect(read[0]).toBe(0);
    unmap(view);
  });

  const refused: [string, () => unknown][] = [
    ['a size of nothing', () => map(0, RW, MAP_SHARED, fd, 0)],
    ['a size above a Buffer', () => map(bufferConstants.MAX_LENGTH + PAGESIZE, RW, MAP_SHARED, fd, 0)],
    ['a negative size', () => map(-1, RW, MAP_SHARED, fd, 0)],
    ['a fractional size', () => map(1.5, RW, MAP_SHARED, fd, 0)],
    ['NaN', () => map(Number.NaN, RW, MAP_SHARED, fd, 0)],
    ['a size that is no number', () => map('4096' as unknown as number, RW, MAP_SHARED, fd, 0)],
    ['an unaligned offset', () => map(PAGESIZE, RW, MAP_SHARED, fd, 1)],
    ['a negative offset', () => map(PAGESIZE, RW, MAP_SHARED, fd, -PAGESIZE)],
    ['an offset of 2^53', () => map(PAGESIZE, RW, MAP_SHARED, fd, 2 ** 53)],
    ['an infinite offset', () => map(PAGESIZE, RW, MAP_SHARED, fd, Number.POSITIVE_INFINITY)],
    ['an offset at the end', () => map(PAGESIZE, RW, MAP_SHARED, fd, FILE_BYTES)],
    ['a range that ends one byte late', () => map(PAGESIZE + 1, RW, MAP_SHARED, fd, FILE_BYTES - PAGESIZE)],
    ['a range far beyond', () => map(PAGESIZE, RW, MAP_SHARED, fd, 2 ** 53 - PAGESIZE)],
    ['no PROT_READ', () => map(PAGESIZE, constants.PROT_NONE, MAP_SHARED, fd, 0)],
    ['an unknown protection', () => map(PAGESIZE, 0x100 | PROT_READ, MAP_SHARED, fd, 0)],
    ['MAP_FIXED', () => map(PAGESIZE, RW, MAP_SHARED | 0x10, fd, 0)],
    ['no sharing flag', () => map(PAGESIZE, RW, 0, fd, 0)],
    ['an advice that destroys (MADV_REMOVE)', () => map(PAGESIZE, RW, MAP_SHARED, fd, 0, 9)],
    ['a negative descriptor', () => map(PAGESIZE, RW, MAP_SHARED, -1, 0)],
  ];
  test.each(refused)('refuses %s with EINVAL', (_name, call) => {
    const { code, errno } = failure(call);
    expect({ code, errno }).toEqual({ code: 'EINVAL', errno: -22 });
  });

  test('carries the code of the system call', () => {
    expect(failure(() => map(PAGESIZE, RW, MAP_SHARED, 100_000, 0))).toMatchObject({
      code: 'EBADF',
      errno: -9,
      syscall: 'fstat',
    });
    const readable = openSync(path, 'r');
    expect(failure(() => map(PAGESIZE, RW, MAP_SHARED, readable, 0))).toMatchObject({
      code: 'EACCES',
      errno: -13,
      syscall: 'mmap',
    });
    closeSync(readable);
    const directory = openSync('/dev', 'r');
    expect(failure(() => map(PAGESIZE, PROT_READ, MAP_SHARED, directory, 0)).code).toBe('ENODEV');
    closeSync(directory);
  });

  test('MAP_SYNC is refused by a file that is not DAX', () => {
    const flags = constants.MAP_SHARED_VALIDATE | constants.MAP_SYNC;
    expect(failure(() => map(PAGESIZE, RW, flags, fd, 0)).code).toBe('ENOTSUP');
  });
});

describe('unmap', () => {
  test('takes the pages away at once and empties every view', () => {
    const before = mapsOf(path);
    const view = map(4 * PAGESIZE, RW, MAP_SHARED, fd, 0);
    const words = new Uint32Array(view.buffer);
    const part = view.subarray(PAGESIZE);
    expect(mapsOf(path)).toBe(before + 1);
    unmap(view);
    expect(mapsOf(path)).toBe(before);
    expect([view.length, words.length, part.length]).toEqual([0, 0, 0]);
    expect(words[0]).toBeUndefined();
  });

  test('refuses a second time, a part, and what is not a mapping', () => {
    const view = map(4 * PAGESIZE, RW, MAP_SHARED, fd, 0);
    expect(failure(() => unmap(view.subarray(0, PAGESIZE))).message).toContain('a part of a mapping');
    expect(failure(() => unmap(view.subarray(PAGESIZE))).code).toBe('EINVAL');
    unmap(view);
    expect(failure(() => unmap(view)).message).toContain('not a mapping of ours');
    expect(failure(() => unmap(Buffer.alloc(PAGESIZE))).code).toBe('EINVAL');
    expect(failure(() => unmap(null as unknown as Buffer)).code).toBe('EINVAL');
    expect(failure(() => unmap(new Uint32Array(4) as unknown as Buffer)).code).toBe('EINVAL');
  });

  test('a new mapping at the old address is not touched by the old one', async () => {
    const collect = collector();
    for (let i = 0; i < 50; i++) unmap(map(PAGESIZE, RW, MAP_SHARED, fd, 0));
    const kept = map(PAGESIZE, RW, MAP_SHARED, fd, 0);
    collect();
    await new Promise((resolve) => setImmediate(resolve));
    kept[5] = 5;
    expect(kept[5]).toBe(5);
    unmap(kept);
  });
});

describe('lifetime', () => {
  test('a Buffer that is collected is unmapped', async () => {
    const before = mapsOf(path);
    const collect = collector();
    // Not adjacent, so that the kernel does not merge them into one line.
    for (let i = 0; i < 8; i++) map(PAGESIZE, RW, MAP_SHARED, fd, 2 * i * PAGESIZE);
    expect(mapsOf(path)).toBeGreaterThan(before);
    for (let i = 0; i < 20 && mapsOf(path) > before; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(mapsOf(path)).toBe(before);
  });

  test('a worker uses its own mappings beside ours, and its end unmaps them', async () => {
    const view = map(PAGESIZE, RW, MAP_SHARED, fd, 0);
    const before = mapsOf(path);
    const code = `
      const { parentPort } = require('node:worker_threads');
      const native = require('node-gyp-build')(${JSON.stringify(ROOT)});
      globalThis.kept = [];
      for (let i = 0; i < 4; i++) kept.push(native.map(4096, 3, 1, ${fd}, (2 * i + 8) * 4096));
      kept[0].write('from the worker', 'latin1');
      parentPort.postMessage('mapped');
      parentPort.once('message', () => process.exit());`;
    const workers = Array.from({ length: 4 }, () => new Worker(code, { eval: true }));
    await Promise.all(workers.map((w) => new Promise((resolve) => w.once('message', resolve))));
    expect(mapsOf(path)).toBeGreaterThan(before);
    const ended = workers.map((w) => new Promise((resolve) => w.once('exit', resolve)));
    for (const worker of workers) worker.postMessage('end');
    await Promise.all(ended);
    expect(mapsOf(path)).toBe(before);
    const read = Buffer.alloc(15);
    readSync(fd, read, 0, 15, 8 * 4096);
    expect(read.toString('latin1')).toBe('from the worker');
    view[0] = 1;
    unmap(view);
  });
});

describe('sync and advise', () => {
  test('take any range of a mapping or of a part of it', () => {
    const view = map(4 * PAGESIZE, RW, MAP_SHARED, fd, 0);
    view[5000] = 1;
    sync(view);
    sync(view, 5000, 1);
    sync(view.subarray(4999), 1, 1, false, true);
    sync(view, 4 * PAGESIZE, 0);
    advise(view, 0, view.length, constants.MADV_SEQUENTIAL);
    advise(view.subarray(1), 0, 1, constants.MADV_WILLNEED);
    unmap(view);
  });

  test('refuse what lies outside, and what is not ours', () => {
    const view = map(PAGESIZE, RW, MAP_SHARED, fd, 0);
    const { MADV_NORMAL } = constants;
    const calls = [
      () => sync(view, 0, PAGESIZE + 1),
      () => sync(view, PAGESIZE, 1),
      () => sync(view, -1, 1),
      () => sync(view, 2 ** 53 - 1, 2 ** 53 - 1),
      () => sync(Buffer.alloc(PAGESIZE), 0, 1),
      () => sync(view, 0, 1, 1 as unknown as boolean, false),
      () => advise(view, 1, PAGESIZE, MADV_NORMAL),
      () => advise(Buffer.alloc(PAGESIZE), 0, 1, MADV_NORMAL),
      () => advise(view, 0, PAGESIZE, 100 /* MADV_HWPOISON */),
    ];
    for (const call of calls) expect(failure(call).code).toBe('EINVAL');
    unmap(view);
    expect(failure(() => sync(view, 0, 0)).code).toBe('EINVAL');
  });
});

test('mmap-io constants have their values', () => {
  expect(constants).toMatchObject({ PROT_NONE: 0, PROT_READ: 1, PROT_WRITE: 2, PROT_EXEC: 4 });
  expect(constants).toMatchObject({ MAP_SHARED: 1, MAP_PRIVATE: 2, MADV_NORMAL: 0, MADV_DONTNEED: 4 });
  expect(fstatSync(fd).blksize % constants.PAGESIZE).toBe(0);
});

/** A function that runs a full collection. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
