import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { COPY_WINDOW_BLOCKS } from '../../src/limits.js';
import { memoryMedia } from '../../src/media/memory.js';
import { BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { FakeClock } from '../support/mem-context.js';

const FILE_BLOCKS = 1024;

const block = (byte: number): Buffer => Buffer.alloc(BLOCK_SIZE, byte);
const create = (engine: RegionEngine, name: string): Ino =>
  engine.create(ROOT_INO, Buffer.from(name), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
const extentsOf = (engine: RegionEngine, ino: Ino): number => engine.extents(ino, 0, 2 ** 40, 10_000).length;

/** Every block once, in an order that jumps about: 389 and FILE_BLOCKS have no common factor. */
const scattered = Array.from({ length: FILE_BLOCKS }, (_, i) => (i * 389) % FILE_BLOCKS);

function cloned(): { engine: RegionEngine; file: Ino; media: ReturnType<typeof memoryMedia> } {
  const media = memoryMedia(4096);
  const clock = new FakeClock();
  mkfs(media, { label: 'window', clock, uid: 0, gid: 0 });
  const engine = openEngine(media, { clock });
  const origin = create(engine, 'origin');
  engine.write(origin, 0, Buffer.alloc(FILE_BLOCKS * BLOCK_SIZE, 1), FILE_BLOCKS * BLOCK_SIZE, false);
  const file = create(engine, 'file');
  engine.cloneRange(origin, 0, file, 0, 0);
  return { engine, file, media };
}

describe('copy-on-write keeps the blocks of a window together', () => {
  it('when all are written one by one in any order', () => {
    const { engine, file, media } = cloned();
    for (const at of scattered) engine.write(file, at * BLOCK_SIZE, block(2), BLOCK_SIZE, false);
    expect(extentsOf(engine, file)).toBeLessThanOrEqual((FILE_BLOCKS / COPY_WINDOW_BLOCKS) * 2);
    engine.close();
    expect(checkRegion(media).problems).toEqual([]);
  });

  it('also while another file grows between the writes', () => {
    const { engine, file } = cloned();
    const other = create(engine, 'other');
    for (const [i, at] of scattered.entries()) {
      engine.write(file, at * BLOCK_SIZE, block(2), BLOCK_SIZE, false);
      engine.write(other, i * BLOCK_SIZE, block(3), BLOCK_SIZE, false);
    }
    expect(extentsOf(engine, file)).toBeLessThanOrEqual((FILE_BLOCKS / COPY_WINDOW_BLOCKS) * 4);
  });

  it('and takes single blocks where no window is free', () => {
    const { engine, file, media } = cloned();
    const other = create(engine, 'other');
    let size = 0;
    const fill = (): void => {
      for (; ; size += 16)
        engine.write(other, size * BLOCK_SIZE, Buffer.alloc(16 * BLOCK_SIZE), 16 * BLOCK_SIZE, false);
    };
    expect(fill).toThrow(/ENOSPC/);
    for (let at = 0; at < size; at += 8) engine.fallocate(other, 3, at * BLOCK_SIZE, BLOCK_SIZE);
    engine.commit();
    for (const at of scattered.slice(0, 50)) engine.write(file, at * BLOCK_SIZE, block(2), BLOCK_SIZE, false);
    expect(extentsOf(engine, file)).toBeGreaterThan(50);
    engine.close();
    expect(checkRegion(media).problems).toEqual([]);
  });
});
