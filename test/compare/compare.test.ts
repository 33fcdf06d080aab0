import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CATALOGUE } from '../../src/compare/catalogue.js';
import { dataScript } from '../../src/compare/data-script.js';
import { KNOWN } from '../../src/compare/known.js';
import { nameScript } from '../../src/compare/name-script.js';
import { parseScript, scriptText } from '../../src/compare/replay.js';
import { shrink } from '../../src/compare/shrink.js';
import { hasFineTimes, judge } from '../../src/compare/verdict.js';

describe('shrink', () => {
  const script = Array.from({ length: 100 }, (_, i) => `line ${i}`);

  it.each([[[17]], [[0, 99]], [[3, 4, 50, 97]]])('leaves only what is needed: %j', async (needed) => {
    const lines = needed.map((i) => script[i]);
    const fails = async (part: readonly string[]) => lines.every((line) => part.includes(line));
    expect(await shrink(script, fails, 1000)).toEqual(lines);
  });

  it('stops after so many runs, with a script that fails', async () => {
    let runs = 0;
    const fails = async (part: readonly string[]) => {
      runs++;
      return part.includes('line 3') && part.includes('line 90');
    };
    const found = await shrink(script, fails, 10);
    expect(runs).toBe(10);
    expect(found.includes('line 3') && found.includes('line 90')).toBe(true);
  });
});

describe('verdict', () => {
  const judged = (line: string, xfs: string, rmapfs: string, ...before: string[]) =>
    judge(
      { line, xfs, rmapfs },
      before.map((text) => ({ line: text })),
    );

  it('the same, and not the same', () => {
    expect(judged('write a 0 1 1', '1 0 [a]', '1 0 [a]')).toBe('same');
    expect(judged('write a 0 1 1', '1 0 [a]', '0 0 [a]')).toBe('differs');
    expect(judged('look a', '10 0 hash=1', '10 0 hash=2', 'mstore a 0 1 1', 'copy a 1 b 2 3')).toBe(
      'differs',
    );
  });

  it('a daemon that has ended is never meant', () => {
    const before = [{ line: 'truncate a 17T', known: 'largest-file' }];
    const step = (rmapfs: string) => ({ line: 'look a', xfs: '1 0 hash=1 [a]', rmapfs });
    expect(judge(step('2 0 hash=2 [a]'), before)).toEqual({ known: 'largest-file' });
    for (const lost of ['-1 ENOTCONN', '-1 ECONNABORTED [a none]'])
      expect(judge(step(lost), before)).toBe('differs');
  });

  it('a block that is shared on XFS only is never meant', () => {
    const map = (extents: string) => `0 0 data=0-4096 extents:${extents} blocks=all [a 100644 1 0 0 1 -]`;
    expect(judged('map a', map(' 0-4096s'), map(' 0-4096'), 'truncate a 5')).toBe('differs');
    expect(judged('map a', map(' 0-4096'), map(' 0-4096s'))).toBe('differs');
    expect(judged('map a', map(' 0-4096'), map(' 0-4096s'), 'truncate a 5')).toEqual({
      known: 'shares-more',
    });
  });

  it.each([
    ['6.18.44-x', true],
    ['6.12.1', false],
    ['6.13.0-rc1', true],
    ['5.19', false],
    ['7.0.0', true],
  ])('Linux %s has exact times: %s', (release, fine) => expect(hasFineTimes(release)).toBe(fine));

  it('each known difference has a name of its own, and a row in docs/SEMANTICS.md', () => {
    expect(new Set(KNOWN.map(({ id }) => id)).size).toBe(KNOWN.length);
    const semantics = readFileSync(join(import.meta.dirname, '../../docs/SEMANTICS.md'), 'utf8');
    expect(KNOWN.filter(({ row }) => !semantics.includes(`\n| ${row} |`))).toEqual([]);
  });
});

describe('scripts', () => {
  it('a seed gives the same script each time, and another one another', () => {
    for (const make of [
      (seed: number) => dataScript(seed, 'mapped', 200, true),
      (s: number) => nameScript(s, 200, true),
    ]) {
      expect(make(1)).toEqual(make(1));
      expect(make(1)).not.toEqual(make(2));
    }
  });

  it('no line has more words than the agent takes, or a character that it would not', () => {
    const lines = [
      ...Object.values(CATALOGUE).flat(),
      ...dataScript(3, 'odd', 500, true),
      ...nameScript(3, 500, true),
    ];
    expect(lines.filter((line) => !/^[!-~]+( [!-~]+){0,8}$/.test(line))).toEqual([]);
  });

  it('are read back from their text', () => {
    expect(parseScript(scriptText(['create a 644', 'look a'], 'about it'))).toEqual([
      'create a 644',
      'look a',
    ]);
    expect(() => parseScript('# nothing\n\n')).toThrow('no lines');
  });
});
