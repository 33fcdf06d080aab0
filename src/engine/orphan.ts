import { broken } from '../errors.js';
import { asIno, type Ino } from '../types.js';
import type { EngineContext } from './context.js';
import type { Cursor, Tree } from './tree.js';

const NO_VALUE = new Uint32Array(0);

/**
 * Inodes without a link that still exist: in use, or not yet freed when the last mount ended. An inode is an
 * orphan exactly while its link count is 0. The caller has reserved.
 */
export class OrphanTable {
  readonly #tree: Tree;
  readonly #cursor: Cursor;

  constructor(ctx: EngineContext) {
    this.#tree = ctx.trees.orphan;
    this.#cursor = this.#tree.cursor();
  }

  add(ino: number): void {
    this.#tree.insert(ino, 0, 0, 0, NO_VALUE);
  }

  remove(ino: number): void {
    const existed = this.#tree.remove(ino, 0, 0, 0);
    if (!existed) broken(`inode ${ino} has no link but is no orphan`);
  }

  /** The orphan with the lowest number, or 0. */
  first(): Ino | 0 {
    return this.#cursor.seek(0, 0, 0, 0) ? asIno(this.#cursor.key(0)) : 0;
  }

  /** Frees all orphans; `free` must remove the one it is given. Returns how many there were. */
  reclaim(free: (ino: Ino) => void): number {
    const total = this.#tree.count;
    for (let done = 0; done < total; done++) {
      const ino = this.first();
      if (ino === 0) broken(`${total} orphans counted, ${done} found`);
      free(ino);
      if (this.#tree.count !== total - done - 1) broken(`orphan ${ino} was not freed`);
    }
    return total;
  }
}
