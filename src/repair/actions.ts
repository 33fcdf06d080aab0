import type { Place, ProblemKind } from '../check/problem.js';
import { CHECK_PROBLEMS_MAX } from '../limits.js';

/** One thing that a repair does. */
export interface Action extends Place {
  readonly kind: ProblemKind;
  /** One sentence without a full stop. */
  readonly detail: string;
  /** A path that the inode had before. */
  path?: string;
}

/** Collects actions, at most CHECK_PROBLEMS_MAX of each kind. */
export class Actions {
  readonly list: Action[] = [];
  /** Actions that are not listed. */
  omitted = 0;
  readonly #counts = new Map<ProblemKind, number>();

  add(kind: ProblemKind, detail: string, place: Place = {}): void {
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    if (count <= CHECK_PROBLEMS_MAX) this.list.push({ kind, detail, ...place });
    else this.omitted++;
  }
}
