import { CommitError, CorruptionError, FsError } from '../errors.js';
import { asPhys, BLOCK_SIZE, blockOf, blocksFor } from '../types.js';
import type { MetadataDamage } from './api.js';
import type { BadBlocks } from './badblock.js';
import type { DataOps } from './data.js';
import { NODE, TREES } from './layout.js';
import { type LostNode, rebuild } from './rebuild.js';
import type { Store } from './store.js';
import { slotBlock } from './superblock.js';

/** What treeOf() answers for a block of a metadata chunk that no tree uses at present. */
const UNUSED = 'unused';

const NO_DAMAGE: MetadataDamage = { repaired: [], lost: null };

/**
 * Failed blocks and the metadata on them. Data are the business of PoisonOps; here tree nodes are cut off, made
 * again where other trees hold what they said, or given up:
 *
 *     commit            what the nodes held is in the last commit, so none of the running transaction is lost
 *     cut off           from here no node on a failed block is read
 *     rebuild           src/engine/rebuild.ts; the new nodes lie elsewhere
 *     record, commit    the blocks are bad from now on, whatever happens
 *
 * Nodes that cannot be made again (inodes, names, attributes), and a superblock, end the mount. That is left to the
 * caller, who has to tell the owners of data first: until then nothing can be changed, and lost nodes are read while
 * their checksums are right, as a kernel reads the buffers it has when it walks the rmap to its end.
 */
export class FailureOps {
  damage: MetadataDamage = NO_DAMAGE;
  readonly #store: Store;
  readonly #bad: BadBlocks;
  readonly #data: DataOps;

  constructor(store: Store, bad: BadBlocks, data: DataOps) {
    this.#store = store;
    this.#bad = bad;
    this.#data = data;
  }

  /** See Failure.poison(). ENXIO, EINVAL and EROFS come first, with nothing changed. */
  poison(physical: number, length: number, latent: boolean): number {
    const { trx, context } = this.#store;
    this.#data.isBad(physical, length);
    if (context.media.readOnly) throw new FsError('EROFS', 'poison', 'the region is mounted read-only');
    this.damage = NO_DAMAGE;
    if (latent) return this.#record(physical, length, true, new Set(), null);
    const { nodes } = this.#store;
    const lost = this.#nodesIn(physical, length);
    const superblock = this.#superblockIn(physical, length);
    trx.commit();
    return nodes.toTheEnd(() => this.#record(physical, length, false, lost, superblock), lost);
  }

  /** From the cutting off on. `superblock`: why that ends the mount, or null. */
  #record(
    physical: number,
    length: number,
    latent: boolean,
    lost: ReadonlySet<number>,
    superblock: string | null,
  ): number {
    const { trx } = this.#store;
    // Not even this transaction may put a node on one of the blocks.
    this.#eachNode(physical, length, (block) => {
      if (lost.has(block) || !this.#store.nodes.isUsed(block)) this.#store.nodes.setBad(block, true);
    });
    let { reason, repaired } = this.#rebuild(lost);
    const areNodesLost = reason !== null;
    reason ??= superblock;
    try {
      const marked = this.#data.poison(physical, length, latent);
      if (reason === null) this.#tellNodes(physical, length);
      return marked;
    } catch (error) {
      if (reason === null) this.#tellNodes(physical, length);
      // Where the failure cannot be recorded, in the damaged trees or for lack of good nodes, the shutdown must do.
      const cannot =
        error instanceof CorruptionError ||
        error instanceof CommitError ||
        (error instanceof FsError && error.code === 'ENOSPC');
      if (reason === null || !cannot) throw error;
      return this.#blocks(physical, length);
    } finally {
      if (reason !== null) trx.freeze(reason, areNodesLost);
      this.damage = { repaired, lost: reason };
    }
  }

  unpoison(physical: number, length: number): number {
    const healed = this.#data.unpoison(physical, length);
    this.#tellNodes(physical, length);
    return healed;
  }

  /** Name of the tree that has its node in this block of a metadata chunk. */
  treeOf(block: number): string {
    const { nodes, trees, context } = this.#store;
    if (!nodes.isUsed(block)) return UNUSED;
    if (!nodes.isBad(block)) {
      const words = context.media.words(asPhys(block));
      const id = words[context.media.wordIndex(asPhys(block)) + NODE.treeLevel] & 255;
      for (const spec of Object.values(TREES)) if (spec.id === id) return spec.name;
    }
    // A bad block cannot be asked: the parents know.
    let found = UNUSED;
    for (const tree of Object.values(trees)) {
      tree.walk((node) => {
        if (node === block) found = tree.spec.name;
        return !nodes.isBad(node);
      });
    }
    return found;
  }

  #rebuild(lost: ReadonlySet<number>): { reason: string | null; repaired: MetadataDamage['repaired'] } {
    if (lost.size === 0) return { reason: null, repaired: [] };
    const { trx, nodes } = this.#store;
    trx.damaged = true;
    const { found, remaining } = rebuild(this.#store, this.#bad, lost);
    const repaired = found
      .filter((node) => !remaining.includes(node))
      .map(({ tree, block }) => ({ tree, physical: block * BLOCK_SIZE, length: BLOCK_SIZE }));
    if (remaining.length === 0) {
      trx.damaged = false;
      return { reason: null, repaired };
    }
    nodes.readsBad = true;
    return { reason: lostText(remaining), repaired };
  }

  #nodesIn(physical: number, length: number): ReadonlySet<number> {
    const found = new Set<number>();
    this.#eachNode(physical, length, (block) => {
      if (this.#store.nodes.isUsed(block)) found.add(block);
    });
    return found;
  }

  #superblockIn(physical: number, length: number): string | null {
    const { blocks } = this.#store.superblock;
    const first = blockOf(physical);
    const end = first + this.#blocks(physical, length);
    const slot = [0, 1].find((n) => slotBlock(n, blocks) >= first && slotBlock(n, blocks) < end);
    return slot === undefined
      ? null
      : `superblock slot ${slot} lies on the bad block ${slotBlock(slot, blocks)}`;
  }

  #blocks(physical: number, length: number): number {
    return Math.min(this.#store.superblock.blocks, blocksFor(physical + length)) - blockOf(physical);
  }

  /** Blocks that are, or could become, tree nodes. */
  #eachNode(physical: number, length: number, visit: (block: number) => void): void {
    const first = blockOf(physical);
    this.#store.nodes.eachOwned(first, first + this.#blocks(physical, length), visit);
  }

  #tellNodes(physical: number, length: number): void {
    const { nodes, context } = this.#store;
    this.#eachNode(physical, length, (block) => nodes.setBad(block, context.bad.first(block, 1, true) >= 0));
  }
}

function lostText(nodes: readonly LostNode[]): string {
  const { tree, block } = nodes[0];
  const more = nodes.length > 1 ? ` (and ${nodes.length - 1} more)` : '';
  return `a node of the ${tree} tree lies on the bad block ${block}${more}`;
}
