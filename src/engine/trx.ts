import { assert, CommitError, FsError } from '../errors.js';
import { RECORDS_PER_STEP, TRX_DIRTY_NODES_MAX, TRX_PENDING_RUNS_MAX } from '../limits.js';
import type { Media } from '../media/media.js';
import type { BTree } from './btree.js';
import type { Counters, Reservation, Transaction } from './context.js';
import { META_GROUP_BLOCKS, OWNER_METADATA } from './layout.js';
import type { NodeStore } from './nodes.js';
import type { FreeSpace } from './space.js';
import { type Superblock, type TreeRoot, writeSlot } from './superblock.js';

/** The least that is kept back from ordinary operations; what the next freeing step may need comes on top. */
const metadataReserve = (blocks: number): number => Math.min(1024, Math.max(24, Math.floor(blocks / 64)));

/** Free nodes that taking a new chunk may need itself: paths of the free, chunk and rmap trees, with splits. */
const GROW_NODES = 16;
const SHRINK_CHUNKS_PER_COMMIT = 256;
/** Nodes that one commit moves together at most. */
const GATHER_NODES_MAX = 1024;
/** While space is not short nodes are moved only when no more than one in so many of those owned is in use. */
const SPARSE = 8;
/** Commits that one reservation makes at most: what was freed, empty chunks, chunks that became empty. */
const RESERVE_COMMITS_MAX = 4;

export interface TrxParts {
  media: Media;
  nodes: NodeStore;
  trees: readonly BTree[];
  rmap: BTree;
  chunk: BTree;
  space: FreeSpace;
  counters: Counters;
  superblock: Superblock;
}

/**
 * The running transaction. All changes since the last commit become durable together: checksum the new nodes,
 * flush, write the older of the two superblock slots, flush. Until that last step the medium has the last
 * commit, whole; there is nothing to replay.
 */
export class Trx implements Transaction {
  readonly #p: TrxParts;
  readonly #reserveBlocks: number;
  #committedInodes: number;
  #committedLastIno: number;
  /** Why nothing may be changed any more, or null. */
  #stopped: string | null = null;
  /** Metadata are lost to failed memory. */
  #lost = false;
  /** The last commit has the mark of a shutdown. */
  #marked = false;
  /** Nodes that cannot be read are in use: nothing may be moved that a commit would like to move. */
  damaged = false;

  constructor(parts: TrxParts) {
    this.#p = parts;
    this.#reserveBlocks = metadataReserve(parts.superblock.blocks);
    parts.nodes.txid = parts.superblock.txid + 1;
    this.#committedInodes = parts.counters.inodeCount;
    this.#committedLastIno = parts.counters.lastIno;
  }

  get txid(): number {
    return this.#p.nodes.txid;
  }

  get dirty(): boolean {
    const { nodes, space, counters } = this.#p;
    return (
      nodes.dirtyCount > 0 ||
      space.pendingRuns > 0 ||
      counters.inodeCount !== this.#committedInodes ||
      counters.lastIno !== this.#committedLastIno
    );
  }

  get stopped(): boolean {
    return this.#stopped !== null;
  }

