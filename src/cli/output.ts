import type { CliEnvironment } from './environment.js';

/** One column of a table. Numbers go to the right. */
export interface Column<T> {
  title: string;
  align: 'left' | 'right';
  text(row: T): string;
  /** Width for tables that are printed as they come; otherwise the longest cell decides. */
  width?: number;
}

const GAP = '  ';

function formatLine(cells: string[], widths: number[], aligns: ('left' | 'right')[]): string {
  const padded = cells.map((cell, i) =>
    aligns[i] === 'right' ? cell.padStart(widths[i]) : cell.padEnd(widths[i]),
  );
  return `${padded.join(GAP).trimEnd()}\n`;
}

/** A table with a title line and columns as wide as their longest cell. */
export function formatTable<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const cells = rows.map((row) => columns.map((column) => column.text(row)));
  const widths = columns.map((column, i) =>
    cells.reduce((most, line) => Math.max(most, line[i].length), column.title.length),
  );
  const aligns = columns.map((column) => column.align);
  const titles = columns.map((column) => column.title);
  return [titles, ...cells].map((line) => formatLine(line, widths, aligns)).join('');
}

export async function printJson(env: CliEnvironment, document: unknown): Promise<void> {
  await env.write(`${JSON.stringify(document, null, 2)}\n`);
}

/** Prints one JSON array from pages of rows, one element a line; only a page is in memory at a time. */
async function streamJson<T>(env: CliEnvironment, pages: Iterable<readonly T[]>): Promise<void> {
  let text = '[';
  let separator = '\n';
  for (const page of pages) {
    for (const row of page) {
      text += separator + JSON.stringify(row);
      separator = ',\n';
    }
    await env.write(text);
    text = '';
  }
  await env.write(`${text}\n]\n`);
}

/** Prints a table from pages of rows; the columns have fixed widths. */
async function streamTable<T>(
  env: CliEnvironment,
  columns: readonly Column<T>[],
  pages: Iterable<readonly T[]>,
): Promise<void> {
  const widths = columns.map((column) => Math.max(column.width ?? 0, column.title.length));
  const aligns = columns.map((column) => column.align);
  let text = formatLine(
    columns.map((column) => column.title),
    widths,
    aligns,
  );
  for (const page of pages) {
    for (const row of page) {
      const cells = columns.map((column) => column.text(row));
      text += formatLine(cells, widths, aligns);
    }
    await env.write(text);
    text = '';
  }
  if (text !== '') await env.write(text);
}

/** Prints pages of rows as one JSON array or as a table. */
export async function printPages<T>(
  env: CliEnvironment,
  json: boolean,
  columns: readonly Column<T>[],
  pages: Iterable<readonly T[]>,
): Promise<void> {
  await (json ? streamJson(env, pages) : streamTable(env, columns, pages));
}

/** "4.0 MiB": for people; the exact number of bytes stands beside it. */
export function humanSize(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${bytes} bytes` : `${value.toFixed(1)} ${units[unit]}`;
}

/** "1 owner", "2 owners". */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
