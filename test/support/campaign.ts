import { checkRegion } from '../../src/check/region.js';
import type { Scan } from '../../src/check/scan.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { NODE, NODE_HEADER_WORDS, WORDS_PER_BLOCK } from '../../src/engine/layout.js';
import { isDirectory, isRegular, S_IFDIR, S_IFLNK, S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan } from '../../src/engine/read.js';
import { CommitError, CorruptionError, FsError, InvariantError } from '../../src/errors.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { BLOCK_SIZE, type Ino, type PhysBlock, ROOT_INO } from '../../src/types.js';
import { emptyAttr } from '../../src/vfs/context.js';
import { harmBlock } from './damage.js';
import { FakeClock } from './mem-context.js';
import { imageOf } from './snapshot.js';

const CAMPAIGN_BLOCKS = 1024;
const clock = new FakeClock();
const bytes = (text: string): Uint8Array => Buffer.from(text);
const withMode = (mode: number) => ({ mode, uid: 1, gid: 2 });
const CLONED = 260;

/** A region with several leaves in its trees, and what is needed to harm it. */
export interface Field {
  readonly image: Buffer;
  readonly scan: Scan;
  /** Free blocks, and inodes that are no orphans. */
  readonly free: number;
  readonly paths: number;
}

/** Names, attributes, clones, unwritten blocks, holes, orphans and bad blocks. */
export function buildField(): Field {
  const media = memoryMedia(CAMPAIGN_BLOCKS, { windowShift: 6 });
  mkfs(media, { label: 'field', clock, uid: 0, gid: 0 });
  const engine = openEngine(media, { clock });
  const dir = engine.create(ROOT_INO, bytes('dir'), withMode(S_IFDIR | 0o755));
  const file = engine.create(dir, bytes('file'), withMode(S_IFREG | 0o644));
  const clone = engine.create(dir, bytes('clone'), withMode(S_IFREG | 0o644));
  engine.create(dir, bytes('link'), { ...withMode(S_IFLNK | 0o777), target: bytes('t'.repeat(3000)) });
  for (let i = 0; i < 120; i++) {
    const ino = engine.create(dir, bytes(`name ${i}`), withMode(S_IFREG | 0o600));
    if (i % 8 === 0) engine.setxattr(ino, bytes('user.long'), Buffer.alloc(900, i), 0);
  }
  const block = Buffer.alloc(BLOCK_SIZE, 1);
  for (let i = 0; i < CLONED; i++) engine.write(file, 2 * i * BLOCK_SIZE, block, BLOCK_SIZE, false);
  engine.cloneRange(file, 0, clone, 0, (2 * CLONED - 1) * BLOCK_SIZE);
  engine.fallocate(clone, 0, 2 * CLONED * BLOCK_SIZE, 5 * BLOCK_SIZE);
  for (let i = 0; i < CLONED; i += 2) engine.write(clone, 2 * i * BLOCK_SIZE, block, 10, false);
  for (let i = 0; i < 3; i++) engine.createUnlinked(withMode(S_IFREG | 0o600));
  engine.poison((CAMPAIGN_BLOCKS - 9) * BLOCK_SIZE, 2 * BLOCK_SIZE, false);
  engine.poison((CAMPAIGN_BLOCKS - 30) * BLOCK_SIZE, BLOCK_SIZE, true);
  engine.commit();
  engine.setattr(dir, { mode: S_IFDIR | 0o750 });
  engine.commit();
  const { problems, scan } = checkRegion(media);
  if (scan === undefined || problems.length > 0) throw new Error(JSON.stringify(problems));
  return { image: imageOf(media), scan, free: scan.superblock.freeBlocks, paths: 124 };
}

/** The case did not come to an end within the steps that it has. */
class EndlessError extends Error {}

/** A copy of the field whose blocks can be looked at only so often: that is the clock of the campaign. */
export function bounded(field: Field, steps: number): Media {
  const media = memoryMedia(CAMPAIGN_BLOCKS, { image: field.image, windowShift: 6 });
  let left = steps;
  const words = media.words.bind(media);
  media.words = (block: PhysBlock) => {
    if (left-- <= 0) throw new EndlessError(`no end within ${steps} looks at the medium`);
    return words(block);
  };
  return media;
}

/** Numbers below `n` from a seed: mulberry32. */
export function randomBelow(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

const ODD = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffef, 0xffff_fffe, 0xffff_ffff, 5000, 64, 1023, 1024];

/** Changes one to four words of one to three nodes, or of superblock slots. Most get a right checksum. */
export function harm(media: Media, field: Field, below: (n: number) => number): void {
  const nodes = [...field.scan.nodes.keys()];
  for (let n = 1 + below(3); n > 0; n--) {
    const isSlot = below(40) === 0;
    const block = isSlot ? below(2) * (CAMPAIGN_BLOCKS - 1) : nodes[below(nodes.length)];
    const isRight = below(5) > 0;
    harmBlock(
      media,
      block,
      (words) => {
        for (let i = 1 + below(4); i > 0; i--) harmWord(words, below);
      },
      isRight ? (isSlot ? 'superblock' : 'node') : null,
    );
  }
}

