import { describe, expect, it } from 'vitest';
import { checkRegion } from '../../src/check/region.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { SB, TREES, type TreeName } from '../../src/engine/layout.js';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../../src/engine/mode.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { type RepairResult, repairRegion } from '../../src/repair/repair.js';
import { asPhys, BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { emptyAttr } from '../../src/vfs/context.js';
import { CrashMedia } from '../support/crash-media.js';
import { harmBlock, recordPlace } from '../support/damage.js';
import { FakeClock } from '../support/mem-context.js';
import { imageOf, mediumOf, type Seen, snapshot } from '../support/snapshot.js';

const BLOCKS = 512;
const NOW = 77;
const clock = new FakeClock();
const name = (text: string): Uint8Array => Buffer.from(text);
const mode = (bits: number) => ({ mode: bits, uid: 3, gid: 4 });

interface Made {
  engine: RegionEngine;
  media: Media;
  dir: Ino;
  sub: Ino;
  file: Ino;
  link: Ino;
}

/** /dir/sub/file with 3 blocks, /dir/link. */
function make(blocks = BLOCKS): Made {
  const media = memoryMedia(blocks);
  mkfs(media, { label: 'r', clock, uid: 0, gid: 0 });
  const engine = openEngine(media, { clock });
  const dir = engine.create(ROOT_INO, name('dir'), mode(S_IFDIR | 0o755));
  const sub = engine.create(dir, name('sub'), mode(S_IFDIR | 0o751));
  const file = engine.create(sub, name('file'), mode(S_IFREG | 0o640));
  engine.write(file, 0, Buffer.alloc(3 * BLOCK_SIZE, 7), 3 * BLOCK_SIZE, false);
  const link = engine.create(dir, name('link'), { ...mode(S_IFLNK | 0o777), target: name('sub/file') });
  engine.commit();
  return { engine, media, dir, sub, file, link };
}

/** Repairs, expects a clean filesystem, and opens it. */
function repaired(media: Media): { result: RepairResult; engine: RegionEngine; paths: Map<string, Seen> } {
  const result = repairRegion(media, { dryRun: false, now: NOW });
  expect(result.left).toEqual([]);
  expect(checkRegion(media).problems).toEqual([]);
  const engine = openEngine(media, { clock });
  return { result, engine, paths: snapshot(engine) };
}

const pathsOf = (paths: ReadonlyMap<string, Seen>): string[] => [...paths.keys()].sort();

/** Takes a record out of a tree, or all of an inode, as a bug would. */
function forget({ engine }: Made, tree: TreeName, k0: number): void {
  const cursor = engine.store.trees[tree].cursor();
  while (cursor.seek(k0, 0, 0, 0) && cursor.key(0) === k0) {
    const key = [0, 1, 2, 3].map((i) => (i < TREES[tree].keyWords ? cursor.key(i) : 0));
    engine.store.trees[tree].remove(key[0], key[1], key[2], key[3]);
  }
  engine.store.trx.commit();
}

const attrOf = (engine: RegionEngine, ino: number) => engine.getattr(ino as Ino, emptyAttr());

describe('what a repair does', () => {
  it.each([0, 2, 300, 0x8000_0000])(
    'a bad block whose record says %d blocks leaves the free space free',
    (length) => {
      const { engine, media } = make();
      engine.poison(400 * BLOCK_SIZE, BLOCK_SIZE, false);
      engine.close();
      const before = checkRegion(media).scan;
      if (before === undefined) throw new Error('there is no filesystem');
      const { block, word } = recordPlace(before, 'badblock', [400]);
      harmBlock(media, block, (words) => words.fill(length, word + 1, word + 2), 'node');
      const { engine: after } = repaired(media);
      expect(after.badBlocks(0, 9)).toMatchObject([{ physical: 400 * BLOCK_SIZE, length: BLOCK_SIZE }]);
      expect(after.store.space.freeBlocks).toBe(before.superblock.freeBlocks);
    },
  );

  it('a clean region: nothing', () => {
    const { media, engine } = make();
    engine.close();
    const before = imageOf(media);
    expect(repairRegion(media, { dryRun: false, now: NOW })).toMatchObject({ actions: [], written: false });
    expect(imageOf(media).equals(before)).toBe(true);
  });

  it('a file without a name goes to lost+found, with all it has', () => {
    const made = make();
    const text = snapshot(made.engine).get('/dir/sub/file')?.text;
    forget(made, 'dirent', made.sub);
    const { paths, engine, result } = repaired(made.media);
    expect(pathsOf(paths)).toEqual([
      '/',
      '/dir',
      '/dir/link',
      '/dir/sub',
      '/lost+found',
      `/lost+found/${made.file}`,
    ]);
    expect(paths.get(`/lost+found/${made.file}`)).toEqual({ ino: made.file, text });
    expect(attrOf(engine, engine.lookup(ROOT_INO, name('lost+found')))).toMatchObject({
      mode: S_IFDIR | 0o700,
      uid: 0,
    });
    expect(result.actions.map(({ detail }) => detail)).toContain(
      `inode ${made.file}, which nothing led to, is lost+found/${made.file}`,
    );
  });

  it('a directory without a name takes what is below it along, and its parent is right', () => {
    const made = make();
    forget(made, 'dirent', made.dir);
    const { paths, engine } = repaired(made.media);
    const place = `/lost+found/${made.sub}`;
    expect(pathsOf(paths)).toEqual(
      ['/', '/dir', '/lost+found', place, `${place}/file`, `/lost+found/${made.link}`].sort(),
    );
    expect(engine.parentOf(made.sub)).toBe(engine.lookup(ROOT_INO, name('lost+found')));
    expect(attrOf(engine, made.sub).mode).toBe(S_IFDIR | 0o751);
    expect(attrOf(engine, made.dir).nlink).toBe(2);
  });

  it('a file whose inode is gone: its data are in lost+found, for root alone', () => {
    const made = make();
    forget(made, 'inode', made.file);
    const { paths, engine, result } = repaired(made.media);
    expect(pathsOf(paths)).toContain(`/lost+found/${made.file}`);
    expect(pathsOf(paths)).not.toContain('/dir/sub/file');
    const attr = attrOf(engine, made.file);
    expect(attr).toMatchObject({
      mode: S_IFREG | 0o600,
      uid: 0,
      gid: 0,
      size: 3 * BLOCK_SIZE,
      nlink: 1,
      blocks: 3,
    });
    expect(result.actions).toContainEqual(expect.objectContaining({ ino: made.file, path: '/dir/sub/file' }));
    const [extent] = engine.extents(made.file, 0, 3 * BLOCK_SIZE, 1);
    expect(made.media.bytes(asPhys(extent.physical / BLOCK_SIZE), 1).every((byte) => byte === 7)).toBe(true);
  });

  it('a directory whose inode is gone keeps its entries', () => {
    const made = make();
    forget(made, 'inode', made.dir);
    const { paths, engine } = repaired(made.media);
    expect(pathsOf(paths)).toContain(`/lost+found/${made.dir}/sub/file`);
    expect(attrOf(engine, made.dir)).toMatchObject({ mode: S_IFDIR | 0o700, uid: 0, nlink: 3 });
  });

  it('the root is made again in its place', () => {
    const made = make();
    forget(made, 'inode', ROOT_INO);
    const { paths } = repaired(made.media);
    expect(pathsOf(paths)).toEqual(['/', '/dir', '/dir/link', '/dir/sub', '/dir/sub/file']);
  });

  it('a symbolic link: without its inode it is made again, without its target removed', () => {
    const first = make();
    forget(first, 'inode', first.link);
    const { engine } = repaired(first.media);
    expect(Buffer.from(engine.readlink(first.link)).toString()).toBe('sub/file');
    const second = make();
    forget(second, 'xattr', second.link);
    expect(pathsOf(repaired(second.media).paths)).toEqual(['/', '/dir', '/dir/sub', '/dir/sub/file']);
  });

  it('directories in a circle are cut apart', () => {
    const made = make();
    const { trees } = made.engine.store;
    const entry = (dir: number): { key: number[]; payload: Uint8Array } => {
      const cursor = trees.dirent.cursor();
      for (let more = cursor.seek(dir, 0, 0, 0); more && cursor.key(0) === dir; more = cursor.next()) {
        const payload = Uint8Array.from(cursor.payload());
        if (payload[4] === 4) return { key: [0, 1, 2].map((i) => cursor.key(i)), payload };
      }
      throw new Error(`directory ${dir} has no subdirectory`);
    };
    // The entry of /dir goes from the root into /dir/sub.
    const { key, payload } = entry(ROOT_INO);
    trees.dirent.remove(key[0], key[1], key[2], 0);
    trees.dirent.insertPayload(made.sub, key[1], key[2], 0, payload);
    made.engine.store.trx.commit();
    const { paths, engine } = repaired(made.media);
    expect(pathsOf(paths)).toContain(`/lost+found/${made.dir}/sub/file`);
    expect(engine.lookup(made.sub, name('dir'))).toBe(0);
  });

  it('uses the lost+found that is there, and other names where they are taken', () => {
    const made = make();
    const place = made.engine.create(ROOT_INO, name('lost+found'), mode(S_IFDIR | 0o755));
    made.engine.create(place, name(`${made.file}`), mode(S_IFREG | 0o600));
    forget(made, 'dirent', made.sub);
    const { paths } = repaired(made.media);
    expect(paths.get(`/lost+found/${made.file}.1`)?.ino).toBe(made.file);
    const other = make();
    other.engine.create(ROOT_INO, name('lost+found'), mode(S_IFREG | 0o600));
    forget(other, 'dirent', other.sub);
    expect(repaired(other.media).paths.get(`/lost+found.1/${other.file}`)?.ino).toBe(other.file);
  });

  it('an orphan stays one', () => {
    const made = make();
    const orphan = made.engine.createUnlinked(mode(S_IFREG | 0o600));
    made.engine.commit();
    forget(made, 'orphan', orphan);
    expect(repairRegion(made.media, { dryRun: false, now: NOW }).left).toEqual([]);
    expect(checkRegion(made.media).problems).toEqual([]);
    expect(openEngine(made.media, { clock }).exists(orphan)).toBe(false);
  });
});

describe('a repair and the region', () => {
  const lostInodes = (): { media: Media; image: Buffer } => {
    const { media, engine } = make();
    engine.close();
    const root = checkRegion(media).scan?.superblock.roots[TREES.inode.id].root ?? 0;
    media.bytes(asPhys(root), 1).fill(0xdd);
    return { media, image: imageOf(media) };
  };

  it('a dry run says the same and changes nothing', () => {
    const { image } = lostInodes();
    const media = memoryMedia(BLOCKS, { image, readOnly: true });
    const dry = repairRegion(media, { dryRun: true, now: NOW });
    expect(dry).toMatchObject({ left: [], written: false });
    expect(dry.problems.every((problem) => !problem.repaired)).toBe(true);
    expect(imageOf(media).equals(image)).toBe(true);
    const real = repairRegion(mediumOf(image), { dryRun: false, now: NOW });
    expect(real.actions).toEqual(dry.actions);
  });

  it('one slot lost: written from the other', () => {
    for (const slot of [0, BLOCKS - 1]) {
      const { media, engine } = make();
      engine.close();
      media.bytes(asPhys(slot), 1).fill(0xdd);
      const { result, paths } = repaired(media);
      expect(result.problems.map(({ kind, repaired: is }) => [kind, is])).toContainEqual([
        'superblock',
        true,
      ]);
      expect(pathsOf(paths)).toContain('/dir/sub/file');
    }
  });

  it('both slots lost: one sentence, and nothing is changed', () => {
    const { media, engine } = make();
    engine.close();
    for (const slot of [0, BLOCKS - 1]) harmBlock(media, slot, (words) => words.fill(0, SB.blocks), null);
    const before = imageOf(media);
    const repair = (): unknown => repairRegion(media, { dryRun: false, now: NOW });
    expect(repair).toThrow(/cannot be found: both superblock slots are damaged.*nothing was changed/);
    expect(imageOf(media).equals(before)).toBe(true);
    for (const slot of [0, BLOCKS - 1]) media.bytes(asPhys(slot), 1).fill(0);
    expect(repair).toThrow(/EINVAL/);
  });

  it('the mark of a shutdown is taken off where nothing else is wrong', () => {
    const { media, engine } = make();
    engine.shutdown('asked for');
    const { result, engine: next } = repaired(media);
    expect(result).toMatchObject({ problems: [], actions: [{ kind: 'superblock' }], written: true });
    expect(next.info.wasShutdown).toBeNull();
  });

  it('a full filesystem', () => {
    const { media, engine, sub } = make();
    for (let i = 0; ; i++) {
      try {
        const ino = engine.create(sub, name(`${i}`), mode(S_IFREG | 0o600));
        engine.write(ino, 0, Buffer.alloc(BLOCK_SIZE, 1), BLOCK_SIZE, false);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
        break;
      }
    }
    engine.close();
    const image = imageOf(media);
    for (const tree of ['inode', 'dirent', 'bmap', 'rmap', 'free', 'chunk'] as const) {
      const copy = mediumOf(image);
      const leaf = checkRegion(copy).scan?.trees[tree].leaves[0] ?? 0;
      copy.bytes(asPhys(leaf), 1).fill(0xdd);
      repaired(copy);
    }
  });

  it('killed at any moment it leaves the region as it was, or repaired; a second run ends it', () => {
    const { image } = lostInodes();
    const was = checkRegion(mediumOf(image)).problems.map(({ detail }) => detail);
    const done = mediumOf(image);
    repairRegion(done, { dryRun: false, now: NOW });
    const end = [...snapshot(openEngine(done, { clock }))];
    const seen = new Set<string>();
    const look = (copy: Media): void => {
      const { problems } = checkRegion(copy);
      const details = problems.map(({ detail }) => detail);
      const others = problems.filter(({ kind }) => kind !== 'superblock');
      const isAsBefore = was.every((detail) => details.includes(detail));
      seen.add(isAsBefore ? 'as before' : 'repaired');
      if (!isAsBefore) expect(others).toEqual([]);
      const { paths } = repaired(copy);
      expect([...paths]).toEqual(end);
    };
    let flushes = 0;
    const media: CrashMedia = new CrashMedia(
      BLOCKS,
      {
        beforeFlush: () => {
          flushes++;
          for (const { media: copy } of media.crashImages(12, flushes)) look(copy);
        },
      },
      image,
    );
    expect(repairRegion(media, { dryRun: false, now: NOW }).left).toEqual([]);
    look(media.crashImage({ seed: 1 }));
    expect([flushes, [...seen].sort()]).toEqual([3, ['as before', 'repaired']]);
  });

  it('a flush that fails leaves it as it was, or repaired', () => {
    const { image } = lostInodes();
    for (const failFromFlush of [0, 1, 2]) {
      const media = new CrashMedia(BLOCKS, { failFromFlush }, image);
      expect(() => repairRegion(media, { dryRun: false, now: NOW })).toThrow(/flush/);
      repaired(media.crashImage({ seed: 5 }));
    }
  });
});
