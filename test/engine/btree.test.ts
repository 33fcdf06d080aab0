import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkTree } from '../../src/check/tree.js';
import { BTree } from '../../src/engine/btree.js';
import { META_GROUP_BLOCKS, type TreeSpec } from '../../src/engine/layout.js';
import { NodeStore } from '../../src/engine/nodes.js';
import { PAYLOAD_MAX_BYTES, type Tree } from '../../src/engine/tree.js';
import { asPhys } from '../../src/types.js';
import { MemTree } from '../model/mem-tree.js';
import { HeapMedia } from '../support/mem-context.js';

const BLOCKS = 2048;

function nodeStore(): { nodes: NodeStore; media: HeapMedia } {
  const media = new HeapMedia(BLOCKS, 256);
  const nodes = new NodeStore(media, 1, 2);
  nodes.txid = 5;
  for (let b = 0; b < BLOCKS; b += META_GROUP_BLOCKS) nodes.addChunk(b === 0 ? 1 : b, b === 0 ? 63 : 64);
  return { nodes, media };
}

const commit = (nodes: NodeStore): void => {
  nodes.seal();
  nodes.committed();
  nodes.txid++;
};

const specs: Record<string, TreeSpec> = {
  oneKey: { id: 1, name: 'oneKey', keyWords: 1, valueWords: 1, variable: false, augmented: false },
  wide: { id: 2, name: 'wide', keyWords: 1, valueWords: 32, variable: false, augmented: false },
  noValue: { id: 3, name: 'noValue', keyWords: 4, valueWords: 0, variable: false, augmented: false },
  overlap: { id: 6, name: 'overlap', keyWords: 3, valueWords: 2, variable: false, augmented: true },
  payload: { id: 4, name: 'payload', keyWords: 3, valueWords: 0, variable: true, augmented: false },
};

/** All records in order: keys, values, payloads. */
function dump(tree: Tree, spec: TreeSpec): string[] {
  const out: string[] = [];
  const c = tree.cursor();
  for (let ok = c.seek(0, 0, 0, 0); ok; ok = c.next()) {
    const key = Array.from({ length: spec.keyWords }, (_, i) => c.key(i));
    const value = Array.from({ length: spec.valueWords }, (_, i) => c.value(i));
    out.push(`${key}=${value}${spec.variable ? Buffer.from(c.payload()).toString('hex') : ''}`);
  }
  return out;
}

type Op = {
  kind: 'insert' | 'remove' | 'update' | 'commit' | 'seek' | 'append' | 'clear';
  key: number;
  size: number;
};

const operation: fc.Arbitrary<Op> = fc.record({
  kind: fc.oneof(
    { weight: 10, arbitrary: fc.constant('insert' as const) },
    { weight: 5, arbitrary: fc.constant('remove' as const) },
    { weight: 3, arbitrary: fc.constant('update' as const) },
    { weight: 1, arbitrary: fc.constant('commit' as const) },
    { weight: 2, arbitrary: fc.constant('seek' as const) },
    { weight: 1, arbitrary: fc.constant('append' as const) },
    { weight: 1, arbitrary: fc.constant('clear' as const) },
  ),
  key: fc.nat(400),
  size: fc.nat(PAYLOAD_MAX_BYTES),
});

/** Spreads a small number over all key words, near the word's limits too. */
const keyOf = (n: number, words: number): [number, number, number, number] => {
  const spread = (n * 2654435761) % 2 ** 32;
  if (words === 1) return [n % 2 === 0 ? n : 2 ** 32 - 1 - n, 0, 0, 0];
  return [n % 7, words > 1 ? spread : 0, words > 2 ? n : 0, words > 3 ? 2 ** 32 - 1 - n : 0];
};

function recordValue(spec: TreeSpec, size: number): Uint32Array {
  return Uint32Array.from({ length: spec.valueWords }, (_, i) =>
    i === 0 ? (size % 40) + 1 : size * 7919 + i,
  );
}

function put(tree: Tree, spec: TreeSpec, key: [number, number, number, number], size: number): void {
  if (spec.variable) tree.insertPayload(...key, Buffer.alloc(size, size & 255));
  else tree.insert(...key, recordValue(spec, size));
}

