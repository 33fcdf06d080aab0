import { beforeAll, describe, expect, it, test } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { checkNamespace } from '../../src/check/namespace.js';
import { checkRegion } from '../../src/check/region.js';
import { checkTree } from '../../src/check/tree.js';
import type { Owner } from '../../src/engine/api.js';
import { openEngine, type RegionEngine } from '../../src/engine/index.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { repairRegion } from '../../src/repair/repair.js';
import { asIno, asPhys, BLOCK_SIZE, ROOT_INO } from '../../src/types.js';
import { planned } from '../support/data-env.js';
import { FakeClock } from '../support/mem-context.js';
import { makeSmallImage, SMALL_BLOCKS } from '../support/small-region.js';

const BLOCKS = SMALL_BLOCKS;

const clock = new FakeClock();
const name = (text: string): Uint8Array => Buffer.from(text);
const file = { mode: S_IFREG | 0o644, uid: 0, gid: 0 };

type Outcome = 'goes on' | 'repaired' | 'shut down';

/** What becomes of the filesystem when a block of this kind fails: "tree:" for nodes, "inner:" above the leaves. */
const OUTCOME: Record<string, Outcome> = {
  file: 'goes on',
  free: 'goes on',
  superblock: 'shut down',
  'tree:unused': 'goes on',
  'tree:inode': 'shut down',
  'inner:inode': 'shut down',
  'tree:dirent': 'shut down',
  'inner:dirent': 'shut down',
  'tree:xattr': 'shut down',
  'tree:parent': 'repaired',
  'inner:parent': 'repaired',
  'tree:bmap': 'repaired',
  'inner:bmap': 'repaired',
  'tree:rmap': 'repaired',
  'inner:rmap': 'repaired',
  'tree:refcount': 'repaired',
  'tree:free': 'repaired',
  'tree:badblock': 'repaired',
  'tree:orphan': 'repaired',
  'tree:chunk': 'repaired',
};

/** A fresh copy, mounted. All copies are alike to the last node; each has an orphan, which a mount would free. */
function mounted(image: Buffer): { media: Media; engine: RegionEngine } {
  const media = memoryMedia(BLOCKS, { image });
  const engine = openEngine(media, { clock });
  const orphan = engine.create(ROOT_INO, name('orphan'), file);
  engine.write(orphan, 0, Buffer.alloc(BLOCK_SIZE, 9), BLOCK_SIZE, false);
  engine.unlink(ROOT_INO, name('orphan'));
  engine.commit();
  return { media, engine };
}

function ownersOf(engine: RegionEngine, physical = 0, length = BLOCKS * BLOCK_SIZE): Owner[] {
  const owners: Owner[] = [];
  engine.owners(physical, length, (owner) => owners.push(owner) > 0);
  return owners;
}

const fileOwners = (engine: RegionEngine): Owner[] => ownersOf(engine).filter(({ kind }) => kind === 'file');

/** What each block holds, as a key of OUTCOME. */
function kindsOf(engine: RegionEngine): string[] {
  const inner = new Set<number>();
  for (const tree of Object.values(engine.store.trees)) {
    tree.walk((block, level) => level > 0 && inner.add(block) && true);
  }
  return Array.from({ length: BLOCKS }, (_, block) => {
    const [owner] = ownersOf(engine, block * BLOCK_SIZE, BLOCK_SIZE);
    if (owner.kind !== 'metadata') return owner.kind;
    return `${inner.has(block) ? 'inner' : 'tree'}:${owner.tree}`;
  });
}

/** Every block of every file: its first byte, or "EIO". */
function contents(engine: RegionEngine): string[] {
  const plan = newReadPlan();
  return fileOwners(engine).map((owner) => {
    if (owner.kind !== 'file') return '';
    const read = (): string => {
      engine.read(owner.ino, owner.fileOffset, owner.length, false, plan);
      return planned(engine.readSources, plan).toString('latin1').slice(0, 1);
    };
    try {
      return `${owner.ino}@${owner.fileOffset} ${read()}`;
    } catch (error) {
      expect(error).toMatchObject({ code: 'EIO' });
      return `${owner.ino}@${owner.fileOffset} EIO`;
    }
  });
}

function problems(engine: RegionEngine): string[] {
  const { context, trees } = engine.store;
  return [...Object.values(trees).flatMap(checkTree), ...checkNamespace(context), ...checkData(context)];
}

function expectGoesOn(media: Media, engine: RegionEngine, block: number, before: string[]): void {
  expect(engine.damage.lost).toBeNull();
  expect(engine.isBad(block * BLOCK_SIZE, 1)).toBe(true);
  expect(problems(engine)).toEqual([]);
  const after = contents(engine);
  const readable = ownersOf(engine, block * BLOCK_SIZE, BLOCK_SIZE).filter(
    (o) => o.kind === 'file' && !o.unwritten,
  );
  expect(after.filter((text, i) => text !== before[i]).every((text) => text.endsWith('EIO'))).toBe(true);
  expect(after.filter((text) => text.endsWith('EIO')).length > 0).toBe(readable.length > 0);
  const made = engine.create(ROOT_INO, name('after'), file);
  engine.write(made, 0, Buffer.alloc(20 * BLOCK_SIZE, 1), 20 * BLOCK_SIZE, false);
  engine.commit();
  const again = openEngine(media, { clock });
  expect(again.lookup(ROOT_INO, name('after'))).toBe(made);
  expect(again.badBlocks(block * BLOCK_SIZE, 1)[0]).toMatchObject({
    physical: block * BLOCK_SIZE,
    latent: false,
  });
  expect(problems(again)).toEqual([]);
  expect(again.store.nodes.isUsed(block)).toBe(false);
}

