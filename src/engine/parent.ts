import { broken, CorruptionError } from '../errors.js';
import { type Ino, ROOT_INO } from '../types.js';
import type { EngineContext } from './context.js';
import type { DirSlot, DirTable } from './dir.js';
import type { Cursor, Tree } from './tree.js';

const NO_VALUE = new Uint32Array(0);

/**
 * One record for each link, keyed (inode, directory, hash, sequence): the way from an inode back to its
 * names. A directory has exactly one, the root none. The caller has reserved.
 */
export class ParentTable {
  readonly #tree: Tree;
  readonly #dirs: DirTable;
  readonly #inodes: Tree;
  readonly #links: Cursor;
  readonly #up: Cursor;
  /** The last paths() went to the end of the records of its inode. */
  #complete = false;

  constructor(ctx: EngineContext, dirs: DirTable) {
    this.#tree = ctx.trees.parent;
    this.#dirs = dirs;
    this.#inodes = ctx.trees.inode;
    this.#links = this.#tree.cursor();
    this.#up = this.#tree.cursor();
  }

  add(ino: number, dir: number, slot: DirSlot): void {
    this.#tree.insert(ino, dir, slot.hash, slot.seq, NO_VALUE);
  }

  remove(ino: number, dir: number, slot: DirSlot): void {
    const existed = this.#tree.remove(ino, dir, slot.hash, slot.seq);
    if (!existed) broken(`inode ${ino}: no parent record ${dir}/${slot.hash}/${slot.seq}`);
  }

  /** The directory that holds a directory; the root's is the root. 0 for one that was removed. */
  parentOf(dir: Ino): Ino | 0 {
    if (dir === ROOT_INO) return ROOT_INO;
    return this.#climb(dir) ? (this.#up.key(1) as Ino) : 0;
  }

  /** Whether `dir` is `ancestor` or lies below it. */
  isWithin(dir: number, ancestor: number): boolean {
    let at = dir;
    for (let steps = 0; at !== ancestor; steps++) {
      this.#checkSteps(steps, dir);
      if (at === ROOT_INO || !this.#climb(at)) return false;
      at = this.#up.key(1);
    }
    return true;
  }

  /**
   * Absolute paths of an inode, at most `max`, in the order of the records. `known` has the paths of directories
   * ("" for the root) that are known already, and gets those that are found.
   */
  paths(ino: number, max: number, known: Map<number, string>): string[] {
    if (max <= 0) return [];
    if (ino === ROOT_INO) return ['/'];
    const found: string[] = [];
    const links = this.#links;
    // Whoever asks for one inode after the other finds the cursor where the records of the next one begin.
    let more = (this.#complete && links.isAt(ino)) || links.seek(ino, 0, 0, 0);
    while (more && links.key(0) === ino && found.length < max) {
      const dir = links.key(1);
      found.push(`${this.#directoryPath(dir, known)}/${this.#nameOf(dir, links.key(2), links.key(3))}`);
      more = links.next();
    }
    this.#complete = !more || links.key(0) !== ino;
    return found;
  }

  /** "" for the root. */
  #directoryPath(dir: number, known: Map<number, string>): string {
    let path = '';
    let at = dir;
    for (let steps = 0; at !== ROOT_INO; steps++) {
      const above = known.get(at);
      if (above !== undefined) {
        path = above + path;
        break;
      }
      this.#checkSteps(steps, dir);
      if (!this.#climb(at))
        throw new CorruptionError(-1, `directory ${at} is in use but has no parent record`);
      const up = this.#up.key(1);
      path = `/${this.#nameOf(up, this.#up.key(2), this.#up.key(3))}${path}`;
      at = up;
    }
    known.set(dir, path);
    return path;
  }

  #nameOf(dir: number, hash: number, seq: number): string {
    const name = this.#dirs.nameText(dir, hash, seq);
    if (name === null) throw new CorruptionError(-1, `directory ${dir}: a link of no entry, ${hash}/${seq}`);
    return name;
  }

  /** Puts #up on the only parent record of a directory. */
  #climb(dir: number): boolean {
    return this.#up.seek(dir, 0, 0, 0) && this.#up.key(0) === dir;
  }

  /** A way up that is longer than there are inodes is a circle. */
  #checkSteps(steps: number, dir: number): void {
    if (steps > this.#inodes.count) throw new CorruptionError(-1, `directory ${dir} is its own ancestor`);
  }
}
