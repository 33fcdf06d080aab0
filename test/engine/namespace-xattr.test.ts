import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { checkNamespace } from '../../src/check/namespace.js';
import type { NameHash } from '../../src/engine/hash.js';
import type { NamespaceOps } from '../../src/engine/namespace.js';
import { PAYLOAD_MAX_BYTES } from '../../src/engine/tree.js';
import { chunksFor } from '../../src/engine/xattr.js';
import { HASH_COLLISIONS_MAX, XATTR_VALUE_MAX_BYTES } from '../../src/limits.js';
import { type Ino, ROOT_INO } from '../../src/types.js';
import { dumpContext, type MemContext, memContext } from '../support/mem-context.js';
import { bytes, codeOf, FILE, mountNamespace, symlinkTo } from '../support/namespace.js';

let ctx: MemContext;
let ns: NamespaceOps;
let file: Ino;

function setUp(hash?: NameHash): void {
  ctx = memContext();
  ns = mountNamespace(ctx, hash);
  ns.mkRoot(0, 0);
  file = ns.create(ROOT_INO, bytes('f'), FILE);
}

const pattern = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) % 256);

describe('attributes', () => {
  beforeEach(() => setUp());

  it('chunksFor is the number of records, at every border', () => {
    const first = PAYLOAD_MAX_BYTES - 5 - 6;
    const borders = [0, 1, first - 1, first, first + 1, first + 1280, first + 1281, XATTR_VALUE_MAX_BYTES];
    for (const length of borders) {
      ns.setxattr(file, bytes('user.a'), pattern(length), 0);
      expect(ctx.trees.xattr.count).toBe(chunksFor(6, length));
      expect(ns.getxattr(file, bytes('user.a'))).toEqual(pattern(length));
      expect(checkNamespace(ctx)).toEqual([]);
    }
    expect(chunksFor(6, XATTR_VALUE_MAX_BYTES)).toBe(52);
    for (const length of borders.toReversed()) {
      ns.setxattr(file, bytes('user.a'), pattern(length), 0);
      expect(ctx.trees.xattr.count).toBe(chunksFor(6, length));
      expect(ns.getxattr(file, bytes('user.a'))).toEqual(pattern(length));
    }
  });

  it('a new inode can have some from the start; one that is refused leaves nothing', () => {
    const xattrs = [
      { name: bytes('user.long'), value: pattern(3000) },
      { name: bytes('user.short'), value: bytes('v') },
    ];
    const made = [
      ns.create(ROOT_INO, bytes('g'), { ...FILE, xattrs, flags: 0x80 }),
      ns.createUnlinked({ ...FILE, xattrs }),
    ];
    for (const ino of made) for (const x of xattrs) expect(ns.getxattr(ino, x.name)).toEqual(x.value);
    expect(ctx.trees.xattr.count).toBe(2 * (chunksFor(9, 3000) + 1));
    expect(ns.inodes.flags(made[0])).toBe(0x80);
    expect(checkNamespace(ctx)).toEqual([]);
    const before = dumpContext(ctx);
    const bad = [{ name: bytes('user.x'), value: new Uint8Array(XATTR_VALUE_MAX_BYTES + 1) }];
    expect(codeOf(() => ns.create(ROOT_INO, bytes('h'), { ...FILE, xattrs: bad }))).toBe('E2BIG');
    expect(dumpContext(ctx)).toEqual(before);
  });

  it('refuses with the errno of setxattr(2) and changes nothing', () => {
    ns.setxattr(file, bytes('user.a'), bytes('1'), 0);
    const before = dumpContext(ctx);
    const set = (name: string, value: Uint8Array, flags: number): string =>
      codeOf(() => ns.setxattr(file, bytes(name), value, flags));
    expect(set('user.a', bytes('2'), 1)).toBe('EEXIST');
    expect(set('user.b', bytes('2'), 2)).toBe('ENODATA');
    expect(set('user.b', bytes('2'), 3)).toBe('EINVAL');
    expect(set('user.b', bytes('2'), 4)).toBe('EINVAL');
    expect(set('', bytes('2'), 0)).toBe('ERANGE');
    expect(set('x'.repeat(256), bytes('2'), 0)).toBe('ERANGE');
    expect(set('user.\0', bytes('2'), 0)).toBe('EINVAL');
    expect(set('user.b', new Uint8Array(XATTR_VALUE_MAX_BYTES + 1), 0)).toBe('E2BIG');
    expect(codeOf(() => ns.removexattr(file, bytes('user.b')))).toBe('ENODATA');
    expect(ns.getxattr(file, bytes('user.b'))).toBeNull();
    expect(dumpContext(ctx)).toEqual(before);
  });

  it('what get and list return is a copy', () => {
    ns.setxattr(file, bytes('user.a'), bytes('old'), 0);
    const value = ns.getxattr(file, bytes('user.a'));
    const names = ns.listxattr(file);
    ns.setxattr(file, bytes('user.a'), bytes('new'), 0);
    expect(value).toEqual(bytes('old'));
    expect(names).toEqual([bytes('user.a')]);
  });

  it('names of 255 bytes, empty values, the order of list is that of the hashes', () => {
    const names = Array.from({ length: 50 }, (_, i) => `user.${'n'.repeat(i * 5)}${i}`);
    for (const name of names) ns.setxattr(file, bytes(name), new Uint8Array(0), 0);
    const listed = ns.listxattr(file);
    expect(listed.map((n) => Buffer.from(n).toString()).sort()).toEqual(names.toSorted());
    expect(ns.listxattr(file)).toEqual(listed);
    expect(mountNamespace(ctx).listxattr(file)).toEqual(listed);
    expect(ns.getxattr(file, bytes(names[49]))).toEqual(new Uint8Array(0));
  });
});

