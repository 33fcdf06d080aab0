import type {
  AttrChange,
  BadRange,
  DirVisitor,
  Engine,
  Extent,
  InodeAttr,
  MetadataDamage,
  NewInode,
  Owner,
  OwnerCursor,
  OwnerPlace,
  ReadPlan,
  ScrubbedRange,
  SpaceUse,
} from '../../src/engine/api.js';
import { badBlock } from '../../src/engine/datacore.js';
import { INODE_FLAG_NOATIME } from '../../src/engine/layout.js';
import { FsError } from '../../src/errors.js';
import {
  asBytes,
  asIno,
  BLOCK_SIZE,
  blocksFor,
  type Clock,
  type Ino,
  ROOT_INO,
  type Time,
} from '../../src/types.js';
import { emptyAttr } from '../../src/vfs/context.js';

interface Node {
  attr: InodeAttr;
  data: Buffer;
  entries: Map<string, { ino: Ino; cookie: number }>;
  parent: Ino;
  cookies: number;
  xattrs: Map<string, Buffer>;
  target: Buffer;
}

const S_IFDIR = 0o040000;
const isDir = (mode: number): boolean => (mode & 0o170000) === S_IFDIR;
const key = (name: Uint8Array): string => Buffer.from(name).toString('latin1');

/**
 * A filesystem in Maps, for tests of what is above the engine. It shares no blocks: a file's block b of inode
 * i "lies" at physical (i * 256 + b) * 4096, and a clone is a copy. `failNext` makes the next call of a
 * method throw.
 */
