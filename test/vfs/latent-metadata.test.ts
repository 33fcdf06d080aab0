import { beforeAll, describe, expect, test } from 'vitest';
import { checkData } from '../../src/check/data.js';
import { checkNamespace } from '../../src/check/namespace.js';
import { checkTree } from '../../src/check/tree.js';
import { mkfs, openEngine, type RegionEngine } from '../../src/engine/index.js';
import { errnoOf } from '../../src/errors.js';
import {
  FATTR,
  fuse_copy_file_range_in,
  fuse_create_in,
  fuse_fallocate_in,
  fuse_getattr_in,
  fuse_link_in,
  fuse_mkdir_in,
  fuse_open_in,
  fuse_read_in,
  fuse_rename_in,
  fuse_setattr_in,
  fuse_write_in,
  OPCODE,
} from '../../src/fuse/abi.js';
import type { Media } from '../../src/media/media.js';
import { memoryMedia } from '../../src/media/memory.js';
import { asPhys, BLOCK_SIZE, type Ino, ROOT_INO } from '../../src/types.js';
import { type Answer, cstring, FuseHarness, fill, StepClock } from '../support/fuse-harness.js';

/**
 * Every node of a tree that other trees tell is made a latent error in turn, each on a fresh copy, and an operation
 * comes upon it.
 */

const BLOCKS = 512;
const FILE_BYTES = 8 * BLOCK_SIZE;
/** FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE. */
const PUNCH = 3;
const TREES = ['bmap', 'rmap', 'refcount', 'free', 'chunk', 'parent', 'badblock'];
const clock = new StepClock();

class Mounted {
  readonly engine: RegionEngine;
  readonly fuse: FuseHarness;

  readonly media: Media;

  constructor(image: Buffer) {
    this.media = memoryMedia(BLOCKS, { image });
    this.engine = openEngine(this.media, { clock });
    this.fuse = new FuseHarness(this.engine, clock);
  }

  call(opcode: number, node: number, ...body: Buffer[]): Answer {
    return this.fuse.call(opcode, node, Buffer.concat(body));
  }

  /** Node of a name in the root. */
  node(name: string): number {
    return Number(this.call(OPCODE.LOOKUP, 1, cstring(name)).body.readBigUInt64LE(0));
  }

  open(node: number): number {
    return Number(this.call(OPCODE.OPEN, node, fill(fuse_open_in, { flags: 2 })).body.readBigUInt64LE(0));
  }

  get problems(): string[] {
    const { context, nodes, trees } = this.engine.store;
    // What nobody has met is as latent as it was.
    return nodes.toTheEnd(() => [
      ...Object.values(trees).flatMap(checkTree),
      ...checkNamespace(context),
      ...checkData(context),
    ]);
  }
}

function nodesOf({ engine }: Mounted, tree: string): number[] {
  const blocks: number[] = [];
  const found = Object.values(engine.store.trees).find(({ spec }) => spec.name === tree);
  found?.walk((block) => blocks.push(block) > 0);
  return blocks;
}

function makeImage(): Buffer {
  const media = memoryMedia(BLOCKS);
  mkfs(media, { label: 'x', clock, uid: 0, gid: 0, uuid: Buffer.alloc(16, 1) });
  const engine = openEngine(media, { clock });
  const make = (name: string): Ino =>
    engine.create(ROOT_INO, Buffer.from(name), { mode: 0o100644, uid: 0, gid: 0 });
  const a = make('a');
  engine.write(a, 0, Buffer.alloc(FILE_BYTES, 0x61), FILE_BYTES, false);
  engine.cloneRange(a, 0, make('b'), 0, FILE_BYTES);
  // So many records that bmap and rmap have more than one node.
  const many = make('many');
  for (let i = 0; i < 300; i++) engine.cloneRange(a, 0, many, 2 * i * BLOCK_SIZE, BLOCK_SIZE);
  engine.poison((BLOCKS - 4) * BLOCK_SIZE, BLOCK_SIZE, false);
  engine.commit();
  return Buffer.from(media.bytes(asPhys(0), BLOCKS));
}

/** Each with what it must answer. */
const OPERATIONS: Record<string, (m: Mounted) => Answer> = {
  lookup: (m) => m.call(OPCODE.LOOKUP, 1, cstring('a')),
  getattr: (m) => m.call(OPCODE.GETATTR, m.node('a'), fill(fuse_getattr_in, {})),
  read: (m) => {
    const node = m.node('many');
    return m.call(OPCODE.READ, node, fill(fuse_read_in, { fh: m.open(node), size: 4 * BLOCK_SIZE }));
  },
  create: (m) => m.call(OPCODE.CREATE, 1, fill(fuse_create_in, { mode: 0o100644 }), cstring('new')),
  mkdir: (m) => m.call(OPCODE.MKDIR, 1, fill(fuse_mkdir_in, { mode: 0o755 }), cstring('dir')),
  link: (m) => m.call(OPCODE.LINK, 1, fill(fuse_link_in, { oldnodeid: m.node('a') }), cstring('l')),
  rename: (m) => m.call(OPCODE.RENAME, 1, fill(fuse_rename_in, { newdir: 1 }), cstring('a'), cstring('z')),
  replace: (m) => m.call(OPCODE.RENAME, 1, fill(fuse_rename_in, { newdir: 1 }), cstring('b'), cstring('a')),
  unlink: (m) => m.call(OPCODE.UNLINK, 1, cstring('many')),
  truncate: (m) => {
    const fields = { valid: FATTR.SIZE, size: BLOCK_SIZE };
    return m.call(OPCODE.SETATTR, m.node('many'), fill(fuse_setattr_in, fields));
  },
  overwrite: (m) => writeTo(m, 'a', 0),
  append: (m) => writeTo(m, 'b', FILE_BYTES),
  allocate: (m) => {
    const node = m.node('b');
    const fields = { fh: m.open(node), offset: FILE_BYTES, length: 4 * BLOCK_SIZE };
    return m.call(OPCODE.FALLOCATE, node, fill(fuse_fallocate_in, fields));
  },
  punch: (m) => {
    const node = m.node('many');
    const fields = { fh: m.open(node), offset: 0, length: 200 * BLOCK_SIZE, mode: PUNCH };
    return m.call(OPCODE.FALLOCATE, node, fill(fuse_fallocate_in, fields));
  },
  copy: (m) => {
    const [from, to] = [m.node('a'), m.node('many')];
    const fields = { fh_in: m.open(from), nodeid_out: to, fh_out: m.open(to), len: FILE_BYTES };
    return m.call(OPCODE.COPY_FILE_RANGE, from, fill(fuse_copy_file_range_in, fields));
  },
};