describe('attributes with one hash', () => {
  it.each([0, 1, 0xffff_ffff])('hash %d: HASH_COLLISIONS_MAX of them, apart from the target', (value) => {
    setUp(() => value);
    const link = ns.create(ROOT_INO, bytes('l'), symlinkTo('target'));
    for (let i = 0; i < HASH_COLLISIONS_MAX; i++) ns.setxattr(link, bytes(`trusted.${i}`), bytes(`${i}`), 0);
    expect(codeOf(() => ns.setxattr(link, bytes('trusted.more'), bytes('x'), 0))).toBe('ENOSPC');
    ns.setxattr(link, bytes('trusted.9'), pattern(5000), 2);
    expect(ns.readlink(link)).toEqual(bytes('target'));
    expect(ns.getxattr(link, bytes('trusted.254'))).toEqual(bytes('254'));
    expect(ns.getxattr(link, bytes('trusted.more'))).toBeNull();
    expect(ns.listxattr(link).length).toBe(HASH_COLLISIONS_MAX);
    ns.removexattr(link, bytes('trusted.100'));
    ns.setxattr(link, bytes('trusted.more'), bytes('x'), 1);
    expect(checkNamespace(ctx, () => value)).toEqual([]);
    ns.inactivate(ns.unlink(ROOT_INO, bytes('l')));
    expect(ctx.trees.xattr.count).toBe(0);
  });

  it('behaves as a Map', () => {
    const step = fc.record({ name: fc.nat(9), length: fc.nat(4000), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        setUp((name) => name.length % 2);
        const map = new Map<string, number>();
        for (const { name, length, remove } of steps) {
          const text = `user.${'x'.repeat(name)}`;
          if (remove) {
            expect(codeOf(() => ns.removexattr(file, bytes(text)))).toBe(map.delete(text) ? 'ok' : 'ENODATA');
          } else {
            ns.setxattr(file, bytes(text), pattern(length), 0);
            map.set(text, length);
          }
          expect(ns.listxattr(file).length).toBe(map.size);
        }
        for (const [name, length] of map) expect(ns.getxattr(file, bytes(name))).toEqual(pattern(length));
      }),
      { numRuns: 200 },
    );
  });
});
