import { randomUUID } from 'node:crypto';
import { FsError } from '../errors.js';
import type { Media } from '../media/media.js';
import { asPhys, BLOCK_SIZE, type Clock, type Ino, type Time } from '../types.js';
import type * as api from './api.js';
import { BadBlocks } from './badblock.js';
import type { LayoutHooks } from './context.js';
import { DataOps } from './data.js';
import type { PublishEvent } from './events.js';
import { FailureOps } from './failure.js';
import { NamespaceOps } from './namespace.js';
import { Scrubber } from './scrub.js';
import { checkLabel, formatStore, openStore, type Store, type StoreOptions } from './store.js';
import { uuidText } from './superblock.js';

export type { Engine } from './api.js';
export { probe, uuidText } from './superblock.js';

export interface EngineOptions {
  clock: Clock;
  /** Who must be asked before blocks change; nobody when absent. */
  layouts?: LayoutHooks;
  /** Whether the caller of the operation under way was killed: a long one then ends with EINTR. Never when absent. */
  interrupted?: () => boolean;
  /** Who is told of engine events; nobody when absent. */
  publish?: PublishEvent;
}

export interface MkfsOptions {
  label: string;
  clock: Clock;
  /** Owner of the root directory. */
  uid: number;
  gid: number;
  /** 16 bytes; random when absent. */
  uuid?: Buffer;
}

const NOT_INTERRUPTED = (): boolean => false;
const NO_LAYOUTS: LayoutHooks = { breakLayouts: () => {}, remapped: () => {} };

/** Puts an empty filesystem into the region. What was there is lost. */
export function mkfs(media: Media, options: MkfsOptions): void {
  const { clock, label, uid, gid } = options;
  const now: Time = { sec: 0, nsec: 0 };
  clock.now(now);
  const uuid = options.uuid ?? Buffer.from(randomUUID().replaceAll('-', ''), 'hex');
  const { store, bad } = withBadBlocks((storeOptions) =>
    formatStore(media, { label, uuid, created: Math.max(0, now.sec) }, storeOptions),
  )(clock, NO_LAYOUTS, NOT_INTERRUPTED);
  const engine = new RegionEngine(store, bad);
  engine.names.mkRoot(uid, gid);
  engine.close();
}

/** Opens the filesystem of a region and frees what the last mount left unlinked but in use. */
export function openEngine(media: Media, options: EngineOptions): RegionEngine {
  const { store, bad } = withBadBlocks((storeOptions) => openStore(media, storeOptions))(
    options.clock,
    options.layouts ?? NO_LAYOUTS,
    options.interrupted ?? NOT_INTERRUPTED,
  );
  const engine = new RegionEngine(store, bad, options.publish);
  if (!media.readOnly) {
    store.trx.markInUse();
    engine.names.reclaimOrphans();
  }
  return engine;
}

/** The store makes the bad-block index from its tree; the data half needs the same object by its full type. */
function withBadBlocks(make: (options: StoreOptions) => Store) {
  return (
    clock: Clock,
    layouts: LayoutHooks,
    interrupted: () => boolean,
  ): { store: Store; bad: BadBlocks } => {
    const made: BadBlocks[] = [];
    const store = make({
      clock,
      layouts,
      interrupted,
      badBlocks: (tree) => {
        made.push(new BadBlocks(tree));
        return made[0];
      },
    });
    return { store, bad: made[0] };
  };
}

/**
 * The engine: the namespace and the data half over one store. After a shutdown every operation answers EIO, as
 * a shut-down XFS does; mappings that exist are the kernel's and stay.
 */
export class RegionEngine implements api.Engine {
  readonly info: api.EngineInfo;
  readonly names: NamespaceOps;
  readonly data: DataOps;
  readonly store: Store;
  readonly #failure: FailureOps;
  readonly #scrubber: Scrubber;
  readonly #publish: PublishEvent;
  /** State of the trees when the operation under way began. */
  #begun = 0;

  constructor(store: Store, bad: BadBlocks, publish: PublishEvent = () => {}) {
    this.store = store;
    this.#publish = publish;
    bad.onHealed = (from, to, by) =>
      publish({ type: 'healed', physical: from * BLOCK_SIZE, length: (to - from) * BLOCK_SIZE, by });
    this.names = new NamespaceOps(store.context, { freeData: (ino) => this.data.freeData(ino) });
    this.data = new DataOps(store.context, this.names.inodes, bad, (block) => this.#failure.treeOf(block));
    this.#failure = new FailureOps(store, bad, this.data);
    this.#scrubber = new Scrubber(store, bad, this.data);
    const { superblock: sb } = store;
    this.info = {
      label: sb.label,
      uuid: uuidText(sb.uuid),
      blockSize: BLOCK_SIZE,
      blocks: sb.blocks,
      readOnly: store.context.media.readOnly,
      get txid() {
        return sb.txid;
      },
      wasClean: sb.clean,
      wasShutdown: sb.shutdown ? sb.shutdownReason || 'after an error' : null,
      shutdown: false,
    };
  }

  #alive(op: string): void {
    if (this.info.shutdown) throw new FsError('EIO', op, 'the filesystem is shut down');
  }

