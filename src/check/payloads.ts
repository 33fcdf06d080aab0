import { NODE, NODE_HEADER_WORDS, type TreeSpec } from '../engine/layout.js';
import type { ReadonlyWords } from '../engine/nodes.js';
import { PAYLOAD_MAX_BYTES } from '../engine/tree.js';
import { BLOCK_SIZE } from '../types.js';

/**
 * What is wrong with the payloads of a variable-length leaf, or null: each lies between the lowest one and the end
 * of the block, none overlaps another, and live and dead ones fill that space.
 */
export function payloadProblem(
  spec: TreeSpec,
  words: ReadonlyWords,
  base: number,
  indexEnd: number,
): string | null {
  const top = words[base + NODE.heapTop];
  const dead = words[base + NODE.heapDead];
  const count = words[base + NODE.count];
  if (top < indexEnd || top > BLOCK_SIZE) return `has payloads from byte ${top} on, which is out of range`;
  const places: [from: number, to: number][] = [];
  let live = 0;
  for (let i = 0; i < count; i++) {
    const ref = words[base + NODE_HEADER_WORDS + i * (spec.keyWords + 1) + spec.keyWords];
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
  if (live + dead !== BLOCK_SIZE - top) {
    return `has ${live} bytes of payloads and ${dead} of dead ones in ${BLOCK_SIZE - top} bytes`;
  }
  return null;
}
