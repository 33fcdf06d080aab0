import { findPath } from '../check/paths.js';
import { type Problem, Problems } from '../check/problem.js';
import { checkRegion, checkTrees } from '../check/region.js';
import { type Scan, scanTrees } from '../check/scan.js';
import { NODE, TREES, type TreeName } from '../engine/layout.js';
import type { Superblock } from '../engine/superblock.js';
import type { Media } from '../media/media.js';
import { asPhys } from '../types.js';
import { type Action, Actions } from './actions.js';
import { keepQuarantine, settleBadBlocks } from './badblocks.js';
import { Draft } from './draft.js';
import { dropForeignExtents, settleExtents } from './extents.js';
import { readInodes, writeInodes, writeOrphans } from './inodes.js';
import { countEntries, countNames, readEntries, settleEntries, writeParents } from './names.js';
import { buildTrees, findRoom } from './nodes.js';
import { OverlayMedia } from './overlay.js';
import { reconnect } from './reconnect.js';
import { salvage } from './salvage.js';
import { settleInodes } from './settle.js';
import type { Repair } from './state.js';
import { commit, findSuperblock, nextTransactions } from './superblock.js';
import { dropForeignValues, readValues } from './values.js';

export interface RepairOptions {
  /** Says what would be done, and changes nothing: the region may be read-only. */
  readonly dryRun: boolean;
  /** Seconds since 1970, for what is made anew. */
  readonly now: number;
}

export interface RepairResult {
  /** What the check found before; `repaired` where it is no problem any more. */
  readonly problems: readonly Problem[];
  readonly omittedProblems: number;
  /** What was done, or would be. */
  readonly actions: readonly Action[];
  readonly omittedActions: number;
  /** What is wrong with the result. Found before anything was written, it keeps the region as it is. */
  readonly left: readonly Problem[];
  /** Whether the region was changed. */
  readonly written: boolean;
}

/**
 * Repairs the filesystem of a region that nobody uses. Everything is worked out beside the region: new tree nodes are
 * made on the heap, checked as a whole by what fsck checks with, written to blocks that nothing uses, and made to
 * count by writing one superblock slot. Killed at any time it leaves the filesystem as it was or repaired.
 *
 * Time O(n log n), memory O(n) in the number of extents, inodes and nodes. Throws EINVAL (no filesystem), EUCLEAN (no
 * superblock), ENOSPC (no room for new nodes), and what the medium throws.
 */
export function repairRegion(media: Media, options: RepairOptions): RepairResult {
  const found = findSuperblock(media);
  const { problems, omitted } = checkRegion(media);
  const scan = scanTrees(media, found.sb, new Problems());
  const txids = nextTransactions(found, newestNode(media, scan));
  const actions = new Actions();
  const r = startRepair(scan, actions, txids[0], options.now);
  for (const reason of found.reasons) actions.add('superblock', reason);
  salvage(r, media);
  plan(r);
  const room = findRoom(r);
  tellNodes(r, problems);
  if (actions.list.length === 0 && problems.length === 0) {
    return { problems, omittedProblems: omitted, actions: [], omittedActions: 0, left: [], written: false };
  }
  const overlay = new OverlayMedia(media);
  const sb = newSuperblock(r, overlay, room, txids[0]);
  const left = new Problems();
  checkTrees(overlay, { ...sb, txid: txids[0] }, left);
  const written = left.list.length === 0 && !options.dryRun;
  if (written) {
    overlay.write();
    commit(media, sb, txids);
    left.list.push(...checkRegion(media).problems);
  }
  for (const action of actions.list) {
    const path = action.ino === undefined ? undefined : findPath(scan, action.ino);
    if (path !== undefined) action.path = path;
  }
  for (const problem of problems) problem.repaired = written && left.list.length === 0;
  const { list, omitted: omittedActions } = actions;
  return { problems, omittedProblems: omitted, actions: list, omittedActions, left: left.list, written };
}

function startRepair(scan: Scan, actions: Actions, txid: number, now: number): Repair {
  const names = Object.keys(TREES) as TreeName[];
  const drafts = Object.fromEntries(names.map((name) => [name, new Draft(name, scan.trees[name])]));
  return {
    scan,
    drafts: drafts as Record<TreeName, Draft>,
    actions,
    facts: new Map(),
    now,
    txid,
    lastIno: 0,
    lostAndFound: 0,
    salvaged: new Set(),
    found: new Map(),
    sequences: new Map(),
    chunks: [],
  };
}

/** Decides what all trees but those of the space shall hold. */
function plan(r: Repair): void {
  readInodes(r);
  settleBadBlocks(r);
  const targets = readValues(r);
  readEntries(r);
  const files = settleExtents(r);
  settleInodes(r, { entries: countEntries(r), targets, files });
  dropForeignExtents(r);
  keepQuarantine(r);
  settleEntries(r);
  countNames(r);
  r.lastIno = highestInode(r);
  reconnect(r);
  dropForeignValues(r);
  for (const facts of r.facts.values()) if (facts.made) facts.xattrs = 0;
  writeInodes(r);
  writeParents(r);
  writeOrphans(r);
}

/** The highest number given out; one that the superblock has without reason is as good as any. */
function highestInode(r: Repair): number {
  let highest = 1;
  for (const ino of r.facts.keys()) highest = Math.max(highest, ino);
  const { lastIno } = r.scan.superblock;
  return lastIno <= 0xffff_ffef ? Math.max(highest, lastIno) : highest;
}

function newSuperblock(r: Repair, overlay: OverlayMedia, room: readonly number[], txid: number): Superblock {
  const roots = buildTrees(r, overlay, room);
  let freeBlocks = 0;
  for (const { value } of r.drafts.free.records()) freeBlocks += value[0];
  return {
    ...r.scan.superblock,
    txid,
    clean: true,
    shutdown: false,
    metadataLost: false,
    shutdownReason: '',
    lastIno: r.lastIno,
    inodeCount: roots[TREES.inode.id].count,
    freeBlocks,
    metaBlocks: r.chunks.reduce((total, { start, end }) => total + end - start, 0),
    roots,
  };
}

/** The newest transaction that a node names. */
function newestNode(media: Media, scan: Scan): number {
  let newest = 0;
  for (const view of Object.values(scan.trees)) {
    for (const leaf of view.leaves) {
      const words = media.words(asPhys(leaf));
      const at = media.wordIndex(asPhys(leaf));
      newest = Math.max(newest, words[at + NODE.txidHi] * 2 ** 32 + words[at + NODE.txidLo]);
    }
  }
  return newest;
}

/** Says what writing nodes and superblocks anew mends by itself. */
function tellNodes(r: Repair, problems: readonly Problem[]): void {
  for (const { tree, block, level } of r.scan.lost) {
    const what = level === 0 ? 'a leaf' : 'a node above the leaves';
    const found = r.found.get(block) ?? 0;
    const still = found > 0 ? `; ${found} records of it are read all the same` : '';
    const text = `block ${block}, ${what} of tree ${tree}, is given up${still}`;
    r.actions.add('node', text, { physical: block * 4096, tree });
  }
  for (const name of r.scan.unsound) {
    if (!r.scan.incomplete.has(name)) r.actions.add('tree', `tree ${name} is built anew`, { tree: name });
  }
  if (problems.some(({ kind }) => kind === 'superblock')) {
    r.actions.add('superblock', 'both superblock slots are written anew');
  }
}
