import { TREE_HEIGHT_MAX } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import { NODE, NODE_BODY_WORDS, NODE_HEADER_WORDS, TREES, type TreeName, type TreeSpec } from './layout.js';
import { meets, type RecordView, recordFault, runEnd } from './record-fault.js';
import { PAYLOAD_MAX_BYTES } from './tree.js';

/** Words that are only read. */
interface Words {
  readonly [index: number]: number;
}

/** A node as it stands in the region. */
export interface NodeImage {
  readonly spec: TreeSpec;
  /** 0 = leaf. */
  readonly level: number;
  readonly words: Words;
  /** Word index of the node's first word. */
  readonly base: number;
  /** The node's block. */
  readonly bytes: Uint8Array;
}

const NAMES = new Map<number, TreeName>(
  (Object.keys(TREES) as TreeName[]).map((name) => [TREES[name].id, name]),
);

export const leafStride = (spec: TreeSpec): number => spec.keyWords + (spec.variable ? 1 : spec.valueWords);
export const innerStride = (spec: TreeSpec): number => spec.keyWords + (spec.augmented ? 2 : 1);
const strideOf = ({ spec, level }: NodeImage): number => (level === 0 ? leafStride(spec) : innerStride(spec));
const countOf = ({ words, base }: NodeImage): number => words[base + NODE.count];

/** The tree with this id. */
export const treeName = (id: number): TreeName | undefined => NAMES.get(id);

/** Why the entries of a node cannot be told apart, or null: their number. */
export function countFault(node: NodeImage): string | null {
  const count = countOf(node);
  if (node.level >= TREE_HEIGHT_MAX) return `is level ${node.level} of a tree`;
  if (count === 0) return 'is empty';
  return count * strideOf(node) > NODE_BODY_WORDS ? `has ${count} entries, more than fit` : null;
}

/** < 0, 0 or > 0: compares two keys of a node, word by word. */
function compareEntries({ spec, words }: NodeImage, a: number, b: number): number {
  for (let i = 0; i < spec.keyWords; i++) {
    const d = words[a + i] - words[b + i];
    if (d !== 0) return d;
  }
  return 0;
}

/** What is wrong with the order of the keys, or null. */
export function orderFault(node: NodeImage): string | null {
  const stride = strideOf(node);
  const first = node.base + NODE_HEADER_WORDS;
  for (let i = 1; i < countOf(node); i++) {
    const at = first + i * stride;
    if (compareEntries(node, at - stride, at) >= 0) return `entries ${i - 1} and ${i} are out of order`;
  }
  return null;
}

/**
 * What is wrong with the payloads of a leaf, or null: each lies between the lowest one and the end of the block, none
 * overlaps another, and live and dead ones fill that space. Nodes without payloads have an empty heap.
 */
export function heapFault(node: NodeImage): string | null {
  const { spec, words, base } = node;
  const count = countOf(node);
  const top = words[base + NODE.heapTop];
  const dead = words[base + NODE.heapDead];
  if (node.level > 0 || !spec.variable) {
    if (top === BLOCK_SIZE && dead === 0) return null;
    return `has payloads from byte ${top} on, ${dead} of them dead, but can have none`;
  }
  const indexEnd = (NODE_HEADER_WORDS + count * leafStride(spec)) * 4;
  if (top < indexEnd || top > BLOCK_SIZE) return `has payloads from byte ${top} on, which is out of range`;
  const places: [from: number, to: number][] = [];
  let live = 0;
  for (let i = 0; i < count; i++) {
    const ref = words[base + NODE_HEADER_WORDS + i * leafStride(spec) + spec.keyWords];
    const [from, length] = [ref & 0xffff, ref >>> 16];
    if (length > PAYLOAD_MAX_BYTES || from < top || from + length > BLOCK_SIZE) {
      return `entry ${i} has a payload at ${from}+${length}, which is out of range`;
    }
    live += length;
    if (length > 0) places.push([from, from + length]);
  }
  places.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < places.length; i++) {
    if (places[i][0] < places[i - 1][1]) return `two payloads overlap at byte ${places[i][0]}`;
  }
  if (live + dead === BLOCK_SIZE - top) return null;
  return `has ${live} bytes of payloads and ${dead} of dead ones in ${BLOCK_SIZE - top} bytes`;
}

/** What is wrong with what an internal node leads to, or null. */
function childrenFault(node: NodeImage, blocks: number): string | null {
  const { spec, words, base } = node;
  for (let i = 0; i < countOf(node); i++) {
    const at = base + NODE_HEADER_WORDS + i * innerStride(spec) + spec.keyWords;
    if (words[at] === 0 || words[at] >= blocks - 1) {
      return `entry ${i} leads to block ${words[at]}, which is out of range`;
    }
    if (spec.augmented && words[at + 1] >= blocks) return `entry ${i} has the highest end ${words[at + 1]}`;
  }
  return null;
}

/** The records of a leaf, one after the other. */
class LeafRecord implements RecordView {
  readonly #node: NodeImage;
  readonly #stride: number;
  #at: number;

  constructor(node: NodeImage) {
    this.#node = node;
    this.#stride = leafStride(node.spec);
    this.#at = node.base + NODE_HEADER_WORDS;
  }

  /** To entry `index` of the leaf. */
  to(index: number): this {
    this.#at = this.#node.base + NODE_HEADER_WORDS + index * this.#stride;
    return this;
  }

  key(i: number): number {
    return this.#node.words[this.#at + i];
  }

  value(i: number): number {
    return this.#node.words[this.#at + this.#node.spec.keyWords + i];
  }

  payload(): Uint8Array {
    const ref = this.value(0);
    return this.#node.bytes.subarray(ref & 0xffff, (ref & 0xffff) + (ref >>> 16));
  }
}

function recordsFault(node: NodeImage, name: TreeName, blocks: number): string | null {
  const record = new LeafRecord(node);
  let end = 0;
  let owner = -1;
  for (let i = 0; i < countOf(node); i++) {
    record.to(i);
    const fault = recordFault(name, record, blocks);
    if (fault !== null) return `entry ${i}: ${fault}`;
    const isSame = name !== 'bmap' || owner === record.key(0);
    if (isSame && meets(name, record, end)) return `entry ${i} overlaps the one before it`;
    owner = record.key(0);
    end = runEnd(name, record);
  }
  return null;
}

/**
 * What is wrong with a node by itself in a filesystem of `blocks` blocks, or null. Whoever follows the entries of a
 * node for which this is null stays within the node, within the region, and comes to an end.
 */
export function nodeFault(node: NodeImage, blocks: number): string | null {
  const shape = countFault(node) ?? heapFault(node) ?? orderFault(node);
  if (shape !== null) return shape;
  if (node.level > 0) return childrenFault(node, blocks);
  const name = treeName(node.spec.id);
  return name === undefined ? 'belongs to no tree' : recordsFault(node, name, blocks);
}