  // ---- names --------------------------------------------------------------------------------------------

  lookup(dir: Ino, name: Uint8Array): Ino | 0 {
    this.#alive('lookup');
    return this.names.lookup(dir, name);
  }

  parentOf(dir: Ino): Ino {
    this.#alive('parentOf');
    return this.names.parentOf(dir);
  }

  exists(ino: Ino): boolean {
    this.#alive('exists');
    return this.names.exists(ino);
  }

  getattr(ino: Ino, out: api.InodeAttr): api.InodeAttr {
    this.#alive('getattr');
    return this.names.getattr(ino, out);
  }

  setattr(ino: Ino, change: api.AttrChange): void {
    this.#alive('setattr');
    this.names.setattr(ino, change);
  }

  atimeIsOld(ino: Ino, now: number): boolean {
    this.#alive('atimeIsOld');
    return this.names.atimeIsOld(ino, now);
  }

  touchAtime(ino: Ino, atime: Time): void {
    this.#alive('touchAtime');
    this.names.touchAtime(ino, atime);
  }

  create(dir: Ino, name: Uint8Array, init: api.NewInode): Ino {
    this.#alive('create');
    return this.names.create(dir, name, init);
  }

  createUnlinked(init: api.NewInode): Ino {
    this.#alive('createUnlinked');
    return this.names.createUnlinked(init);
  }

  link(ino: Ino, dir: Ino, name: Uint8Array): void {
    this.#alive('link');
    this.names.link(ino, dir, name);
  }

  unlink(dir: Ino, name: Uint8Array): Ino {
    this.#alive('unlink');
    return this.names.unlink(dir, name);
  }

  rmdir(dir: Ino, name: Uint8Array): Ino {
    this.#alive('rmdir');
    return this.names.rmdir(dir, name);
  }

  rename(
    dir: Ino,
    name: Uint8Array,
    newDir: Ino,
    newName: Uint8Array,
    flags: number,
    whiteout?: api.OwnerIds,
  ): Ino | 0 {
    this.#alive('rename');
    return this.names.rename(dir, name, newDir, newName, flags, whiteout);
  }

  readdir(dir: Ino, cookie: number, visit: api.DirVisitor): void {
    this.#alive('readdir');
    this.names.readdir(dir, cookie, visit);
  }

  readlink(ino: Ino): Uint8Array {
    this.#alive('readlink');
    return this.names.readlink(ino);
  }

  inactivate(ino: Ino): void {
    this.#alive('inactivate');
    this.names.inactivate(ino);
  }

  getxattr(ino: Ino, name: Uint8Array): Uint8Array | null {
    this.#alive('getxattr');
    return this.names.getxattr(ino, name);
  }

  setxattr(ino: Ino, name: Uint8Array, value: Uint8Array, flags: number): void {
    this.#alive('setxattr');
    this.names.setxattr(ino, name, value, flags);
  }

  removexattr(ino: Ino, name: Uint8Array): void {
    this.#alive('removexattr');
    this.names.removexattr(ino, name);
  }

  listxattr(ino: Ino): Uint8Array[] {
    this.#alive('listxattr');
    return this.names.listxattr(ino);
  }

  paths(ino: Ino, max: number, known?: Map<number, string>): string[] {
    return this.names.paths(ino, max, known);
  }

  // ---- data ---------------------------------------------------------------------------------------------

  get readSources(): readonly Buffer[] {
    return this.data.readSources;
  }

  read(ino: Ino, offset: number, length: number, mayBeShort: boolean, out: api.ReadPlan): void {
    this.#alive('read');
    this.data.read(ino, offset, length, mayBeShort, out);
  }

  write(ino: Ino, offset: number, data: Buffer, length: number, fromPageCache: boolean): number {
    this.#alive('write');
    return this.data.write(ino, offset, data, length, fromPageCache);
  }

  truncate(ino: Ino, size: number): void {
    this.#alive('truncate');
    this.data.truncate(ino, size);
  }

