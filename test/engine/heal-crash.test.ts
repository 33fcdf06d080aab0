import { describe, expect, it } from 'vitest';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { CrashMedia } from '../support/crash-media.js';
import { planned } from '../support/data-env.js';
import { FakeClock } from '../support/mem-context.js';

/**
 * A whole-block write to bad blocks stores the bytes, flushes, takes the mark off, and commits (flush, superblock,
 * flush). Whoever looks between any two of these, or after a power cut there, sees an error or the new bytes.
 */

const BLOCKS = 320;
const SPAN = 3;
const OLD = 0x11;
const NEW = 0x22;
const IMAGES = 24;

const clock = new FakeClock();
const name = (text: string): Uint8Array => Buffer.from(text);

function look(engine: RegionEngine, ino: Ino): string {
  const plan = newReadPlan();
  try {
    engine.read(ino, BLOCK_SIZE, SPAN * BLOCK_SIZE, false, plan);
  } catch (error) {
    expect(error).toMatchObject({ code: 'EIO' });
    return 'EIO';
  }
  const bytes = planned(engine.readSources, plan).subarray(0, plan.bytes);
  if (bytes.every((byte) => byte === NEW)) return 'new';
  return bytes.includes(OLD) ? 'old' : 'neither';
}

interface Setup {
  media: CrashMedia;
  engine: RegionEngine;
  ino: Ino;
}

/** Bad blocks in the middle of a file, all committed. `beforeFlush` is called from then on. */
function setUp(unwritten: boolean, beforeFlush: (setup: Setup) => void): Setup {
  const plain = memoryMedia(BLOCKS);
  mkfs(plain, { label: 'h', clock, uid: 0, gid: 0 });
  let live: Setup | null = null;
  const hooks = {
    beforeFlush: () => {
      if (live !== null) beforeFlush(live);
    },
  };
  const media = new CrashMedia(BLOCKS, hooks, plain.bytes(asPhys(0), BLOCKS));
  const engine = openEngine(media, { clock });
  const ino = engine.create(ROOT_INO, name('f'), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
  const length = (SPAN + 2) * BLOCK_SIZE;
  if (unwritten) engine.fallocate(ino, 0, 0, length);
  else engine.write(ino, 0, Buffer.alloc(length, OLD), length, false);
  const [extent] = engine.extents(ino, 0, length, 1);
  if (unwritten) media.bytes(asPhys(extent.physical / BLOCK_SIZE), SPAN + 2).fill(OLD);
  engine.commit();
  engine.poison(extent.physical + BLOCK_SIZE, SPAN * BLOCK_SIZE, false);
  live = { media, engine, ino };
  return live;
}

const seenAfterCrash = (media: Media, ino: Ino): string => look(openEngine(media, { clock }), ino);

describe('healing by a whole-block write', () => {
  it.each([false, true])(
    'shows an error or the new bytes at every step (unwritten blocks: %s)',
    (unwritten) => {
      const steps: string[][] = [];
      const { media, engine, ino } = setUp(unwritten, (setup) => {
        const images = [...setup.media.crashImages(IMAGES, 1 + steps.length)];
        steps.push([...new Set(images.map((image) => seenAfterCrash(image.media, setup.ino)))].sort());
      });
      const data = Buffer.alloc(SPAN * BLOCK_SIZE, NEW);
      expect(engine.write(ino, BLOCK_SIZE, data, data.length, false)).toBe(data.length);
      expect(look(engine, ino)).toBe('new');
      engine.commit();
      // An unwritten block reads as zeros whatever it holds.
      const before = unwritten ? 'neither' : 'EIO';
      expect(steps[0]).toEqual([before]);
      expect(steps.at(-1)).toEqual([before, 'new'].sort());
      expect(steps.length).toBe(3);
      expect(steps.flat()).not.toContain('old');
      expect(seenAfterCrash(media.crashImage({ seed: 1 }), ino)).toBe('new');
    },
  );

  it('a reader of the running filesystem sees the error until the bytes are durable', () => {
    const seen: string[] = [];
    const { engine, ino } = setUp(false, ({ engine: live, ino: file }) => seen.push(look(live, file)));
    const data = Buffer.alloc(SPAN * BLOCK_SIZE, NEW);
    engine.write(ino, BLOCK_SIZE, data, data.length, false);
    expect(seen).toEqual(['EIO']);
    engine.commit();
    expect(seen).toEqual(['EIO', 'new', 'new']);
  });

  it('a flush that fails leaves the error', () => {
    let broken = true;
    const { engine, ino } = setUp(false, () => {
      if (broken) throw Object.assign(new Error('no flush'), { code: 'EIO' });
    });
    const data = Buffer.alloc(SPAN * BLOCK_SIZE, NEW);
    expect(() => engine.write(ino, BLOCK_SIZE, data, data.length, false)).toThrow('no flush');
    broken = false;
    expect(look(engine, ino)).toBe('EIO');
  });
});
