import { assert, CorruptionError, FsError } from '../errors.js';
import { LABEL_MAX_BYTES, REGION_MIN_BYTES, SHUTDOWN_REASON_MAX_BYTES } from '../limits.js';
import type { Media } from '../media/media.js';
import { asPhys, BLOCK_SIZE, MAX_INO } from '../types.js';
import {
  FORMAT_VERSION,
  ROOT_WORDS,
  SB,
  SB_MAGIC_HI,
  SB_MAGIC_LO,
  SB_STATE_CLEAN,
  SB_STATE_LOST,
  SB_STATE_SHUTDOWN,
  TREE_SLOTS,
  WORDS_PER_BLOCK,
} from './layout.js';
import { blockChecksum } from './nodes.js';

export interface TreeRoot {
  root: number;
  height: number;
  count: number;
}

/** A superblock slot, decoded. */
export interface Superblock {
  blocks: number;
  txid: number;
  /** 16 bytes. */
  uuid: Buffer;
  label: string;
  clean: boolean;
  shutdown: boolean;
  /** The shutdown was for metadata on failed memory: which they are may stand nowhere. */
  metadataLost: boolean;
  /** Why; cut at SHUTDOWN_REASON_MAX_BYTES. Empty without a shutdown, or when no reason was kept. */
  shutdownReason: string;
  lastIno: number;
  inodeCount: number;
  freeBlocks: number;
  metaBlocks: number;
  /** Seconds since 1970. */
  created: number;
  /** By tree id. */
  roots: TreeRoot[];
}

export const uuidText = (uuid: Buffer): string =>
  uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

const join = (lo: number, hi: number): number => lo + hi * 2 ** 32;

/** Block numbers of the two slots of a filesystem of `blocks` blocks. */
export const slotBlock = (slot: number, blocks: number): number => (slot === 0 ? 0 : blocks - 1);

const stateOf = ({ clean, shutdown, metadataLost }: Superblock): number =>
  (clean ? SB_STATE_CLEAN : 0) | (shutdown ? SB_STATE_SHUTDOWN : 0) | (metadataLost ? SB_STATE_LOST : 0);

/** Writes a slot into the region. The caller flushes. */
export function writeSlot(media: Media, slot: number, sb: Superblock): void {
  const block = asPhys(slotBlock(slot, sb.blocks));
  const image = new Uint32Array(WORDS_PER_BLOCK);
  const bytes = Buffer.from(image.buffer);
  image[SB.magicLo] = SB_MAGIC_LO;
  image[SB.magicHi] = SB_MAGIC_HI;
  image[SB.version] = FORMAT_VERSION;
  image[SB.blockSize] = BLOCK_SIZE;
  image[SB.blocks] = sb.blocks;
  image[SB.txidLo] = sb.txid >>> 0;
  image[SB.txidHi] = Math.floor(sb.txid / 2 ** 32);
  sb.uuid.copy(bytes, SB.uuid * 4);
  image[SB.state] = stateOf(sb);
  image[SB.lastIno] = sb.lastIno;
  image[SB.inodeCount] = sb.inodeCount;
  image[SB.freeBlocks] = sb.freeBlocks;
  image[SB.metaBlocks] = sb.metaBlocks;
  image[SB.createdLo] = sb.created >>> 0;
  image[SB.createdHi] = Math.floor(sb.created / 2 ** 32);
  image[SB.slot] = slot;
  bytes.write(sb.label, SB.label * 4, LABEL_MAX_BYTES, 'utf8');
  bytes.write(sb.shutdownReason, SB.shutdownReason * 4, SHUTDOWN_REASON_MAX_BYTES, 'utf8');
  for (let id = 0; id < TREE_SLOTS; id++) {
    const at = SB.roots + id * ROOT_WORDS;
    image[at] = sb.roots[id].root;
    image[at + 1] = sb.roots[id].height;
    image[at + 2] = sb.roots[id].count >>> 0;
    image[at + 3] = Math.floor(sb.roots[id].count / 2 ** 32);
  }
  image[SB.crc] = blockChecksum(bytes, 'superblock');
  media.words(block).set(image, media.wordIndex(block));
  media.noteDirty(block, 1);
}

/** What one slot holds. `foreign` is anything without our magic number, zeros included. */
export type SlotState =
  | { kind: 'valid'; sb: Superblock }
  | { kind: 'foreign' }
  | { kind: 'version'; version: number }
  | { kind: 'torn'; why: string };

