import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { checkNamespace } from '../../src/check/namespace.js';
import { cookieOf } from '../../src/engine/dir.js';
import { nameHash } from '../../src/engine/hash.js';
import { INODE } from '../../src/engine/layout.js';
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../src/engine/mode.js';
import { NamespaceOps } from '../../src/engine/namespace.js';
import { RENAME_EXCHANGE, RENAME_WHITEOUT } from '../../src/engine/rename.js';
import { HASH_COLLISIONS_MAX, LINK_MAX } from '../../src/limits.js';
import { asIno, type Ino, MAX_INO, ROOT_INO } from '../../src/types.js';
import { dumpContext, type MemContext, memContext } from '../support/mem-context.js';
import {
  attrOf,
  bytes,
  codeOf,
  DIRECTORY,
  FILE,
  listDir,
  mountNamespace,
  symlinkTo,
} from '../support/namespace.js';

let ctx: MemContext;
let ns: NamespaceOps;

beforeEach(() => {
  ctx = memContext();
  ns = mountNamespace(ctx);
  ns.mkRoot(7, 8);
});

const create = (dir: Ino, name: string, init = FILE): Ino => ns.create(dir, bytes(name), init);
const poke = (ino: Ino, word: number, value: number): void => {
  ctx.trx.reserve({ dataBlocks: 0, records: 1, freeing: true });
  const cursor = ctx.trees.inode.cursor();
  expect(cursor.seek(ino, 0, 0, 0)).toBe(true);
  cursor.set(word, value);
};

