import { describe, expect, it } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { checkNamespace } from '../../src/check/namespace.js';
import { checkTree } from '../../src/check/tree.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFDIR, S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import { FsError } from '../../src/errors.js';
import { BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { planned } from '../support/data-env.js';
import { FakeClock, HeapMedia } from '../support/mem-context.js';

const clock = new FakeClock();
const name = (text: string): Uint8Array => Buffer.from(text);
const file = { mode: S_IFREG | 0o644, uid: 0, gid: 0 };

function fresh(blocks: number): { media: HeapMedia; engine: RegionEngine } {
  const media = new HeapMedia(blocks, 200);
  mkfs(media, { label: 'x', clock, uid: 0, gid: 0 });
  return { media, engine: openEngine(media, { clock }) };
}

function contents(engine: RegionEngine, ino: Ino, offset: number, length: number): Buffer {
  const plan = newReadPlan();
  engine.read(ino, offset, length, false, plan);
  return planned(engine.readSources, plan).subarray(0, plan.bytes);
}

function checkEngine(engine: RegionEngine): string[] {
  const { context, trees } = engine.store;
  return [...Object.values(trees).flatMap(checkTree), ...checkNamespace(context), ...checkData(context)];
}

describe('the engine on its own trees', () => {
  it('keeps names, data and sharing over a remount', () => {
    const { media, engine } = fresh(4096);
    const dir = engine.create(ROOT_INO, name('d'), { mode: S_IFDIR | 0o755, uid: 1, gid: 2 });
    const a = engine.create(dir, name('a'), file);
    const data = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 251));
    expect(engine.write(a, 100, data, data.length, false)).toBe(data.length);
    const b = engine.create(dir, name('b'), file);
    const before = engine.space();
    engine.cloneRange(a, 0, b, 0, 0);
    const after = engine.space();
    expect(after.free + after.metadata).toBe(before.free + before.metadata);
    expect(after).toMatchObject({ shared: 13, saved: 13 });
    engine.write(b, 5000, Buffer.from('changed'), 7, false);
    expect(checkEngine(engine)).toEqual([]);
    engine.close();
    const again = openEngine(media, { clock });
    expect(again.info.wasClean).toBe(true);
    expect(again.lookup(dir, name('a'))).toBe(a);
    expect(contents(again, a, 100, data.length).equals(data)).toBe(true);
    expect(contents(again, b, 5000, 7).toString()).toBe('changed');
    expect(contents(again, a, 5000, 7).equals(data.subarray(4900, 4907))).toBe(true);
    expect(again.paths(b, 4)).toEqual(['/d/b']);
    expect(checkEngine(again)).toEqual([]);
  });

  it('a large write is short before it is ENOSPC, and leaves nothing to a small one', () => {
    for (let blocks = 400; blocks < 440; blocks++) {
      const { engine } = fresh(blocks);
      const ino = engine.create(ROOT_INO, name('f'), file);
      const large = Buffer.alloc(100 * BLOCK_SIZE, 1);
      const write = (length: number): number | string => {
        try {
          return engine.write(ino, engine.names.inodes.size(ino), large, length, false);
        } catch (error) {
          return error instanceof FsError ? error.code : String(error);
        }
      };
      let last = write(large.length);
      while (typeof last === 'number') last = write(large.length);
      expect([blocks, last]).toEqual([blocks, 'ENOSPC']);
      expect([blocks, write(BLOCK_SIZE)]).toEqual([blocks, 'ENOSPC']);
      expect(checkEngine(engine)).toEqual([]);
    }
  });

  it('fills up to ENOSPC, can be emptied and filled again, the same amount each time', () => {
    const { engine } = fresh(1024);
    const amounts: number[] = [];
    for (let round = 0; round < 4; round++) {
      let files = 0;
      try {
        for (; ; files++) {
          const ino = engine.create(ROOT_INO, name(`f${files}`), file);
          const wrote = engine.write(ino, 0, Buffer.alloc(8192, 1), 8192, false);
          if (wrote < 8192) break;
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
      amounts.push(files);
      expect(checkEngine(engine)).toEqual([]);
      engine.readdir(ROOT_INO, 0, () => true);
      const names: string[] = [];
      engine.readdir(ROOT_INO, 0, (entry) => {
        names.push(Buffer.from(entry).toString());
        return true;
      });
      for (const n of names) engine.inactivate(engine.unlink(ROOT_INO, name(n)));
      engine.commit();
      expect(checkEngine(engine)).toEqual([]);
    }
    expect(amounts[0]).toBeGreaterThan(300);
    expect(Math.max(...amounts) - Math.min(...amounts)).toBeLessThan(40);
  });

  it('has the space of thousands of names back at once when they are gone', () => {
    const { engine } = fresh(1024);
    let files = 0;
    try {
      for (; ; files++) engine.create(ROOT_INO, name(`a rather long name of an empty file ${files}`), file);
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    }
    for (let i = 0; i < files; i++) {
      engine.inactivate(engine.unlink(ROOT_INO, name(`a rather long name of an empty file ${i}`)));
    }
    const big = engine.create(ROOT_INO, name('big'), file);
    const bytes = 700 * 4096;
    expect(engine.write(big, 0, Buffer.alloc(bytes, 1), bytes, false)).toBe(bytes);
    expect(checkEngine(engine)).toEqual([]);
  });

  it('has the mark of a clean unmount only after one', () => {
    const { media, engine } = fresh(1024);
    expect(engine.info.wasClean).toBe(true);
    engine.create(ROOT_INO, name('lost'), file);
    const after = openEngine(media, { clock });
    expect(after.info.wasClean).toBe(false);
    expect(after.lookup(ROOT_INO, name('lost'))).toBe(0);
    after.close();
    expect(openEngine(media, { clock }).info.wasClean).toBe(true);
  });

  it('reclaims orphans at the next mount', () => {
    const { media, engine } = fresh(1024);
    const free = engine.space().free;
    const ino = engine.create(ROOT_INO, name('gone'), file);
    engine.write(ino, 0, Buffer.alloc(40_960, 3), 40_960, false);
    engine.unlink(ROOT_INO, name('gone'));
    engine.commit();
    const again = openEngine(media, { clock });
    expect(again.exists(ino)).toBe(false);
    expect(again.space().free).toBe(free);
    expect(checkEngine(again)).toEqual([]);
  });

  it('goes on when a free metadata block goes bad', () => {
    const { engine } = fresh(1024);
    let free = 0;
    engine.owners(0, 1024 * 4096, (owner) => {
      if (owner.kind === 'metadata' && owner.tree === 'unused') free = owner.physical;
      return free === 0;
    });
    engine.poison(free, 1, false);
    expect(engine.info.shutdown).toBe(false);
    for (let i = 0; i < 500; i++) engine.create(ROOT_INO, name(`n${i}`), file);
    engine.commit();
    expect(checkEngine(engine)).toEqual([]);
    expect(engine.store.nodes.isUsed(free / 4096)).toBe(false);
  });
});
