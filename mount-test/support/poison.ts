import { expect } from 'vitest';
import { cli, type Mounted } from './harness.js';
import { sys } from './run.js';

/** The report of `rmapfs poison --json`, as the contract of the command line has it. */
export interface Report {
  physical: number;
  length: number;
  latent: boolean;
  owners: OwnerReport[];
  victims: VictimReport[];
  shutdown: boolean;
}
export interface OwnerReport {
  kind: 'file' | 'metadata' | 'superblock' | 'free';
  ino: number;
  paths: string[];
  fileOffset: number;
  length: number;
  fork: string;
  shareCount: number;
  open: boolean;
}
export interface VictimReport {
  pid: number;
  tid: number;
  comm: string;
  ino: number;
  /** Hexadecimal. */
  address: string;
  lsb: number;
  signal: string | number;
  code: string;
  means: string;
  result: string;
}
export interface BadRange {
  physical: number;
  length: number;
  latent: boolean;
}

export const BLOCK = 4096;

/** Poisons one block of a file; the command must succeed. */
export function poisonFile(file: string, offset: number, ...more: string[]): Report {
  return cli(
    'poison',
    '--file',
    file,
    '--offset',
    String(offset),
    '--length',
    String(BLOCK),
    ...more,
    '--json',
  ).json<Report>();
}

export function poisonPhysical(m: Mounted, physical: number, length = BLOCK, ...more: string[]): Report {
  return cli(
    'poison',
    m.dir,
    '--offset',
    String(physical),
    '--length',
    String(length),
    ...more,
    '--json',
  ).json<Report>();
}

export const badBlocks = (m: Mounted): BadRange[] => cli('badblocks', m.dir, '--json').json<BadRange[]>();

/** Region offset of a file's block. */
export function physicalOf(file: string, offset: number): number {
  const extents = cli('extents', file, '--json').json<
    { fileOffset: number; physical: number; length: number }[]
  >();
  const extent = extents.find((e) => e.fileOffset <= offset && offset < e.fileOffset + e.length);
  if (!extent) throw new Error(`${file} has no block at ${offset}`);
  return extent.physical + (offset - extent.fileOffset);
}

/** Which of the file's first `blocks` blocks read(2) refuses with EIO; any other failure fails the test. */
export function unreadable(file: string, blocks: number): number[] {
  const bad: number[] = [];
  for (let block = 0; block < blocks; block++) {
    const { ret, errno } = sys('read', file, block * BLOCK, BLOCK);
    if (ret < 0) {
      expect(errno).toBe('EIO');
      bad.push(block);
    }
  }
  return bad;
}
