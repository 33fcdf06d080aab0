import ts from 'typescript';
import { lineOf, parse, resolveImport, type Source, walk } from './source.js';

/** The formatter breaks code at 110; it leaves comments and strings alone. */
export const LINE_CHARACTERS_MAX = 120;
export const FUNCTION_LINES_MAX = 80;

/** Spelled in two parts so that this file does not find itself. */
const MARKERS = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);

const at = (source: Source, line: number, what: string): string => `${source.path}:${line}: ${what}`;

const eachLine = (source: Source, problem: (line: string) => string | undefined): string[] =>
  source.text.split('\n').flatMap((line, index) => {
    const what = problem(line);
    return what === undefined ? [] : [at(source, index + 1, what)];
  });

/** Characters outside ASCII, and control characters other than tab and line feed. */
export const nonAscii = (source: Source): string[] =>
  eachLine(source, (line) => {
    const found = /[^\t\x20-\x7e]/u.exec(line);
    return found ? `character U+${found[0].codePointAt(0)?.toString(16)}` : undefined;
  });

/** Markers of work that was left. */
export const markers = (source: Source): string[] =>
  eachLine(source, (line) => (MARKERS.test(line) ? `marker ${MARKERS.exec(line)?.[0]}` : undefined));

export const longLines = (source: Source): string[] =>
  eachLine(source, (line) =>
    line.length > LINE_CHARACTERS_MAX ? `line of ${line.length} characters` : undefined,
  );

/** Trailing blanks and a missing line feed at the end. */
export const whitespace = (source: Source): string[] => [
  ...eachLine(source, (line) => (/[ \t]$/.test(line) ? 'trailing blank' : undefined)),
  ...(source.text.endsWith('\n') ? [] : [at(source, 1, 'no line feed at the end of the file')]),
];

const isFunction = (node: ts.Node): boolean =>
  ts.isFunctionDeclaration(node) ||
  ts.isFunctionExpression(node) ||
  ts.isArrowFunction(node) ||
  ts.isMethodDeclaration(node) ||
  ts.isConstructorDeclaration(node) ||
  ts.isAccessor(node);

/** A test suite's describe(...) callback holds tests; it is no function in the sense of the limit. */
const isSuite = (node: ts.Node): boolean =>
  ts.isCallExpression(node.parent) && /^describe\b/.test(node.parent.expression.getText());

export function longFunctions(source: Source): string[] {
  const file = parse(source);
  const problems: string[] = [];
  walk(file, (node) => {
    if (!isFunction(node) || isSuite(node)) return;
    const first = lineOf(file, node.getStart());
    const lines = lineOf(file, node.getEnd()) - first + 1;
    if (lines > FUNCTION_LINES_MAX) problems.push(at(source, first, `function of ${lines} lines`));
  });
  return problems;
}

/** `any`, non-null assertions and suppressed checks. */
export function unsafeTypes(source: Source): string[] {
  const file = parse(source);
  const problems: string[] = [];
  walk(file, (node) => {
    if (node.kind === ts.SyntaxKind.AnyKeyword)
      problems.push(at(source, lineOf(file, node.getStart()), 'any'));
    if (ts.isNonNullExpression(node))
      problems.push(at(source, lineOf(file, node.getStart()), 'non-null assertion'));
  });
  const suppressed = new RegExp(`@ts-(ig${'nore'}|expect-${'error'}|no${'check'})`);
  return [
    ...problems,
    ...eachLine(source, (line) => (suppressed.test(line) ? 'suppressed check' : undefined)),
  ];
}

