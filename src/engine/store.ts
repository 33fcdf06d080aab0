import { endianness } from 'node:os';
import { assert, FsError } from '../errors.js';
import { LABEL_MAX_BYTES, REGION_MIN_BYTES } from '../limits.js';
import type { Media } from '../media/media.js';
import { asPhys, BLOCK_SIZE, type Clock } from '../types.js';
import { BTree } from './btree.js';
import type { BadBlockIndex, Counters, EngineContext, LayoutHooks } from './context.js';
import {
  META_GROUP_BLOCKS,
  OWNER_METADATA,
  OWNER_SUPERBLOCK,
  TREE_SLOTS,
  TREES,
  type TreeName,
  WORDS_PER_BLOCK,
} from './layout.js';
import { NodeStore } from './nodes.js';
import { FreeSpace } from './space.js';
import { readSuperblock, type Superblock, slotBlock } from './superblock.js';
import type { Tree } from './tree.js';
import { Trx } from './trx.js';

/** The trees with everything below them: what the upper half of the engine stands on. */
export interface Store {
  readonly context: EngineContext;
  readonly superblock: Superblock;
  readonly trees: Readonly<Record<TreeName, BTree>>;
  readonly nodes: NodeStore;
  readonly space: FreeSpace;
  readonly trx: Trx;
}

export interface StoreOptions {
  clock: Clock;
  layouts: LayoutHooks;
  interrupted: () => boolean;
  /** Makes the heap index of the bad blocks from their tree. */
  badBlocks: (tree: Tree) => BadBlockIndex;
}

const names = Object.keys(TREES) as TreeName[];

function build(media: Media, superblock: Superblock, options: StoreOptions): Store {
  assert(endianness() === 'LE', 'the region format is little-endian and so must the machine be');
  const nodes = new NodeStore(media, superblock.uuid.readUInt32LE(0), superblock.uuid.readUInt32LE(4));
  const made = names.map((name): [TreeName, BTree] => {
    const tree = new BTree(TREES[name], media, nodes);
    const { root, height, count } = superblock.roots[TREES[name].id];
    tree.load(root, height, count);
    return [name, tree];
  });
  const trees = Object.fromEntries(made) as Record<TreeName, BTree>;
  const byId = new Map(made.map(([, tree]) => [tree.spec.id, tree]));
  nodes.leadsTo = (id, block, level) => byId.get(id)?.leadsTo(block, level) === true;
  const bad = options.badBlocks(trees.badblock);
  nodes.isBad = (block) => bad.first(block, 1, true) >= 0;
  const counters: Counters = { inodeCount: superblock.inodeCount, lastIno: superblock.lastIno };
  const space = new FreeSpace(trees.free, bad, () => trx.reservedBlocks);
  const trx: Trx = new Trx({
    media,
    nodes,
    trees: made.map(([, tree]) => tree),
    rmap: trees.rmap,
    chunk: trees.chunk,
    space,
    counters,
    superblock,
  });
  const { clock, layouts, interrupted } = options;
  const context = { media, clock, trees, trx, space, counters, layouts, bad, interrupted };
  return { context, superblock, trees, nodes, space, trx };
}

export function checkLabel(label: string): void {
  if (Buffer.byteLength(label) <= LABEL_MAX_BYTES && !label.includes('\0')) return;
  throw new FsError('EINVAL', 'label', `a label has at most ${LABEL_MAX_BYTES} bytes, without NUL`);
}

/** The filesystem may be smaller than the medium that holds it: nothing beyond its end is touched. */
function limited(media: Media, blocks: number): Media {
  if (media.blocks === blocks) return media;
  return {
    blocks,
    readOnly: media.readOnly,
    words: (block) => media.words(block),
    wordIndex: (block) => media.wordIndex(block),
    bytes: (block, count) => media.bytes(block, count),
    windows: media.windows,
    windowOf: (block) => media.windowOf(block),
    contiguous: (block, count) => media.contiguous(block, count),
    noteDirty: (block, count) => media.noteDirty(block, count),
    flush: () => media.flush(),
    discard: (block, count) => media.discard(block, count),
    close: () => media.close(),
  };
}

