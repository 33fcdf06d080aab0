import { NODE, NODE_MAGIC, TREES, type TreeName, type TreeSpec } from '../engine/layout.js';
import { blockChecksum } from '../engine/nodes.js';
import type { Superblock } from '../engine/superblock.js';
import type { Media } from '../media/media.js';
import { asPhys } from '../types.js';
import { atBlock, type Problems } from './problem.js';
import type { CheckSubject } from './subject.js';
import { LeafView } from './view.js';
import { walkTree } from './walk.js';

const TREE_NAMES = Object.keys(TREES) as TreeName[];

/** What could be read of the trees of a region. */
export interface Scan extends CheckSubject {
  readonly superblock: Superblock;
  readonly trees: Readonly<Record<TreeName, LeafView>>;
  readonly incomplete: ReadonlySet<TreeName>;
  /** Every block that is a usable node, or should be one, with its tree. */
  readonly nodes: ReadonlyMap<number, TreeName>;
  /** Nodes in use that have something wrong: their records are good, what is around them is not. */
  readonly flawed: ReadonlySet<number>;
  /** Trees that are not as they must be: a node lost or flawed, or a wrong number of records. */
  readonly unsound: ReadonlySet<TreeName>;
  /** What was left out. */
  readonly lost: readonly LostSubtree[];
}

/** A node that cannot be used, and the keys that lie below it. */
export interface LostSubtree {
  readonly tree: TreeName;
  readonly block: number;
  /** 0 = a leaf. */
  readonly level: number;
  /** From this key on (null: from the first one), below `high` (null: to the last one). */
  readonly low: readonly number[] | null;
  readonly high: readonly number[] | null;
}

/**
 * Reads all trees of a region that nobody changes. Each node that is damaged is one problem and left out with
 * what lies below it; the scan goes on. A node on a block that is known to be bad is not touched.
 * Memory: O(nodes).
 */
export function scanTrees(media: Media, superblock: Superblock, problems: Problems): Scan {
  const scanner = new Scanner(media, superblock, problems);
  // The bad blocks first: reading one of them may be fatal.
  for (const name of ['badblock', ...TREE_NAMES.filter((other) => other !== 'badblock')] as TreeName[]) {
    scanner.scan(name);
  }
  return {
    superblock,
    trees: scanner.trees as Record<TreeName, LeafView>,
    incomplete: scanner.incomplete,
    nodes: scanner.nodes,
    flawed: scanner.flawed,
    unsound: scanner.unsound,
    lost: scanner.lost,
    counters: { inodeCount: superblock.inodeCount, lastIno: superblock.lastIno },
    media: { blocks: superblock.blocks },
  };
}

class Scanner {
  readonly trees: Partial<Record<TreeName, LeafView>> = {};
  readonly incomplete = new Set<TreeName>();
  readonly nodes = new Map<number, TreeName>();
  readonly flawed = new Set<number>();
  readonly unsound = new Set<TreeName>();
  readonly lost: LostSubtree[] = [];
  readonly #media: Media;
  readonly #superblock: Superblock;
  readonly #problems: Problems;
  readonly #uuid: readonly [number, number];

  constructor(media: Media, superblock: Superblock, problems: Problems) {
    this.#media = media;
    this.#superblock = superblock;
    this.#problems = problems;
    this.#uuid = [superblock.uuid.readUInt32LE(0), superblock.uuid.readUInt32LE(4)];
  }

  scan(name: TreeName): void {
    const spec = TREES[name];
    const { root, height, count } = this.#superblock.roots[spec.id];
    const view = new LeafView(spec, this.#media);
    this.trees[name] = view;
    walkTree({
      media: this.#media,
      spec,
      root,
      height,
      unusable: (block, level, parent) => this.#unusable(spec, name, block, level, parent),
      lost: (block, text, level, low, high) => {
        this.incomplete.add(name);
        this.unsound.add(name);
        this.lost.push({ tree: name, block, level, low, high });
        const what = `block ${block} of tree ${name} ${text}; what it held was not checked`;
        this.#problems.add('node', what, { ...atBlock(block), tree: name });
      },
      wrong: (block, text) => {
        this.flawed.add(block);
        this.unsound.add(name);
        this.#problems.add('tree', `tree ${name}, block ${block}: ${text}`, {
          ...atBlock(block),
          tree: name,
        });
      },
      leaf: (block, records) => view.add(block, records),
    });
    if (view.count !== count && !this.incomplete.has(name)) {
      this.unsound.add(name);
      const text = `tree ${name}: the superblock counts ${count} records, the tree has ${view.count}`;
      this.#problems.add('tree', text, { tree: name });
    }
  }

  #unusable(spec: TreeSpec, name: TreeName, block: number, level: number, parent: number): string | null {
    if (block <= 0 || block >= this.#superblock.blocks - 1) return 'lies outside of the region';
    const other = this.nodes.get(block);
    if (other !== undefined) return `is a node of tree ${other} as well`;
    this.nodes.set(block, name);
    if (this.#isBad(block)) return 'lies on a bad block';
    const words = this.#media.words(asPhys(block));
    const base = this.#media.wordIndex(asPhys(block));
    const word = (i: number): number => words[base + i];
    if (word(NODE.magic) !== NODE_MAGIC) return 'is no node (wrong magic number)';
    if (word(NODE.crc) !== blockChecksum(this.#media.bytes(asPhys(block), 1), 'node')) {
      return 'has a wrong checksum';
    }
    if (word(NODE.self) !== block) return `was written for block ${word(NODE.self)}`;
    if (word(NODE.uuid0) !== this.#uuid[0] || word(NODE.uuid1) !== this.#uuid[1]) {
      return 'belongs to another filesystem';
    }
    const found = word(NODE.treeLevel);
    if (found !== spec.id + level * 256) {
      return `is level ${found >>> 8} of tree ${found & 255}, expected level ${level} of tree ${spec.id}`;
    }
    const newest = parent === 0 ? this.#superblock.txid : this.#txidOf(parent);
    const txid = this.#txidOf(block);
    // Copying a node copies the way down to it, so no node is newer than the one above.
    if (txid > newest) return `was written by transaction ${txid}, what points to it by ${newest}`;
    return null;
  }

  #txidOf(block: number): number {
    const words = this.#media.words(asPhys(block));
    const base = this.#media.wordIndex(asPhys(block));
    return words[base + NODE.txidHi] * 2 ** 32 + words[base + NODE.txidLo];
  }

  #isBad(block: number): boolean {
    const tree = this.trees.badblock;
    const cursor = tree?.cursor();
    return cursor?.seekLE(block, 0, 0, 0) === true && cursor.key(0) + cursor.value(0) > block;
  }
}