function expectShutDown(media: Media, engine: RegionEngine, kind: string, owners: Owner[]): void {
  expect(engine.damage.lost).not.toBeNull();
  const reason = engine.damage.lost ?? '';
  // Until everybody was told: owners are known still, and nothing changes.
  expect(fileOwners(engine)).toEqual(owners);
  expect(() => engine.create(ROOT_INO, name('n'), file)).toThrow(/EIO|corruption/);
  expect(() => engine.commit()).toThrow(/EIO/);
  engine.shutdown(reason);
  expect(() => engine.exists(ROOT_INO)).toThrow(/EIO/);
  engine.close();
  const bytes = media.bytes(asPhys(0), BLOCKS);
  const saved = openEngine(memoryMedia(BLOCKS, { image: bytes, readOnly: true }), { clock });
  expect(saved.info.wasShutdown).toBe(reason);
  if (kind === 'superblock') expect(problems(openEngine(media, { clock }))).toEqual([]);
  else expect(() => openEngine(media, { clock })).toThrow(/bad block.*fsck --repair/);
}

test('the whole device: where nothing can be recorded, the mark tells fsck and the next mount', () => {
  const { media, engine } = mounted(makeSmallImage());
  engine.poison(0, BLOCKS * BLOCK_SIZE, false);
  expect(engine.damage.lost).not.toBeNull();
  engine.shutdown(engine.damage.lost ?? '');
  engine.close();
  const { problems: found } = checkRegion(media);
  expect(found.map(({ detail }) => detail).join()).toMatch(/shut down for lost metadata: a node of the/);
  expect(() => openEngine(media, { clock })).toThrow(/bad block.*fsck --repair/);
  expect(
    openEngine(memoryMedia(BLOCKS, { image: media.bytes(asPhys(0), BLOCKS), readOnly: true }), { clock }).info
      .wasShutdown,
  ).toMatch(/bad block/);
  repairRegion(media, { dryRun: false, now: 1 });
  expect(checkRegion(media).problems).toEqual([]);
  expect(openEngine(media, { clock }).lookup(ROOT_INO, name('d'))).not.toBe(0);
});

describe('every block of a region in turn, its contents destroyed, each on a fresh copy', () => {
  let image: Buffer;
  let kinds: string[];
  beforeAll(() => {
    image = makeSmallImage();
    kinds = kindsOf(mounted(image).engine);
  });

  it('the region has blocks of every kind', () => {
    expect([...new Set(kinds)].sort()).toEqual(Object.keys(OUTCOME).sort());
  });

  it.each(Object.keys(OUTCOME))('%s', (kind) => {
    const { engine: untouched } = mounted(image);
    const before = contents(untouched);
    const owners = fileOwners(untouched);
    for (let block = 0; block < BLOCKS; block++) {
      if (kinds[block] !== kind) continue;
      const { media, engine } = mounted(image);
      media.bytes(asPhys(block), 1).fill(0xdd);
      engine.poison(block * BLOCK_SIZE, BLOCK_SIZE, false);
      const repaired = engine.damage.repaired.map(({ tree, physical }) => `${tree} ${physical / BLOCK_SIZE}`);
      expect(repaired).toEqual(OUTCOME[kind] === 'repaired' ? [`${kind.split(':')[1]} ${block}`] : []);
      if (OUTCOME[kind] === 'shut down') expectShutDown(media, engine, kind, owners);
      else expectGoesOn(media, engine, block, before);
    }
  });
});

describe('several nodes at once', () => {
  it('are made again one tree after the other', () => {
    const image = makeSmallImage();
    const { media, engine } = mounted(image);
    const before = contents(engine);
    const kinds = kindsOf(engine);
    const trees = ['tree:chunk', 'tree:free', 'tree:badblock', 'tree:refcount', 'inner:bmap', 'tree:parent'];
    for (const kind of trees) {
      const block = kindsOf(engine).indexOf(kind);
      media.bytes(asPhys(block), 1).fill(0xdd);
      engine.poison(block * BLOCK_SIZE, BLOCK_SIZE, false);
      expect(engine.damage).toMatchObject({ lost: null });
      expect(problems(engine)).toEqual([]);
    }
    expect(contents(engine)).toEqual(before);
    expect(kinds).not.toEqual(kindsOf(engine));
  });

  it('bmap and rmap together are too much', () => {
    const { engine } = mounted(makeSmallImage());
    const owners = fileOwners(engine);
    expect(engine.poison(0, 63 * BLOCK_SIZE, false)).toBe(63);
    expect(fileOwners(engine)).toEqual(owners);
    expect(engine.damage.lost).toMatch(/a node of the .* tree lies on the bad block \d+ \(and \d+ more\)/);
    expect(() => engine.write(asIno(3), 0, Buffer.alloc(1), 1, false)).toThrow(/EIO/);
  });

  it('a region that is mounted read-only is left alone', () => {
    const image = makeSmallImage();
    const media = memoryMedia(BLOCKS, { image, readOnly: true });
    const engine = openEngine(media, { clock });
    const node = kindsOf(engine).indexOf('tree:rmap');
    expect(() => engine.poison(node * BLOCK_SIZE, BLOCK_SIZE, false)).toThrow(/EROFS/);
    expect(media.bytes(asPhys(0), BLOCKS).equals(image)).toBe(true);
    expect(problems(engine)).toEqual([]);
  });
});
