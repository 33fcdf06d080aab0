import type { LostSubtree } from '../check/scan.js';
import { leafStride } from '../check/walk.js';
import {
  NODE,
  NODE_BODY_WORDS,
  NODE_HEADER_WORDS,
  NODE_MAGIC,
  OWNER_METADATA,
  TREES,
  type TreeName,
  type TreeSpec,
} from '../engine/layout.js';
import { blockChecksum } from '../engine/nodes.js';
import type { Media } from '../media/media.js';
import { asPhys } from '../types.js';
import { compareKeys, type DraftRecord, type Key } from './draft.js';
import { namedBy } from './names.js';
import { RunIndex } from './runs.js';
import { badRuns } from './space.js';
import type { Repair } from './state.js';

/** A node of the lowest level that nothing leads to, in use or left over from an earlier transaction. */
interface StrayLeaf {
  readonly block: number;
  readonly txid: number;
  readonly records: readonly DraftRecord[];
}

/**
 * Takes in what can still be read of subtrees that the scan has left out:
 *
 * - a leaf with a right checksum whose keys are out of order: its records, one by one;
 * - the leaves below a lost node above. Nothing leads to them, so they are looked for in all metadata chunks, where
 *   old versions lie as well: the newest ones win, and of each record another tree must know.
 *
 * Trees that are made from others are left alone. Before anything else is decided.
 */
export function salvage(r: Repair, media: Media): void {
  const bad = RunIndex.of(badRuns(r));
  const reader = new LeafReader(r, media, bad);
  let strays: Map<TreeName, StrayLeaf[]> | null = null;
  for (const lost of r.scan.lost) {
    if (lost.level === 0) {
      const leaf = reader.read(lost.block, TREES[lost.tree]);
      if (leaf !== null) take(r, lost, [leaf], () => true);
    } else if (isWanted(r, lost.tree)) {
      strays ??= reader.strays();
      const found = (strays.get(lost.tree) ?? []).filter((leaf) => !r.scan.nodes.has(leaf.block));
      take(r, lost, newest(found, lost), knownBy(r, lost.tree));
    }
  }
}

/** Whether the tree says what no other whole tree says. */
const isWanted = (r: Repair, tree: TreeName): boolean =>
  ['inode', 'dirent', 'xattr', 'badblock'].includes(tree) ||
  (tree === 'bmap' && r.scan.incomplete.has('rmap'));

function isInside(key: Key, { low, high }: LostSubtree): boolean {
  return (low === null || compareKeys(key, low) >= 0) && (high === null || compareKeys(key, high) < 0);
}

/** The leaves whose keys no newer one has. */
function newest(leaves: readonly StrayLeaf[], lost: LostSubtree): StrayLeaf[] {
  const taken: { readonly first: Key; readonly last: Key }[] = [];
  return [...leaves]
    .sort((a, b) => b.txid - a.txid)
    .filter(({ records }) => {
      const [first, last] = [records[0].key, records[records.length - 1].key];
      if (!isInside(first, lost) || !isInside(last, lost)) return false;
      if (taken.some((other) => compareKeys(first, other.last) <= 0 && compareKeys(last, other.first) >= 0))
        return false;
      taken.push({ first, last });
      return true;
    });
}

function take(
  r: Repair,
  lost: LostSubtree,
  leaves: readonly StrayLeaf[],
  isKnown: (record: DraftRecord) => boolean,
): void {
  const draft = r.drafts[lost.tree];
  let count = 0;
  for (const { block, records } of leaves) {
    r.salvaged.add(block);
    for (const { key, value } of records) {
      if (!isInside(key, lost) || draft.has(key) || !isKnown({ key, value })) continue;
      draft.put(key, value);
      count++;
    }
  }
  r.found.set(lost.block, count);
}

