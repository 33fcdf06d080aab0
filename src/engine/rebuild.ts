import { FsError } from '../errors.js';
import type { BadBlocks } from './badblock.js';
import type { BTree } from './btree.js';
import { DERIVED_FROM, type DerivedRecord, derive } from './derived.js';
import { NODE_BODY_WORDS, type TreeName } from './layout.js';
import { inRange, type KeyRange, lostRanges, pruneLost } from './prune.js';
import type { Store } from './store.js';

/** A tree node that can no longer be read. */
export interface LostNode {
  tree: TreeName;
  block: number;
}

/** What a reservation walks through: with one of these damaged only nodes that are at hand can be used. */
const NEEDED_TO_RESERVE: readonly TreeName[] = ['free', 'chunk', 'rmap'];

/** Which of the blocks are nodes of which trees. Those below a lost internal node are not found. */
function nodesOn(store: Store, lost: ReadonlySet<number>): LostNode[] {
  const found: LostNode[] = [];
  for (const tree of Object.keys(store.trees) as TreeName[]) {
    store.trees[tree].walk((block) => {
      if (!lost.has(block)) return true;
      found.push({ tree, block });
      return false;
    });
  }
  return found;
}

/**
 * Makes nodes on the given blocks, which are in use and cannot be read, again: takes them out of their trees and
 * puts what they must have held, by the other trees, back. The new nodes lie elsewhere. Right after a commit only;
 * the next one makes it durable.
 *
 * Returns the nodes found, and those of them that cannot be made again: their trees are as they were, with the
 * lost nodes in them. What can be said in second place only by another damaged tree is lost too.
 */
export function rebuild(
  store: Store,
  bad: BadBlocks,
  lost: ReadonlySet<number>,
): { found: LostNode[]; remaining: LostNode[] } {
  const found = nodesOn(store, lost);
  const damaged = new Set(found.map((node) => node.tree));
  const canBe = (tree: TreeName): boolean =>
    DERIVED_FROM[tree]?.every((source) => !damaged.has(source)) ?? false;
  for (let next = [...damaged].find(canBe); next !== undefined; next = [...damaged].find(canBe)) {
    if (!rebuildTree(store, bad, next, lost, damaged)) break;
    damaged.delete(next);
  }
  const remaining = found.filter((node) => damaged.has(node.tree));
  if (remaining.length === 0 && found.length > 0) dropUnreached(store);
  return { found, remaining };
}

/** Returns false, with nothing changed, when there are not enough nodes. */
function rebuildTree(
  store: Store,
  bad: BadBlocks,
  name: TreeName,
  lost: ReadonlySet<number>,
  damaged: ReadonlySet<TreeName>,
): boolean {
  const tree = store.trees[name];
  const isLost = (block: number): boolean => lost.has(block);
  const ranges = lostRanges(tree, isLost);
  const records: DerivedRecord[] = [];
  derive(name, store.context, bad, (record) => {
    if (ranges.some((range) => inRange(record.key, range))) records.push(record);
  });
  if (!haveNodes(store, nodesFor(tree, ranges, records.length), records.length, damaged)) return false;
  pruneLost(tree, isLost);
  // In order, so that leaves fill up.
  records.sort((a, b) => compare(a.key, b.key));
  for (const { key, value } of records) tree.insert(key[0], key[1], key[2], key[3], Uint32Array.from(value));
  return true;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

/** An upper bound: leaves that are half full, what is above them, and the paths beside each range. */
function nodesFor(tree: BTree, ranges: readonly KeyRange[], records: number): number {
  const half = Math.floor(NODE_BODY_WORDS / tree.leafStride / 2);
  return 2 * Math.ceil(records / half) + (2 * ranges.length + 2) * (tree.height + 1);
}

function haveNodes(store: Store, nodes: number, records: number, damaged: ReadonlySet<TreeName>): boolean {
  if (store.nodes.freeCount >= nodes) return true;
  if (NEEDED_TO_RESERVE.some((tree) => damaged.has(tree))) return false;
  try {
    store.trx.reserve({ dataBlocks: 0, records, freeing: true });
  } catch (error) {
    if (error instanceof FsError && error.code === 'ENOSPC') return false;
    throw error;
  }
  return store.nodes.freeCount >= nodes;
}

/** Nodes that only a lost one led to. */
function dropUnreached(store: Store): void {
  const reached = new Set<number>();
  for (const tree of Object.values(store.trees)) tree.walk((block) => reached.add(block));
  store.nodes.loseUnreached(reached);
}