describe('inodes', () => {
  it('mkRoot makes directory 1 and refuses a second time', () => {
    const root = attrOf(ns, ROOT_INO);
    expect(root).toMatchObject({
      ino: 1,
      mode: S_IFDIR | 0o755,
      nlink: 2,
      uid: 7,
      gid: 8,
      size: 0,
      blocks: 0,
    });
    expect(ctx.counters).toEqual({ inodeCount: 1, lastIno: 1 });
    expect(() => ns.mkRoot(0, 0)).toThrow('mkRoot');
    expect(ns.parentOf(ROOT_INO)).toBe(ROOT_INO);
  });

  it('keeps all attributes of a new inode', () => {
    const ino = ns.create(ROOT_INO, bytes('dev'), {
      mode: S_IFCHR | 0o6640,
      uid: 0xffff_fffe,
      gid: 3,
      rdev: 0xffff_ffff,
    });
    expect(attrOf(ns, ino)).toMatchObject({
      mode: S_IFCHR | 0o6640,
      uid: 0xffff_fffe,
      gid: 3,
      rdev: 0xffff_ffff,
    });
  });

  it.each([
    ['1970', 0, 0],
    ['one nanosecond before 1970', -1, 999_999_999],
    ['1901', -(2 ** 31), 1],
    ['before 1901', -(2 ** 32) - 5, 2],
    ['2038', 2 ** 31, 3],
    ['2106', 2 ** 32, 4],
    ['far ahead', 2 ** 53 - 1, 5],
    ['far back', -(2 ** 53) + 1, 6],
  ])('keeps times: %s', (_title, sec, nsec) => {
    const ino = create(ROOT_INO, 'f');
    const time = { sec, nsec };
    ns.setattr(ino, { atime: time, mtime: time, ctime: time });
    expect(attrOf(ns, ino)).toMatchObject({ atime: time, mtime: time, ctime: time });
    ctx.clock.set(sec, nsec);
    expect(attrOf(ns, create(ROOT_INO, 'g')).btime).toEqual(time);
  });

  it('setattr changes what is given, keeps the type, and checks before it changes', () => {
    const ino = create(ROOT_INO, 'f');
    ns.setattr(ino, { mode: S_IFDIR | 0o4711, uid: 5 });
    expect(attrOf(ns, ino)).toMatchObject({ mode: S_IFREG | 0o4711, uid: 5, gid: 100 });
    ns.setattr(ino, { gid: 0, flags: 0x10 });
    expect(attrOf(ns, ino)).toMatchObject({ uid: 5, gid: 0, flags: 0x10 });
    const before = dumpContext(ctx);
    expect(codeOf(() => ns.setattr(ino, { uid: 1, gid: -1 }))).toBe('EINVAL');
    expect(codeOf(() => ns.setattr(ino, { uid: 1, atime: { sec: 0, nsec: 1e9 } }))).toBe('EINVAL');
    expect(codeOf(() => ns.setattr(ino, { uid: 1, atime: { sec: 0.5, nsec: 0 } }))).toBe('EINVAL');
    ns.setattr(ino, {});
    expect(dumpContext(ctx)).toEqual(before);
  });

  it('the size goes above 2^32 and is checked; blocks cannot fall below zero', () => {
    const ino = create(ROOT_INO, 'f');
    ctx.trx.reserve({ dataBlocks: 0, records: 1, freeing: false });
    ns.inodes.setSize(ino, 2 ** 44 - 1);
    ns.inodes.addBlocks(ino, 3);
    expect(ns.inodes.size(ino)).toBe(2 ** 44 - 1);
    expect(attrOf(ns, ino)).toMatchObject({ size: 2 ** 44 - 1, blocks: 3 });
    expect(() => ns.inodes.setSize(ino, 2 ** 44 + 1)).toThrow('size');
    expect(() => ns.inodes.addBlocks(ino, -4)).toThrow('becomes -1');
  });

  it('after the last number it looks for gaps, and never gives one out twice in a transaction', () => {
    const old = [2, 3, 4, 5].map((n) => create(ROOT_INO, `f${n}`));
    ctx.counters.lastIno = MAX_INO - 1;
    expect(create(ROOT_INO, 'last')).toBe(MAX_INO);
    const generation = attrOf(ns, old[1]).generation;
    ctx.trx.commit();
    for (const name of ['f3', 'f5']) ns.inactivate(ns.unlink(ROOT_INO, bytes(name)));
    expect(create(ROOT_INO, 'new3')).toBe(3);
    expect(attrOf(ns, asIno(3)).generation).not.toBe(generation);
    ns.inactivate(ns.unlink(ROOT_INO, bytes('new3')));
    expect(create(ROOT_INO, 'new5')).toBe(5);
    expect(create(ROOT_INO, 'new6')).toBe(6);
    expect(ctx.counters.lastIno).toBe(MAX_INO);
    expect(checkNamespace(ctx)).toEqual([]);
  });

  it('an inode that does not exist is ESTALE everywhere', () => {
    const gone = asIno(99);
    expect(ns.exists(gone)).toBe(false);
    for (const run of [
      () => attrOf(ns, gone),
      () => ns.setattr(gone, { mode: 0 }),
      () => ns.lookup(gone, bytes('a')),
      () => create(gone, 'a'),
      () => ns.link(gone, ROOT_INO, bytes('a')),
      () => ns.readlink(gone),
      () => ns.getxattr(gone, bytes('user.a')),
      () => ns.listxattr(gone),
      () => ns.inactivate(gone),
      () => ns.paths(gone, 1),
      () => ns.touchAtime(gone, { sec: 0, nsec: 0 }),
    ]) {
      expect(codeOf(run)).toBe('ESTALE');
    }
  });
});

