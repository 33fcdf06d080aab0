import { describe, expect, it } from 'vitest';
import { checkNamespace } from '../../src/check/namespace.js';
import { type DirSlot, DirTable, newDirSlot } from '../../src/engine/dir.js';
import { nameHash } from '../../src/engine/hash.js';
import { INODE, INODE_WORDS } from '../../src/engine/layout.js';
import { type Ino, ROOT_INO } from '../../src/types.js';
import { type MemContext, memContext } from '../support/mem-context.js';
import { bytes, DIRECTORY, FILE, mountNamespace, symlinkTo } from '../support/namespace.js';

const NOTHING = new Uint32Array(0);

interface Scene {
  ctx: MemContext;
  dir: Ino;
  sub: Ino;
  file: Ino;
  link: Ino;
}

function scene(): Scene {
  const ctx = memContext();
  const ns = mountNamespace(ctx);
  ns.mkRoot(0, 0);
  const dir = ns.create(ROOT_INO, bytes('dir'), DIRECTORY);
  const sub = ns.create(dir, bytes('sub'), DIRECTORY);
  const file = ns.create(dir, bytes('file'), FILE);
  const link = ns.create(dir, bytes('link'), symlinkTo('t'.repeat(3000)));
  ns.link(file, ROOT_INO, bytes('file too'));
  ns.createUnlinked(FILE);
  ns.setxattr(file, bytes('user.a'), new Uint8Array(5000), 0);
  ctx.trx.enforce = false;
  return { ctx, dir, sub, file, link };
}

function slotOf(ctx: MemContext, dir: Ino, name: string): DirSlot {
  const slot = newDirSlot();
  expect(new DirTable(ctx).find(dir, bytes(name), slot)).toBe(true);
  return slot;
}

function poke(ctx: MemContext, ino: number, word: number, value: number): void {
  const cursor = ctx.trees.inode.cursor();
  expect(cursor.seek(ino, 0, 0, 0)).toBe(true);
  cursor.set(word, value);
}

