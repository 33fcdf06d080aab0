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
/** Empty chunks are given back to the data beyond twice the reserve and this many free nodes. */
const SHRINK_ABOVE_NODES = 128;
const SHRINK_CHUNKS_PER_COMMIT = 256;
/** Nodes that one commit moves together at most. */
const GATHER_NODES_MAX = 1024;
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
    return Math.max(0, this.#keepBack() + GROW_NODES - this.#p.nodes.freeCount);
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
    let height = 1;
    for (const tree of this.#p.trees) height = Math.max(height, tree.height);
    const changes = records + this.#p.space.pendingRuns;
    const paths = changes * (height + 1);
    return Math.min(paths, this.#p.nodes.usedCount + Math.ceil(changes / 2)) + 2 * height;
  }

  reserve(r: Reservation): void {
    this.#checkWritable();
    const { nodes, space } = this.#p;
    if (nodes.dirtyCount > TRX_DIRTY_NODES_MAX || space.pendingRuns > TRX_PENDING_RUNS_MAX)
      this.#durably(() => this.#write(false));
    if (this.#fits(r)) return;
    for (let i = 0; i < RESERVE_COMMITS_MAX && (this.dirty || this.#canShrink); i++) {
      this.#durably(() => this.#write(false));
      if (this.#fits(r)) return;
    }
    throw new FsError(
      'ENOSPC',
      'reserve',
      `no space for ${r.dataBlocks} data blocks and ${r.records} records`,
    );
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

  get #canShrink(): boolean {
    return this.#p.nodes.freeCount >= SHRINK_ABOVE_NODES + 2 * this.#reserveBlocks;
  }

  /** Gives empty chunks back to the data while there are far more free nodes than needed. */
  #shrink(): void {
    const { nodes, space, rmap, chunk } = this.#p;
    if (!this.#canShrink || this.damaged) return;
    const empty: { start: number; length: number }[] = [];
    const c = chunk.cursor();
    for (let ok = c.seek(0, 0, 0, 0); ok && empty.length < SHRINK_CHUNKS_PER_COMMIT; ok = c.next()) {
      if (nodes.chunkIsFree(c.key(0), c.value(0))) empty.push({ start: c.key(0), length: c.value(0) });
    }
    for (const { start, length } of empty) {
      // The removals below may have taken nodes from it.
      if (!this.#canShrink || !nodes.chunkIsFree(start, length)) continue;
      nodes.removeChunk(start, length);
      chunk.remove(start, 0, 0, 0);
      rmap.remove(start, OWNER_METADATA, 0, 0);
      space.insertRun(start, length);
    }
    this.#gather();
  }

  /** Few nodes in many chunks keep them from being given back: they move together, and the next commit finds more. */
  #gather(): void {
    const { nodes, trees } = this.#p;
    if (!this.#canShrink || nodes.usedCount > GATHER_NODES_MAX || nodes.usedCount * 8 > nodes.ownedCount)
      return;
    nodes.rewind();
    for (const tree of trees) tree.relocate();
  }

  commit(): void {
    if (this.#stopped !== null)
      throw new FsError('EIO', 'commit', `the filesystem is shut down: ${this.#stopped}`);
    const { media } = this.#p;
    if (!media.readOnly) this.#durably(() => (this.dirty ? this.#write(false) : media.flush()));
  }

  /** At mount: takes the mark of a clean unmount off before the first change can be made and lost. */
  markInUse(): void {
    const { media, superblock } = this.#p;
    if (!media.readOnly && superblock.clean) this.#durably(() => this.#write(false));
  }

  /** Commits with another label in the superblock. */
  relabel(label: string): void {
    this.#checkWritable();
    this.#durably(() => this.#write(false, label));
  }

  /** Commits with the mark of a clean unmount. */
  commitClean(): void {
    if (this.#stopped === null && !this.#p.media.readOnly) this.#durably(() => this.#write(true));
  }

  /**
   * The one way in which anything becomes durable. What fails on the way, a flush, a node, an invariant, has left the
   * trees in memory and the medium apart: nothing may be changed after it, so every failure is a CommitError.
   */
  #durably(work: () => void): void {
    try {
      this.#p.nodes.toTheEnd(work);
    } catch (error) {
      const failed = new CommitError(error);
      this.freeze(failed.message);
      throw failed;
    }
  }

  #write(clean: boolean, label = this.#p.superblock.label): void {
    const { media, nodes, space, superblock, counters } = this.#p;
    this.#shrink();
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
      shutdownReason: '',
      lastIno: counters.lastIno,
      inodeCount: counters.inodeCount,
      freeBlocks: space.freeBlocks,
      metaBlocks: nodes.ownedCount,
      roots,
    };
  }

  /** Forbids every later change, and leaves the rest of a shutdown to stop(). */
  freeze(reason: string): void {
    this.#stopped ??= reason;
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
    const marked = { ...superblock, txid: nodes.txid, clean: false, shutdown: true, shutdownReason };
    writeSlot(media, marked.txid % 2, marked);
    media.flush();
    Object.assign(superblock, marked);
  }
}