function apply(tree: Tree, spec: TreeSpec, op: Op): unknown {
  const key = keyOf(op.key, spec.keyWords);
  const out = new Uint32Array(spec.valueWords);
  const c = tree.cursor();
  const has = c.seek(...key) && key.slice(0, spec.keyWords).every((k, i) => c.key(i) === k);
  switch (op.kind) {
    case 'insert':
      if (!has) put(tree, spec, key, op.size);
      return has;
    case 'remove':
      return tree.remove(...key);
    case 'update':
      if (!has || spec.variable || spec.valueWords === 0) return has;
      if (op.size % 2 === 0) tree.update(...key, recordValue(spec, op.size));
      else c.set(spec.valueWords - 1, spec.valueWords === 1 && spec.augmented ? 1 : op.size);
      return [tree.get(...key, out), [...out]];
    case 'append':
      for (let i = 0; i < 300; i++) {
        const next = keyOf(1000 + op.key * 300 + i, spec.keyWords);
        const at = tree.cursor();
        if (at.seek(...next) && next.slice(0, spec.keyWords).every((k, j) => at.key(j) === k)) continue;
        put(tree, spec, next, op.size % 200);
      }
      return tree.count;
    case 'clear': {
      let removed = 0;
      for (let ok = c.seek(...key); ok && removed < op.size; ok = tree.cursor().seek(...key)) {
        const first = tree.cursor();
        if (!first.seek(...key)) break;
        const k = [0, 1, 2, 3].map((i) => (i < spec.keyWords ? first.key(i) : 0));
        tree.remove(k[0], k[1], k[2], k[3]);
        removed++;
      }
      return removed;
    }
    case 'seek': {
      const found: unknown[] = [];
      if (c.seekLE(...key))
        found.push(c.key(0), c.key(spec.keyWords - 1), c.prev() && c.key(spec.keyWords - 1));
      if (spec.augmented) {
        for (let ok = c.seekOverlap(op.size % 50, (op.size % 50) + 5); ok; ok = c.nextOverlap()) {
          found.push([c.key(0), c.key(1), c.key(2), c.value(0)]);
        }
        const from = op.size % 50;
        for (let ok = c.seekOverlapFrom(from, from + 5, ...key); ok; ok = c.nextOverlap()) {
          found.push([c.key(0), c.key(1), c.key(2), c.value(0)]);
        }
      }
      return found;
    }
    case 'commit':
      return null;
  }
}

