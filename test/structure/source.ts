import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import ts from 'typescript';

/** The checkout. */
const ROOT = resolve(import.meta.dirname, '../..');

const SKIPPED = new Set(['node_modules', 'dist', 'build', '.git', 'coverage', 'parts']);

/** A file of the checkout; `path` is relative to it, with forward slashes. */
export interface Source {
  path: string;
  text: string;
}

/** All files below the folders whose name ends in one of `endings`, in a fixed order. */
export function readSources(folders: readonly string[], endings: readonly string[]): Source[] {
  const found: Source[] = [];
  const walk = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        if (!SKIPPED.has(entry.name)) walk(path);
      } else if (endings.some((end) => entry.name.endsWith(end)))
        found.push({ path: relative(ROOT, path), text: readFileSync(path, 'utf8') });
    }
  };
  for (const folder of folders) walk(join(ROOT, folder));
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

export const parse = (source: Source): ts.SourceFile =>
  ts.createSourceFile(source.path, source.text, ts.ScriptTarget.ES2023, true);

/** The line of a node, from 1. */
export const lineOf = (file: ts.SourceFile, position: number): number =>
  file.getLineAndCharacterOfPosition(position).line + 1;

/** Calls `visit` for a node and everything below it. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  node.forEachChild((child) => walk(child, visit));
}

/** Which file a relative import names; undefined for packages and Node's own modules. */
export function resolveImport(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const target = join(from, '..', specifier);
  return target.replace(/\.js$/, '.ts').replace(/\.mjs$/, '.mts');
}
