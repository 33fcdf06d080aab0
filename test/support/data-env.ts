import type { ReadPlan } from '../../src/engine/api.js';
import { BadBlocks } from '../../src/engine/badblock.js';
import type {
  AllocatedRun,
  EngineContext,
  LayoutHooks,
  RunOf,
  SpaceAllocator,
} from '../../src/engine/context.js';
import { DataOps } from '../../src/engine/data.js';
import { InodeTable } from '../../src/engine/inode.js';
import { OWNER_METADATA, OWNER_SUPERBLOCK } from '../../src/engine/layout.js';
import { S_IFREG } from '../../src/engine/mode.js';
import { newReadPlan, segmentOf } from '../../src/engine/read.js';
import { asBlocks, asPhys, BLOCK_SIZE, type Blocks, type Ino, type PhysBlock } from '../../src/types.js';
import { type FakeSpace, type MemContext, type MemContextOptions, memContext } from './mem-context.js';

/** What every block of the medium holds before anybody writes: a reader that sees it was given stale data. */
export const STALE = 0xee;

/** The fake allocator with the contract of the real one: bad blocks are left out when a run is freed. */
class BadAwareSpace implements SpaceAllocator {
  readonly #inner: FakeSpace;
  readonly #bad: BadBlocks;

  constructor(inner: FakeSpace, bad: BadBlocks) {
    this.#inner = inner;
    this.#bad = bad;
  }

  get availableBlocks(): number {
    return this.#inner.availableBlocks;
  }

  get freeBlocks(): number {
    return this.#inner.freeBlocks;
  }

  allocate(goal: number, want: number, out: AllocatedRun): void {
    this.#inner.allocate(goal, want, out);
  }

  isAllocatable(block: number): boolean {
    return this.#inner.isAllocatable(block);
  }

  findWindow(length: number): number {
    return this.#inner.findWindow(length);
  }

  free(start: PhysBlock, length: Blocks): void {
    this.#inner.free(start, length);
    for (let block: number = start; block < start + length; block++) {
      if (this.#bad.first(block, 1, true) >= 0) this.#inner.quarantine(asPhys(block), asBlocks(1));
    }
  }

  quarantine(start: PhysBlock, length: Blocks): void {
    this.#inner.quarantine(start, length);
  }

  restore(start: PhysBlock, length: Blocks): void {
    this.#inner.restore(start, length);
  }

  freeRun(block: number, limit: number, out: RunOf): RunOf {
    return this.#inner.freeRun(block, limit, out);
  }

  isFree(block: PhysBlock): boolean {
    return this.#inner.isFree(block);
  }
}

/** The data half of an engine over any store. */
export interface DataParts {
  readonly ctx: EngineContext;
  readonly data: DataOps;
  readonly inodes: InodeTable;
  readonly bad: BadBlocks;
}

/** The data half of an engine over a fake store. */
export interface DataEnv extends DataParts {
  readonly mem: MemContext;
  readonly layouts: LayoutHooks;
}

/** The first 8 blocks and the last one belong to the filesystem: superblocks at both ends, metadata between. */
export function dataEnv(options: MemContextOptions = {}): DataEnv {
  const mem = memContext({ windowBlocks: 16, ...options });
  for (let block = 0; block < mem.media.blocks; block++) mem.media.bytes(asPhys(block), 1).fill(STALE);
  mem.trx.enforce = false;
  mem.trees.rmap.insert(0, OWNER_SUPERBLOCK, 0, 0, Uint32Array.of(1, 0));
  mem.trees.rmap.insert(mem.media.blocks - 1, OWNER_SUPERBLOCK, 0, 0, Uint32Array.of(1, 0));
  mem.trees.rmap.insert(1, OWNER_METADATA, 0, 0, Uint32Array.of(7, 0));
  const bad = new BadBlocks(mem.trees.badblock);
  const layouts: LayoutHooks = { breakLayouts: () => {}, remapped: () => {} };
  const ctx: EngineContext = { ...mem, bad, layouts, space: new BadAwareSpace(mem.space, bad) };
  const inodes = new InodeTable(ctx);
  const data = new DataOps(ctx, inodes, bad, (block) => (block % 2 === 0 ? 'bmap' : 'rmap'));
  mem.trx.enforce = true;
  return { mem, ctx, data, inodes, bad, layouts };
}

/** Adds an empty regular file. */
export function addFile(env: DataParts): Ino {
  env.ctx.trx.reserve({ dataBlocks: 0, records: 1, freeing: false });
  const ino = env.inodes.pickIno();
  env.inodes.add(ino, { mode: S_IFREG | 0o644, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 0 });
  return ino;
}

/** A copy of what a plan holds. */
export function planned(sources: readonly Buffer[], plan: ReadPlan): Buffer {
  return Buffer.concat(Array.from({ length: plan.segments }, (_, i) => segmentOf(sources, plan, i)));
}

/** The bytes of a range, read in as many calls as it takes. Short at the end of the file. */
export function readAll(data: DataOps, ino: Ino, offset: number, length: number, mayBeShort = false): Buffer {
  const parts: Buffer[] = [];
  const plan = newReadPlan();
  for (let done = 0; done < length; done += plan.bytes) {
    data.read(ino, offset + done, length - done, mayBeShort, plan);
    if (plan.bytes === 0) break;
    parts.push(planned(data.readSources, plan));
  }
  return Buffer.concat(parts);
}

/** `blocks` blocks that are filled with `byte`, and the block's index in their first byte. */
export function pattern(byte: number, blocks: number): Buffer {
  const buffer = Buffer.alloc(blocks * BLOCK_SIZE, byte);
  for (let i = 0; i < blocks; i++) buffer[i * BLOCK_SIZE] = i;
  return buffer;
}

export function writeAll(env: DataEnv, ino: Ino, offset: number, bytes: Buffer): number {
  return env.data.write(ino, offset, bytes, bytes.length, false);
}

/** Region block of a file block, or 0. */
export function physicalOf(data: DataOps, ino: Ino, block: number): number {
  const [extent] = data.extents(ino, block * BLOCK_SIZE, BLOCK_SIZE, 1);
  return extent === undefined ? 0 : extent.physical / BLOCK_SIZE;
}

/** The errno name that a call throws, or 'OK'. */
export function outcome(call: () => unknown): string {
  try {
    call();
    return 'OK';
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
}
