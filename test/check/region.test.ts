import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Problem } from '../../src/check/problem.js';
import { checkRegion } from '../../src/check/region.js';
import { INODE, NODE, NODE_HEADER_WORDS, SB, TREES, type TreeName } from '../../src/engine/layout.js';
import { asPhys, BLOCK_SIZE } from '../../src/types.js';
import { type EntryPlace, readWord, recordPlace, rootEntry, whileDamaged } from '../support/damage.js';
import { buildScene, SCENE_BLOCKS } from '../support/scene.js';

const SEED = Number(process.env.RMAPFS_SEED ?? 1);
const HIGH_BIT = 0x8000_0000;
const BLOCKS = SCENE_BLOCKS;
const TREE_NAMES = Object.keys(TREES) as TreeName[];

const scene = buildScene();

const look = (): readonly Problem[] => checkRegion(scene.media).problems;

/** What is said while one word of a node is another one, its checksum right. */
function changed(block: number, word: number, value: (old: number) => number): readonly Problem[] {
  const harm = (words: Uint32Array): void => {
    words[word] = value(words[word]);
  };
  return whileDamaged(scene.media, block, harm, 'node', look);
}

/** Changes of a word that no check can find, because the word may have any value: "word" or "word+1". */
type AnyValue = ReadonlySet<string>;
const anyOf = (...words: (number | string)[]): AnyValue => new Set(words.map(String));

/** Changes each word of an entry by its high bit and by one, and expects to hear of it, or not where it is any. */
function eachWord(place: EntryPlace, any: AnyValue): void {
  for (let i = 0; i < place.words; i++) {
    for (const [title, value] of [
      [`${i}`, (old: number) => (old ^ HIGH_BIT) >>> 0],
      [`${i}+1`, (old: number) => (old + 1) >>> 0],
    ] as const) {
      const found = changed(place.block, place.word + i, value);
      expect(`${title}: ${found.length > 0}`).toBe(`${title}: ${!any.has(title)}`);
    }
  }
}

/** Inode words behind the key: times are low, high, nanoseconds. */
const inodeWord = (field: number): number => field + 1;
const ANY_TIME = [INODE.atime, INODE.mtime, INODE.ctime, INODE.btime].flatMap((time) => [
  inodeWord(time),
  `${inodeWord(time)}+1`,
  `${inodeWord(time) + 1}+1`,
  `${inodeWord(time) + 2}+1`,
]);
const both = (field: number): (number | string)[] => [inodeWord(field), `${inodeWord(field)}+1`];
/** Permissions, owners, times and the generation are the user's or the past's: nothing can contradict them. */
const ANY_INODE = [
  `${inodeWord(INODE.mode)}+1`,
  ...both(INODE.uid),
  ...both(INODE.gid),
  ...both(INODE.generation),
  ...ANY_TIME,
];
/** A file may be sparse up to any size. */
const ANY_SIZE = [...both(INODE.sizeLo), `${inodeWord(INODE.sizeHi)}+1`];

const bmapOf = (ino: number, from: number): [physical: number, length: number] => {
  const cursor = scene.scan.trees.bmap.cursor();
  expect(cursor.seek(ino, from, 0, 0)).toBe(true);
  return [cursor.value(0), cursor.value(1)];
};
const firstKey = (tree: TreeName, from: readonly number[]): number[] => {
  const cursor = scene.scan.trees[tree].cursor();
  expect(cursor.seek(from[0], from[1] ?? 0, from[2] ?? 0, from[3] ?? 0)).toBe(true);
  return Array.from({ length: TREES[tree].keyWords }, (_, i) => cursor.key(i));
};