describe('B+tree against the reference model', () => {
  for (const spec of Object.values(specs)) {
    it(`${spec.name}: any sequence of changes gives the same records and answers`, () => {
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 120 }), (ops) => {
          const { nodes, media } = nodeStore();
          const tree = new BTree(spec, media, nodes);
          const model = new MemTree(spec);
          for (const op of ops) {
            expect(apply(tree, spec, op)).toEqual(apply(model, spec, op));
            if (op.kind === 'commit') commit(nodes);
          }
          expect(checkTree(tree)).toEqual([]);
          expect(dump(tree, spec)).toEqual(dump(model, spec));
          expect(tree.count).toBe(model.count);
          let reached = 0;
          tree.walk(() => reached++);
          expect(nodes.usedCount).toBe(reached);
          commit(nodes);
          expect(nodes.freeCount).toBe(nodes.ownedCount - reached);
        }),
        { numRuns: 60 },
      );
    });
  }

  it('finds every damaged byte of a committed node', () => {
    const { nodes, media } = nodeStore();
    const tree = new BTree(specs.oneKey, media, nodes);
    for (let i = 0; i < 100; i++) tree.insert(i, 0, 0, 0, Uint32Array.of(i));
    commit(nodes);
    const bytes = media.bytes(asPhys(tree.root), 1);
    for (let at = 0; at < 4096; at += 37) {
      const fresh = new NodeStore(media, 1, 2);
      const again = new BTree(specs.oneKey, media, fresh);
      again.load(tree.root, tree.height, tree.count);
      bytes[at] ^= 1;
      expect(() => again.get(5, 0, 0, 0, new Uint32Array(1)), `byte ${at}`).toThrow(/corruption in block/);
      bytes[at] ^= 1;
    }
  });

  it('keeps the last commit whole while the next transaction changes everything', () => {
    const { nodes, media } = nodeStore();
    const tree = new BTree(specs.overlap, media, nodes);
    const at = (i: number): number => 1 + (i % 200);
    for (let i = 0; i < 2000; i++) tree.insert(at(i), 1 + (i % 5), i, 0, Uint32Array.of(10, 0));
    commit(nodes);
    const before = dump(tree, specs.overlap);
    const { root, height, count } = tree;
    for (let i = 0; i < 2000; i += 2) tree.remove(at(i), 1 + (i % 5), i, 0);
    for (let i = 0; i < 500; i++) tree.insert(at(i), 7, i, 0, Uint32Array.of(3, 0));
    const old = new BTree(specs.overlap, media, new NodeStore(media, 1, 2));
    old.load(root, height, count);
    expect(dump(old, specs.overlap)).toEqual(before);
  });

  it('refuses a node of another filesystem, of another tree and on a bad block', () => {
    const { nodes, media } = nodeStore();
    const tree = new BTree(specs.oneKey, media, nodes);
    tree.insert(1, 0, 0, 0, Uint32Array.of(1));
    commit(nodes);
    const open = (store: NodeStore, spec: TreeSpec): BTree => {
      const t = new BTree(spec, media, store);
      t.load(tree.root, 1, 1);
      return t;
    };
    expect(() => open(new NodeStore(media, 9, 2), specs.oneKey).get(1, 0, 0, 0, new Uint32Array(1))).toThrow(
      /another filesystem/,
    );
    expect(() => open(new NodeStore(media, 1, 2), specs.wide).get(1, 0, 0, 0, new Uint32Array(32))).toThrow(
      /level 0 of tree 1/,
    );
    const onBad = new NodeStore(media, 1, 2);
    onBad.isBad = () => true;
    expect(() => open(onBad, specs.oneKey).get(1, 0, 0, 0, new Uint32Array(1))).toThrow(/bad block/);
  });

  it('takes a payload that is a view of the node which the insertion moves', () => {
    const { nodes, media } = nodeStore();
    const tree = new BTree(specs.payload, media, nodes);
    const bytes = (i: number) => Buffer.alloc(40 + ((i * 37) % 200), i & 255);
    tree.insertPayload(5000, 0, 0, 0, bytes(255));
    const c = tree.cursor();
    // Records that come and go leave dead bytes in the leaf, which is squeezed when the next one needs them.
    for (let i = 0; i < 200; i++) {
      tree.insertPayload(i, 0, 0, 0, bytes(i));
      expect(c.seek(5000, 0, 0, 0)).toBe(true);
      tree.insertPayload(9000 - i, 0, 0, 0, c.payload());
      expect(c.seek(9000 - i, 0, 0, 0)).toBe(true);
      expect(Buffer.from(c.payload())).toEqual(bytes(255));
      if (i >= 4) expect(tree.remove(i - 4, 0, 0, 0) && tree.remove(9000 - i + 4, 0, 0, 0)).toBe(true);
    }
  });

  it('a search beside the last position finds what a fresh one finds', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(600), { minLength: 1, maxLength: 60 }), (keys) => {
        const { nodes, media } = nodeStore();
        const tree = new BTree(specs.wide, media, nodes);
        for (let key = 2; key <= 400; key += 2) tree.insert(key, 0, 0, 0, new Uint32Array(32).fill(key));
        const warm = tree.cursor();
        for (const [i, key] of keys.entries()) {
          // A record that comes or goes makes what the cursor knew worthless.
          if (key % 13 === 0 && !tree.remove(key, 0, 0, 0)) tree.insert(key, 0, 0, 0, new Uint32Array(32));
          const fresh = tree.cursor();
          const back = i % 3 === 0;
          const found = back ? warm.seekLE(key, 0, 0, 0) : warm.seek(key, 0, 0, 0);
          expect(found).toBe(back ? fresh.seekLE(key, 0, 0, 0) : fresh.seek(key, 0, 0, 0));
          if (found) expect(warm.key(0)).toBe(fresh.key(0));
          expect(warm.next()).toBe(fresh.next());
          if (warm.valid) expect(warm.key(0)).toBe(fresh.key(0));
        }
      }),
    );
  });

  it('notices a stale cursor', () => {
    const { nodes, media } = nodeStore();
    const tree = new BTree(specs.oneKey, media, nodes);
    tree.insert(1, 0, 0, 0, Uint32Array.of(1));
    const c = tree.cursor();
    c.seek(1, 0, 0, 0);
    tree.insert(2, 0, 0, 0, Uint32Array.of(1));
    expect(() => c.value(0)).toThrow(/stale cursor/);
  });
});
