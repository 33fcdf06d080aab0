import type { LostSubtree } from '../check/scan.js';
import {
  NODE,
  NODE_BODY_WORDS,
  NODE_HEADER_WORDS,
  NODE_MAGIC,
  OWNER_METADATA,
  TREES,
  type TreeName,
  type TreeSpec,
  WORDS_PER_BLOCK,
} from '../engine/layout.js';
import { leafStride } from '../engine/node-fault.js';
import { blockChecksum } from '../engine/nodes.js';
import type { Media } from '../media/media.js';
import { asPhys } from '../types.js';
import { compareKeys, type DraftRecord, type Key } from './draft.js';
import { namedBy } from './names.js';
import { RunIndex } from './runs.js';
import { badRuns } from './space.js';
import type { Repair } from './state.js';

const names = Object.keys(TREES) as TreeName[];
const txidOf = (words: Uint32Array): number => words[NODE.txidHi] * 2 ** 32 + words[NODE.txidLo];

/** A node of the lowest level that nothing leads to, in use or left over from an earlier transaction. */
interface StrayLeaf {
  readonly block: number;
  readonly txid: number;
  readonly first: Key;
  readonly last: Key;
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
      take(r, lost, reader.read(lost.block, TREES[lost.tree]), () => true);
    } else if (isWanted(r, lost.tree)) {
      strays ??= reader.strays();
      const found = (strays.get(lost.tree) ?? []).filter((leaf) => !r.scan.nodes.has(leaf.block));
      const isKnown = knownBy(r, lost.tree);
      for (const { block } of newest(found, lost)) {
        r.salvaged.add(block);
        take(r, lost, reader.read(block, TREES[lost.tree]), isKnown);
      }
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
  const inside = leaves.filter(({ first, last }) => isInside(first, lost) && isInside(last, lost));
  /** In the order of their keys. */
  const taken: StrayLeaf[] = [];
  for (const leaf of inside.sort((a, b) => b.txid - a.txid)) {
    let low = 0;
    let high = taken.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(taken[middle].last, leaf.first) < 0) low = middle + 1;
      else high = middle;
    }
    if (low === taken.length || compareKeys(taken[low].first, leaf.last) > 0) taken.splice(low, 0, leaf);
  }
  return taken;
}

function take(
  r: Repair,
  lost: LostSubtree,
  records: readonly DraftRecord[],
  isKnown: (record: DraftRecord) => boolean,
): void {
  const draft = r.drafts[lost.tree];
  let count = r.found.get(lost.block) ?? 0;
  for (const record of records) {
    if (!isInside(record.key, lost) || draft.has(record.key) || !isKnown(record)) continue;
    draft.put(record.key, record.value);
    count++;
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
    const found = new Map<TreeName, StrayLeaf[]>(names.map((name) => [name, []]));
    for (const { start, end } of this.#chunks().runs) {
      for (let block = start; block < end; block++) {
        const words = this.#words(block);
        const name =
          words === null ? undefined : names.find((tree) => TREES[tree].id === words[NODE.treeLevel]);
        const records = name === undefined ? [] : this.read(block, TREES[name]);
        if (words === null || name === undefined || records.length === 0) continue;
        const [first, last] = [records[0].key, records[records.length - 1].key];
        found.get(name)?.push({ block, txid: txidOf(words), first, last });
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

  /** The words of a block; null where there is none that may be read. */
  #words(block: number): Uint32Array | null {
    const { blocks } = this.#repair.scan.superblock;
    if (block <= 0 || block >= blocks - 1 || this.#bad.most(block, block + 1) > 0) return null;
    const base = this.#media.wordIndex(asPhys(block));
    return this.#media.words(asPhys(block)).subarray(base, base + WORDS_PER_BLOCK);
  }

  /** The records of a leaf in the order in which they stand there; none when it is no leaf of the tree. */
  read(block: number, spec: TreeSpec): DraftRecord[] {
    const { superblock } = this.#repair.scan;
    const words = this.#words(block);
    if (words === null) return [];
    const count = words[NODE.count];
    const isOurs =
      words[NODE.magic] === NODE_MAGIC &&
      words[NODE.self] === block &&
      words[NODE.treeLevel] === spec.id &&
      words[NODE.uuid0] === superblock.uuid.readUInt32LE(0) &&
      words[NODE.uuid1] === superblock.uuid.readUInt32LE(4) &&
      txidOf(words) <= superblock.txid;
    if (!isOurs || count * leafStride(spec) > NODE_BODY_WORDS) return [];
    const bytes = this.#media.bytes(asPhys(block), 1);
    if (words[NODE.crc] !== blockChecksum(bytes, 'node')) return [];
    return Array.from({ length: count }, (_, i) => {
      const at = NODE_HEADER_WORDS + i * leafStride(spec);
      const from = at + spec.keyWords;
      const key = Array.from(words.subarray(at, from));
      if (!spec.variable) return { key, value: Array.from(words.subarray(from, from + spec.valueWords)) };
      const ref = words[from];
      return { key, value: bytes.subarray(ref & 0xffff, (ref & 0xffff) + (ref >>> 16)) };
    });
  }
}
