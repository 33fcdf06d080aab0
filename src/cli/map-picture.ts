import type { BadBlockRecord, FsmapRecord } from '../control/codec.js';
import { FSMAP_FLAG, FSMAP_OWNER } from '../control/protocol.js';
import { MAX_INO } from '../types.js';

/** What a cell of the picture can stand for. Owners are files with a key of their own. */
export type CellKind = 'free' | 'superblock' | 'metadata' | 'owner' | 'other' | 'shared' | 'bad' | 'latent';

export interface Key {
  kind: CellKind;
  /** One character: what the terminal shows. */
  letter: string;
  /** Inode number of an owner, else 0. */
  ino: number;
  /** Of an owner among the owners, the largest first, from 0 on. */
  rank: number;
  /** All that it stands for, in bytes, whatever cells show. */
  bytes: number;
}

/** The region as a grid, row by row. */
export interface Picture {
  columns: number;
  rows: number;
  /** Bytes of the region, and of one cell (the last cell may be smaller). */
  size: number;
  cellBytes: number;
  /** Index in `keys` for each cell; there are at most columns * rows. */
  cells: number[];
  /** Free first, then what the region has, owners by size. */
  keys: Key[];
}

/** Letters of owners, largest first. M, S, X and x are taken. */
const OWNER_LETTERS = 'abcdefghijklmnopqrstuvwyzABCDEFGHIJKLNOPQRTUVWYZ0123456789';
export const OWNERS_SHOWN_MAX = OWNER_LETTERS.length;

/** Keys of what is no owner, in the order of the legend. */
const FIXED: readonly { kind: CellKind; letter: string }[] = [
  { kind: 'free', letter: '.' },
  { kind: 'superblock', letter: 'S' },
  { kind: 'metadata', letter: 'M' },
  { kind: 'shared', letter: '#' },
  { kind: 'bad', letter: 'X' },
  { kind: 'latent', letter: 'x' },
  { kind: 'other', letter: '+' },
];

/** What a cell shows when it holds several things: the most urgent, not the largest. */
const URGENCY: Readonly<Record<CellKind, number>> = {
  bad: 5,
  latent: 4,
  superblock: 3,
  shared: 2,
  owner: 1,
  other: 1,
  metadata: 1,
  free: 0,
};

interface Piece {
  from: number;
  to: number;
  /** An inode number, or FSMAP_OWNER. */
  owner: number;
  shared: boolean;
}

/** What a record of the map stands for; each byte of the region once, although shared ones come once an owner. */
function* pieces(pages: Iterable<readonly FsmapRecord[]>): Generator<Piece> {
  let covered = 0;
  for (const page of pages) {
    for (const record of page) {
      const from = Math.max(record.physical, covered);
      const to = record.physical + record.length;
      if (to <= from) continue;
      covered = to;
      yield { from, to, owner: record.owner, shared: (record.flags & FSMAP_FLAG.shared) !== 0 };
    }
  }
}

function kindOf({ owner, shared }: Piece): CellKind {
  if (shared) return 'shared';
  if (owner === FSMAP_OWNER.superblock) return 'superblock';
  if (owner === FSMAP_OWNER.metadata) return 'metadata';
  if (owner <= MAX_INO) return 'owner';
  return owner === FSMAP_OWNER.free ? 'free' : 'other';
}

/** Size of a grid that has a cell for each unit of `unit` bytes, or fewer, larger cells. */
function scale(size: number, unit: number, columns: number, rowsMax: number) {
  const units = Math.ceil(size / unit);
  const perCell = Math.ceil(units / (columns * rowsMax));
  const cells = Math.ceil(units / perCell);
  return { cellBytes: perCell * unit, cells, rows: Math.ceil(cells / columns) };
}

export interface PictureSource {
  size: number;
  blockSize: number;
  fsmap: Iterable<readonly FsmapRecord[]>;
  bad: Iterable<readonly BadBlockRecord[]>;
}

/** Draws the region into at most `columns` x `rowsMax` cells. */
export function drawRegion(source: PictureSource, columns: number, rowsMax: number): Picture {
  const { cellBytes, cells, rows } = scale(source.size, source.blockSize, columns, rowsMax);
  const tally = new Tally(cellBytes, cells);
  for (const piece of pieces(source.fsmap)) tally.add(kindOf(piece), piece.owner, piece.from, piece.to);
  for (const page of source.bad) {
    for (const { physical, length, latent } of page) {
      tally.add(latent ? 'latent' : 'bad', 0, physical, physical + length);
    }
  }
  const keys = tally.keys();
  return { columns, rows, size: source.size, cellBytes, cells: tally.shown(keys), keys };
}

/** Bytes of each thing in each cell and in all. Files are counted by inode number, the others by their kind. */
class Tally {
  readonly #cellBytes: number;
  readonly #cells: Map<number | CellKind, number>[];
  readonly #total = new Map<number | CellKind, number>();

  constructor(cellBytes: number, cells: number) {
    this.#cellBytes = cellBytes;
    this.#cells = Array.from({ length: cells }, () => new Map());
  }

  add(kind: CellKind, owner: number, from: number, to: number): void {
    const what = kind === 'owner' ? owner : kind;
    this.#total.set(what, (this.#total.get(what) ?? 0) + to - from);
    for (let at = from; at < to; ) {
      const cell = Math.floor(at / this.#cellBytes);
      const end = Math.min(to, (cell + 1) * this.#cellBytes);
      const map = this.#cells[cell];
      map.set(what, (map.get(what) ?? 0) + end - at);
      at = end;
    }
  }

  keys(): Key[] {
    const files = [...this.#total].filter((entry): entry is [number, number] => typeof entry[0] === 'number');
    files.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    const rest = files.slice(OWNERS_SHOWN_MAX).reduce((sum, [, bytes]) => sum + bytes, 0);
    if (rest > 0) this.#total.set('other', (this.#total.get('other') ?? 0) + rest);
    const fixed = FIXED.flatMap(({ kind, letter }) => {
      const bytes = this.#total.get(kind) ?? 0;
      return bytes > 0 || kind === 'free' ? [{ kind, letter, ino: 0, rank: 0, bytes }] : [];
    });
    const owners = files
      .slice(0, OWNERS_SHOWN_MAX)
      .map(([ino, bytes], i): Key => ({ kind: 'owner', letter: OWNER_LETTERS[i], ino, rank: i, bytes }));
    return [...fixed, ...owners];
  }

  /** For each cell the index of the key that it shows. */
  shown(keys: readonly Key[]): number[] {
    const byWhat = new Map<number | CellKind, number>(
      keys.map((key, i) => [key.kind === 'owner' ? key.ino : key.kind, i]),
    );
    const other = byWhat.get('other') ?? 0;
    return this.#cells.map((cell) => {
      let best = 0;
      let bestBytes = 0;
      for (const [what, bytes] of cell) {
        const i = byWhat.get(what) ?? other;
        const more = URGENCY[keys[i].kind] - URGENCY[keys[best].kind];
        if (more < 0 || (more === 0 && bytes <= bestBytes)) continue;
        best = i;
        bestBytes = bytes;
      }
      return best;
    });
  }
}

/** What a key stands for, in words; `name` gives the path of a file. */
export function keyText(key: Key, name: (ino: number) => string): string {
  switch (key.kind) {
    case 'owner':
      return name(key.ino);
    case 'other':
      return 'other files';
    case 'shared':
      return 'shared by several files';
    case 'bad':
      return 'bad';
    case 'latent':
      return 'bad, not known yet (latent)';
    default:
      return key.kind;
  }
}
