import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  constants as open,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { currentTid, installWakeHandler, setWakeTimer, wakeThread } from '../../src/native.js';
import { failure } from '../support/failure.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Reads a FIFO for ever, and counts in shared memory what its reads end with. */
const READER = `
  const { workerData } = require('node:worker_threads');
  const { readSync } = require('node:fs');
  const { fd, shared, timer } = workerData;
  const native = require('node-gyp-build')(${JSON.stringify(ROOT)});
  const slots = new Int32Array(shared);
  const buffer = Buffer.alloc(1);
  if (timer) native.setWakeTimer(5, 5);
  Atomics.store(slots, 0, native.currentTid());
  while (buffer[0] !== 33) {
    try {
      readSync(fd, buffer, 0, 1);
      Atomics.add(slots, 2, 1);
    } catch (error) {
      if (error.code !== 'EINTR') throw error;
      Atomics.add(slots, 1, 1);
    }
  }`;

let dir: string;
let fifo: number;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rmapfs-wake-'));
  execFileSync('mkfifo', [join(dir, 'fifo')]);
  fifo = openSync(join(dir, 'fifo'), open.O_RDWR);
});

afterEach(() => {
  closeSync(fifo);
  rmSync(dir, { recursive: true });
});

/** A worker that blocks in readSync, and the counters of its reads. */
async function startReader(
  timer = false,
): Promise<{ slots: Int32Array; tid: number; stop: () => Promise<void> }> {
  const slots = new Int32Array(new SharedArrayBuffer(12));
  const worker = new Worker(READER, { eval: true, workerData: { fd: fifo, shared: slots.buffer, timer } });
  const ended = new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });
  await until(() => Atomics.load(slots, 0) !== 0);
  const tid = slots[0];
  await until(() => /^[^)]*\) S/.test(readFileSync(`/proc/self/task/${tid}/stat`, 'latin1')));
  const stop = (): Promise<void> => {
    writeSync(fifo, '!');
    return ended;
  };
  return { slots, tid, stop };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('condition not met in 10 s');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Wakes the thread, again and again because a signal can fall between two reads, until `slot` moves. */
async function wakeUntil(slots: Int32Array, tid: number, count: number): Promise<void> {
  await until(() => {
    if (slots[1] >= count) return true;
    wakeThread(tid);
    return false;
  });
}

test('a thread blocked in readSync is woken with EINTR, as often as needed, and then reads on', async () => {
  installWakeHandler();
  const reader = await startReader();
  for (let round = 1; round <= 100; round++) await wakeUntil(reader.slots, reader.tid, reader.slots[1] + 1);
  expect(reader.slots[2]).toBe(0);
  writeSync(fifo, 'x');
  await until(() => reader.slots[2] === 1);
  await reader.stop();
});

test('only the thread that was named wakes', async () => {
  const [first, second] = [await startReader(), await startReader()];
  await wakeUntil(first.slots, first.tid, 5);
  expect(second.slots[1]).toBe(0);
  // Each ends with the first '!' it reads, whoever gets which.
  await Promise.all([first.stop(), second.stop()]);
});

test('a timer wakes the thread that has set it, again and again, and goes with it', async () => {
  const reader = await startReader(true);
  await until(() => reader.slots[1] >= 5);
  await reader.stop();
});

test('times out of range are refused', () => {
  for (const ms of [-1, 0.5, 2 ** 31]) expect(failure(() => setWakeTimer(ms, 1)).code).toBe('EINVAL');
  setWakeTimer(0, 0);
});

test('the handler is installed once and keeps SA_RESTART off', () => {
  installWakeHandler();
  installWakeHandler();
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  expect((BigInt(`0x${caught}`) >> 22n) & 1n).toBe(1n);
});

test('currentTid is the id of the thread under /proc/self/task', () => {
  expect(readFileSync(`/proc/self/task/${currentTid()}/status`, 'latin1')).toContain(
    `Pid:\t${currentTid()}\n`,
  );
});

test('threads that are not ours are refused', () => {
  expect(failure(() => wakeThread(1))).toMatchObject({ code: 'ESRCH', errno: -3, syscall: 'tgkill' });
  for (const tid of [0, -1, 1.5, 2 ** 31]) expect(failure(() => wakeThread(tid)).code).toBe('EINVAL');
});