describe('names', () => {
  it.each([
    ['empty', '', 'ENOENT'],
    ['256 bytes', 'x'.repeat(256), 'ENAMETOOLONG'],
    ['a slash', 'a/b', 'EINVAL'],
    ['a NUL', 'a\0', 'EINVAL'],
    ['.', '.', 'EINVAL'],
    ['..', '..', 'EINVAL'],
  ])('refuses %s in every operation', (_title, name, code) => {
    const file = create(ROOT_INO, 'f');
    const before = dumpContext(ctx);
    expect(codeOf(() => create(ROOT_INO, name))).toBe(code);
    expect(codeOf(() => ns.link(file, ROOT_INO, bytes(name)))).toBe(code);
    expect(codeOf(() => ns.unlink(ROOT_INO, bytes(name)))).toBe(code);
    expect(codeOf(() => ns.rmdir(ROOT_INO, bytes(name)))).toBe(code);
    expect(codeOf(() => ns.rename(ROOT_INO, bytes('f'), ROOT_INO, bytes(name), 0))).toBe(code);
    expect(codeOf(() => ns.rename(ROOT_INO, bytes(name), ROOT_INO, bytes('g'), 0))).toBe(code);
    expect(dumpContext(ctx)).toEqual(before);
  });

  it('takes any other bytes, up to 255 of them', () => {
    const odd = Uint8Array.from({ length: 254 }, (_, i) => (i + 1 === 0x2f ? 0xff : i + 1));
    const long = new Uint8Array(255).fill(0xfe);
    const first = ns.create(ROOT_INO, odd, FILE);
    const second = ns.create(ROOT_INO, long, FILE);
    expect(ns.lookup(ROOT_INO, odd)).toBe(first);
    expect(ns.lookup(ROOT_INO, long)).toBe(second);
    expect(codeOf(() => ns.lookup(ROOT_INO, new Uint8Array(256)))).toBe('ENAMETOOLONG');
    expect(ns.lookup(ROOT_INO, bytes(''))).toBe(0);
    expect(ns.paths(second, 1)).toEqual([`/${'\ufffd'.repeat(255)}`]);
  });

  it('link: the last one of 2^31 - 1 is made, one more is EMLINK until one goes', () => {
    const file = create(ROOT_INO, 'f');
    poke(file, INODE.nlink, 2 ** 31 - 2);
    const link = (name: string): string => codeOf(() => ns.link(file, ROOT_INO, bytes(name)));
    expect([link('last'), attrOf(ns, file).nlink]).toEqual(['ok', 2 ** 31 - 1]);
    expect([link('more'), attrOf(ns, file).nlink]).toEqual(['EMLINK', 2 ** 31 - 1]);
    ns.unlink(ROOT_INO, bytes('last'));
    expect([link('again'), attrOf(ns, file).nlink]).toEqual(['ok', 2 ** 31 - 1]);
  });

  it('EMLINK at LINK_MAX, for files and for directories', () => {
    const file = create(ROOT_INO, 'f');
    const dir = create(ROOT_INO, 'd', DIRECTORY);
    const sub = create(ROOT_INO, 'sub', DIRECTORY);
    poke(file, INODE.nlink, LINK_MAX);
    poke(dir, INODE.nlink, LINK_MAX);
    const before = dumpContext(ctx);
    const move = (from: Ino, a: string, to: Ino, b: string, flags: number): string =>
      codeOf(() => ns.rename(from, bytes(a), to, bytes(b), flags));
    expect(codeOf(() => ns.link(file, ROOT_INO, bytes('g')))).toBe('EMLINK');
    expect(codeOf(() => create(dir, 'e', DIRECTORY))).toBe('EMLINK');
    expect(move(ROOT_INO, 'sub', dir, 'e', 0)).toBe('EMLINK');
    expect(dumpContext(ctx)).toEqual(before);
    create(dir, 'plain');
    expect(move(ROOT_INO, 'sub', dir, 'plain', RENAME_EXCHANGE)).toBe('EMLINK');
    expect(move(dir, 'plain', ROOT_INO, 'sub', RENAME_EXCHANGE)).toBe('EMLINK');
    expect(ns.parentOf(sub)).toBe(ROOT_INO);
  });

  it('create checks type, owner and target', () => {
    const before = dumpContext(ctx);
    const refuse = (init: Parameters<NamespaceOps['create']>[2]): string =>
      codeOf(() => create(ROOT_INO, 'x', init));
    expect(refuse({ ...FILE, mode: 0o644 })).toBe('EINVAL');
    expect(refuse({ ...FILE, mode: S_IFMT | 0o644 })).toBe('EINVAL');
    expect(refuse({ ...FILE, mode: 0o1000644 })).toBe('EINVAL');
    expect(refuse({ ...FILE, uid: 2 ** 32 })).toBe('EINVAL');
    expect(refuse({ ...FILE, target: bytes('x') })).toBe('EINVAL');
    expect(refuse({ ...FILE, mode: S_IFLNK | 0o777 })).toBe('EINVAL');
    expect(refuse(symlinkTo(''))).toBe('ENOENT');
    expect(refuse(symlinkTo('x'.repeat(4096)))).toBe('ENAMETOOLONG');
    expect(refuse(symlinkTo('a\0b'))).toBe('EINVAL');
    expect(codeOf(() => ns.createUnlinked(DIRECTORY))).toBe('EINVAL');
    expect(dumpContext(ctx)).toEqual(before);
    const link = create(ROOT_INO, 'x', symlinkTo('y'.repeat(4095)));
    expect(ns.readlink(link)).toEqual(bytes('y'.repeat(4095)));
    expect(attrOf(ns, link).size).toBe(4095);
    expect(codeOf(() => ns.readlink(ROOT_INO))).toBe('EINVAL');
  });
});

