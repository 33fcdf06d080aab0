import { Problems } from '../check/problem.js';
import { scanTrees } from '../check/scan.js';
import { probe, readSlot, type Superblock, writeSlot } from '../engine/superblock.js';
import { FsError } from '../errors.js';
import type { Media } from '../media/media.js';

/** A superblock to start from, and what is known of the slots. */
export interface FoundSuperblock {
  readonly sb: Superblock;
  /** The slot that counts at a mount. */
  readonly slot: number;
  /** Why the superblock is written anew, whatever the trees say; empty where both slots are as they must be. */
  readonly reasons: readonly string[];
}

/** Transaction numbers beyond this one were never written by anybody. */
const TXID_MAX = 2 ** 48;

/** The valid slots, and what of one slot the other one may know better: each is a superblock to try. */
function candidates(media: Media): { readonly sb: Superblock; readonly slot: number }[] {
  const found: { sb: Superblock; slot: number }[] = [];
  const first = readSlot(media, 0, 0);
  if (first.kind === 'valid') found.push({ sb: first.sb, slot: 0 });
  const ends = [first.kind === 'valid' ? first.sb.blocks - 1 : 0, media.blocks - 1];
  for (const end of new Set(ends.filter((block) => block > 0 && block < media.blocks))) {
    const last = readSlot(media, 1, end);
    if (last.kind === 'valid') found.push({ sb: last.sb, slot: 1 });
  }
  const usable = found.filter(({ sb }) => sb.blocks <= media.blocks);
  const mixed = usable.flatMap(({ sb, slot }) =>
    usable
      .filter((other) => other.slot !== slot)
      .map(({ sb: { blocks, uuid } }) => ({ sb: { ...sb, blocks, uuid }, slot })),
  );
  return [...usable, ...mixed].sort((a, b) => b.sb.txid - a.sb.txid);
}

/**
 * The superblock to repair from: of the valid ones the newest, or, where they differ in size or uuid, the one that
 * finds most. Throws EINVAL where there is no filesystem, EUCLEAN where no slot is left.
 */
export function findSuperblock(media: Media): FoundSuperblock {
  const found = probe(media);
  if (found.kind === 'empty') {
    throw new FsError('EINVAL', 'repair', 'the region is empty; make a filesystem with rmapfs mkfs');
  }
  const all = candidates(media);
  if (all.length === 0) {
    if (found.kind === 'foreign') {
      throw new FsError('EINVAL', 'repair', `the region is not a rmapfs filesystem: ${found.detail}`);
    }
    const why = found.kind === 'damaged' ? found.detail : 'no slot is valid';
    const advice = 'nothing is left to start from, and nothing was changed';
    throw new FsError('EUCLEAN', 'repair', `the filesystem cannot be found: ${why}; ${advice}`);
  }
  const sameEverywhere = all.every(
    ({ sb }) => sb.blocks === all[0].sb.blocks && sb.uuid.equals(all[0].sb.uuid),
  );
  const best = sameEverywhere
    ? all[0]
    : all.reduce((a, b) => (nodesOf(media, b.sb) > nodesOf(media, a.sb) ? b : a));
  return { sb: best.sb, slot: best.slot, reasons: reasonsToWrite(best.sb) };
}

/** How many nodes can be used. */
function nodesOf(media: Media, sb: Superblock): number {
  const { nodes, lost } = scanTrees(media, sb, new Problems());
  return nodes.size - lost.length;
}

function reasonsToWrite(sb: Superblock): string[] {
  if (!sb.shutdown) return [];
  const why = sb.shutdownReason === '' ? 'an error' : sb.shutdownReason;
  return [`the mark of the shutdown is taken off (${why})`];
}

/** Numbers of the two transactions that write the slots: the one that does not count now first. */
export function nextTransactions({ sb, slot }: FoundSuperblock, newestNode: number): [number, number] {
  const last = sb.txid > TXID_MAX ? newestNode : sb.txid;
  const first = last + 1 + ((last + 1 + slot + 1) % 2);
  return [first, first + 1];
}

/** The label without what is no UTF-8. */
const cleanLabel = (label: string): string => label.replaceAll('\ufffd', '?');

/**
 * Makes the new trees count: writes the slot that does not count now, which does it, then the other one. A flush
 * behind each: whenever this ends, one of the two is whole.
 */
export function commit(media: Media, sb: Superblock, txids: readonly [number, number]): void {
  for (const txid of txids) {
    writeSlot(media, txid % 2, { ...sb, txid, label: cleanLabel(sb.label) });
    media.flush();
  }
}
