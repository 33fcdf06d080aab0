import type { Ino } from '../types.js';
import type {
  BadRange,
  Extent,
  Failure,
  FileData,
  Owner,
  OwnerCursor,
  OwnerPlace,
  ReadPlan,
  Sharing,
} from './api.js';
import type { BadBlocks } from './badblock.js';
import type { EngineContext } from './context.js';
import { DataCore } from './datacore.js';
import { ExtentQueries } from './extents.js';
import { SpaceOps } from './fallocate.js';
import type { InodeTable } from './inode.js';
import { OwnerStream } from './owner-stream.js';
import { OwnerQueries } from './owners.js';
import { PoisonOps } from './poison.js';
import { Reader } from './read.js';
import type { SharedBlocks } from './refcount.js';
import { Reflink } from './reflink.js';
import { FALLOC_COLLAPSE_RANGE, FALLOC_INSERT_RANGE, ShiftOps } from './shift.js';
import { Writer } from './write.js';

/** The data half of the engine: everything that reads, writes, maps or shares the blocks of files. */
export class DataOps implements FileData, Sharing, Failure {
  readonly #core: DataCore;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #space: SpaceOps;
  readonly #shift: ShiftOps;
  readonly #queries: ExtentQueries;
  readonly #reflink: Reflink;
  readonly #poison: PoisonOps;
  readonly #owners: OwnerQueries;
  readonly #stream: OwnerStream;

  /** `bad` is the index that `ctx.bad` is; `treeOf` names the tree that a metadata block belongs to. */
  constructor(ctx: EngineContext, inodes: InodeTable, bad: BadBlocks, treeOf: (block: number) => string) {
    this.#core = new DataCore(ctx, inodes, bad);
    this.#reader = new Reader(this.#core);
    this.#writer = new Writer(this.#core);
    this.#space = new SpaceOps(this.#core);
    this.#shift = new ShiftOps(this.#core);
    this.#queries = new ExtentQueries(this.#core);
    this.#reflink = new Reflink(this.#core, this.#reader, this.#writer, this.#space);
    this.#poison = new PoisonOps(this.#core);
    this.#owners = new OwnerQueries(ctx, this.#core.remap.refcount, treeOf);
    this.#stream = new OwnerStream(ctx, this.#core.remap.refcount, treeOf);
  }

  get readSources(): readonly Buffer[] {
    return this.#reader.sources;
  }

  read(ino: Ino, offset: number, length: number, mayBeShort: boolean, out: ReadPlan): void {
    this.#reader.read(ino, offset, length, mayBeShort, out);
  }

  write(ino: Ino, offset: number, data: Buffer, length: number, fromPageCache: boolean): number {
    return this.#writer.write(ino, offset, data, length, fromPageCache);
  }

  truncate(ino: Ino, size: number): void {
    this.#space.truncate(ino, size);
  }

  fallocate(ino: Ino, mode: number, offset: number, length: number): void {
    if (mode === FALLOC_COLLAPSE_RANGE) this.#shift.collapse(ino, offset, length);
    else if (mode === FALLOC_INSERT_RANGE) this.#shift.insert(ino, offset, length);
    else this.#space.fallocate(ino, mode, offset, length);
  }

  seek(ino: Ino, offset: number, whence: number): number {
    return this.#queries.seek(ino, offset, whence);
  }

  fsync(_ino: Ino): void {
    this.#core.ctx.trx.commit();
  }

  /** Takes all blocks off an inode that has no name and no user any more. */
  freeData(ino: Ino): void {
    this.#space.freeData(ino);
  }

  cloneRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): void {
    this.#reflink.clone(src, srcOffset, dst, dstOffset, length);
  }

  dedupeRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number {
    return this.#reflink.dedupe(src, srcOffset, dst, dstOffset, length);
  }

  copyRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number {
    return this.#reflink.copy(src, srcOffset, dst, dstOffset, length);
  }

  extents(ino: Ino, offset: number, length: number, max: number): Extent[] {
    return this.#queries.list(ino, offset, length, max);
  }

  /** See Space.owners(). */
  owners(physical: number, length: number, visit: (owner: Owner) => boolean, after?: OwnerCursor): void {
    this.#owners.query(physical, length, visit, after);
  }

  /** See Space.ownersFrom(). */
  ownersFrom(place: OwnerPlace, end: number, visit: (owner: Owner) => boolean): boolean {
    return this.#stream.walk(place, end, visit);
  }

  isBad(physical: number, length: number): boolean {
    return this.#poison.isBad(physical, length);
  }

  poison(physical: number, length: number, latent: boolean): number {
    return this.#poison.poison(physical, length, latent);
  }

  unpoison(physical: number, length: number): number {
    return this.#poison.unpoison(physical, length);
  }

  badBlocks(from: number, max: number): BadRange[] {
    return this.#poison.list(from, max);
  }

  /** See Refcount.totals(). */
  sharedBlocks(): Readonly<SharedBlocks> {
    return this.#core.remap.refcount.totals();
  }
}