function harmWord(words: Uint32Array, below: (n: number) => number): void {
  const at =
    below(6) === 0
      ? [NODE.count, NODE.heapTop, NODE.heapDead, NODE.self, NODE.treeLevel][below(5)]
      : below(3) === 0
        ? below(WORDS_PER_BLOCK)
        : NODE_HEADER_WORDS + below(120);
  const old = words[at];
  const values = [below(2 ** 32), ODD[below(ODD.length)], old + 1, old - 1, old ^ (1 << below(32))];
  values.push(words[below(WORDS_PER_BLOCK)], below(CAMPAIGN_BLOCKS));
  words[at] = values[below(values.length)] >>> 0;
}

/** Whether an error is an answer. All others are faults of the program. */
export const isAnswer = (error: unknown): boolean =>
  [FsError, CorruptionError, InvariantError, CommitError].some((kind) => error instanceof kind);

/** The policy of src/vfs/guard.ts. */
function enter<T>(engine: RegionEngine, work: () => T): T | undefined {
  engine.begin();
  try {
    return work();
  } catch (error) {
    if (!isAnswer(error)) throw error;
    if (error instanceof FsError || (error instanceof CorruptionError && !engine.changed)) return undefined;
    engine.shutdown('met by the campaign');
    return undefined;
  }
}

/** Lists and reads everything. Returns the numbers of inodes found, and of operations that failed. */
export function readAll(engine: RegionEngine): { found: Set<number>; failed: number } {
  const found = new Set<number>();
  let failed = 0;
  const ask = <T>(work: () => T): T | undefined => {
    const answer = enter(engine, work);
    if (answer === undefined) failed++;
    return answer;
  };
  const plan = newReadPlan();
  const visit = (ino: Ino): void => {
    if (found.has(ino)) return;
    const attr = ask(() => ({ ...engine.getattr(ino, emptyAttr()) }));
    if (attr === undefined) return;
    found.add(ino);
    for (const name of ask(() => engine.listxattr(ino)) ?? []) ask(() => engine.getxattr(ino, name));
    if (isRegular(attr.mode)) {
      const end = Math.min(attr.size, 8 * CLONED * BLOCK_SIZE);
      for (let at = 0; at < end; at += 128 * BLOCK_SIZE) {
        ask(() => engine.read(ino, at, Math.min(128 * BLOCK_SIZE, end - at), true, plan) ?? true);
      }
      ask(() => engine.extents(ino, 0, end, 1000));
    }
    if (!isDirectory(attr.mode)) return;
    const below: Ino[] = [];
    ask(() => engine.readdir(ino, 0, (_name, child) => below.push(child) > 0) ?? true);
    for (const child of below) visit(child);
  };
  visit(ROOT_INO);
  ask(() => engine.space());
  return { found, failed };
}

/** Writes, names, removes, clones, commits and unmounts. `poison`: blocks fail, which may be nodes. */
export function changeAll(engine: RegionEngine, poison: boolean): void {
  const data = Buffer.alloc(300_000, 9);
  const ask = <T>(work: () => T): T | undefined => enter(engine, work);
  const dir = ask(() => engine.lookup(ROOT_INO, bytes('dir'))) as Ino | undefined;
  const file = dir && (ask(() => engine.lookup(dir, bytes('file'))) as Ino | undefined);
  const clone = dir && (ask(() => engine.lookup(dir, bytes('clone'))) as Ino | undefined);
  if (dir && file && clone) {
    ask(() => engine.write(file, 3 * BLOCK_SIZE, data, data.length, false));
    ask(() => engine.cloneRange(file, 0, clone, 64 * BLOCK_SIZE, 64 * BLOCK_SIZE));
    ask(() => engine.fallocate(file, 3, 8 * BLOCK_SIZE, 40 * BLOCK_SIZE));
    ask(() => engine.truncate(clone, 100 * BLOCK_SIZE + 7));
  }
  const made = ask(() => engine.create(dir || ROOT_INO, bytes('new'), withMode(S_IFREG | 0o600)));
  if (made) {
    ask(() => engine.setxattr(made, bytes('user.a'), data.subarray(0, 3000), 0));
    ask(() => engine.write(made, 0, data, data.length, false));
  }
  for (let i = 0; dir && i < 120; i += 7) {
    const gone = ask(() => engine.unlink(dir, bytes(`name ${i}`)));
    if (gone) ask(() => engine.inactivate(gone));
  }
  ask(() => engine.commit());
  if (poison) ask(() => engine.poison(500 * BLOCK_SIZE, 20 * BLOCK_SIZE, false));
  if (!engine.info.shutdown) ask(() => engine.close());
}
