import { describe, expect, it } from 'vitest';
import { readSources, type Source } from './source.js';
import {
  deadExports,
  FUNCTION_LINES_MAX,
  LINE_CHARACTERS_MAX,
  longFunctions,
  longLines,
  markers,
  nonAscii,
  sharedClassNames,
  swallowedErrors,
  switchedTests,
  unsafeTypes,
  whitespace,
} from './tidy.js';

const TYPESCRIPT = readSources(['src', 'test', 'mount-test', 'bench'], ['.ts']);
const NATIVE = readSources(['native', 'mount-test', 'bench'], ['.c', '.cc', '.cpp', '.h']);
const CODE = [...TYPESCRIPT, ...NATIVE];

/** Exported names that nobody imports, each with its reason. */
const KEPT_EXPORTS: Readonly<Record<string, string>> = {};

const sample = (text: string, path = 'src/sample.ts'): Source => ({ path, text });

describe('tidy', () => {
  it('finds the sources', () => expect(TYPESCRIPT.length).toBeGreaterThan(10));
  it('has one class a name', () => expect(sharedClassNames(readSources(['src'], ['.ts']))).toEqual([]));
  it('notices two classes of one name', () =>
    expect(
      sharedClassNames([
        sample('export class Table {}', 'src/a.ts'),
        sample('export class Table {}', 'src/b.ts'),
        sample('class Table {}', 'src/c.ts'),
      ]),
    ).toEqual(['Table is a class of src/a.ts and of src/b.ts']));
  it('is ASCII', () => expect(CODE.flatMap(nonAscii)).toEqual([]));
  it('has no leftover markers', () => expect(CODE.flatMap(markers)).toEqual([]));
  it('has no long lines', () => expect(CODE.flatMap(longLines)).toEqual([]));
  it('has clean line ends', () => expect(CODE.flatMap(whitespace)).toEqual([]));
  it('has no long functions', () => expect(TYPESCRIPT.flatMap(longFunctions)).toEqual([]));
  it('has no unsafe types', () => expect(TYPESCRIPT.flatMap(unsafeTypes)).toEqual([]));
  it('swallows no errors', () => expect(TYPESCRIPT.flatMap(swallowedErrors)).toEqual([]));
  it('has no tests switched off', () => expect(TYPESCRIPT.flatMap(switchedTests)).toEqual([]));

  it('has no dead exports', () => {
    expect(deadExports(TYPESCRIPT).filter((name) => !(name in KEPT_EXPORTS))).toEqual([]);
  });

  it('keeps no reason for an export that is used or gone', () => {
    const dead = new Set(deadExports(TYPESCRIPT));
    expect(Object.keys(KEPT_EXPORTS).filter((name) => !dead.has(name))).toEqual([]);
  });
});

describe('the checks notice', () => {
  it('characters outside ASCII', () => {
    expect(nonAscii(sample('a\nconst b = "\u00e9";\n'))).toEqual(['src/sample.ts:2: character U+e9']);
    expect(nonAscii(sample('a\r\n'))).toHaveLength(1);
  });

  it('markers, but not words that contain one', () => {
    expect(markers(sample(`// ${'TO'}DO: later\n`))).toHaveLength(1);
    expect(markers(sample('const TODOS = 1;\n'))).toEqual([]);
  });

  it('long lines and bad line ends', () => {
    expect(longLines(sample(`${'x'.repeat(LINE_CHARACTERS_MAX)}\n`))).toEqual([]);
    expect(longLines(sample(`${'x'.repeat(LINE_CHARACTERS_MAX + 1)}\n`))).toHaveLength(1);
    expect(whitespace(sample('a \nb'))).toHaveLength(2);
  });

  it('long functions of each kind', () => {
    const body = 'a();\n'.repeat(FUNCTION_LINES_MAX);
    for (const head of [
      'function f() {',
      'const f = () => {',
      'class C { get f() {',
      'class C { constructor() {',
    ])
      expect(longFunctions(sample(`${head}\n${body}}${head.startsWith('class') ? '}' : ''}`))).toHaveLength(
        1,
      );
    expect(longFunctions(sample(`function f() {\n${body.slice(0, -10)}}`))).toEqual([]);
    expect(longFunctions(sample(`describe('x', () => {\n${body}});`))).toEqual([]);
  });

  it('unsafe types', () => {
    expect(unsafeTypes(sample('let a: any; b!.c(); d as any;'))).toHaveLength(3);
    expect(unsafeTypes(sample(`// @ts-${'ignore'}\nlet many = 1; !many;`))).toHaveLength(1);
  });

  it('swallowed errors', () => {
    expect(swallowedErrors(sample('try { a(); } catch {}'))).toHaveLength(1);
    expect(swallowedErrors(sample('try { a(); } catch {\n// gone already\n}'))).toEqual([]);
  });

  it('tests that are switched off', () => {
    expect(
      switchedTests(sample("it.skip('x'); describe.only('y'); it.each([])('z'); items.only;")),
    ).toHaveLength(2);
  });

  it('dead exports', () => {
    const a = sample(
      'export const used = 1, dead = 2; export function gone() {} export type T = 1;',
      'src/a.ts',
    );
    const b = sample("import { used as u } from './a.js'; import type { T } from './a.js';", 'src/b.ts');
    expect(deadExports([a, b])).toEqual(['src/a.ts#dead', 'src/a.ts#gone']);
    expect(deadExports([a, sample("import * as all from './a.js';", 'src/c.ts')])).toEqual([]);
  });
});
