import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkNamespace } from '../../src/check/namespace.js';
import type { EngineContext } from '../../src/engine/context.js';
import { type NameHash, nameHash } from '../../src/engine/hash.js';
import { isDirectory, isSymlink, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, typeOf } from '../../src/engine/mode.js';
import type { NamespaceOps } from '../../src/engine/namespace.js';
import { formatStore, openStore, type StoreOptions } from '../../src/engine/store.js';
import { asIno } from '../../src/types.js';
import { RefNamespace } from '../model/ref-namespace.js';
import { dumpNamespace, FakeClock, HeapMedia, memContext } from '../support/mem-context.js';
import { attrOf, bytes, codeOf, listDir, mountNamespace } from '../support/namespace.js';

/** One random step. `at` and `to` choose among the inodes that exist, whatever their type. */
interface Step {
  op: string;
  at: number;
  to: number;
  name: string;
  newName: string;
  mode: number;
  flags: number;
  bytes: number;
}

const names = fc.constantFrom('a', 'b', 'c', 'ab', 'abc', 'ff', 'ggg', '\u00fc', 'x'.repeat(255), '..x', ' ');
const step: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom(
    ...['create', 'create', 'create', 'create', 'link', 'unlink', 'rmdir', 'rename', 'rename', 'rename'],
    ...['tmpfile', 'setxattr', 'setxattr', 'removexattr', 'inactivate', 'remount', 'reclaim'],
  ),
  at: fc.nat(50),
  to: fc.nat(50),
  name: names,
  newName: names,
  mode: fc.constantFrom(S_IFDIR | 0o755, S_IFDIR | 0o700, S_IFREG | 0o644, S_IFLNK | 0o777, S_IFIFO | 0o600),
  flags: fc.constantFrom(0, 0, 0, 1, 2, 2, 3, 4, 5, 6),
  bytes: fc.oneof(fc.nat(20), fc.constantFrom(1270, 1274, 1275, 1276, 2555, 2556, 9000)),
});

/** Does one step on both sides and compares the outcome; a failed step must not change anything. */
class Runner {
  readonly ref = new RefNamespace();
  readonly hash: NameHash;
  readonly remount: (ctx: EngineContext) => EngineContext;
  ctx: EngineContext;
  ns: NamespaceOps;

  constructor(hash: NameHash, ctx: EngineContext, remount: (ctx: EngineContext) => EngineContext) {
    this.hash = hash;
    this.ctx = ctx;
    this.remount = remount;
    this.ns = mountNamespace(this.ctx, hash);
    this.ns.mkRoot(0, 0);
  }

  run(s: Step): void {
    const before = dumpNamespace(this.ctx);
    let fromRef: unknown = 0;
    let fromFs: unknown = 0;
    const expected = codeOf(() => {
      fromRef = this.#onRef(s) ?? 0;
    });
    const got = codeOf(() => {
      fromFs = this.#onFs(s) ?? 0;
    });
    expect(got, `${JSON.stringify(s)}`).toBe(expected);
    expect(fromFs).toBe(fromRef);
    if (got !== 'ok') expect(dumpNamespace(this.ctx)).toEqual(before);
  }

  compare(): void {
    expect(checkNamespace(this.ctx, this.hash)).toEqual([]);
    expect(this.ctx.counters.inodeCount).toBe(this.ref.nodes.size);
    for (const ino of this.ref.nodes.keys()) this.#compareInode(ino);
  }

  #pick(index: number): number {
    // Number 0 is no inode: operations on one that does not exist are tried too.
    const inos = [...this.#known, 0];
    return inos[index % inos.length];
  }

  /** Inodes before the step: both sides must choose from the same. */
  #known: number[] = [];