/** Which records of an old leaf are of the present: those that another tree tells of. */
function knownBy(r: Repair, tree: TreeName): (record: DraftRecord) => boolean {
  const { dirent, parent, orphan, inode } = r.drafts;
  switch (tree) {
    case 'inode': {
      const known = new Set<number>();
      for (const { value } of dirent.records()) known.add(namedBy(value));
      for (const { key } of dirent.records()) known.add(key[0]);
      for (const { key } of parent.records()) known.add(key[0]).add(key[1]);
      for (const { key } of orphan.records()) known.add(key[0]);
      return ({ key }) => known.has(key[0]);
    }
    case 'dirent':
      if (r.scan.incomplete.has('parent')) return ({ value }) => inode.has([namedBy(value)]);
      return ({ key, value }) => parent.has([namedBy(value), ...key]);
    case 'xattr':
      return ({ key }) => inode.has([key[0]]);
    default:
      return () => true;
  }
}

/** Reads leaves wherever they lie, but none on a bad block. */
class LeafReader {
  readonly #repair: Repair;
  readonly #media: Media;
  readonly #bad: RunIndex;

  constructor(repair: Repair, media: Media, bad: RunIndex) {
    this.#repair = repair;
    this.#media = media;
    this.#bad = bad;
  }

  /** All leaves in the metadata chunks, as far as chunk tree or rmap tell of them, by tree. */
  strays(): Map<TreeName, StrayLeaf[]> {
    const found = new Map<TreeName, StrayLeaf[]>();
    const specs = new Map(Object.entries(TREES).map(([name, spec]) => [spec.id as number, name as TreeName]));
    for (const { start, end } of this.#chunks().runs) {
      for (let block = start; block < end; block++) {
        const name = specs.get(this.#word(block, NODE.treeLevel));
        const leaf = name === undefined ? null : this.read(block, TREES[name]);
        if (name !== undefined && leaf !== null) found.set(name, [...(found.get(name) ?? []), leaf]);
      }
    }
    return found;
  }

  #chunks(): RunIndex {
    const { chunk, rmap } = this.#repair.drafts;
    const { blocks } = this.#repair.scan.media;
    const claims: { start: number; length: number }[] = [];
    const add = (start: number, length: number): void => {
      const most = Math.min(length, blocks - start);
      if (most > 0) claims.push({ start, length: most });
    };
    for (const { key, value } of chunk.records()) add(key[0], value[0]);
    for (const { key, value } of rmap.records()) if (key[1] === OWNER_METADATA) add(key[0], value[0]);
    return RunIndex.of(claims);
  }

  #word(block: number, i: number): number {
    if (this.#bad.most(block, block + 1) > 0) return 0;
    return this.#media.words(asPhys(block))[this.#media.wordIndex(asPhys(block)) + i];
  }

  /** The leaf, with its records in the order in which they stand there; null when it is none. */
  read(block: number, spec: TreeSpec): StrayLeaf | null {
    const { superblock } = this.#repair.scan;
    if (block <= 0 || block >= superblock.blocks - 1 || this.#bad.most(block, block + 1) > 0) return null;
    const word = (i: number): number => this.#word(block, i);
    const bytes = this.#media.bytes(asPhys(block), 1);
    const count = word(NODE.count);
    const txid = word(NODE.txidHi) * 2 ** 32 + word(NODE.txidLo);
    const isOurs =
      word(NODE.magic) === NODE_MAGIC &&
      word(NODE.self) === block &&
      word(NODE.treeLevel) === spec.id &&
      word(NODE.uuid0) === superblock.uuid.readUInt32LE(0) &&
      word(NODE.uuid1) === superblock.uuid.readUInt32LE(4) &&
      txid <= superblock.txid;
    if (!isOurs || count === 0 || count * leafStride(spec) > NODE_BODY_WORDS) return null;
    if (word(NODE.crc) !== blockChecksum(bytes, 'node')) return null;
    const records = Array.from({ length: count }, (_, i) => {
      const at = NODE_HEADER_WORDS + i * leafStride(spec);
      const key = Array.from({ length: spec.keyWords }, (_, k) => word(at + k));
      if (!spec.variable)
        return {
          key,
          value: Array.from({ length: spec.valueWords }, (_, v) => word(at + spec.keyWords + v)),
        };
      const ref = word(at + spec.keyWords);
      return { key, value: bytes.subarray(ref & 0xffff, (ref & 0xffff) + (ref >>> 16)) };
    });
    return { block, txid, records };
  }
}