const RECORDS: [string, TreeName, () => readonly number[], AnyValue][] = [
  ['a file', 'inode', () => [scene.file], anyOf(...ANY_INODE, ...ANY_SIZE)],
  ['a directory', 'inode', () => [scene.dir], anyOf(...ANY_INODE, ...both(INODE.version))],
  ['a symbolic link', 'inode', () => [scene.link], anyOf(...ANY_INODE)],
  ['a device', 'inode', () => [scene.device], anyOf(...ANY_INODE, ...both(INODE.rdev))],
  ['an entry', 'dirent', () => firstKey('dirent', [scene.dir]), anyOf()],
  ['a link', 'parent', () => firstKey('parent', [scene.file]), anyOf()],
  ['an attribute', 'xattr', () => firstKey('xattr', [scene.file]), anyOf()],
  ['a target', 'xattr', () => firstKey('xattr', [scene.link]), anyOf()],
  ['an extent', 'bmap', () => [scene.file, 20], anyOf()],
  ['an unwritten extent', 'bmap', () => [scene.clone, 60], anyOf()],
  ['an owner', 'rmap', () => [bmapOf(scene.file, 20)[0], scene.file, 20], anyOf()],
  ['the owner of a slot', 'rmap', () => [0, 0xffff_ffff, 0], anyOf()],
  ['the owner of a chunk', 'rmap', () => [1, 0xffff_fffe, 0], anyOf()],
  ['a count', 'refcount', () => firstKey('refcount', [0]), anyOf()],
  ['a free run', 'free', () => firstKey('free', [0]), anyOf()],
  // Latent or not, and since when, is what the medium said.
  ['a bad run', 'badblock', () => firstKey('badblock', [0]), anyOf('2+1', 3, '3+1', '4+1')],
  ['an orphan', 'orphan', () => [scene.orphan], anyOf()],
  ['a chunk', 'chunk', () => [1], anyOf()],
];

describe('fsck finds a record with one wrong word and a right checksum', () => {
  it.each(RECORDS)('%s (%s)', (_title, tree, key, any) => {
    eachWord(recordPlace(scene.scan, tree, key()), any);
  });

  it('and every byte of an entry', () => {
    const { block, word } = recordPlace(scene.scan, 'dirent', firstKey('dirent', [scene.dir]));
    const ref = readWord(scene.media, block, word + TREES.dirent.keyWords);
    for (let at = ref & 0xffff; at < (ref & 0xffff) + (ref >>> 16); at++) {
      const flip = (old: number): number => (old ^ (1 << ((at % 4) * 8))) >>> 0;
      expect([at, changed(block, Math.floor(at / 4), flip).length > 0]).toEqual([at, true]);
    }
  });

  it('and the lengths and the name of an attribute', () => {
    const { block, word } = recordPlace(scene.scan, 'xattr', firstKey('xattr', [scene.file]));
    const from = readWord(scene.media, block, word + TREES.xattr.keyWords) & 0xffff;
    for (let at = from; at < from + 5 + 'user.long'.length; at++) {
      const flip = (old: number): number => (old ^ (1 << ((at % 4) * 8))) >>> 0;
      expect([at, changed(block, Math.floor(at / 4), flip).length > 0]).toEqual([at, true]);
    }
  });
});

describe('fsck finds what is wrong in a node with a right checksum', () => {
  const headers = Object.entries(NODE).filter(([field]) => field !== 'crc');

  it.each(headers)('header field %s', (_field, word) => {
    for (const tree of TREE_NAMES) {
      const { root, height } = scene.scan.superblock.roots[TREES[tree].id];
      for (const block of height > 1 ? [root, scene.scan.trees[tree].leaves[0]] : [root]) {
        const found = changed(block, word, (old) => (old ^ HIGH_BIT) >>> 0);
        expect([tree, found.some(({ physical }) => physical === block * BLOCK_SIZE)]).toEqual([tree, true]);
      }
    }
  });

  it.each(['inode', 'dirent', 'parent', 'bmap', 'rmap'] as const)('an entry above the leaves: %s', (tree) => {
    const { keyWords } = TREES[tree];
    const { block, word, words } = rootEntry(scene.scan, tree, 1);
    for (let i = 0; i < words; i++) {
      // A separator may be lower than the keys below it.
      const found = changed(block, word + i, (old) => (i < keyWords ? old + 1 : old ^ HIGH_BIT) >>> 0);
      expect([i, found.length > 0]).toEqual([i, true]);
    }
  });

  it('one record more or less than is counted', () => {
    for (const tree of TREE_NAMES) {
      const [leaf] = scene.scan.trees[tree].leaves.slice(-1);
      for (const by of [1, -1]) {
        const found = changed(leaf, NODE.count, (old) => (old + by) >>> 0);
        expect([tree, by, found.length > 0]).toEqual([tree, by, true]);
      }
    }
  });

  it('a node in the place of another one', () => {
    const [first, second] = scene.scan.trees.inode.leaves;
    const words = scene.media.words(asPhys(second));
    const base = scene.media.wordIndex(asPhys(second));
    const copy = words.slice(base, base + 1024);
    const found = whileDamaged(scene.media, first, (own) => own.set(copy), null, look);
    expect(found[0]).toMatchObject({ kind: 'node', tree: 'inode', physical: first * BLOCK_SIZE });
  });
});