function writeTo(m: Mounted, name: string, offset: number): Answer {
  const node = m.node(name);
  const data = Buffer.alloc(2 * BLOCK_SIZE, 0x77);
  const fields = { fh: m.open(node), offset, size: data.length };
  return m.call(OPCODE.WRITE, node, fill(fuse_write_in, fields), data);
}

describe('a latent error in metadata that other trees tell', () => {
  let image: Buffer;
  const met = new Set<string>();
  beforeAll(() => {
    image = makeImage();
  });

  test.each(Object.entries(OPERATIONS))(
    '%s: done as if nothing was, and the node is elsewhere',
    (what, operate) => {
      for (const tree of TREES) {
        for (const block of nodesOf(new Mounted(image), tree)) {
          const m = new Mounted(image);
          m.engine.poison(block * BLOCK_SIZE, BLOCK_SIZE, true);
          const at = `${what}, block ${block} of ${tree}`;
          expect([at, operate(m).error]).toEqual([at, 0]);
          expect([at, m.problems]).toEqual([at, []]);
          const [failure] = m.fuse.outbox.failures;
          if (failure === undefined) continue;
          met.add(tree);
          const physical = block * BLOCK_SIZE;
          // A node that was changed has moved by that.
          expect(failure).toMatchObject({ physical, by: 'access', metadata: { lost: null } });
          expect(m.engine.badBlocks(physical, 1)).toMatchObject([{ physical, latent: false }]);
        }
      }
    },
  );

  test('each tree was met that operations walk through', () => {
    expect([...met].sort()).toEqual(['bmap', 'free', 'parent', 'refcount', 'rmap']);
  });

  test('one that is met by a commit is told of when the next operation ends', () => {
    const m = new Mounted(image);
    expect(writeTo(m, 'b', FILE_BYTES).error).toBe(0);
    const block = nodesOf(m, 'chunk')[0];
    m.engine.poison(block * BLOCK_SIZE, BLOCK_SIZE, true);
    expect(m.call(OPCODE.UNLINK, 1, cstring('many')).error).toBe(0);
    m.engine.store.nodes.toTheEnd(() => m.engine.store.trees.chunk.get(0, 0, 0, 0, new Uint32Array(1)));
    expect(m.fuse.outbox.failures).toEqual([]);
    expect(m.call(OPCODE.LOOKUP, 1, cstring('a')).error).toBe(0);
    expect(m.fuse.outbox.failures).toMatchObject([
      { metadata: { repaired: [{ tree: 'chunk' }], lost: null } },
    ]);
    expect(m.problems).toEqual([]);
  });

  test('one in names or inodes: EIO, nothing is changed, and it is the end of the mount', () => {
    for (const tree of ['inode', 'dirent']) {
      const m = new Mounted(image);
      m.engine.poison(nodesOf(m, tree)[0] * BLOCK_SIZE, BLOCK_SIZE, true);
      expect(OPERATIONS.create(m).error).toBe(-errnoOf('EIO'));
      expect(m.fuse.outbox.failures[0].metadata.lost).toMatch(new RegExp(`a node of the ${tree} tree`));
    }
  });
});

describe('a node that was damaged without a word', () => {
  test.each(['append', 'overwrite', 'truncate', 'punch', 'copy'])(
    '%s: nothing of what it had begun becomes durable',
    (what) => {
      const image = makeImage();
      let cutOff = 0;
      for (const block of nodesOf(new Mounted(image), 'rmap')) {
        const m = new Mounted(image);
        const bytes = m.media.bytes(asPhys(block), 1);
        const good = Buffer.from(bytes);
        const { changes } = m.engine.store.nodes;
        bytes.fill(0xdd);
        const { error } = OPERATIONS[what](m);
        const begun = error !== 0 && m.engine.store.nodes.changes !== changes;
        expect(m.engine.info.shutdown).toBe(begun);
        if (!begun) continue;
        cutOff += 1;
        expect(error).toBe(-errnoOf('EIO'));
        expect(m.fuse.outbox.logs.join()).toMatch(/shut down: .*corruption in block/);
        m.engine.close();
        good.copy(m.media.bytes(asPhys(block), 1));
        expect(new Mounted(Buffer.from(m.media.bytes(asPhys(0), BLOCKS))).problems).toEqual([]);
      }
      expect(cutOff).toBeGreaterThan(0);
    },
  );
});