/** catch blocks that drop the error without a word of why. */
export function swallowedErrors(source: Source): string[] {
  const file = parse(source);
  const problems: string[] = [];
  walk(file, (node) => {
    if (ts.isCatchClause(node) && node.block.statements.length === 0 && !/\/[/*]/.test(node.block.getText()))
      problems.push(at(source, lineOf(file, node.getStart()), 'empty catch block without a reason'));
  });
  return problems;
}

/** Tests that are switched off, or that switch all others off. */
export function switchedTests(source: Source): string[] {
  const file = parse(source);
  const problems: string[] = [];
  walk(file, (node) => {
    if (
      !ts.isPropertyAccessExpression(node) ||
      !/^(it|test|describe|suite)\b/.test(node.expression.getText())
    )
      return;
    if (['only', 'skip', 'todo', 'fails'].includes(node.name.text))
      problems.push(at(source, lineOf(file, node.getStart()), `.${node.name.text} in a test`));
  });
  return problems;
}

const isExported = (node: ts.Node): boolean =>
  ts.canHaveModifiers(node) &&
  (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword);

/** Names that a file exports, with their lines. */
function exportsOf(source: Source): Map<string, number> {
  const file = parse(source);
  const names = new Map<string, number>();
  const add = (name: ts.Node): void => void names.set(name.getText(), lineOf(file, name.getStart()));
  for (const node of file.statements) {
    if (ts.isExportDeclaration(node) && node.exportClause && ts.isNamedExports(node.exportClause))
      for (const element of node.exportClause.elements) add(element.name);
    if (!isExported(node)) continue;
    if (ts.isVariableStatement(node)) {
      for (const declaration of node.declarationList.declarations)
        if (ts.isIdentifier(declaration.name)) add(declaration.name);
    } else if (
      ts.isFunctionDeclaration(node) ||
      ts.isClassDeclaration(node) ||
      ts.isInterfaceDeclaration(node) ||
      ts.isTypeAliasDeclaration(node)
    ) {
      if (node.name) add(node.name);
    }
  }
  return names;
}

/** "file#name" of everything a file imports; "file#*" for a whole namespace. */
function usesOf(source: Source): string[] {
  const used: string[] = [];
  const from = (specifier: ts.Expression | undefined): string | undefined =>
    specifier && ts.isStringLiteral(specifier) ? resolveImport(source.path, specifier.text) : undefined;
  const named = (path: string, elements: readonly (ts.ImportSpecifier | ts.ExportSpecifier)[]): void => {
    for (const element of elements) used.push(`${path}#${(element.propertyName ?? element.name).text}`);
  };
  walk(parse(source), (node) => {
    if (ts.isImportDeclaration(node)) {
      const path = from(node.moduleSpecifier);
      const bindings = node.importClause?.namedBindings;
      if (path && bindings && ts.isNamedImports(bindings)) named(path, bindings.elements);
      else if (path && bindings) used.push(`${path}#*`);
    } else if (ts.isExportDeclaration(node)) {
      const path = from(node.moduleSpecifier);
      if (path && node.exportClause && ts.isNamedExports(node.exportClause))
        named(path, node.exportClause.elements);
      else if (path) used.push(`${path}#*`);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const path = from(node.arguments[0]);
      if (path) used.push(`${path}#*`);
    }
  });
  return used;
}

/**
 * Exported names that no other file imports, as "file#name". A type that appears in the signature of
 * something exported from the same file counts as used there.
 */
export function deadExports(sources: readonly Source[]): string[] {
  const used = new Set(sources.flatMap(usesOf));
  return sources.flatMap((source) => {
    if (used.has(`${source.path}#*`)) return [];
    return [...exportsOf(source)]
      .filter(([name]) => !used.has(`${source.path}#${name}`) && !isTypeOfOwnInterface(source, name))
      .map(([name]) => `${source.path}#${name}`);
  });
}

/**
 * Whether a type or interface is referred to by another declaration of its file (callers get it by
 * inference).
 */
function isTypeOfOwnInterface(source: Source, name: string): boolean {
  let declaresType = false;
  let referred = false;
  walk(parse(source), (node) => {
    if ((ts.isTypeAliasDeclaration(node) || ts.isInterfaceDeclaration(node)) && node.name.text === name)
      declaresType = true;
    if (ts.isTypeReferenceNode(node) && node.typeName.getText() === name) referred = true;
  });
  return declaresType && referred;
}

/** Exported classes that share their name with one of another file. */
export function sharedClassNames(sources: readonly Source[]): string[] {
  const home = new Map<string, string>();
  return sources.flatMap(({ path, text }) =>
    [...text.matchAll(/^export (?:abstract )?class (\w+)/gm)].flatMap(([, name]) => {
      const other = home.get(name);
      home.set(name, path);
      return other === undefined ? [] : [`${name} is a class of ${other} and of ${path}`];
    }),
  );
}
