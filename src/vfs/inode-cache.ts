import { FsError } from '../errors.js';
import { asIno, type Ino, ROOT_INO } from '../types.js';

/** An inode that the kernel knows, or that something here still uses. */
export interface Inode {
  readonly ino: Ino;
  /** How often the kernel was told of it and has not forgotten it. */
  lookups: number;
  /** Open handles, and jobs under way. */
  users: number;
  /** INODE_FLAG_*, or -1 while not asked for. Only the vfs changes them, so the copy holds. */
  flags: number;
  /**
   * Known to have neither set-id bits nor security.capability, so a write need not look. Reset by whatever
   * can give it one.
   */
  plain: boolean;
  /** Something was read or written since the kernel knows it: pages of it may be cached, or mapped. */
  cached: boolean;
  /** Open handles that a shared writable mapping can have been made by. */
  mappers: number;
  /** Somebody may have stored to pages of it, through a mapping, that have no block of their own yet. */
  stored: boolean;
}

/** Frees an inode that nobody uses any more, if it has no link. */
export type Inactivate = (ino: Ino) => void;

/**
 * The kernel's references. A node id is the inode number: it cannot be given to another inode while the
 * kernel holds one, because the inode is freed only when its lookups and users are zero.
 */
export class InodeCache {
  readonly #byIno = new Map<number, Inode>();
  readonly #inactivate: Inactivate;

  constructor(inactivate: Inactivate) {
    this.#inactivate = inactivate;
    // The kernel holds the root from the mount on, without a lookup.
    this.remember(ROOT_INO);
  }

  /** The numbers of all that the kernel may have in its caches. */
  inos(): Ino[] {
    return [...this.#byIno.values()].map((inode) => inode.ino);
  }

  get size(): number {
    return this.#byIno.size;
  }

  /** The inode of a request's node id. ESTALE when the kernel does not hold it. */
  known(nodeid: number): Inode {
    const inode = this.#byIno.get(nodeid);
    if (inode === undefined) throw new FsError('ESTALE', 'vfs', `node ${nodeid} is not in use`);
    return inode;
  }

  find(ino: number): Inode | undefined {
    return this.#byIno.get(ino);
  }

  /** Counts one lookup that is told to the kernel. */
  remember(ino: Ino): Inode {
    let inode = this.#byIno.get(ino);
    if (inode === undefined) {
      inode = {
        ino,
        lookups: 0,
        users: 0,
        flags: -1,
        plain: false,
        cached: false,
        mappers: 0,
        stored: false,
      };
      this.#byIno.set(ino, inode);
    }
    inode.lookups += 1;
    return inode;
  }

  /** FUSE_FORGET. One for an unknown node is passed over: there is nobody to tell. */
  forget(nodeid: number, count: number): void {
    const inode = this.#byIno.get(nodeid);
    if (inode === undefined || inode.ino === ROOT_INO) return;
    inode.lookups = Math.max(0, inode.lookups - count);
    this.#settle(inode);
  }

  /** Those that settle() of the layouts may have to wait for. */
  stored(): Inode[] {
    return [...this.#byIno.values()].filter((inode) => inode.stored);
  }

  hold(inode: Inode): void {
    inode.users += 1;
  }

  drop(inode: Inode): void {
    inode.users -= 1;
    this.#settle(inode);
  }

  /** A link of `ino` is gone; when the kernel does not know the inode, nobody else will free it. */
  unlinked(ino: Ino): void {
    if (!this.#byIno.has(ino)) this.#inactivate(ino);
  }

  #settle(inode: Inode): void {
    if (inode.lookups > 0 || inode.users > 0) return;
    this.#byIno.delete(inode.ino);
    this.#inactivate(inode.ino);
  }

  /** The mount is gone and with it every reference. The kernel sends no forgets on unmount. */
  end(): void {
    const left = [...this.#byIno.keys()];
    this.#byIno.clear();
    for (const ino of left) this.#inactivate(asIno(ino));
  }
}