  #onRef(s: Step): unknown {
    const ref = this.ref;
    this.#known = [...ref.nodes.keys()];
    const at = this.#pick(s.at);
    const to = this.#pick(s.to);
    switch (s.op) {
      case 'create':
        return ref.create(
          at,
          s.name,
          s.mode,
          isSymlink(s.mode) ? 't'.repeat(Math.max(1, s.bytes % 4096)) : '',
        );
      case 'tmpfile':
        return ref.createUnlinked();
      case 'link':
        return ref.link(at, to, s.name);
      case 'unlink':
        return ref.unlink(at, s.name);
      case 'rmdir':
        return ref.rmdir(at, s.name);
      case 'rename':
        return ref.rename(at, s.name, to, s.newName, s.flags);
      case 'setxattr':
        return ref.setxattr(at, s.name, 'v'.repeat(s.bytes), s.flags % 4);
      case 'removexattr':
        return ref.removexattr(at, s.name);
      case 'inactivate':
        return ref.inactivate(at);
      case 'reclaim':
        return ref.reclaim();
      default:
        return 0;
    }
  }

  #onFs(s: Step): unknown {
    const ns = this.ns;
    const at = asIno(this.#pick(s.at));
    const to = asIno(this.#pick(s.to));
    const name = bytes(s.name);
    switch (s.op) {
      case 'create':
        return ns.create(at, name, {
          mode: s.mode,
          uid: 1,
          gid: 2,
          ...(isSymlink(s.mode) && { target: bytes('t'.repeat(Math.max(1, s.bytes % 4096))) }),
        });
      case 'tmpfile':
        return ns.createUnlinked({ mode: S_IFREG | 0o600, uid: 1, gid: 2 });
      case 'link':
        return ns.link(at, to, name);
      case 'unlink':
        return ns.unlink(at, name);
      case 'rmdir':
        return ns.rmdir(at, name);
      case 'rename':
        return ns.rename(at, name, to, bytes(s.newName), s.flags);
      case 'setxattr':
        return ns.setxattr(at, name, bytes('v'.repeat(s.bytes)), s.flags % 4);
      case 'removexattr':
        return ns.removexattr(at, name);
      case 'inactivate':
        return ns.inactivate(at);
      case 'reclaim':
        ns.reclaimOrphans();
        return 0;
      default:
        this.ctx = this.remount(this.ctx);
        this.ns = mountNamespace(this.ctx, this.hash);
        return 0;
    }
  }

  #compareInode(number: number): void {
    const ino = asIno(number);
    const node = this.ref.node(number);
    const attr = attrOf(this.ns, ino);
    expect({ mode: attr.mode, nlink: attr.nlink, size: attr.size }).toEqual({
      mode: node.mode,
      nlink: node.nlink,
      size: node.target.length,
    });
    expect(this.ns.paths(ino, 100).sort()).toEqual(this.ref.paths(number));
    if (isSymlink(node.mode)) expect(Buffer.from(this.ns.readlink(ino)).toString()).toBe(node.target);
    const xattrs = this.ns
      .listxattr(ino)
      .map((name) => [
        Buffer.from(name).toString(),
        Buffer.from(this.ns.getxattr(ino, name) ?? []).toString(),
      ]);
    expect(xattrs.sort()).toEqual([...node.xattrs].sort());
    if (isDirectory(node.mode)) this.#compareDirectory(number);
  }

  #compareDirectory(number: number): void {
    const dir = asIno(number);
    const node = this.ref.node(number);
    const listed = listDir(this.ns, dir);
    expect(new Map(listed.map((e) => [e.name, e.ino]))).toEqual(node.entries);
    expect(listed.length).toBe(node.entries.size);
    listed.forEach((entry, i) => {
      expect(this.ns.lookup(dir, bytes(entry.name))).toBe(entry.ino);
      expect(entry.type).toBe(typeOf(this.ref.node(entry.ino).mode));
      expect(entry.cookie).toBeGreaterThan(i === 0 ? 2 : listed[i - 1].cookie);
    });
    if (node.nlink > 0) expect(this.ns.parentOf(dir)).toBe(this.ref.parentOf(number));
    else expect(codeOf(() => this.ns.parentOf(dir))).toBe('ENOENT');
  }
}

const HASHES: [string, NameHash, number][] = [
  ['the real hash', nameHash, 80],
  ['a hash of two values', (name) => nameHash(name) % 2, 80],
  ['a constant hash of 0', () => 0, 50],
  ['a constant hash of 2^32 - 1', () => 0xffff_ffff, 30],
];

function randomRuns(numRuns: number, make: () => Runner): void {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
      const runner = make();
      for (const s of steps) {
        runner.run(s);
        runner.compare();
      }
    }),
    { numRuns },
  );
}

/** A namespace over the real trees in blocks on the heap; a remount opens them again after a commit. */
function storeRunner(hash: NameHash): Runner {
  const media = new HeapMedia(2048, 256);
  const options: StoreOptions = {
    clock: new FakeClock(),
    layouts: { breakLayouts: () => {}, remapped: () => {} },
    interrupted: () => false,
    badBlocks: () => ({ count: 0, first: () => -1, lengthAt: () => 0 }),
  };
  const format = { label: 'test', uuid: Buffer.alloc(16, 7), created: 1 };
  return new Runner(hash, formatStore(media, format, options).context, (ctx) => {
    ctx.trx.commit();
    return openStore(media, options).context;
  });
}

describe('namespace against the reference filesystem', () => {
  it.each(HASHES)('random operations, %s', (_title, hash, numRuns) => {
    randomRuns(numRuns, () => new Runner(hash, memContext(), (ctx) => ctx));
  });

  it.each(HASHES)('random operations on the B+trees of a region, %s', (_title, hash, numRuns) => {
    randomRuns(Math.ceil(numRuns / 2), () => storeRunner(hash));
  });
});