  /** Blocks of the free space that data must not take now: the reserve that is not yet nodes. */
  get reservedBlocks(): number {
    return Math.max(0, this.#keepNodes() - this.#p.nodes.freeCount);
  }

  /** Blocks that are free nodes now and that data get back when they need them: nearly a chunk may stay behind. */
  get spareNodes(): number {
    const { nodes } = this.#p;
    return Math.max(0, nodes.freeCount + nodes.pendingCount - this.#keepNodes() - META_GROUP_BLOCKS);
  }

  /** Free nodes beyond these are of no use as a reserve. */
  #keepNodes(): number {
    return this.#keepBack() + GROW_NODES;
  }

  /** Nodes that ordinary operations must leave, so that a step that frees always fits after a commit. */
  #keepBack(): number {
    return Math.max(this.#reserveBlocks, this.#nodesFor(RECORDS_PER_STEP));
  }

  /**
   * An upper bound of the nodes that so many record changes, and the commit after them, may take: no more
   * nodes can be shadowed than there are, and no more split than records are added.
   */
  #nodesFor(records: number): number {
    const height = this.#height();
    const changes = records + this.#p.space.pendingRuns;
    const paths = changes * (height + 1);
    return Math.min(paths, this.#p.nodes.usedCount + Math.ceil(changes / 2)) + 2 * height;
  }

  /** Of the highest tree. */
  #height(): number {
    let height = 1;
    for (const tree of this.#p.trees) height = Math.max(height, tree.height);
    return height;
  }

  reserve(r: Reservation): void {
    this.#checkWritable();
    const { nodes, space } = this.#p;
    if (nodes.dirtyCount > TRX_DIRTY_NODES_MAX || space.pendingRuns > TRX_PENDING_RUNS_MAX)
      this.#durably(() => this.#write(false));
    if (this.#fits(r)) return;
    for (let i = 0; i < RESERVE_COMMITS_MAX && this.#gain(); i++) if (this.#fits(r)) return;
    throw new FsError(
      'ENOSPC',
      'reserve',
      `no space for ${r.dataBlocks} data blocks and ${r.records} records`,
    );
  }

  /** A commit that gives back what it can. Returns false when there is nothing to be had by it or the next one. */
  #gain(): boolean {
    let gains = this.dirty;
    if (!gains && this.#surplus(true) <= META_GROUP_BLOCKS) return false;
    this.#durably(() => {
      if (this.#write(false, true)) gains = true;
    });
    return gains;
  }

  #checkWritable(): void {
    if (this.#stopped !== null)
      throw new FsError('EIO', 'reserve', `the filesystem is shut down: ${this.#stopped}`);
    if (this.#p.media.readOnly) throw new FsError('EROFS', 'reserve', 'the region is mounted read-only');
  }

  #fits(r: Reservation): boolean {
    const { nodes, space } = this.#p;
    const need = this.#nodesFor(r.records);
    const keep = r.freeing ? 0 : this.#keepBack();
    if (space.freeBlocks < r.dataBlocks) return false;
    if (space.freeBlocks + nodes.freeCount < r.dataBlocks + need + GROW_NODES + keep) return false;
    while (nodes.freeCount < need + GROW_NODES) {
      if (space.freeBlocks - r.dataBlocks <= 0 || !this.#grow(space.freeBlocks - r.dataBlocks)) return false;
    }
    return true;
  }

  /** Makes a run of free blocks a chunk of metadata nodes. `most` is how many blocks it may take. */
  #grow(most: number): boolean {
    const { nodes, space, rmap, chunk } = this.#p;
    if (nodes.freeCount < GROW_NODES / 2) return false;
    const run = space.allocateChunk(META_GROUP_BLOCKS, Math.min(META_GROUP_BLOCKS, most));
    if (run === null) return false;
    chunk.insert(run.start, 0, 0, 0, Uint32Array.of(run.length));
    rmap.insert(run.start, OWNER_METADATA, 0, 0, Uint32Array.of(run.length, 0));
    nodes.addChunk(run.start, run.length);
    return true;
  }

  /**
   * Free nodes above what stays in chunks. While space is not short, what this transaction took stays too, and a chunk:
   * the next one shall not take it back.
   */
  #surplus(isShort: boolean): number {
    const { nodes } = this.#p;
    const slack = isShort ? 0 : nodes.dirtyCount + META_GROUP_BLOCKS;
    return nodes.freeCount - this.#keepNodes() - slack;
  }

  /** Gives chunks back to the data. Returns whether any was, or will be by the next commit. */
  #shrink(isShort: boolean): boolean {
    const { nodes, space, rmap, chunk } = this.#p;
    if (this.#surplus(isShort) <= 0 || this.damaged) return false;
    const chunks = this.#chunks();
    const empty = chunks.filter(({ start, length }) => nodes.chunkIsFree(start, length)).reverse();
    let given = 0;
    for (const { start, length } of empty.slice(0, SHRINK_CHUNKS_PER_COMMIT)) {
      // The removals below may have taken nodes from it.
      if (this.#surplus(isShort) < length || !nodes.chunkIsFree(start, length)) continue;
      nodes.removeChunk(start, length);
      chunk.remove(start, 0, 0, 0);
      rmap.remove(start, OWNER_METADATA, 0, 0);
      space.insertRun(start, length);
      given++;
    }
    const isSparse = nodes.usedCount <= GATHER_NODES_MAX && nodes.usedCount * SPARSE <= nodes.ownedCount;
    if (!isShort && !isSparse) return given > 0;
    return this.#gather(isShort) || given > 0;
  }

  /** The metadata chunks, by address. */
  #chunks(): { start: number; length: number }[] {
    const chunks: { start: number; length: number }[] = [];
    const c = this.#p.chunk.cursor();
    for (let ok = c.seek(0, 0, 0, 0); ok; ok = c.next()) {
      chunks.push({ start: c.key(0), length: c.value(0) });
    }
    return chunks;
  }

  /**
   * Nodes in many chunks keep them from being given back: those of the highest chunks move down into free nodes, and
   * the next commit finds the chunks empty. Returns whether any moved.
   */
  #gather(isShort: boolean): boolean {
    const { nodes, trees } = this.#p;
    const chunks = this.#chunks();
    let below = nodes.freeCount;
    let moved = 0;
    let surplus = this.#surplus(isShort);
    let from = Number.POSITIVE_INFINITY;
    for (let chunk = chunks.pop(); chunk !== undefined; chunk = chunks.pop()) {
      const { used, free } = nodes.countIn(chunk.start, chunk.length);
      surplus -= chunk.length;
      below -= free;
      moved += used;
      // A node takes its way from the root with it.
      const takes = moved * this.#height();
      if (surplus < 0 || moved > GATHER_NODES_MAX || takes + this.#keepBack() > below) break;
      from = chunk.start;
    }
    if (from === Number.POSITIVE_INFINITY) return false;
    nodes.rewind();
    const before = nodes.pendingCount;
    for (const tree of trees) tree.relocate(from);
    return nodes.pendingCount > before;
  }

  commit(): void {
    if (this.#stopped !== null)
      throw new FsError('EIO', 'commit', `the filesystem is shut down: ${this.#stopped}`);
    const { media } = this.#p;
    if (!media.readOnly) {
      this.#durably(() => {
        if (this.dirty) this.#write(false);
        else media.flush();
      });
    }
  }

