import {
  ROOT_WORDS,
  SB,
  SB_STATE_CLEAN,
  SB_STATE_LOST,
  SB_STATE_SHUTDOWN,
  TREE_SLOTS,
  TREES,
  WORDS_PER_BLOCK,
} from '../engine/layout.js';
import { readSlot, type Superblock, slotBlock } from '../engine/superblock.js';
import { LABEL_MAX_BYTES, SHUTDOWN_REASON_MAX_BYTES, TREE_HEIGHT_MAX } from '../limits.js';
import type { Media } from '../media/media.js';
import { asPhys, MAX_INO } from '../types.js';
import { atBlock, type Problems } from './problem.js';

/** Words that are the same in both slots from mkfs on; the others are compared with what they must be. */
const CONSTANT_WORDS: readonly (readonly [name: string, first: number, words: number])[] = [
  ['size', SB.blocks, 1],
  ['uuid', SB.uuid, 4],
  ['time of creation', SB.createdLo, 2],
  ['label', SB.label, LABEL_MAX_BYTES / 4],
];
/** The first transaction, which mkfs makes: the other slot is empty then. */
const FIRST_TXID = 2;

/**
 * Checks both superblock slots. `current` is the one that counts. The other one is reported when it cannot be used,
 * also where it may be torn because a commit was interrupted: the two cannot be told apart.
 */
export function checkSuperblocks(media: Media, current: Superblock, problems: Problems): void {
  const number = current.txid % 2;
  const [ownBlock, otherBlock] = [number, 1 - number].map((slot) => slotBlock(slot, current.blocks));
  const own = readSlot(media, number, ownBlock);
  const add = (block: number, text: string): void => {
    problems.add('superblock', `superblock slot ${block === 0 ? 0 : 1}: ${text}`, atBlock(block));
  };
  if (own.kind !== 'valid' || own.sb.txid !== current.txid) {
    add(otherBlock, `it counts with transaction ${current.txid}, which belongs into the other slot`);
    checkValues(wordsOf(media, otherBlock), current, (text) => add(otherBlock, text));
    return;
  }
  if (current.metadataLost) add(ownBlock, `it was shut down for lost metadata: ${current.shutdownReason}`);
  checkValues(wordsOf(media, ownBlock), current, (text) => add(ownBlock, text));
  checkOther(media, current, 1 - number, (text) => add(otherBlock, text));
}

function wordsOf(media: Media, block: number): Uint32Array {
  const base = media.wordIndex(asPhys(block));
  return media.words(asPhys(block)).subarray(base, base + WORDS_PER_BLOCK);
}

/** What can be said of a valid slot by itself. */
function checkValues(words: Uint32Array, sb: Superblock, add: (text: string) => void): void {
  const unknown = words[SB.state] & ~(SB_STATE_CLEAN | SB_STATE_SHUTDOWN | SB_STATE_LOST);
  if (unknown !== 0) add(`unknown bits 0x${(unknown >>> 0).toString(16)} in its state`);
  if (sb.clean && sb.shutdown) add('it is marked as unmounted cleanly and as shut down');
  if (sb.metadataLost && !sb.shutdown) add('it says that metadata were lost, and has no shutdown');
  if (sb.txid < FIRST_TXID) add(`transaction ${sb.txid}, the first one is ${FIRST_TXID}`);
  if (sb.lastIno > MAX_INO) add(`the highest inode number is ${sb.lastIno}, the limit is ${MAX_INO}`);
  if (!isPadded(words, SB.label, LABEL_MAX_BYTES, sb.label)) add('its label is not UTF-8 padded with zeros');
  if (!isPadded(words, SB.shutdownReason, SHUTDOWN_REASON_MAX_BYTES, sb.shutdownReason)) {
    add('the reason of its shutdown is not UTF-8 padded with zeros');
  } else if (sb.shutdownReason !== '' && !sb.shutdown) add('it has the reason of a shutdown and no shutdown');
  const known = new Map<number, string>(Object.values(TREES).map((spec) => [spec.id, spec.name]));
  for (let id = 0; id < TREE_SLOTS; id++) {
    const { root, height, count } = sb.roots[id];
    const name = known.get(id);
    if (name === undefined) {
      if (root !== 0 || height !== 0 || count !== 0) add(`a root in the unused place ${id}`);
      continue;
    }
    const isSound = (root === 0) === (height === 0) && (root === 0) === (count === 0);
    if (!isSound || root >= sb.blocks || height > TREE_HEIGHT_MAX) {
      add(`tree ${name} has the root ${root}, height ${height} and ${count} records`);
    }
  }
  const end = SB.roots + TREE_SLOTS * ROOT_WORDS;
  if (words.subarray(end).some((word) => word !== 0)) add('words behind its last root that are not zero');
}

/** Whether the field holds exactly this text and zeros behind it. */
function isPadded(words: Uint32Array, at: number, max: number, text: string): boolean {
  const field = Buffer.from(words.buffer, words.byteOffset + at * 4, max);
  const bytes = Buffer.byteLength(text);
  return field.subarray(0, bytes).equals(Buffer.from(text)) && field.subarray(bytes).every((b) => b === 0);
}

function checkOther(media: Media, current: Superblock, slot: number, add: (text: string) => void): void {
  const block = slotBlock(slot, current.blocks);
  const words = wordsOf(media, block);
  if (current.txid === FIRST_TXID && words.every((word) => word === 0)) return;
  const state = readSlot(media, slot, block);
  if (state.kind === 'valid') {
    if (state.sb.txid !== current.txid - 1) {
      add(`transaction ${state.sb.txid} beside ${current.txid}: the one before is expected`);
    }
    checkValues(words, state.sb, add);
    const own = wordsOf(media, slotBlock(1 - slot, current.blocks));
    for (const [name, first, count] of CONSTANT_WORDS) {
      const isSame = words.subarray(first, first + count).every((word, i) => word === own[first + i]);
      if (!isSame) add(`its ${name} differs from that of the other slot`);
    }
    return;
  }
  const why = state.kind === 'torn' ? state.why : 'no magic number and version of ours';
  add(
    `it cannot be used (${why}): it is damaged, or a commit was interrupted and the next one puts it right`,
  );
}
