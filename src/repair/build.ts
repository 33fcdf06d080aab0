import { NODE, NODE_BODY_WORDS, NODE_HEADER_WORDS, NODE_MAGIC, type TreeSpec } from '../engine/layout.js';
import { innerStride, leafStride } from '../engine/node-fault.js';
import { blockChecksum } from '../engine/nodes.js';
import type { TreeRoot } from '../engine/superblock.js';
import { asPhys, BLOCK_SIZE } from '../types.js';
import { compareKeys, type Draft, type DraftRecord, type Key } from './draft.js';

/** Where new nodes go. */
export interface NodeSink {
  /** The block of the next new node. */
  take(): number;
  /** A zeroed block to fill. */
  image(block: number): Uint32Array<ArrayBuffer>;
  readonly txid: number;
  /** The first two words of the filesystem's uuid. */
  readonly uuid: readonly [number, number];
}

/** A node and what the one above it says of it. */
interface Child {
  readonly block: number;
  readonly key: Key;
  /** Highest last block of a record below, in augmented trees. */
  readonly last: number;
}

const BODY_BYTES = NODE_BODY_WORDS * 4;

/**
 * Builds the tree that a draft describes: leaves without an edit that `keeps` agrees to stay where they are, all
 * else is new. Nothing in use is changed. Returns the root.
 */
export function buildTree(draft: Draft, keeps: (leaf: number) => boolean, sink: NodeSink): TreeRoot {
  const { spec } = draft.view;
  const leaves = new LeafPacker(spec, sink);
  addLeaves(draft, keeps, leaves);
  let children = leaves.finish();
  const { records } = leaves;
  if (children.length === 0) return { root: 0, height: 0, count: 0 };
  let height = 1;
  for (; children.length > 1; height++) children = above(spec, children, height, sink);
  return { root: children[0].block, height, count: records };
}

/** Goes through the leaves and the edits side by side. */
function addLeaves(draft: Draft, keeps: (leaf: number) => boolean, packer: LeafPacker): void {
  const { view, edits } = draft;
  let e = 0;
  for (let index = 0; index < view.leaves.length; index++) {
    const end = index + 1 < view.leaves.length ? draft.firstKey(index + 1) : null;
    const first = e;
    while (e < edits.length && (end === null || compareKeys(edits[e].key, end) < 0)) e++;
    if (e === first && keeps(view.leaves[index]))
      packer.keep(keptChild(draft, index), leafCount(draft, index));
    else for (const record of merged(draft.leafRecords(index), edits.slice(first, e))) packer.add(record);
  }
  if (view.leaves.length === 0) for (const record of merged([], edits)) packer.add(record);
}

function leafCount({ view }: Draft, index: number): number {
  const block = asPhys(view.leaves[index]);
  return view.media.words(block)[view.media.wordIndex(block) + NODE.count];
}

function keptChild(draft: Draft, index: number): Child {
  const { view } = draft;
  let last = 0;
  if (view.spec.augmented) {
    for (const record of draft.leafRecords(index)) last = Math.max(last, lastOf(record));
  }
  return { block: view.leaves[index], key: draft.firstKey(index), last };
}

/** Last block of a record of an augmented tree. */
const lastOf = ({ key, value }: DraftRecord): number => key[0] + value[0] - 1;

function* merged(
  stored: Iterable<DraftRecord>,
  edits: readonly { readonly key: Key; readonly value: DraftRecord['value'] | null }[],
): Generator<DraftRecord> {
  let e = 0;
  for (const record of stored) {
    for (; e < edits.length && compareKeys(edits[e].key, record.key) < 0; e++) {
      const { key, value } = edits[e];
      if (value !== null) yield { key, value };
    }
    if (e < edits.length && compareKeys(edits[e].key, record.key) === 0) {
      const { key, value } = edits[e++];
      if (value !== null) yield { key, value };
    } else yield record;
  }
  for (; e < edits.length; e++) {
    const { key, value } = edits[e];
    if (value !== null) yield { key, value };
  }
}

/** Fills leaves one after the other. */
class LeafPacker {
  records = 0;
  readonly #spec: TreeSpec;
  readonly #sink: NodeSink;
  readonly #children: Child[] = [];
  #waiting: DraftRecord[] = [];
  #bytes = 0;

  constructor(spec: TreeSpec, sink: NodeSink) {
    this.#spec = spec;
    this.#sink = sink;
  }

  add(record: DraftRecord): void {
    const bytes = leafStride(this.#spec) * 4 + (this.#spec.variable ? record.value.length : 0);
    if (this.#bytes + bytes > BODY_BYTES) this.#flush();
    this.#waiting.push(record);
    this.#bytes += bytes;
    this.records++;
  }

  keep(child: Child, records: number): void {
    this.#flush();
    this.#children.push(child);
    this.records += records;
  }

  finish(): Child[] {
    this.#flush();
    return this.#children;
  }

  #flush(): void {
    if (this.#waiting.length === 0) return;
    const spec = this.#spec;
    const block = this.#sink.take();
    const words = newNode(spec, block, 0, this.#waiting.length, this.#sink);
    let top = BLOCK_SIZE;
    let last = 0;
    this.#waiting.forEach(({ key, value }, i) => {
      const at = NODE_HEADER_WORDS + i * leafStride(spec);
      words.set(key, at);
      if (spec.variable) {
        top -= value.length;
        words[at + spec.keyWords] = top + value.length * 65536;
        Buffer.from(words.buffer).set(value, top);
      } else words.set(value, at + spec.keyWords);
      if (spec.augmented) last = Math.max(last, lastOf({ key, value }));
    });
    words[NODE.heapTop] = top;
    seal(words);
    this.#children.push({ block, key: this.#waiting[0].key, last });
    this.#waiting = [];
    this.#bytes = 0;
  }
}

/** The nodes that lead to these children. */
function above(spec: TreeSpec, children: readonly Child[], level: number, sink: NodeSink): Child[] {
  const stride = innerStride(spec);
  const most = Math.floor(NODE_BODY_WORDS / stride);
  const nodes: Child[] = [];
  for (let from = 0; from < children.length; from += most) {
    const own = children.slice(from, from + most);
    const block = sink.take();
    const words = newNode(spec, block, level, own.length, sink);
    own.forEach(({ key, block: child, last }, i) => {
      const at = NODE_HEADER_WORDS + i * stride;
      words.set(key, at);
      words[at + spec.keyWords] = child;
      if (spec.augmented) words[at + spec.keyWords + 1] = last;
    });
    words[NODE.heapTop] = BLOCK_SIZE;
    seal(words);
    nodes.push({ block, key: own[0].key, last: own.reduce((most, { last }) => Math.max(most, last), 0) });
  }
  return nodes;
}

function newNode(
  spec: TreeSpec,
  block: number,
  level: number,
  count: number,
  sink: NodeSink,
): Uint32Array<ArrayBuffer> {
  const words = sink.image(block);
  words[NODE.magic] = NODE_MAGIC;
  words[NODE.self] = block;
  words[NODE.treeLevel] = spec.id + level * 256;
  words[NODE.count] = count;
  words[NODE.txidLo] = sink.txid >>> 0;
  words[NODE.txidHi] = Math.floor(sink.txid / 2 ** 32);
  words[NODE.uuid0] = sink.uuid[0];
  words[NODE.uuid1] = sink.uuid[1];
  return words;
}

function seal(words: Uint32Array<ArrayBuffer>): void {
  words[NODE.crc] = blockChecksum(Buffer.from(words.buffer), 'node');
}
