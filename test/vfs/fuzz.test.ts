import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Engine } from '../../src/engine/api.js';
import { mkfs, openEngine } from '../../src/engine/index.js';
import { fuse_create_in, fuse_in_header, fuse_mkdir_in, fuse_open_in, OPCODE } from '../../src/fuse/abi.js';
import { memoryMedia } from '../../src/media/memory.js';
import type { Clock } from '../../src/types.js';
import { FakeEngine } from '../support/fake-engine.js';
import { cstring, FuseHarness, fill, StepClock } from '../support/fuse-harness.js';
import { shapedRequest } from '../support/fuse-requests.js';

/**
 * Requests that no kernel sends: every one is answered exactly once, or not at all where none is due, and
 * nothing unexpected is logged. Over the fake engine, and over the real one in plain memory.
 */

const SILENT: readonly number[] = [OPCODE.FORGET, OPCODE.BATCH_FORGET, OPCODE.INTERRUPT, OPCODE.NOTIFY_REPLY];
const REGION_BLOCKS = 512;
const RUNS = 150;

function realEngine(clock: Clock): Engine {
  const media = memoryMedia(REGION_BLOCKS);
  mkfs(media, { label: 'fuzz', clock, uid: 0, gid: 0, uuid: Buffer.alloc(16, 1) });
  return openEngine(media, { clock });
}

const ENGINES: [string, (clock: Clock) => Engine][] = [
  ['the fake engine', (clock) => new FakeEngine(clock)],
  ['the real engine', realEngine],
];

/** A harness with a directory (node 2) and two files (3, 4), all open as handles 1 to 3. */
function populated(engineOf: (clock: Clock) => Engine): FuseHarness {
  const clock = new StepClock();
  const fuse = new FuseHarness(engineOf(clock), clock);
  fuse.call(OPCODE.MKDIR, 1, Buffer.concat([fill(fuse_mkdir_in, { mode: 0o755 }), cstring('d')]));
  fuse.call(OPCODE.OPENDIR, 2, fill(fuse_open_in, {}));
  for (const name of ['a', 'b']) {
    const record = fill(fuse_create_in, { flags: 2, mode: 0o100644 });
    fuse.call(OPCODE.CREATE, 1, Buffer.concat([record, cstring(name)]));
  }
  return fuse;
}

const jobsOf = ({ outbox }: FuseHarness): number =>
  outbox.failures.length + outbox.mceKills.length + outbox.eventJobs.length;

function expectOneAnswer(fuse: FuseHarness, message: Buffer): void {
  const opcode = message.readUInt32LE(fuse_in_header.at.opcode);
  const before = jobsOf(fuse);
  const answers = fuse.raw(message);
  expect(answers.length + jobsOf(fuse) - before).toBe(SILENT.includes(opcode) ? 0 : 1);
  for (const answer of answers) {
    expect(answer.unique).toBe(message.readBigUInt64LE(fuse_in_header.at.unique));
    expect(answer.error).toBeLessThanOrEqual(0);
    if (answer.error !== 0) expect(answer.body.length).toBe(0);
  }
}

function finish(fuse: FuseHarness): void {
  // A poisoned superblock or node ends the filesystem, and says so; nothing else may be logged.
  const expected = /has failed: it was made again|shutting down when all are told/;
  expect(fuse.outbox.logs.filter((line) => !expected.test(line))).toEqual([]);
  fuse.vfs.end();
}

const request = fc.record({ shaped: shapedRequest, uid: fc.constantFrom(0, 1000, 2000) });

test.each(ENGINES)('random requests, %s', (_name, engineOf) => {
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 60, size: 'max' }), (requests) => {
      const fuse = populated(engineOf);
      for (const { shaped, uid } of requests) {
        expectOneAnswer(fuse, fuse.message(shaped.opcode, shaped.nodeid, shaped.body, { uid }));
      }
      finish(fuse);
    }),
    { numRuns: RUNS },
  );
});

test.each(ENGINES)('cut and flipped requests, %s', (_name, engineOf) => {
  const mutation = fc.record({
    request,
    opcode: fc.option(fc.integer({ min: 0, max: 80 }), { freq: 10 }),
    cut: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 80 })),
    flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 7 })), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 60, size: 'max' }), (mutations) => {
      const fuse = populated(engineOf);
      for (const { request: r, opcode, cut, flips } of mutations) {
        const whole = fuse.message(opcode ?? r.shaped.opcode, r.shaped.nodeid, r.shaped.body, { uid: r.uid });
        const message = whole.subarray(0, Math.max(fuse_in_header.size, whole.length - cut));
        for (const [at, bit] of flips) message[at % message.length] ^= 1 << bit;
        message.writeUInt32LE(message.length, fuse_in_header.at.len);
        expectOneAnswer(fuse, message);
      }
      finish(fuse);
    }),
    { numRuns: RUNS },
  );
});