  /** At mount: takes the mark of a clean unmount off before the first change can be made and lost. */
  markInUse(): void {
    const { media, superblock } = this.#p;
    if (!media.readOnly && superblock.clean) this.#durably(() => this.#write(false));
  }

  /** Commits with another label in the superblock. */
  relabel(label: string): void {
    this.#checkWritable();
    this.#durably(() => this.#write(false, false, label));
  }

  /** Commits with the mark of a clean unmount. */
  commitClean(): void {
    if (this.#stopped === null && !this.#p.media.readOnly) this.#durably(() => this.#write(true));
  }

  /**
   * The one way in which anything becomes durable. What fails on the way, a flush, a node, an invariant, has left the
   * trees in memory and the medium apart: nothing may be changed after it, so every failure is a CommitError.
   */
  #durably(work: () => unknown): void {
    try {
      this.#p.nodes.toTheEnd(work);
    } catch (error) {
      const failed = new CommitError(error);
      this.freeze(failed.message);
      throw failed;
    }
  }

  /** Returns whether chunks went back to the data, or will with the next commit. */
  #write(clean: boolean, isShort = false, label = this.#p.superblock.label): boolean {
    const { media, nodes, space, superblock, counters } = this.#p;
    const shrank = this.#shrink(isShort);
    space.applyPending();
    assert(space.pendingRuns === 0, 'commit with frees outstanding');
    nodes.seal();
    media.flush();
    const next = { ...this.#nextSuperblock(clean), label };
    writeSlot(media, next.txid % 2, next);
    media.flush();
    Object.assign(superblock, next);
    nodes.committed();
    nodes.txid++;
    this.#committedInodes = counters.inodeCount;
    this.#committedLastIno = counters.lastIno;
    return shrank;
  }

  /** The last commit's superblock stays as it is until the next one is durable: a shutdown writes it again. */
  #nextSuperblock(clean: boolean): Superblock {
    const { superblock, nodes, space, counters, trees } = this.#p;
    const roots: TreeRoot[] = superblock.roots.map((root) => ({ ...root }));
    for (const { spec, root, height, count } of trees) roots[spec.id] = { root, height, count };
    return {
      ...superblock,
      txid: nodes.txid,
      clean,
      shutdown: false,
      metadataLost: false,
      shutdownReason: '',
      lastIno: counters.lastIno,
      inodeCount: counters.inodeCount,
      freeBlocks: space.freeBlocks,
      metaBlocks: nodes.ownedCount,
      roots,
    };
  }

  /** Forbids every later change, and leaves the rest of a shutdown to stop(). `lost`: for metadata on failed memory. */
  freeze(reason: string, lost = false): void {
    this.#stopped ??= reason;
    this.#lost ||= lost;
  }

  /**
   * Forbids every later change. What was not committed is lost, as after a crash; the last commit gets the mark of a
   * shutdown, for the next mount to tell. Throws what the medium throws when it does not take the mark.
   */
  stop(reason: string): void {
    this.freeze(reason);
    const { superblock, media, nodes } = this.#p;
    if (this.#marked || media.readOnly) return;
    this.#marked = true;
    const shutdownReason = this.#stopped ?? reason;
    const marked = {
      ...superblock,
      txid: nodes.txid,
      clean: false,
      shutdown: true,
      metadataLost: this.#lost,
      shutdownReason,
    };
    writeSlot(media, marked.txid % 2, marked);
    media.flush();
    Object.assign(superblock, marked);
  }
}