describe('collisions', () => {
  it('takes HASH_COLLISIONS_MAX names with one hash, then ENOSPC, and uses freed places again', () => {
    ns = mountNamespace(ctx, () => 0xffff_ffff);
    for (let i = 0; i < HASH_COLLISIONS_MAX; i++) create(ROOT_INO, `n${i}`);
    const before = dumpContext(ctx);
    const file = ns.lookup(ROOT_INO, bytes('n7'));
    expect(codeOf(() => create(ROOT_INO, 'more'))).toBe('ENOSPC');
    expect(codeOf(() => ns.link(asIno(file), ROOT_INO, bytes('more')))).toBe('ENOSPC');
    expect(codeOf(() => ns.rename(ROOT_INO, bytes('n1'), ROOT_INO, bytes('more'), 0))).toBe('ENOSPC');
    expect(dumpContext(ctx)).toEqual(before);
    ns.rename(ROOT_INO, bytes('n1'), ROOT_INO, bytes('n2'), 0);
    const [first, second] = listDir(ns, ROOT_INO);
    expect([first.name, first.cookie, second.name]).toEqual(['n0', cookieOf(0xffff_ffff, 0), 'n2']);
    create(ROOT_INO, 'again');
    expect(listDir(ns, ROOT_INO)[1]).toMatchObject({ name: 'again', cookie: cookieOf(0xffff_ffff, 1) });
    expect(listDir(ns, ROOT_INO).length).toBe(HASH_COLLISIONS_MAX);
    expect(checkNamespace(ctx, () => 0xffff_ffff)).toEqual([]);
  });
});

describe('readdir', () => {
  it('goes on after any cookie; cookies are in order, positive and below 2^53', () => {
    for (let i = 0; i < 100; i++) create(ROOT_INO, `file ${i}`);
    const all = listDir(ns, ROOT_INO);
    expect(all.length).toBe(100);
    for (let i = 0; i < all.length; i++) {
      const rest: number[] = [];
      ns.readdir(ROOT_INO, all[i].cookie, (_name, _ino, _type, cookie) => rest.push(cookie) < 3);
      expect(rest).toEqual(all.slice(i + 1, i + 4).map((e) => e.cookie));
    }
    for (const cookie of [0, 1, 2]) {
      let first = '';
      ns.readdir(ROOT_INO, cookie, (name) => {
        first = Buffer.from(name).toString();
        return false;
      });
      expect(first).toBe(all[0].name);
    }
    ns.readdir(ROOT_INO, 2 ** 53 - 1, () => expect.fail('an entry after the last cookie'));
    expect(cookieOf(0, 0)).toBe(3);
    expect(cookieOf(0xffff_ffff, 255)).toBeLessThan(2 ** 41);
    expect(() => ns.readdir(ROOT_INO, -1, () => true)).toThrow('cookie');
    expect(codeOf(() => ns.readdir(create(ROOT_INO, 'f'), 0, () => true))).toBe('ENOTDIR');
  });

  it('the visitor may look up and stat, but not nest; an error leaves it usable', () => {
    create(ROOT_INO, 'a');
    create(ROOT_INO, 'b');
    const seen: string[] = [];
    ns.readdir(ROOT_INO, 0, (name, ino) => {
      expect(ns.lookup(ROOT_INO, bytes('a'))).toBe(2);
      expect(attrOf(ns, ino).nlink).toBe(1);
      seen.push(Buffer.from(name).toString());
      return true;
    });
    expect(seen.sort()).toEqual(['a', 'b']);
    expect(() => ns.readdir(ROOT_INO, 0, () => listDir(ns, ROOT_INO).length > 0)).toThrow('within');
    expect(listDir(ns, ROOT_INO).length).toBe(2);
  });

  it('shows each entry that stays exactly once while others come and go, across remounts', () => {
    const change = fc.record({ add: fc.boolean(), name: fc.nat(30), page: fc.integer({ min: 1, max: 3 }) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), fc.constantFrom(1, 3, 2 ** 32), (changes, hashes) => {
        const hash = (name: Uint8Array): number => nameHash(name) % hashes;
        const own = memContext();
        let fs = mountNamespace(own, hash);
        fs.mkRoot(0, 0);
        const stay = Array.from({ length: 12 }, (_, i) => `stay${i}`);
        for (const name of stay) fs.create(ROOT_INO, bytes(name), FILE);
        const seen: string[] = [];
        let cookie = 0;
        for (const { add, name, page } of [...changes, { add: true, name: 0, page: 1000 }]) {
          const text = bytes(`go${name}`);
          const there = fs.lookup(ROOT_INO, text) !== 0;
          if (add && !there) fs.create(ROOT_INO, text, FILE);
          if (!add && there) fs.unlink(ROOT_INO, text);
          fs = mountNamespace(own, hash);
          let left = page;
          fs.readdir(ROOT_INO, cookie, (entry, _ino, _type, next) => {
            if (left-- === 0) return false;
            seen.push(Buffer.from(entry).toString());
            cookie = next;
            return true;
          });
        }
        expect(seen.filter((name) => name.startsWith('stay')).sort()).toEqual([...stay].sort());
      }),
      { numRuns: 200 },
    );
  });
});