/** Each kind of damage, and what must be said of it. */
const DAMAGE: [string, (s: Scene) => void, RegExp][] = [
  ['link count', (s) => poke(s.ctx, s.file, INODE.nlink, 3), /inode 4 has 3 links but 2 names/],
  [
    'link count of a directory',
    (s) => poke(s.ctx, s.dir, INODE.nlink, 2),
    /directory 2 has 2 links and 1 sub/,
  ],
  ['entry count', (s) => poke(s.ctx, s.dir, INODE.entries, 9), /directory 2 counts 9 entries but has 3/],
  ['attribute count', (s) => poke(s.ctx, s.file, INODE.xattrs, 0), /inode 4 counts 0 attributes but has 1/],
  ['mode', (s) => poke(s.ctx, s.file, INODE.mode, 0o644), /inode 4 has mode 0644/],
  [
    'type',
    (s) => poke(s.ctx, s.file, INODE.mode, 0o010644),
    /names inode 4, which is missing or of another type/,
  ],
  [
    'nanoseconds',
    (s) => poke(s.ctx, s.file, INODE.mtime + 2, 1e9),
    /inode 4 has a time that is out of range/,
  ],
  ['size of a link', (s) => poke(s.ctx, s.link, INODE.sizeLo, 1), /link 5 of size 1 has a target of 3000/],
  [
    'orphan record gone',
    (s) => s.ctx.trees.orphan.remove(6, 0, 0, 0),
    /inode 6 has 0 links and is no orphan/,
  ],
  [
    'orphan record too many',
    (s) => s.ctx.trees.orphan.insert(4, 0, 0, 0, NOTHING),
    /has 2 links and is an orphan/,
  ],
  ['orphan without inode', (s) => s.ctx.trees.orphan.insert(99, 0, 0, 0, NOTHING), /orphan 99 has no inode/],
  ['inode gone', (s) => s.ctx.trees.inode.remove(s.file, 0, 0, 0), /names inode 4, which is missing/],
  [
    'attributes without inode',
    (s) => s.ctx.trees.inode.remove(s.file, 0, 0, 0),
    /attributes of inode 4, which/,
  ],
  ['root gone', (s) => s.ctx.trees.inode.remove(1, 0, 0, 0), /there is no root/],
  ['inode counter', (s) => s.ctx.counters.inodeCount++, /counts 7 inodes, the tree has 6/],
  [
    'highest number',
    (s) => {
      s.ctx.counters.lastIno = 3;
    },
    /inode 6 is above the highest number given out, 3/,
  ],
  [
    'number out of range',
    (s) => s.ctx.trees.inode.insert(0xffff_fff0, 0, 0, 0, new Uint32Array(INODE_WORDS)),
    /number out of range/,
  ],
  [
    'entry gone',
    (s) => {
      const { hash, seq } = slotOf(s.ctx, s.dir, 'file');
      s.ctx.trees.dirent.remove(s.dir, hash, seq, 0);
    },
    /inode 4 records a name .* in directory 2 that is not there/,
  ],
  [
    'entry of another inode',
    (s) => new DirTable(s.ctx).replace(s.dir, slotOf(s.ctx, s.dir, 'file'), bytes('file'), 6, 8),
    /in directory 2 that is another's/,
  ],
  [
    'parent record gone',
    (s) => {
      const { hash, seq } = slotOf(s.ctx, s.dir, 'file');
      s.ctx.trees.parent.remove(s.file, s.dir, hash, seq);
    },
    /inode 4 has no record of this name/,
  ],
  [
    'name twice',
    (s) => new DirTable(s.ctx).add(s.dir, { ...slotOf(s.ctx, s.dir, 'file'), seq: 5 }, bytes('file'), 4, 8),
    /the name is there twice/,
  ],
  [
    'wrong hash',
    (s) => new DirTable(s.ctx).add(s.dir, { hash: 1, seq: 0, ino: 0, type: 0 }, bytes('x'), 4, 8),
    /entry 1\/0: the name has another hash/,
  ],
  [
    'short entry',
    (s) => s.ctx.trees.dirent.insertPayload(2, 1, 0, 0, bytes('abc')),
    /3 bytes that are no entry/,
  ],
  [
    'entry in a file',
    (s) =>
      new DirTable(s.ctx).add(4, { hash: nameHash(bytes('x')), seq: 0, ino: 0, type: 0 }, bytes('x'), 4, 8),
    /not in a directory/,
  ],
  [
    'circle',
    (s) => {
      const { hash, seq } = slotOf(s.ctx, ROOT_INO, 'dir');
      s.ctx.trees.parent.remove(s.dir, ROOT_INO, hash, seq);
      s.ctx.trees.parent.insert(s.dir, s.sub, hash, seq, NOTHING);
    },
    /directory 2 does not hang below the root/,
  ],
  [
    'chunk gone from the middle',
    (s) => s.ctx.trees.xattr.remove(s.file, nameHash(bytes('user.a')), 1, 0),
    /chunk .* belongs to no attribute/,
  ],
  [
    'last chunk gone',
    (s) => s.ctx.trees.xattr.remove(s.file, nameHash(bytes('user.a')), 3, 0),
    /3829 of 5000 bytes/,
  ],
  [
    'target of a file',
    (s) => s.ctx.trees.xattr.insertPayload(s.file, 0, 0xffff_ff00, 0, Uint8Array.of(1, 0, 0, 0, 0, 65)),
    /inode 4 has a target but is no symbolic link/,
  ],
  [
    'first chunk cut',
    (s) => s.ctx.trees.xattr.insertPayload(s.file, 7, 0, 0, bytes('ab')),
    /chunk of 2 bytes/,
  ],
];

describe('checkNamespace', () => {
  it('finds nothing wrong with a good filesystem', () => {
    expect(checkNamespace(scene().ctx)).toEqual([]);
  });

  it.each(DAMAGE)('reports damage: %s', (_title, harm, said) => {
    const s = scene();
    harm(s);
    expect(checkNamespace(s.ctx).join('\n')).toMatch(said);
  });

  it('stops listing at CHECK_PROBLEMS_MAX', () => {
    const { ctx } = scene();
    for (let i = 0; i < 1100; i++) ctx.trees.orphan.insert(100 + i, 0, 0, 0, NOTHING);
    expect(checkNamespace(ctx).length).toBe(1000);
  });
});