/** Opens the filesystem of a region: reads the superblock and finds all metadata nodes. Changes nothing. */
export function openStore(media: Media, options: StoreOptions): Store {
  const superblock = readSuperblock(media);
  const store = build(limited(media, superblock.blocks), superblock, options);
  const { nodes, trees, space } = store;
  const lost: string[] = [];
  for (const name of names) {
    trees[name].walk((block) => {
      nodes.markUsed(block);
      if (store.context.bad.first(block, 1, false) < 0) return true;
      lost.push(`a node of the ${name} tree lies on the bad block ${block}`);
      return false;
    });
  }
  if (superblock.metadataLost) lost.push(superblock.shutdownReason);
  if (lost.length > 0 && !media.readOnly) throw damagedRegion(lost[0]);
  const c = trees.chunk.cursor();
  for (let ok = c.seek(0, 0, 0, 0); ok; ok = c.next()) {
    nodes.addChunk(c.key(0), c.value(0));
  }
  nodes.checkAllOwned();
  const b = trees.badblock.cursor();
  for (let ok = b.seek(0, 0, 0, 0); ok; ok = b.next()) {
    nodes.eachOwned(b.key(0), b.key(0) + b.value(0), (block) => nodes.setBad(block, true));
  }
  space.freeBlocks = superblock.freeBlocks;
  return store;
}

/** Changes could fail half way. What can still be read is there for a read-only mount. */
function damagedRegion(what: string): FsError {
  const advice = 'run rmapfs fsck --repair on the region, or mount it with -o ro to save what can be read';
  return new FsError('EUCLEAN', 'mount', `the filesystem was shut down: ${what}; ${advice}`);
}

export interface FormatOptions {
  label: string;
  /** 16 bytes. */
  uuid: Buffer;
  /** Seconds since 1970. */
  created: number;
}

/**
 * Lays an empty store over the region and destroys what was there. Nothing is a filesystem before the first
 * commit, which the caller makes after it has added the root directory.
 */
export function formatStore(media: Media, format: FormatOptions, options: StoreOptions): Store {
  const { blocks } = media;
  if (media.readOnly) throw new FsError('EROFS', 'mkfs', 'the region is read-only');
  if (blocks * BLOCK_SIZE < REGION_MIN_BYTES) {
    throw new FsError(
      'EINVAL',
      'mkfs',
      `the region has ${blocks * BLOCK_SIZE} bytes, the smallest one has ${REGION_MIN_BYTES}`,
    );
  }
  checkLabel(format.label);
  for (const slot of [0, 1]) {
    const block = asPhys(slotBlock(slot, blocks));
    const base = media.wordIndex(block);
    media.words(block).fill(0, base, base + WORDS_PER_BLOCK);
    media.noteDirty(block, 1);
  }
  media.flush();
  const store = build(media, emptySuperblock(blocks, format), options);
  const { nodes, trees, space } = store;
  const chunk = META_GROUP_BLOCKS - 1;
  nodes.addChunk(1, chunk);
  trees.chunk.insert(1, 0, 0, 0, Uint32Array.of(chunk));
  trees.rmap.insert(0, OWNER_SUPERBLOCK, 0, 0, Uint32Array.of(1, 0));
  trees.rmap.insert(1, OWNER_METADATA, 0, 0, Uint32Array.of(chunk, 0));
  trees.rmap.insert(blocks - 1, OWNER_SUPERBLOCK, 0, 0, Uint32Array.of(1, 0));
  space.insertRun(META_GROUP_BLOCKS, blocks - 1 - META_GROUP_BLOCKS);
  return store;
}

function emptySuperblock(blocks: number, format: FormatOptions): Superblock {
  return {
    blocks,
    // The first commit has number 2 and goes to slot 0.
    txid: 1,
    uuid: format.uuid,
    label: format.label,
    clean: true,
    shutdown: false,
    metadataLost: false,
    shutdownReason: '',
    lastIno: 1,
    inodeCount: 0,
    freeBlocks: 0,
    metaBlocks: 0,
    created: format.created,
    roots: Array.from({ length: TREE_SLOTS }, () => ({ root: 0, height: 0, count: 0 })),
  };
}