describe('orphans', () => {
  it('an unlinked inode lives until inactivate(), a linked one is left alone', () => {
    const file = create(ROOT_INO, 'f');
    ns.inactivate(file);
    expect(ns.exists(file)).toBe(true);
    ns.setxattr(file, bytes('user.big'), new Uint8Array(60_000), 0);
    ns.setxattr(file, bytes('user.small'), new Uint8Array(1), 0);
    expect(ns.unlink(ROOT_INO, bytes('f'))).toBe(file);
    expect(attrOf(ns, file).nlink).toBe(0);
    expect(ns.paths(file, 10)).toEqual([]);
    expect(checkNamespace(ctx)).toEqual([]);
    expect(ns.exists(file)).toBe(true);
    ns.inactivate(file);
    expect(ns.exists(file)).toBe(false);
    expect(ctx.trees.xattr.count).toBe(0);
    expect(ctx.trees.orphan.count).toBe(0);
  });

  it('are reclaimed at mount, between steps consistent, data dropped first', () => {
    const dropped: Ino[] = [];
    const file = create(ROOT_INO, 'f');
    const dir = create(ROOT_INO, 'd', DIRECTORY);
    const link = create(ROOT_INO, 'l', symlinkTo('z'.repeat(4000)));
    const tmp = ns.createUnlinked(FILE);
    ns.setxattr(file, bytes('user.a'), new Uint8Array(60_000), 0);
    ns.setxattr(file, bytes('user.b'), new Uint8Array(60_000), 0);
    ns.unlink(ROOT_INO, bytes('f'));
    ns.unlink(ROOT_INO, bytes('l'));
    ns.rmdir(ROOT_INO, bytes('d'));
    ctx.trx.onReserve = () => expect(checkNamespace(ctx)).toEqual([]);
    const remounted = new NamespaceOps(ctx, { freeData: (ino) => dropped.push(ino) });
    expect(remounted.reclaimOrphans()).toBe(4);
    expect(dropped.sort((a, b) => a - b)).toEqual([file, tmp]);
    for (const ino of [file, dir, link, tmp]) expect(remounted.exists(ino)).toBe(false);
    expect(ctx.counters.inodeCount).toBe(1);
    expect(remounted.reclaimOrphans()).toBe(0);
  });

  it('a temporary file can be linked, and is no orphan then', () => {
    const tmp = ns.createUnlinked(FILE);
    expect(ctx.trees.orphan.count).toBe(1);
    ns.link(tmp, ROOT_INO, bytes('t'));
    expect(ctx.trees.orphan.count).toBe(0);
    expect(attrOf(ns, tmp).nlink).toBe(1);
    expect(ns.paths(tmp, 1)).toEqual(['/t']);
  });

  it('a removed directory takes no new names', () => {
    const dir = create(ROOT_INO, 'd', DIRECTORY);
    const file = create(ROOT_INO, 'f');
    ns.rmdir(ROOT_INO, bytes('d'));
    expect(attrOf(ns, dir).nlink).toBe(0);
    expect(attrOf(ns, ROOT_INO).nlink).toBe(2);
    expect(ns.lookup(dir, bytes('x'))).toBe(0);
    expect(listDir(ns, dir)).toEqual([]);
    expect(codeOf(() => create(dir, 'x'))).toBe('ENOENT');
    expect(codeOf(() => ns.link(file, dir, bytes('x')))).toBe('ENOENT');
    expect(codeOf(() => ns.rename(ROOT_INO, bytes('f'), dir, bytes('x'), 0))).toBe('ENOENT');
    expect(codeOf(() => ns.parentOf(dir))).toBe('ENOENT');
  });
});

