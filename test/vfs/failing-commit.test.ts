import { describe, expect, test } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { checkNamespace } from '../../src/check/namespace.js';
import { checkTree } from '../../src/check/tree.js';
import type { EngineEvent } from '../../src/engine/events.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { errnoOf } from '../../src/errors.js';
import {
  fuse_create_in,
  fuse_fallocate_in,
  fuse_fsync_in,
  fuse_open_in,
  fuse_setxattr_in,
  fuse_write_in,
  OPCODE,
} from '../../src/fuse/abi.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, ROOT_INO } from '../../src/types.js';
import { emptyAttr } from '../../src/vfs/context.js';
import { CrashMedia, type CrashOptions } from '../support/crash-media.js';
import { cstring, FuseHarness, fill, StepClock } from '../support/fuse-harness.js';

/** What becomes of a mount whose commits do not come to their end, whoever asked for them. */

const EIO = -errnoOf('EIO');
/** FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE. */
const PUNCH = 3;
const clock = new StepClock();

function emptyImage(blocks: number): Buffer {
  const media = memoryMedia(blocks);
  mkfs(media, { label: 'x', clock, uid: 0, gid: 0, uuid: Buffer.alloc(16, 1) });
  return Buffer.from(media.bytes(asPhys(0), blocks));
}

class Mounted {
  readonly engine: RegionEngine;
  readonly fuse: FuseHarness;
  readonly events: EngineEvent[] = [];
  readonly open: { node: number; fh: number }[] = [];

  constructor(media: Media) {
    this.engine = openEngine(media, { clock, publish: (event) => this.events.push(event) });
    this.fuse = new FuseHarness(this.engine, clock);
  }

  call(opcode: number, node: number, ...body: Buffer[]): number {
    return this.fuse.call(opcode, node, Buffer.concat(body)).error;
  }

  /** A new file in the root, open. Throws the errno. */
  create(name: string): { node: number; fh: number } {
    const answer = this.fuse.call(
      OPCODE.CREATE,
      1,
      Buffer.concat([fill(fuse_create_in, { mode: 0o100644, flags: 2 }), cstring(name)]),
    );
    if (answer.error !== 0) throw answer.error;
    const fh = Number(answer.body.readBigUInt64LE(answer.body.length - 16));
    const file = { node: Number(answer.body.readBigUInt64LE(0)), fh };
    this.open.push(file);
    return file;
  }

  write(file: { node: number; fh: number }, offset: number, data: Buffer): number {
    const fields = { fh: file.fh, offset, size: data.length };
    return this.call(OPCODE.WRITE, file.node, fill(fuse_write_in, fields), data);
  }

  punch(file: { node: number; fh: number }, block: number): number {
    const fields = { fh: file.fh, offset: block * BLOCK_SIZE, length: BLOCK_SIZE, mode: PUNCH };
    return this.call(OPCODE.FALLOCATE, file.node, fill(fuse_fallocate_in, fields));
  }

  fsync(file: { node: number; fh: number }): number {
    return this.call(OPCODE.FSYNC, file.node, fill(fuse_fsync_in, { fh: file.fh }));
  }

  get shutdowns(): EngineEvent[] {
    return this.events.filter(({ type }) => type === 'shutdown');
  }
}

function problems(media: Media): string[] {
  const { context, trees } = openEngine(media, { clock }).store;
  return [...Object.values(trees).flatMap(checkTree), ...checkNamespace(context), ...checkData(context)];
}

const contents = (n: number): Buffer => Buffer.alloc(2 * BLOCK_SIZE, n + 1);

/** Names, data, sharing, attributes, frees; commits by fsync, by the timer and by the end. Stops at the first EIO. */
function workload(m: Mounted, acknowledged: Map<string, Buffer>): boolean {
  const ok = (error: number): void => {
    if (error !== 0) throw error;
  };
  try {
    for (let i = 0; i < 24; i++) {
      const file = m.create(`name-${i}`);
      ok(m.write(file, 0, contents(i)));
      const value = Buffer.alloc(900, i + 1);
      ok(m.call(OPCODE.SETXATTR, file.node, fill(fuse_setxattr_in, { size: 900 }), cstring('user.v'), value));
      if (i % 3 === 0) {
        ok(m.fsync(file));
        acknowledged.set(`name-${i}`, contents(i));
      }
      if (i % 5 === 4) {
        acknowledged.delete(`name-${i - 1}`);
        ok(m.call(OPCODE.UNLINK, 1, cstring(`name-${i - 1}`)));
        m.fuse.vfs.commit();
      }
    }
    return true;
  } catch (error) {
    if (error !== EIO) throw error;
    return false;
  }
}

function expectStopped(m: Mounted): void {
  expect(m.engine.info.shutdown).toBe(true);
  expect(m.shutdowns).toHaveLength(1);
  expect(m.fuse.outbox.logs.join()).toMatch(/shut down: .*a commit failed: /);
  // Each open file hears of it, however often it asks.
  for (const file of [...m.open, ...m.open]) expect(m.fsync(file)).toBe(EIO);
  expect(m.call(OPCODE.OPEN, 2, fill(fuse_open_in, { flags: 2 }))).toBe(EIO);
}

