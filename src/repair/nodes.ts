import { META_GROUP_BLOCKS, TREES, type TreeName, WORDS_PER_BLOCK } from '../engine/layout.js';
import type { TreeRoot } from '../engine/superblock.js';
import { assert, FsError } from '../errors.js';
import { buildTree, type NodeSink } from './build.js';
import { chunkIndex } from './chunks.js';
import type { OverlayMedia } from './overlay.js';
import { RunIndex } from './runs.js';
import { badRuns, tellSpace, unusedBlocks, writeSpace } from './space.js';
import type { Repair } from './state.js';

const TREE_NAMES = Object.keys(TREES) as TreeName[];
/** Trees that change when a chunk is added. */
const SPACE_TREES: readonly TreeName[] = ['rmap', 'free', 'chunk'];
/** Free nodes that the next mount should find, as far as there is space. */
const SPARE_NODES = 32;

/**
 * Sees to it that there are blocks for all new nodes, none of which is in use in the region as it is: free blocks of
 * the chunks, and new chunks. Writes the trees of the space meanwhile, which tell of those. Returns the blocks.
 * Throws ENOSPC when there are too few.
 */
export function findRoom(r: Repair): number[] {
  writeSpace(r);
  tellSpace(r);
  const others = sum(
    TREE_NAMES.filter((name) => !SPACE_TREES.includes(name)).map((name) => nodesFor(r, name)),
  );
  for (;;) {
    const need = others + sum(SPACE_TREES.map((name) => nodesFor(r, name)));
    const room = freeNodes(r);
    const missing = need + SPARE_NODES - room.length;
    if (missing <= 0 || need === 0) return room;
    if (!addChunks(r, missing)) {
      if (room.length >= need) return room;
      const detail = `${need} blocks are needed for new metadata, ${room.length} are free`;
      throw new FsError('ENOSPC', 'repair', `there is no room to repair it: ${detail}`);
    }
    writeSpace(r);
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/** Blocks of chunks that neither the region as it is nor the repaired one has as a node. */
function freeNodes(r: Repair): number[] {
  const bad = RunIndex.of(badRuns(r));
  const free: number[] = [];
  for (const { start, end } of r.chunks) {
    for (let block = start; block < end; block++) {
      if (!r.scan.nodes.has(block) && !r.salvaged.has(block) && bad.most(block, block + 1) === 0)
        free.push(block);
    }
  }
  return free;
}

/** Makes `count` unused blocks, or as many as there are, chunks. Returns whether there was one. */
function addChunks(r: Repair, count: number): boolean {
  const added: { start: number; end: number }[] = [];
  let missing = count;
  for (const { start, end } of unusedBlocks(r)) {
    for (let at = start; at < end && missing > 0; ) {
      const group = at - (at % META_GROUP_BLOCKS) + META_GROUP_BLOCKS;
      const until = Math.min(end, group, at + missing);
      added.push({ start: at, end: until });
      missing -= until - at;
      at = until;
    }
    if (missing === 0) break;
  }
  r.chunks = [...r.chunks, ...added].sort((a, b) => a.start - b.start);
  return added.length > 0;
}

/** Whether the tree can stay as it is. */
const isKept = (r: Repair, name: TreeName): boolean =>
  !r.scan.unsound.has(name) && r.drafts[name].edits.length === 0;

/** Whether a leaf can stay where it is. */
function keeper(r: Repair): (leaf: number) => boolean {
  const chunks = chunkIndex(r);
  return (leaf) => !r.scan.flawed.has(leaf) && chunks.most(leaf, leaf + 1) > 0;
}

const uuidWords = (r: Repair): readonly [number, number] => {
  const { uuid } = r.scan.superblock;
  return [uuid.readUInt32LE(0), uuid.readUInt32LE(4)];
};

/** How many new nodes the tree takes. */
function nodesFor(r: Repair, name: TreeName): number {
  if (isKept(r, name)) return 0;
  let count = 0;
  const scratch = new Uint32Array(WORDS_PER_BLOCK);
  const sink: NodeSink = {
    take: () => ++count,
    image: () => scratch,
    txid: r.txid,
    uuid: uuidWords(r),
  };
  buildTree(r.drafts[name], keeper(r), sink);
  return count;
}

/** Builds all trees into the overlay. Returns their roots by tree id. */
export function buildTrees(r: Repair, overlay: OverlayMedia, room: readonly number[]): TreeRoot[] {
  let next = 0;
  const sink: NodeSink = {
    take: () => {
      assert(next < room.length, 'there is room for all nodes that were counted');
      return room[next++];
    },
    image: (block) => overlay.replace(block),
    txid: r.txid,
    uuid: uuidWords(r),
  };
  const roots = r.scan.superblock.roots.map(() => ({ root: 0, height: 0, count: 0 }));
  for (const name of TREE_NAMES) {
    const { id } = TREES[name];
    roots[id] = isKept(r, name)
      ? { ...r.scan.superblock.roots[id] }
      : buildTree(r.drafts[name], keeper(r), sink);
  }
  return roots;
}
