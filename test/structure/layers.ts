import ts from 'typescript';
import { parse, resolveImport, type Source } from './source.js';

/**
 * Which layers a layer may import besides itself and the common files. This is the arrow of
 * docs/ARCHITECTURE.md; a new folder under src/ must be entered here.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  media: [],
  engine: ['media'],
  fuse: [],
  vfs: ['fuse', 'engine', 'control', 'failure', 'media'],
  dax: ['engine'],
  failure: ['engine', 'control', 'media'],
  check: ['engine', 'media'],
  repair: ['check', 'engine', 'media'],
  control: ['engine'],
  daemon: ['fuse', 'vfs', 'engine', 'media', 'failure', 'dax', 'control', 'check'],
  cli: ['control', 'daemon', 'engine', 'media', 'check', 'repair', 'compare'],
  compare: [],
  demo: ['control', 'cli'],
};

/** Files directly under src/ that every layer may use. */
const COMMON = ['src/types.ts', 'src/errors.ts', 'src/limits.ts', 'src/exchange.ts'];
/** The native addon's only door, and who may go through it. */
const NATIVE = 'src/native.ts';
const NATIVE_USERS = ['media', 'failure', 'daemon', 'control'];

/** src/engine/tree.ts -> engine; undefined for files directly under src/. */
const layerOf = (path: string): string | undefined => /^src\/([^/]+)\/.+$/.exec(path)?.[1];

/** The files a file imports or re-exports, types included. */
export const importsOf = (source: Source): string[] =>
  ts
    .preProcessFile(source.text, true, true)
    .importedFiles.map((file) => resolveImport(source.path, file.fileName))
    .filter((path) => path !== undefined);

function refusal(from: string, to: string): string | undefined {
  const layer = layerOf(from);
  const target = layerOf(to);
  if (!to.startsWith('src/')) return `${from} imports ${to}, which is outside src/`;
  if (layer === undefined) {
    const ok = COMMON.includes(to) || target === undefined;
    return ok ? undefined : `${from} is for every layer and may import none: ${to}`;
  }
  if (COMMON.includes(to)) return undefined;
  if (to === NATIVE)
    return NATIVE_USERS.includes(layer) ? undefined : `${layer} must not use ${to} (${from})`;
  if (target === layer) return undefined;
  if (target !== undefined && MAY_IMPORT[layer]?.includes(target)) return undefined;
  return `${layer} must not import ${target ?? to}: ${from} imports ${to}`;
}

/** Every file below src/ that is in no known layer. */
export const unknownFiles = (sources: readonly Source[]): string[] =>
  sources
    .map((source) => source.path)
    .filter((path) => {
      const layer = layerOf(path);
      return layer === undefined ? ![...COMMON, NATIVE].includes(path) : !(layer in MAY_IMPORT);
    })
    .map((path) => `${path} belongs to no layer of test/structure/layers.ts`);

/** Every import that goes against the arrow. */
export const forbiddenImports = (sources: readonly Source[]): string[] =>
  sources.flatMap((source) =>
    importsOf(source)
      .map((to) => refusal(source.path, to))
      .filter((problem) => problem !== undefined),
  );

/** The files that a file loads: its imports and re-exports, without those of types alone. */
function loadsOf(source: Source): string[] {
  return parse(source).statements.flatMap((node) => {
    if (!ts.isImportDeclaration(node) && !ts.isExportDeclaration(node)) return [];
    const typesOnly = ts.isImportDeclaration(node) ? node.importClause?.isTypeOnly : node.isTypeOnly;
    const specifier = node.moduleSpecifier;
    if (typesOnly || !specifier || !ts.isStringLiteral(specifier)) return [];
    return resolveImport(source.path, specifier.text) ?? [];
  });
}

/** Rings of files that load each other, each named once. */
export const importCycles = (sources: readonly Source[]): string[] =>
  cyclesOf(new Map(sources.map((source) => [source.path, loadsOf(source)])));

/** Rings of layers that may import each other: the arrow has none. */
export const layerCycles = (may: Readonly<Record<string, readonly string[]>> = MAY_IMPORT): string[] =>
  cyclesOf(new Map(Object.entries(may)));

function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const state = new Map<string, 'open' | 'done'>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      return;
    }
    state.set(path, 'open');
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    state.set(path, 'done');
  };
  for (const path of graph.keys()) visit(path, []);
  return cycles;
}
