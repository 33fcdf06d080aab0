import type { TreeName } from '../engine/layout.js';
import { CHECK_PROBLEMS_MAX } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';

/**
 * Where a problem lies: a superblock slot, a node that cannot be read, the build of a tree, the records of one
 * tree, or blocks that have no owner or too many.
 */
export type ProblemKind = 'superblock' | 'node' | 'tree' | 'space' | TreeName;

/** Where it was found, as far as that is one place. */
export interface Place {
  /** Byte offset in the region. */
  readonly physical?: number;
  readonly ino?: number;
  /** The tree that the node belongs to. */
  readonly tree?: TreeName;
}

export interface Problem extends Place {
  readonly kind: ProblemKind;
  /** One sentence without a full stop. */
  readonly detail: string;
  /** A path of the inode; absent when there is none, or when it could not be found. */
  path?: string;
  /** Set by a repair that has removed the cause. */
  repaired: boolean;
}

/** Collects findings, at most CHECK_PROBLEMS_MAX of each kind, so that one kind does not hide the others. */
export class Findings<F extends { readonly kind: ProblemKind }> {
  readonly list: F[] = [];
  /** Findings that are not listed. */
  omitted = 0;
  readonly #counts = new Map<ProblemKind, number>();

  protected take(finding: F): void {
    const count = (this.#counts.get(finding.kind) ?? 0) + 1;
    this.#counts.set(finding.kind, count);
    if (count <= CHECK_PROBLEMS_MAX) this.list.push(finding);
    else this.omitted++;
  }
}

export class Problems extends Findings<Problem> {
  add(kind: ProblemKind, detail: string, place: Place = {}): void {
    this.take({ kind, detail, ...place, repaired: false });
  }

  /** The sentences alone. */
  texts(): string[] {
    return this.list.map((problem) => problem.detail);
  }
}

export const atBlock = (block: number): Place => ({ physical: block * BLOCK_SIZE });
