import { OWNER_METADATA } from '../engine/layout.js';
import { RunIndex } from './runs.js';
import { faultOf, type Repair } from './state.js';

interface Chunk {
  readonly start: number;
  readonly length: number;
}

/**
 * Decides which blocks are metadata chunks. What the chunk tree and the rmap agree on is one; what only one of them
 * says counts when no file has the blocks, those with most nodes first; nodes outside of all get chunks of their own.
 * `files` are the blocks that surely belong to files.
 */
export function settleChunks(r: Repair, files: RunIndex): void {
  const { sure, doubtful } = claims(r);
  const nodes = usableNodes(r);
  const accepted: Chunk[] = [];
  const taken = new Set<number>();
  const accept = (chunk: Chunk): void => {
    const blocks = Array.from({ length: chunk.length }, (_, i) => chunk.start + i);
    if (blocks.some((block) => taken.has(block))) return;
    for (const block of blocks) taken.add(block);
    accepted.push(chunk);
  };
  for (const chunk of sure) accept(chunk);
  const index = RunIndex.of(nodes.map((start) => ({ start, length: 1 })));
  const held = ({ start, length }: Chunk): number => {
    const runs = [...index.within(start, start + length)];
    return runs.reduce((sum, run) => sum + Math.min(run.end, start + length) - Math.max(run.start, start), 0);
  };
  const ranked = doubtful
    .filter(({ start, length }) => files.most(start, start + length) === 0)
    .map((chunk) => ({ chunk, nodes: held(chunk) }))
    .sort((a, b) => b.nodes - a.nodes || b.chunk.length - a.chunk.length);
  for (const { chunk, nodes: count } of ranked) {
    if (count > 0 || !isFree(r, chunk)) accept(chunk);
  }
  for (const block of nodes) {
    if (!taken.has(block) && files.most(block, block + 1) === 0) accept({ start: block, length: 1 });
  }
  accepted.sort((a, b) => a.start - b.start);
  r.chunks = accepted.map(({ start, length }) => ({ start, end: start + length }));
}

/** What chunk tree and rmap say, as far as it can be. */
function claims(r: Repair): { sure: Chunk[]; doubtful: Chunk[] } {
  const [sure, doubtful]: [Chunk[], Chunk[]] = [[], []];
  const { chunk: chunks, rmap } = r.drafts;
  for (const { key, value } of chunks.records()) {
    const chunk = { start: key[0], length: value[0] };
    if (!canBe(r, chunk)) continue;
    const told = rmap.get([chunk.start, OWNER_METADATA, 0]);
    (told?.[0] === chunk.length && told[1] === 0 ? sure : doubtful).push(chunk);
  }
  for (const { key, value } of rmap.records()) {
    const chunk = { start: key[0], length: value[0] };
    if (key[1] !== OWNER_METADATA || key[2] !== 0 || !canBe(r, chunk)) continue;
    if (chunks.get([chunk.start])?.[0] !== chunk.length) doubtful.push(chunk);
  }
  return { sure, doubtful };
}

const canBe = (r: Repair, { start, length }: Chunk): boolean =>
  faultOf(r, 'chunk', { key: [start], value: [length] }) === null;

/** The nodes that were read, in order. */
export function usableNodes(r: Repair): number[] {
  const lost = new Set(r.scan.lost.map(({ block }) => block));
  return [...r.scan.nodes.keys()].filter((block) => !lost.has(block)).sort((a, b) => a - b);
}

/** Whether the free tree has one of the blocks. */
function isFree(r: Repair, { start, length }: Chunk): boolean {
  const cursor = r.scan.trees.free.cursor();
  return cursor.seekLE(start + length - 1, 0, 0, 0) && cursor.key(0) + cursor.value(0) > start;
}

export const chunkIndex = (r: Repair): RunIndex =>
  new RunIndex(r.chunks.map(({ start, end }) => ({ start, end, count: 1 })));
