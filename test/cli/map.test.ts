import { describe, expect, test } from 'vitest';
import { drawRegion, keyText, OWNERS_SHOWN_MAX, type Picture } from '../../src/cli/map-picture.js';
import { mapSvg } from '../../src/cli/map-svg.js';
import { mapText } from '../../src/cli/map-text.js';
import type { BadBlockRecord, FsmapRecord } from '../../src/control/codec.js';
import { FSMAP_FLAG, FSMAP_OWNER } from '../../src/control/protocol.js';

const BLOCK = 4096;

const record = (block: number, blocks: number, owner: number, flags = 0): FsmapRecord => ({
  physical: block * BLOCK,
  length: blocks * BLOCK,
  owner,
  fileOffset: 0,
  flags,
  detail: 1,
});

const badRun = (block: number, latent: boolean): BadBlockRecord => ({
  physical: block * BLOCK,
  length: BLOCK,
  latent,
  since: 1,
});

/** 32 blocks: superblocks at the ends, metadata, a shared extent, two files, a bad and a latent block. */
const FSMAP = [
  record(0, 1, FSMAP_OWNER.superblock),
  record(1, 3, FSMAP_OWNER.metadata),
  record(4, 4, 20, FSMAP_FLAG.shared),
  record(4, 4, 21, FSMAP_FLAG.shared),
  record(8, 2, 20),
  record(10, 5, 21),
  record(15, 16, FSMAP_OWNER.free),
  record(31, 1, FSMAP_OWNER.superblock),
];
const BAD = [badRun(9, false), badRun(20, true)];

const draw = (columns: number, rows: number, fsmap = FSMAP, bad = BAD, size = 32 * BLOCK): Picture =>
  drawRegion({ size, blockSize: BLOCK, fsmap: [fsmap], bad: [bad] }, columns, rows);

const letters = ({ cells, keys }: Picture): string => cells.map((i) => keys[i].letter).join('');
const name = (ino: number): string => `/file-${ino}`;
const PLAIN = { color: false, legend: false, name };

describe('the picture of a region', () => {
  test('has a cell for each block where there is room', () => {
    const picture = draw(16, 10);
    expect(picture).toMatchObject({ cellBytes: BLOCK, rows: 2 });
    expect(letters(picture)).toBe('SMMM####bXaaaaa.....x..........S');
  });

  test('scales to the window, and shows the most urgent thing of a cell', () => {
    const picture = draw(4, 2);
    expect(picture).toMatchObject({ cellBytes: 4 * BLOCK, rows: 2 });
    expect(letters(picture)).toBe('S#Xa.x.S');
    expect(letters(draw(3, 2))).toHaveLength(6);
  });

  test('counts every byte of its keys once', () => {
    const { keys } = draw(4, 2);
    const bytes = Object.fromEntries(keys.map((key) => [keyText(key, name), key.bytes / BLOCK]));
    expect(bytes).toEqual({
      free: 16,
      superblock: 2,
      metadata: 3,
      'shared by several files': 4,
      bad: 1,
      'bad, not known yet (latent)': 1,
      '/file-21': 5,
      '/file-20': 2,
    });
  });

  test('gives the largest files a letter and the rest one together', () => {
    const files = Array.from({ length: OWNERS_SHOWN_MAX + 3 }, (_, i) => record(i, 1, 100 + i));
    const picture = draw(100, 10, files, [], files.length * BLOCK);
    expect(picture.keys.filter((key) => key.kind === 'owner')).toHaveLength(OWNERS_SHOWN_MAX);
    expect(picture.keys.find((key) => key.kind === 'other')?.bytes).toBe(3 * BLOCK);
    expect(letters(picture).endsWith('+++')).toBe(true);
    expect(new Set(picture.keys.map((key) => key.letter)).size).toBe(picture.keys.length);
  });
});

describe('the picture in a terminal', () => {
  test('has the offset of each row, and a legend when asked for', () => {
    const text = mapText(draw(16, 10), 'title', PLAIN);
    expect(text.split('\n')).toEqual([
      'title',
      '',
      '   0 bytes SMMM####bXaaaaa.',
      '  64.0 KiB ....x..........S',
      '',
    ]);
    const legend = mapText(draw(16, 10), 'title', { ...PLAIN, legend: true });
    expect(legend).toMatch(/^ {2}X +4\.0 KiB {2}bad$/m);
    expect(legend).toMatch(/^ {2}a +20\.0 KiB {2}\/file-21$/m);
  });

  test('is the same in color', () => {
    const colored = mapText(draw(16, 10), 'title', { ...PLAIN, color: true });
    expect(colored).toContain('\u001b[48;2;214;32;42m');
    const plain = colored
      .split('\u001b')
      .map((part, i) => (i === 0 ? part : part.replace(/^\[[0-9;]*m/, '')));
    expect(plain.join('')).toBe(mapText(draw(16, 10), 'title', PLAIN));
  });
});

describe('the picture as SVG', () => {
  test('shows the same runs, each key with its name', () => {
    const svg = mapSvg(draw(16, 10), 'title', name);
    const runs = svg.match(/height="16" rx="2"/g) ?? [];
    // Row 1: S M # b X a free; row 2: free x free S.
    expect(runs).toHaveLength(7 + 4);
    for (const text of ['bad', 'metadata', 'shared by several files', '/file-20'])
      expect(svg).toContain(text);
  });

  test('is well-formed whatever files are called', () => {
    const svg = mapSvg(draw(16, 10), 'a & b', () => '/<"&>\u00e9\u0001');
    expect(svg).toContain('a &amp; b');
    expect(svg).toContain('/&lt;&quot;&amp;&gt;&#233;?');
    expect(/[^\n\x20-\x7e]/.test(svg)).toBe(false);
    expect(svg.replaceAll(/&(amp|lt|gt|quot|#\d+);/g, '')).not.toContain('&');
  });
});