describe('rename', () => {
  it('a whiteout is a character device 0:0 with a name of its own', () => {
    create(ROOT_INO, 'f');
    ns.rename(ROOT_INO, bytes('f'), ROOT_INO, bytes('g'), RENAME_WHITEOUT);
    const whiteout = ns.lookup(ROOT_INO, bytes('f'));
    expect(attrOf(ns, asIno(whiteout))).toMatchObject({ mode: S_IFCHR, rdev: 0, nlink: 1, uid: 0 });
    ns.rename(ROOT_INO, bytes('g'), ROOT_INO, bytes('h'), RENAME_WHITEOUT, { uid: 5, gid: 6 });
    expect(attrOf(ns, asIno(ns.lookup(ROOT_INO, bytes('g'))))).toMatchObject({ uid: 5, gid: 6 });
    expect(ns.paths(asIno(whiteout), 5)).toEqual(['/f']);
    expect(checkNamespace(ctx)).toEqual([]);
  });

  it('moves a deep tree by its top, and refuses to move it into itself', () => {
    const top = create(ROOT_INO, 'top', DIRECTORY);
    let dir = top;
    for (let i = 0; i < 300; i++) dir = create(dir, `d${i}`, DIRECTORY);
    const other = create(ROOT_INO, 'other', DIRECTORY);
    expect(codeOf(() => ns.rename(ROOT_INO, bytes('top'), dir, bytes('x'), 0))).toBe('EINVAL');
    expect(codeOf(() => ns.rename(ROOT_INO, bytes('top'), top, bytes('x'), 0))).toBe('EINVAL');
    const into = create(dir, 'leaf');
    expect(codeOf(() => ns.rename(dir, bytes('leaf'), ROOT_INO, bytes('top'), RENAME_EXCHANGE))).toBe(
      'EINVAL',
    );
    ns.rename(ROOT_INO, bytes('top'), other, bytes('moved'), 0);
    expect(ns.paths(into, 1)[0]).toMatch(/^\/other\/moved\/d0\/.*\/d299\/leaf$/);
    expect(ns.parentOf(top)).toBe(other);
    expect(attrOf(ns, ROOT_INO).nlink).toBe(3);
    expect(attrOf(ns, other).nlink).toBe(3);
  });

  it('a circle of directories is reported, not followed for ever', () => {
    const a = create(ROOT_INO, 'a', DIRECTORY);
    const b = create(a, 'b', DIRECTORY);
    const hash = nameHash(bytes('a'));
    ctx.trx.reserve({ dataBlocks: 0, records: 2, freeing: false });
    ctx.trees.parent.remove(a, ROOT_INO, hash, 0);
    ctx.trees.parent.insert(a, b, nameHash(bytes('b')), 0, new Uint32Array(0));
    expect(() => ns.paths(b, 1)).toThrow(/ancestor|no entry/);
    create(ROOT_INO, 'c', DIRECTORY);
    expect(() => ns.rename(ROOT_INO, bytes('c'), b, bytes('d'), 0)).toThrow('its own ancestor');
  });
});

