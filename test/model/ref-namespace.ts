import { isDirectory, S_IFCHR, S_IFDIR, S_IFREG } from '../../src/engine/mode.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from '../../src/engine/rename.js';
import { XATTR_CREATE, XATTR_REPLACE } from '../../src/engine/xattr.js';
import type { ErrnoName } from '../../src/errors.js';

export interface RefNode {
  mode: number;
  nlink: number;
  /** Directories: name to inode number. */
  readonly entries: Map<string, number>;
  readonly xattrs: Map<string, string>;
  readonly target: string;
}

/** Thrown by the model where the filesystem must fail with this errno. */
class RefError extends Error {
  readonly code: ErrnoName;

  constructor(code: ErrnoName) {
    super(code);
    this.code = code;
  }
}

/** The reference filesystem: Maps, no trees, hashes or reservations. Inode numbers count up, none is used again. */
export class RefNamespace {
  readonly nodes = new Map<number, RefNode>();
  #last = 0;

  constructor() {
    this.#add(S_IFDIR | 0o755, 2, '');
  }

  create(dir: number, name: string, mode: number, target: string): number {
    this.#live(dir);
    if (this.#dir(dir).entries.has(name)) throw new RefError('EEXIST');
    const ino = this.#add(mode, isDirectory(mode) ? 2 : 1, target);
    this.#dir(dir).entries.set(name, ino);
    if (isDirectory(mode)) this.#dir(dir).nlink++;
    return ino;
  }

  createUnlinked(): number {
    return this.#add(S_IFREG | 0o600, 0, '');
  }

  link(ino: number, dir: number, name: string): void {
    const node = this.node(ino);
    if (isDirectory(node.mode)) throw new RefError('EPERM');
    this.#live(dir);
    if (this.#dir(dir).entries.has(name)) throw new RefError('EEXIST');
    this.#dir(dir).entries.set(name, ino);
    node.nlink++;
  }

  unlink(dir: number, name: string): number {
    const ino = this.#entry(dir, name);
    if (isDirectory(this.node(ino).mode)) throw new RefError('EISDIR');
    this.#remove(dir, name);
    return ino;
  }

  rmdir(dir: number, name: string): number {
    const ino = this.#entry(dir, name);
    if (!isDirectory(this.node(ino).mode)) throw new RefError('ENOTDIR');
    if (this.node(ino).entries.size > 0) throw new RefError('ENOTEMPTY');
    this.#remove(dir, name);
    return ino;
  }

  rename(dir: number, name: string, newDir: number, newName: string, flags: number): number {
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    if (exchange && flags !== RENAME_EXCHANGE) throw new RefError('EINVAL');
    this.#live(dir);
    this.#live(newDir);
    const src = this.#entry(dir, name);
    const dst = this.#dir(newDir).entries.get(newName) ?? 0;
    if (dst !== 0 && (flags & RENAME_NOREPLACE) !== 0) throw new RefError('EEXIST');
    if (dst === 0 && exchange) throw new RefError('ENOENT');
    if (this.#contains(src, newDir)) throw new RefError('EINVAL');
    if (exchange && this.#contains(dst, dir)) throw new RefError('EINVAL');
    if (src === dst) return 0;
    if (exchange) {
      this.#put(dir, name, dst);
      this.#put(newDir, newName, src);
      this.#recountDirs(dir);
      this.#recountDirs(newDir);
      return 0;
    }
    if (dst !== 0) this.#checkReplace(this.node(src), this.node(dst));
    if (dst !== 0) this.#remove(newDir, newName);
    this.#put(newDir, newName, src);
    this.#dir(dir).entries.delete(name);
    if ((flags & RENAME_WHITEOUT) !== 0) this.#put(dir, name, this.#add(S_IFCHR, 1, ''));
    this.#recountDirs(dir);
    this.#recountDirs(newDir);
    return dst;
  }

  setxattr(ino: number, name: string, value: string, flags: number): void {
    if (flags === (XATTR_CREATE | XATTR_REPLACE)) throw new RefError('EINVAL');
    const { xattrs } = this.node(ino);
    if (flags === XATTR_CREATE && xattrs.has(name)) throw new RefError('EEXIST');
    if (flags === XATTR_REPLACE && !xattrs.has(name)) throw new RefError('ENODATA');
    xattrs.set(name, value);
  }

  removexattr(ino: number, name: string): void {
    if (!this.node(ino).xattrs.delete(name)) throw new RefError('ENODATA');
  }

  inactivate(ino: number): void {
    if (this.node(ino).nlink === 0) this.nodes.delete(ino);
  }

  reclaim(): void {
    for (const [ino, node] of this.nodes) if (node.nlink === 0) this.nodes.delete(ino);
  }

  node(ino: number): RefNode {
    const node = this.nodes.get(ino);
    if (node === undefined) throw new RefError('ESTALE');
    return node;
  }

  /** All absolute paths of an inode, sorted. */
  paths(ino: number): string[] {
    const found: string[] = ino === 1 ? ['/'] : [];
    const visit = (dir: number, prefix: string): void => {
      for (const [name, child] of this.#dir(dir).entries) {
        if (child === ino) found.push(`${prefix}/${name}`);
        if (isDirectory(this.node(child).mode)) visit(child, `${prefix}/${name}`);
      }
    };
    visit(1, '');
    return found.sort();
  }

  /** The directory that holds a directory, or 0. */
  parentOf(dir: number): number {
    if (dir === 1) return 1;
    for (const [ino, node] of this.nodes) if ([...node.entries.values()].includes(dir)) return ino;
    return 0;
  }

  #add(mode: number, nlink: number, target: string): number {
    this.nodes.set(++this.#last, { mode, nlink, entries: new Map(), xattrs: new Map(), target });
    return this.#last;
  }

  #dir(ino: number): RefNode {
    const node = this.node(ino);
    if (!isDirectory(node.mode)) throw new RefError('ENOTDIR');
    return node;
  }

  #live(dir: number): void {
    if (this.#dir(dir).nlink === 0) throw new RefError('ENOENT');
  }

  #entry(dir: number, name: string): number {
    const ino = this.#dir(dir).entries.get(name);
    if (ino === undefined) throw new RefError('ENOENT');
    return ino;
  }

  #put(dir: number, name: string, ino: number): void {
    this.#dir(dir).entries.set(name, ino);
  }

  #remove(dir: number, name: string): void {
    const node = this.node(this.#entry(dir, name));
    this.#dir(dir).entries.delete(name);
    if (isDirectory(node.mode)) node.nlink = 0;
    else node.nlink--;
    this.#recountDirs(dir);
  }

  #recountDirs(dir: number): void {
    const node = this.#dir(dir);
    node.nlink = 2 + [...node.entries.values()].filter((ino) => isDirectory(this.node(ino).mode)).length;
  }

  /** Whether directory `at` is `ino` or lies below it. */
  #contains(ino: number, at: number): boolean {
    const { mode, entries } = this.node(ino);
    if (!isDirectory(mode)) return false;
    return ino === at || [...entries.values()].some((child) => this.#contains(child, at));
  }

  #checkReplace(src: RefNode, dst: RefNode): void {
    if (isDirectory(src.mode) && !isDirectory(dst.mode)) throw new RefError('ENOTDIR');
    if (!isDirectory(src.mode) && isDirectory(dst.mode)) throw new RefError('EISDIR');
    if (dst.entries.size > 0) throw new RefError('EEXIST');
  }
}