describe('a flush that fails', () => {
  test('the first, the second ... of a mixed workload: EIO, shutdown, and the last commit is whole', () => {
    const image = emptyImage(512);
    let failures = 0;
    for (let n = 0; ; n++) {
      const options: CrashOptions = {};
      const media = new CrashMedia(512, options, image);
      const m = new Mounted(media);
      options.failFromFlush = media.flushes + n;
      const acknowledged = new Map<string, Buffer>();
      const done = workload(m, acknowledged);
      const wasShutdown = m.engine.info.shutdown;
      // A commit that nobody asked for is heard of by the next request.
      expect(wasShutdown).toBe(!done);
      if (!done) expectStopped(m);
      const isWhole = m.fuse.vfs.end();
      const failed = media.flushes > options.failFromFlush;
      expect(isWhole).toBe(!failed);
      expect(m.shutdowns).toHaveLength(failed ? 1 : 0);
      for (const { name, media: crashed } of media.crashImages(6, n + 1)) {
        expect([n, name, problems(crashed)]).toEqual([n, name, []]);
        const after = openEngine(crashed, { clock });
        for (const [file, data] of acknowledged) {
          const ino = after.lookup(ROOT_INO, Buffer.from(file));
          expect([n, name, file, ino !== 0 && after.getattr(ino, emptyAttr()).size]).toEqual([
            n,
            name,
            file,
            data.length,
          ]);
        }
      }
      if (!failed) break;
      failures += 1;
    }
    expect(failures).toBeGreaterThan(20);
  });
});

describe('an error that nobody thought of', () => {
  test('a broken invariant in the commit of the timer: shutdown, and the last commit is whole', () => {
    const media = memoryMedia(512, { image: emptyImage(512) });
    const m = new Mounted(media);
    expect(m.fsync(m.create('kept'))).toBe(0);
    m.create('lost');
    m.engine.store.space.free(asPhys(300), 1 as never);
    m.fuse.vfs.commit();
    expectStopped(m);
    expect(m.fuse.vfs.end()).toBe(false);
    const after = openEngine(media, { clock });
    expect(after.info.wasShutdown).toMatch(/freed but is free already/);
    expect(after.lookup(ROOT_INO, Buffer.from('kept'))).not.toBe(0);
    expect(after.lookup(ROOT_INO, Buffer.from('lost'))).toBe(0);
    expect(problems(media)).toEqual([]);
  });

  test('a TypeError in the middle of changes: EIO, shutdown, nothing of it is committed', () => {
    const media = memoryMedia(512, { image: emptyImage(512) });
    const m = new Mounted(media);
    const file = m.create('a');
    expect(m.fsync(file)).toBe(0);
    const { rmap } = m.engine.store.trees;
    rmap.insert = () => {
      throw new TypeError('undefined is not a function');
    };
    expect(m.write(file, 0, contents(1))).toBe(EIO);
    expect(m.engine.info.shutdown).toBe(true);
    expect(m.shutdowns).toHaveLength(1);
    expect(m.fuse.vfs.end()).toBe(false);
    expect(problems(media)).toEqual([]);
  });

  test('in a message of the main thread, too', () => {
    const m = new Mounted(memoryMedia(512, { image: emptyImage(512) }));
    m.fuse.vfs.enter('message', () => {
      throw new RangeError('out of it');
    });
    expect(m.engine.info.shutdown).toBe(true);
    expect(m.shutdowns).toHaveLength(1);
  });
});

describe('a latent error in a leaf of the free tree', () => {
  test('frees that wait are not lost: fsync, unmount, clean', () => {
    const blocks = 4096;
    const media = memoryMedia(blocks, { image: emptyImage(blocks) });
    const first = new Mounted(media);
    const file = first.create('holes');
    const many = 2400;
    for (let at = 0; at < many; at += 30) {
      expect(first.write(file, at * BLOCK_SIZE, Buffer.alloc(30 * BLOCK_SIZE, 7))).toBe(0);
    }
    for (let at = 0; at < many; at += 2) expect(first.punch(file, at)).toBe(0);
    expect(first.fuse.vfs.end()).toBe(true);
    const image = Buffer.from(media.bytes(asPhys(0), blocks));
    const leaves: number[] = [];
    first.engine.store.trees.free.walk((block) => leaves.push(block) > 0);
    expect(leaves.length).toBeGreaterThan(3);
    for (const leaf of leaves) {
      const again = memoryMedia(blocks, { image: Buffer.from(image) });
      const m = new Mounted(again);
      m.engine.poison(leaf * BLOCK_SIZE, BLOCK_SIZE, true);
      const node = 2;
      expect(m.call(OPCODE.LOOKUP, 1, cstring('holes'))).toBe(0);
      const opened = m.fuse.call(OPCODE.OPEN, node, fill(fuse_open_in, { flags: 2 }));
      const holes = { node, fh: Number(opened.body.readBigUInt64LE(0)) };
      for (let i = 0; i < 52; i++) expect(m.punch(holes, 1 + 46 * i)).toBe(0);
      expect(m.fsync(holes)).toBe(0);
      expect(m.fuse.vfs.end()).toBe(true);
      expect([leaf, problems(again)]).toEqual([leaf, []]);
    }
  });
});