describe('times', () => {
  /** Which times of an inode are those of the present second. */
  const fresh = (ino: Ino): string => {
    const attr = attrOf(ns, ino);
    const at = (time: { sec: number }): boolean => time.sec === ctx.clock.sec;
    const { atime, mtime, ctime, btime } = attr;
    return [at(atime) && 'a', at(mtime) && 'm', at(ctime) && 'c', at(btime) && 'b'].filter(Boolean).join('');
  };
  let dir: Ino;
  let other: Ino;
  let file: Ino;
  let second: Ino;

  beforeEach(() => {
    dir = create(ROOT_INO, 'dir', DIRECTORY);
    other = create(ROOT_INO, 'other', DIRECTORY);
    file = create(dir, 'file');
    second = create(other, 'second');
    ns.setxattr(file, bytes('user.x'), bytes('1'), 0);
    ctx.clock.tick();
  });

  const table: [string, () => void, string, string, string, string][] = [
    // what, run, then the times that change of: dir, other, file, second
    ['lookup and getattr', () => ns.lookup(dir, bytes('file')), '', '', '', ''],
    ['create', () => create(dir, 'new'), 'mc', '', '', ''],
    ['mkdir', () => create(dir, 'new', DIRECTORY), 'mc', '', '', ''],
    ['link', () => ns.link(file, other, bytes('l')), '', 'mc', 'c', ''],
    ['unlink', () => ns.unlink(dir, bytes('file')), 'mc', '', 'c', ''],
    ['rename', () => ns.rename(dir, bytes('file'), other, bytes('n'), 0), 'mc', 'mc', 'c', ''],
    ['rename within', () => ns.rename(dir, bytes('file'), dir, bytes('n'), 0), 'mc', '', 'c', ''],
    ['rename over', () => ns.rename(dir, bytes('file'), other, bytes('second'), 0), 'mc', 'mc', 'c', 'c'],
    ['exchange', () => ns.rename(dir, bytes('file'), other, bytes('second'), 2), 'mc', 'mc', 'c', 'c'],
    ['whiteout', () => ns.rename(dir, bytes('file'), other, bytes('n'), 4), 'mc', 'mc', 'c', ''],
    ['setxattr', () => ns.setxattr(file, bytes('user.x'), bytes('2'), 0), '', '', 'c', ''],
    ['removexattr', () => ns.removexattr(file, bytes('user.x')), '', '', 'c', ''],
    ['chmod', () => ns.setattr(file, { mode: 0o600 }), '', '', 'c', ''],
    ['utimes', () => ns.setattr(file, { mtime: { sec: ctx.clock.sec, nsec: 0 } }), '', '', 'mc', ''],
    ['explicit ctime', () => ns.setattr(file, { mode: 0o600, ctime: { sec: 1, nsec: 0 } }), '', '', '', ''],
    ['touchAtime', () => ns.touchAtime(file, { sec: ctx.clock.sec, nsec: 0 }), '', '', 'a', ''],
  ];
  it.each(table)('%s', (_what, run, ofDir, ofOther, ofFile, ofSecond) => {
    run();
    expect([fresh(dir), fresh(other), fresh(file), fresh(second)]).toEqual([
      ofDir,
      ofOther,
      ofFile,
      ofSecond,
    ]);
  });

  it('rmdir: the parent mtime and ctime, the directory ctime', () => {
    const gone = create(dir, 'gone', DIRECTORY);
    ctx.clock.tick();
    ns.rmdir(dir, bytes('gone'));
    expect([fresh(dir), fresh(gone)]).toEqual(['mc', 'c']);
  });

  it('a new inode has all four', () => {
    expect(fresh(create(dir, 'new'))).toBe('amcb');
  });

  it('the change counter of a directory counts entries ever added', () => {
    const version = (): number => {
      const cursor = ctx.trees.inode.cursor();
      return cursor.seek(dir, 0, 0, 0) ? cursor.value(INODE.version) : -1;
    };
    expect(version()).toBe(1);
    ns.unlink(dir, bytes('file'));
    expect(version()).toBe(1);
    create(dir, 'again');
    expect(version()).toBe(2);
  });
});

describe('paths', () => {
  it('lists every name of a file, at most as many as asked for', () => {
    const dir = create(ROOT_INO, 'd', DIRECTORY);
    const file = create(dir, 'one');
    ns.link(file, ROOT_INO, bytes('two'));
    ns.link(file, dir, bytes('three'));
    expect(ns.paths(file, 10).sort()).toEqual(['/d/one', '/d/three', '/two']);
    expect(ns.paths(file, 2).length).toBe(2);
    expect(ns.paths(file, 0)).toEqual([]);
    expect(ns.paths(ROOT_INO, 1)).toEqual(['/']);
  });
});
