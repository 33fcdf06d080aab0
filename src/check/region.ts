import { probe, type Superblock } from '../engine/superblock.js';
import { FsError } from '../errors.js';
import type { Media } from '../media/media.js';
import { findInExtents } from './extents.js';
import { findInNamespace } from './namespace.js';
import { findPath } from './paths.js';
import { type Problem, Problems } from './problem.js';
import { type Scan, scanTrees } from './scan.js';
import { findInSpace } from './space.js';
import { checkSuperblocks } from './superblock.js';

export interface RegionCheck {
  readonly problems: readonly Problem[];
  /** Problems beyond the most that are listed. */
  readonly omitted: number;
  /** What could be read; absent when no superblock can be used. */
  readonly scan?: Scan;
}

/**
 * Checks the filesystem of a region that nobody uses. Changes nothing and does not throw for what is damaged in it:
 * each problem is listed, what can be read is checked. Reads metadata only. Time O(n log n), memory O(n) in the
 * number of extents and nodes. Throws EINVAL for a region that holds no filesystem of ours.
 */
export function checkRegion(media: Media): RegionCheck {
  const problems = new Problems();
  const found = probe(media);
  if (found.kind === 'empty') {
    throw new FsError('EINVAL', 'check', 'the region is empty; make a filesystem with rmapfs mkfs');
  }
  if (found.kind === 'foreign') {
    throw new FsError('EINVAL', 'check', `the region is not a rmapfs filesystem: ${found.detail}`);
  }
  if (found.kind === 'damaged') {
    problems.add('superblock', `the filesystem cannot be found: ${found.detail}`);
    return { problems: problems.list, omitted: problems.omitted };
  }
  checkSuperblocks(media, found.sb, problems);
  const scan = checkTrees(media, found.sb, problems);
  for (const problem of problems.list) {
    const path = problem.ino === undefined ? undefined : findPath(scan, problem.ino);
    if (path !== undefined) problem.path = path;
  }
  return { problems: problems.list, omitted: problems.omitted, scan };
}

/** The part of checkRegion() below the superblock. */
export function checkTrees(media: Media, superblock: Superblock, problems: Problems): Scan {
  const scan = scanTrees(media, superblock, problems);
  findInNamespace(scan, problems);
  const owned = findInExtents(scan, problems);
  findInSpace(scan, owned, problems);
  return scan;
}