describe('fsck finds what is wrong in a superblock slot with a right checksum', () => {
  const changedSlot = (block: number, word: number, value: (old: number) => number): readonly Problem[] => {
    const harm = (words: Uint32Array): void => {
      words[word] = value(words[word]);
    };
    return whileDamaged(scene.media, block, harm, 'superblock', look);
  };
  const current = (): number => (scene.scan.superblock.txid % 2 === 0 ? 0 : BLOCKS - 1);
  const older = (): number => BLOCKS - 1 - current();
  const flip = (old: number): number => (old ^ HIGH_BIT) >>> 0;
  const fields = Object.entries(SB).filter(
    ([field]) => field !== 'crc' && field !== 'magicLo' && field !== 'magicHi',
  );

  it.each(fields)('the one that counts: %s', (field, word) => {
    // A higher number handed out is a number that is free again.
    const value = field === 'lastIno' ? () => 3 : flip;
    expect(changedSlot(current(), word, value).length).toBeGreaterThan(0);
  });

  it.each(['magicLo', 'magicHi'] as const)('magic number: %s', (field) => {
    const found = changedSlot(older(), SB[field], flip);
    expect(found).toMatchObject([{ kind: 'superblock', physical: older() * BLOCK_SIZE }]);
  });

  /** The older slot tells of a state whose nodes may be gone: its counters cannot be compared. */
  const past = ['lastIno', 'inodeCount', 'freeBlocks', 'metaBlocks'];
  it.each(fields.filter(([field]) => !past.includes(field)))('the older one: %s', (_field, word) => {
    const found = changedSlot(older(), word, flip);
    expect(found.length).toBeGreaterThan(0);
  });

  it.each(Object.values(TREES))('the root of $name', ({ id }) => {
    for (let word = 0; word < 4; word++) {
      const at = SB.roots + id * 4 + word;
      expect([word, changedSlot(current(), at, flip).length > 0]).toEqual([word, true]);
      expect([word, changedSlot(current(), at, (old) => old + 1).length > 0]).toEqual([word, true]);
    }
  });

  it('states that cannot be', () => {
    expect(changedSlot(current(), SB.state, () => 3).map(({ detail }) => detail)).toEqual([
      expect.stringContaining('unmounted cleanly and as shut down'),
    ]);
    expect(changedSlot(current(), SB.label + 15, () => 1)[0].detail).toContain('label');
    expect(changedSlot(current(), 1000, () => 1)[0].detail).toContain('behind its last root');
  });

  it('both slots', () => {
    const found = whileDamaged(
      scene.media,
      0,
      (a) => a.fill(9, 20),
      null,
      () =>
        whileDamaged(
          scene.media,
          BLOCKS - 1,
          (b) => b.fill(9, 20),
          null,
          () => checkRegion(scene.media),
        ),
    );
    expect(found).toMatchObject({ problems: [{ kind: 'superblock' }], omitted: 0 });
    expect(found.scan).toBeUndefined();
  });
});