  fallocate(ino: Ino, mode: number, offset: number, length: number): void {
    this.#alive('fallocate');
    this.data.fallocate(ino, mode, offset, length);
  }

  seek(ino: Ino, offset: number, whence: number): number {
    this.#alive('seek');
    return this.data.seek(ino, offset, whence);
  }

  fsync(ino: Ino): void {
    this.#alive('fsync');
    this.data.fsync(ino);
  }

  cloneRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): void {
    this.#alive('cloneRange');
    this.data.cloneRange(src, srcOffset, dst, dstOffset, length);
  }

  dedupeRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number {
    this.#alive('dedupeRange');
    return this.data.dedupeRange(src, srcOffset, dst, dstOffset, length);
  }

  copyRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number {
    this.#alive('copyRange');
    return this.data.copyRange(src, srcOffset, dst, dstOffset, length);
  }

  extents(ino: Ino, offset: number, length: number, max: number): api.Extent[] {
    this.#alive('extents');
    return this.data.extents(ino, offset, length, max);
  }

  // ---- space and transactions ---------------------------------------------------------------------------

  space(): api.SpaceUse {
    const { space, nodes, context, superblock, trx } = this.store;
    const { shared, saved } = this.data.sharedBlocks();
    return {
      blocks: superblock.blocks,
      available: space.availableBlocks + space.pendingBlocks + trx.spareNodes,
      free: space.freeBlocks + space.pendingBlocks + nodes.freeCount + nodes.pendingCount,
      shared,
      saved,
      bad: context.bad.count,
      metadata: nodes.usedCount,
      inodes: context.counters.inodeCount,
    };
  }

  commit(): void {
    this.store.trx.commit();
  }

  trim(physical: number, length: number, least: number): number {
    this.#alive('trim');
    const { space, context, superblock } = this.store;
    if (context.media.readOnly) throw new FsError('EROFS', 'trim', 'the region is mounted read-only');
    // Only what the last commit does not reach either: it is what a crash leaves.
    this.commit();
    const from = Math.ceil(physical / BLOCK_SIZE);
    const to = Math.min(superblock.blocks, Math.floor((physical + length) / BLOCK_SIZE));
    let blocks = 0;
    space.eachFree(from, to, (start, count) => {
      if (count * BLOCK_SIZE < least) return;
      if (context.interrupted()) throw new FsError('EINTR', 'trim', 'the caller was killed');
      context.media.discard(asPhys(start), count);
      blocks += count;
    });
    return blocks * BLOCK_SIZE;
  }

  relabel(label: string): void {
    this.#alive('relabel');
    checkLabel(label);
    this.store.trx.relabel(label);
    this.info.label = label;
  }

  get dirty(): boolean {
    return !this.store.trx.stopped && this.store.trx.dirty;
  }

  begin(): void {
    this.#begun = this.store.nodes.begin();
  }

  get changed(): boolean {
    return this.store.nodes.changes !== this.#begun;
  }

  get met(): number[] {
    return this.store.nodes.met;
  }

  close(): void {
    this.store.trx.commitClean();
    this.info.shutdown = true;
  }

  shutdown(reason: string): string {
    if (this.info.shutdown) return reason;
    this.info.shutdown = true;
    let said = reason;
    try {
      this.store.trx.stop(reason);
    } catch (error) {
      said += `; the region does not take the mark of it: ${error instanceof Error ? error.message : error}`;
    }
    this.#publish({ type: 'shutdown', reason: said });
    return said;
  }

  // ---- failure ------------------------------------------------------------------------------------------

  owners(
    physical: number,
    length: number,
    visit: (owner: api.Owner) => boolean,
    after?: api.OwnerCursor,
  ): void {
    this.data.owners(physical, length, visit, after);
  }

  ownersFrom(place: api.OwnerPlace, end: number, visit: (owner: api.Owner) => boolean): boolean {
    return this.data.ownersFrom(place, end, visit);
  }

  isBad(physical: number, length: number): boolean {
    return this.data.isBad(physical, length);
  }

  poison(physical: number, length: number, latent: boolean): number {
    this.#alive('poison');
    return this.#failure.poison(physical, length, latent);
  }

  get damage(): api.MetadataDamage {
    return this.#failure.damage;
  }

  unpoison(physical: number, length: number): number {
    this.#alive('unpoison');
    return this.#failure.unpoison(physical, length);
  }

  scrub(physical: number, length: number): api.ScrubbedRange {
    this.#alive('scrub');
    return this.#scrubber.scrub(physical, length);
  }

  badBlocks(from: number, max: number): api.BadRange[] {
    return this.data.badBlocks(from, max);
  }
}