/** Reads the slot with the number `slot`, 0 or 1, at `block`. */
export function readSlot(media: Media, slot: number, block: number): SlotState {
  const words = media.words(asPhys(block));
  const base = media.wordIndex(asPhys(block));
  const word = (i: number): number => words[base + i];
  if (word(SB.magicLo) !== SB_MAGIC_LO || word(SB.magicHi) !== SB_MAGIC_HI) return { kind: 'foreign' };
  // Before the checksum: another version may keep that elsewhere.
  if (word(SB.version) !== FORMAT_VERSION) return { kind: 'version', version: word(SB.version) };
  const bytes = media.bytes(asPhys(block), 1);
  if (word(SB.crc) !== blockChecksum(bytes, 'superblock')) return { kind: 'torn', why: 'wrong checksum' };
  if (word(SB.blockSize) !== BLOCK_SIZE) return { kind: 'torn', why: `block size ${word(SB.blockSize)}` };
  if (word(SB.blocks) * BLOCK_SIZE < REGION_MIN_BYTES) {
    return { kind: 'torn', why: `a size of ${word(SB.blocks)} blocks` };
  }
  if (word(SB.slot) !== slot) return { kind: 'torn', why: `written as slot ${word(SB.slot)}` };
  const text = (word: number, most: number): string => {
    const field = bytes.subarray(word * 4, word * 4 + most);
    const end = field.indexOf(0);
    return field.toString('utf8', 0, end < 0 ? most : end);
  };
  const roots: TreeRoot[] = [];
  for (let id = 0; id < TREE_SLOTS; id++) {
    const at = SB.roots + id * ROOT_WORDS;
    roots.push({ root: word(at), height: word(at + 1), count: join(word(at + 2), word(at + 3)) });
  }
  const state = word(SB.state);
  return {
    kind: 'valid',
    sb: {
      blocks: word(SB.blocks),
      txid: join(word(SB.txidLo), word(SB.txidHi)),
      uuid: Buffer.from(bytes.subarray(SB.uuid * 4, SB.uuid * 4 + 16)),
      label: text(SB.label, LABEL_MAX_BYTES),
      clean: (state & SB_STATE_CLEAN) !== 0,
      shutdown: (state & SB_STATE_SHUTDOWN) !== 0,
      metadataLost: (state & SB_STATE_LOST) !== 0,
      shutdownReason: text(SB.shutdownReason, SHUTDOWN_REASON_MAX_BYTES),
      lastIno: word(SB.lastIno),
      inodeCount: word(SB.inodeCount),
      freeBlocks: word(SB.freeBlocks),
      metaBlocks: word(SB.metaBlocks),
      created: join(word(SB.createdLo), word(SB.createdHi)),
      roots,
    },
  };
}

export type Probe =
  | { kind: 'rmapfs'; sb: Superblock }
  /** The start of the region holds nothing but zeros. */
  | { kind: 'empty' }
  | { kind: 'foreign'; detail: string }
  /** Ours, but not usable; `detail` says why in one sentence. */
  | { kind: 'damaged'; detail: string };

/** What lies at the start of most things that are not rmapfs: enough to refuse to overwrite it. */
const SIGNATURES: readonly { name: string; at: number; magic: Buffer }[] = [
  { name: 'XFS', at: 0, magic: Buffer.from('XFSB') },
  { name: 'ext2, ext3 or ext4', at: 1024 + 56, magic: Buffer.from([0x53, 0xef]) },
  { name: 'btrfs', at: 65536 + 64, magic: Buffer.from('_BHRfS_M') },
  { name: 'swap', at: 4086, magic: Buffer.from('SWAPSPACE2') },
  { name: 'a partition table', at: 510, magic: Buffer.from([0x55, 0xaa]) },
];
const PROBE_BLOCKS = 17;

function foreign(media: Media): Probe {
  const count = media.contiguous(asPhys(0), Math.min(PROBE_BLOCKS, media.blocks));
  const start = media.bytes(asPhys(0), count);
  for (const s of SIGNATURES) {
    if (start.subarray(s.at, s.at + s.magic.length).equals(s.magic)) {
      return { kind: 'foreign', detail: `it holds ${s.name}` };
    }
  }
  if (start.every((b) => b === 0)) return { kind: 'empty' };
  return { kind: 'foreign', detail: 'it holds data that are not a rmapfs filesystem' };
}

/** Looks for a filesystem in the region: the valid slot with the newer transaction counts. */
export function probe(media: Media): Probe {
  const first = readSlot(media, 0, 0);
  let second: SlotState = { kind: 'foreign' };
  const at = first.kind === 'valid' ? first.sb.blocks - 1 : media.blocks - 1;
  if (at > 0 && at < media.blocks) second = readSlot(media, 1, at);
  const slots = [first, second].flatMap((s) => (s.kind === 'valid' ? [s.sb] : []));
  if (slots.length === 0) {
    for (const s of [first, second]) {
      if (s.kind === 'version') {
        return {
          kind: 'damaged',
          detail: `it has format version ${s.version}, this program knows version ${FORMAT_VERSION}`,
        };
      }
      if (s.kind === 'torn')
        return { kind: 'damaged', detail: `both superblock slots are damaged (${s.why})` };
    }
    return foreign(media);
  }
  const sb = slots.reduce((a, b) => (b.txid > a.txid ? b : a));
  if (sb.blocks > media.blocks) {
    return {
      kind: 'damaged',
      detail:
        `the filesystem has ${sb.blocks * BLOCK_SIZE} bytes but the region ` +
        `only ${media.blocks * BLOCK_SIZE}: it was truncated`,
    };
  }
  return { kind: 'rmapfs', sb };
}

/** The superblock to mount from, or one sentence that says why there is none. */
export function readSuperblock(media: Media): Superblock {
  const found = probe(media);
  switch (found.kind) {
    case 'rmapfs':
      break;
    case 'empty':
      throw new FsError('EINVAL', 'mount', 'the region is empty; make a filesystem with rmapfs mkfs');
    case 'foreign':
      throw new FsError('EINVAL', 'mount', `the region is not a rmapfs filesystem: ${found.detail}`);
    case 'damaged':
      throw new FsError('EUCLEAN', 'mount', `the region cannot be used: ${found.detail}`);
  }
  const { sb } = found;
  if (sb.freeBlocks > sb.blocks || sb.lastIno > MAX_INO) {
    throw new CorruptionError(
      -1,
      `the superblock counts ${sb.freeBlocks} free blocks, inodes up to ${sb.lastIno}`,
    );
  }
  for (const { root, height } of sb.roots) {
    if ((root === 0) !== (height === 0) || root >= sb.blocks) {
      throw new CorruptionError(-1, `the superblock names block ${root} as a root of height ${height}`);
    }
  }
  assert(sb.roots.length === TREE_SLOTS, 'superblock without its roots');
  return sb;
}