describe('fsck finds a wrong checksum', () => {
  it('of every node, says where, and checks the others', () => {
    let seed = 1;
    for (const [block, tree] of scene.scan.nodes) {
      seed = (seed * 48_271) % 0x7fff_ffff;
      const word = NODE_HEADER_WORDS + (seed % (1024 - NODE_HEADER_WORDS));
      const harm = (words: Uint32Array): void => {
        words[word] ^= 1;
      };
      const found = whileDamaged(scene.media, block, harm, null, look);
      const place = { kind: 'node', tree, physical: block * BLOCK_SIZE };
      expect(found.filter(({ kind }) => kind === 'node')).toMatchObject([place]);
    }
  });

  it('of either slot', () => {
    for (const block of [0, BLOCKS - 1]) {
      for (let word = 0; word < SB.roots + 64; word++) {
        const harm = (words: Uint32Array): void => {
          words[word] ^= 1;
        };
        const found = whileDamaged(scene.media, block, harm, null, look);
        expect([word, found.some(({ kind }) => kind === 'superblock')]).toEqual([word, true]);
      }
    }
  });

  it('and a node on a bad block, which it does not read', () => {
    const block = scene.scan.superblock.roots[TREES.xattr.id].root;
    const { block: leaf, word } = recordPlace(scene.scan, 'badblock', firstKey('badblock', [0]));
    const found = changed(leaf, word, () => block);
    expect(found.filter(({ kind }) => kind === 'node')).toMatchObject([
      { physical: block * BLOCK_SIZE, tree: 'xattr', detail: expect.stringContaining('lies on a bad block') },
    ]);
  });
});

describe('fsck says what and where', () => {
  const cases: [string, () => readonly Problem[], Partial<Problem>][] = [
    [
      'link count',
      () => changed(...wordOf('inode', [scene.file], inodeWord(INODE.nlink)), () => 7),
      { kind: 'inode', ino: 3, path: '/second name', detail: 'inode 3 has 7 links but 2 names' },
    ],
    [
      'size',
      () => changed(...wordOf('inode', [scene.file], inodeWord(INODE.sizeLo)), () => 4096),
      { kind: 'inode', detail: 'inode 3: written blocks up to 499, past its end at byte 4096' },
    ],
    [
      'owners',
      () => changed(...wordOf('refcount', firstKey('refcount', [0]), 2), () => 5),
      { kind: 'refcount', physical: firstKey('refcount', [0])[0] * BLOCK_SIZE },
    ],
    [
      'free space',
      () => changed(...wordOf('free', firstKey('free', [0]), 1), (old) => old - 1),
      { kind: 'space', detail: expect.stringContaining('neither free nor owned nor bad') },
    ],
  ];
  const wordOf = (tree: TreeName, key: readonly number[], word: number): [block: number, word: number] => {
    const place = recordPlace(scene.scan, tree, key);
    return [place.block, place.word + word];
  };

  it.each(cases)('%s', (_title, harm, said) => {
    expect(harm()).toContainEqual(expect.objectContaining({ repaired: false, ...said }));
  });
});

describe('fsck goes on whatever it meets', () => {
  it('nodes full of garbage with right checksums', () => {
    const blocks = [...scene.scan.nodes.keys()];
    fc.assert(
      fc.property(
        fc.nat(blocks.length - 1),
        fc.array(
          fc.tuple(
            fc.integer({ min: NODE_HEADER_WORDS, max: 1023 }),
            fc.integer({ min: 0, max: 0xffff_ffff }),
          ),
          {
            minLength: 1,
            maxLength: 200,
          },
        ),
        (index, words) => {
          const harm = (own: Uint32Array): void => {
            for (const [word, value] of words) own[word] = value;
          };
          for (const problem of whileDamaged(scene.media, blocks[index], harm, 'node', look)) {
            expect(problem.detail).not.toMatch(/NaN|undefined|Infinity/);
          }
        },
      ),
      { seed: SEED, numRuns: 150 },
    );
  });
});