export class FakeEngine implements Engine {
  readonly info = {
    label: 'fake' as string,
    uuid: '00000000-0000-0000-0000-000000000000',
    blockSize: BLOCK_SIZE,
    blocks: 1 << 20,
    readOnly: false,
    txid: 1,
    wasClean: true,
    shutdown: false,
    wasShutdown: null,
  };
  dirty = false;
  changed = false;
  readonly met: number[] = [];
  begin(): void {
    this.changed = false;
  }
  /** The file that was read last. */
  readonly readSources: Buffer[] = [];
  readonly nodes = new Map<number, Node>();
  /** Every call of inactivate(). */
  readonly inactivated: number[] = [];
  /** Bad physical blocks. */
  readonly bad = new Set<number>();
  failNext: { method: string; error: unknown } | null = null;
  readonly #clock: Clock;
  #last = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#add(ROOT_INO, { mode: S_IFDIR | 0o755, uid: 0, gid: 0 }, ROOT_INO).attr.nlink = 2;
  }

  #enter(method: string): void {
    const fail = this.failNext;
    if (fail?.method !== method) return;
    this.failNext = null;
    throw fail.error;
  }

  #add(ino: Ino, init: NewInode, parent: Ino): Node {
    const attr = emptyAttr();
    attr.ino = ino;
    attr.generation = 7;
    attr.mode = init.mode;
    attr.uid = init.uid;
    attr.gid = init.gid;
    attr.rdev = init.rdev ?? 0;
    for (const time of [attr.atime, attr.mtime, attr.ctime, attr.btime]) this.#clock.now(time);
    const target = Buffer.from(init.target ?? []);
    attr.size = asBytes(target.length);
    const node: Node = {
      attr,
      data: Buffer.alloc(0),
      entries: new Map(),
      parent,
      cookies: 0,
      xattrs: new Map((init.xattrs ?? []).map(({ name, value }) => [key(name), Buffer.from(value)])),
      target,
    };
    this.nodes.set(ino, node);
    return node;
  }

  #node(ino: Ino): Node {
    const node = this.nodes.get(ino);
    if (node === undefined) throw new FsError('ESTALE', 'fake', `inode ${ino}`);
    return node;
  }
  #dir(ino: Ino): Node {
    const node = this.#node(ino);
    if (!isDir(node.attr.mode)) throw new FsError('ENOTDIR', 'fake', `inode ${ino}`);
    return node;
  }
  #entry(dir: Ino, name: Uint8Array): Ino {
    const entry = this.#dir(dir).entries.get(key(name));
    if (entry === undefined) throw new FsError('ENOENT', 'fake', key(name));
    return entry.ino;
  }
  #put(dir: Ino, name: Uint8Array, ino: Ino): void {
    const node = this.#dir(dir);
    node.cookies += 1;
    node.entries.set(key(name), { ino, cookie: node.cookies });
    this.dirty = true;
  }

  lookup(dir: Ino, name: Uint8Array): Ino | 0 {
    this.#enter('lookup');
    return this.#dir(dir).entries.get(key(name))?.ino ?? 0;
  }
  parentOf(dir: Ino): Ino {
    return this.#dir(dir).parent;
  }
  exists(ino: Ino): boolean {
    return this.nodes.has(ino);
  }
  getattr(ino: Ino, out: InodeAttr): InodeAttr {
    this.#enter('getattr');
    const { attr, data } = this.#node(ino);
    const { atime, mtime, ctime, btime, ...plain } = attr;
    Object.assign(out, plain);
    Object.assign(out.atime, atime);
    Object.assign(out.mtime, mtime);
    Object.assign(out.ctime, ctime);
    Object.assign(out.btime, btime);
    if (data.length > 0) out.size = asBytes(data.length);
    out.blocks = blocksFor(data.length);
    return out;
  }
  setattr(ino: Ino, change: AttrChange): void {
    this.#enter('setattr');
    const { attr } = this.#node(ino);
    const { atime, mtime, ctime, ...plain } = change;
    Object.assign(attr, plain);
    this.#clock.now(attr.ctime);
    Object.assign(attr.atime, atime ?? {});
    Object.assign(attr.mtime, mtime ?? {});
    Object.assign(attr.ctime, ctime ?? {});
    this.dirty = true;
  }
  atimeIsOld(ino: Ino, now: number): boolean {
    const { atime, mtime, ctime, flags } = this.#node(ino).attr;
    if ((flags & INODE_FLAG_NOATIME) !== 0) return false;
    const nanoseconds = (time: Time): bigint => BigInt(time.sec) * 1_000_000_000n + BigInt(time.nsec);
    const last = nanoseconds(atime);
    return last <= nanoseconds(mtime) || last <= nanoseconds(ctime) || now - atime.sec >= 86_400;
  }
  touchAtime(ino: Ino, atime: { sec: number; nsec: number }): void {
    Object.assign(this.#node(ino).attr.atime, atime);
  }
  create(dir: Ino, name: Uint8Array, init: NewInode): Ino {
    this.#enter('create');
    if (this.lookup(dir, name) !== 0) throw new FsError('EEXIST', 'create', key(name));
    const ino = this.createUnlinked(init);
    const node = this.#node(ino);
    node.parent = dir;
    node.attr.nlink = isDir(init.mode) ? 2 : 1;
    this.#put(dir, name, ino);
    return ino;
  }
  createUnlinked(init: NewInode): Ino {
    this.#last += 1;
    const ino = asIno(this.#last);
    this.#add(ino, init, ROOT_INO);
    return ino;
  }
  link(ino: Ino, dir: Ino, name: Uint8Array): void {
    if (this.lookup(dir, name) !== 0) throw new FsError('EEXIST', 'link', key(name));
    this.#node(ino).attr.nlink += 1;
    this.#put(dir, name, ino);
  }
  unlink(dir: Ino, name: Uint8Array): Ino {
    const ino = this.#entry(dir, name);
    if (isDir(this.#node(ino).attr.mode)) throw new FsError('EISDIR', 'unlink', key(name));
    this.#node(ino).attr.nlink -= 1;
    this.#dir(dir).entries.delete(key(name));
    return ino;
  }
  rmdir(dir: Ino, name: Uint8Array): Ino {
    const ino = this.#entry(dir, name);
    if (this.#dir(ino).entries.size > 0) throw new FsError('ENOTEMPTY', 'rmdir', key(name));
    this.#node(ino).attr.nlink = 0;
    this.#dir(dir).entries.delete(key(name));
    return ino;
  }
  rename(dir: Ino, name: Uint8Array, newDir: Ino, newName: Uint8Array, flags: number): Ino | 0 {
    const ino = this.#entry(dir, name);
    const target = this.lookup(newDir, newName);
    if ((flags & 2) !== 0) {
      if (target === 0) throw new FsError('ENOENT', 'rename', key(newName));
      this.#put(dir, name, target);
      this.#put(newDir, newName, ino);
      return 0;
    }
    if (target !== 0 && (flags & 1) !== 0) throw new FsError('EEXIST', 'rename', key(newName));
    if (target === ino) return 0;
    this.#dir(dir).entries.delete(key(name));
    this.#put(newDir, newName, ino);
    if (isDir(this.#node(ino).attr.mode)) this.#node(ino).parent = newDir;
    if (target !== 0) this.#node(target).attr.nlink -= 1;
    return target;
  }
  readdir(dir: Ino, cookie: number, visit: DirVisitor): void {
    const entries = [...this.#dir(dir).entries].sort((a, b) => a[1].cookie - b[1].cookie);
    for (const [name, entry] of entries) {
      if (entry.cookie <= cookie) continue;
      const type = (this.#node(entry.ino).attr.mode & 0o170000) >>> 12;
      if (!visit(Buffer.from(name, 'latin1'), entry.ino, type, entry.cookie)) return;
    }
  }
  readlink(ino: Ino): Uint8Array {
    return this.#node(ino).target;
  }
  inactivate(ino: Ino): void {
    this.inactivated.push(ino);
    if (this.nodes.get(ino)?.attr.nlink === 0) this.nodes.delete(ino);
  }
  getxattr(ino: Ino, name: Uint8Array): Uint8Array | null {
    return this.#node(ino).xattrs.get(key(name)) ?? null;
  }
  setxattr(ino: Ino, name: Uint8Array, value: Uint8Array, flags: number): void {
    const { xattrs } = this.#node(ino);
    if (flags === 1 && xattrs.has(key(name))) throw new FsError('EEXIST', 'setxattr', key(name));
    if (flags === 2 && !xattrs.has(key(name))) throw new FsError('ENODATA', 'setxattr', key(name));
    xattrs.set(key(name), Buffer.from(value));
  }
  removexattr(ino: Ino, name: Uint8Array): void {
    if (!this.#node(ino).xattrs.delete(key(name))) throw new FsError('ENODATA', 'removexattr', key(name));
  }
  listxattr(ino: Ino): Uint8Array[] {
    return [...this.#node(ino).xattrs.keys()].map((name) => Buffer.from(name, 'latin1'));
  }
  paths(ino: Ino, max: number): string[] {
    const found: string[] = [];
    for (const [name, entry] of this.#dir(ROOT_INO).entries) if (entry.ino === ino) found.push(`/${name}`);
    return found.slice(0, max);
  }

  read(ino: Ino, offset: number, length: number, mayBeShort: boolean, out: ReadPlan): void {
    this.#enter('read');
    const { data } = this.#node(ino);
    let end = Math.min(data.length, offset + length);
    for (let at = offset; at < end; at = (Math.floor(at / BLOCK_SIZE) + 1) * BLOCK_SIZE) {
      const physical = this.#physical(ino, at);
      if (!this.isBad(physical, 1)) continue;
      if (!mayBeShort || at === offset) throw badBlock(ino, at, Math.floor(physical / BLOCK_SIZE), 'read');
      end = at;
    }
    if (end <= offset) return;
    this.readSources.splice(0, 1, data);
    out.table.set([0, offset, end - offset]);
    out.segments = 1;
    out.bytes = end - offset;
  }
  write(ino: Ino, offset: number, data: Buffer, length: number, fromPageCache: boolean): number {
    const node = this.#node(ino);
    const end = fromPageCache ? Math.min(node.data.length, offset + length) : offset + length;
    if (end > node.data.length) this.truncate(ino, end);
    data.copy(node.data, offset, 0, Math.max(0, end - offset));
    this.#clock.now(node.attr.mtime);
    this.#clock.now(node.attr.ctime);
    this.dirty = true;
    return length;
  }
  truncate(ino: Ino, size: number): void {
    const node = this.#node(ino);
    if (size > 1 << 24) throw new FsError('ENOSPC', 'truncate', `${size} bytes`);
    const data = Buffer.alloc(size);
    node.data.copy(data);
    node.data = data;
    node.attr.size = asBytes(size);
  }
  fallocate(ino: Ino, mode: number, offset: number, length: number): void {
    this.#enter('fallocate');
    const { data } = this.#node(ino);
    if ((mode & 1) === 0 && offset + length > data.length) this.truncate(ino, offset + length);
    if ((mode & 2) !== 0) data.fill(0, Math.min(offset, data.length), Math.min(offset + length, data.length));
  }
  seek(ino: Ino, offset: number, whence: number): number {
    const { data } = this.#node(ino);
    if (offset >= data.length) throw new FsError('ENXIO', 'seek', `${offset}`);
    return whence === 3 ? offset : data.length;
  }
  fsync(): void {
    this.commit();
  }

  #physical(ino: Ino, offset: number): number {
    return (ino * 256 + Math.floor(offset / BLOCK_SIZE)) * BLOCK_SIZE;
  }
  cloneRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): void {
    this.#enter('cloneRange');
    const { data } = this.#node(src);
    const bytes = data.subarray(srcOffset, length === 0 ? undefined : srcOffset + length);
    this.write(dst, dstOffset, Buffer.from(bytes), bytes.length, false);
  }
  dedupeRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number {
    this.#enter('dedupeRange');
    const a = this.#node(src).data.subarray(srcOffset, srcOffset + length);
    return a.equals(this.#node(dst).data.subarray(dstOffset, dstOffset + length)) ? length : -1;
  }
  copyRange(src: Ino, srcOffset: number, dst: Ino, dstOffset: number, length: number): number {
    const bytes = Buffer.from(this.#node(src).data.subarray(srcOffset, srcOffset + length));
    return this.write(dst, dstOffset, bytes, bytes.length, false);
  }
  extents(ino: Ino, offset: number, length: number, max: number): Extent[] {
    const extents: Extent[] = [];
    const end = Math.min(offset + length, this.#node(ino).data.length);
    for (let at = offset - (offset % BLOCK_SIZE); at < end && extents.length < max; at += BLOCK_SIZE) {
      const physical = this.#physical(ino, at);
      const bad = this.isBad(physical, 1);
      extents.push({ fileOffset: at, physical, length: BLOCK_SIZE, shared: false, unwritten: false, bad });
    }
    return extents;
  }
  space(): SpaceUse {
    const blocks = this.info.blocks;
    return {
      blocks,
      available: blocks / 2,
      free: blocks / 2,
      shared: 0,
      saved: 0,
      bad: this.bad.size,
      metadata: 3,
      inodes: this.nodes.size,
    };
  }
  commit(): void {
    this.#enter('commit');
    this.dirty = false;
    this.info.txid += 1;
  }
  trim(_physical: number, length: number): number {
    this.#enter('trim');
    return length;
  }
  relabel(label: string): void {
    this.#enter('relabel');
    this.info.label = label;
  }
  close(): void {
    this.commit();
  }
  shutdown(reason: string): string {
    this.info.shutdown = true;
    return reason;
  }
  owners(physical: number, length: number, visit: (owner: Owner) => boolean, after?: OwnerCursor): void {
    const all: Owner[] = [{ kind: 'superblock', physical: 0, length: BLOCK_SIZE }];
    for (const [ino, node] of this.nodes) {
      const bytes = blocksFor(node.data.length) * BLOCK_SIZE;
      if (bytes === 0) continue;
      all.push({
        kind: 'file',
        ino: asIno(ino),
        fileOffset: 0,
        physical: this.#physical(asIno(ino), 0),
        length: bytes,
        fork: 'data',
        unwritten: false,
        shareCount: 1,
      });
    }
    for (const owner of all) {
      if (owner.physical + owner.length <= physical || owner.physical >= physical + length) continue;
      if (after !== undefined && owner.physical <= after.physical) continue;
      const from = Math.max(owner.physical, physical);
      const to = Math.min(owner.physical + owner.length, physical + length);
      const clipped = { ...owner, physical: from, length: to - from };
      if (clipped.kind === 'file') clipped.fileOffset += from - owner.physical;
      if (!visit(clipped)) return;
    }
  }
  /** No two files share a block. */
  ownersFrom(place: OwnerPlace, end: number, visit: (owner: Owner) => boolean): boolean {
    let isAll = true;
    this.owners(place.at * BLOCK_SIZE, (end - place.at) * BLOCK_SIZE, (owner) => {
      isAll = visit(owner);
      if (isAll) place.at = (owner.physical + owner.length) / BLOCK_SIZE;
      return isAll;
    });
    return isAll;
  }
  isBad(physical: number, length: number): boolean {
    for (let at = physical; at < physical + length; at += BLOCK_SIZE) {
      if (this.bad.has(Math.floor(at / BLOCK_SIZE))) return true;
    }
    return false;
  }
  damage: MetadataDamage = { repaired: [], lost: null };

  poison(physical: number, length: number): number {
    let added = 0;
    for (let at = physical; at < physical + length; at += BLOCK_SIZE) {
      if (!this.bad.has(at / BLOCK_SIZE)) added += 1;
      this.bad.add(at / BLOCK_SIZE);
    }
    return added;
  }
  unpoison(physical: number, length: number): number {
    let removed = 0;
    for (let at = physical; at < physical + length; at += BLOCK_SIZE) {
      if (this.bad.delete(at / BLOCK_SIZE)) removed += 1;
    }
    return removed;
  }
  scrub(_physical: number, length: number): ScrubbedRange {
    return { length, latent: null, damaged: [] };
  }

  badBlocks(from: number, max: number): BadRange[] {
    return [...this.bad]
      .map((block) => ({ physical: block * BLOCK_SIZE, length: BLOCK_SIZE, latent: false, since: 1 }))
      .filter((range) => range.physical >= from)
      .sort((a, b) => a.physical - b.physical)
      .slice(0, max);
  }
}
