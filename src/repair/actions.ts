import { Findings, type Place, type ProblemKind } from '../check/problem.js';

/** One thing that a repair does. */
export interface Action extends Place {
  readonly kind: ProblemKind;
  /** One sentence without a full stop. */
  readonly detail: string;
  /** A path that the inode had before. */
  path?: string;
}

export class Actions extends Findings<Action> {
  add(kind: ProblemKind, detail: string, place: Place = {}): void {
    this.take({ kind, detail, ...place });
  }
}
