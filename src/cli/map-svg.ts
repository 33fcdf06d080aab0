import { colorOf, inkOn } from './map-colors.js';
import { type Key, keyText, type Picture } from './map-picture.js';
import { humanSize } from './output.js';

/** Pixels. */
const CELL = { width: 11, height: 18 } as const;
const MARGIN = 24;
const OFFSETS_WIDTH = 84;
const TITLE_HEIGHT = 64;
const LEGEND = { line: 24, column: 380, swatch: 16 } as const;
const LEGEND_TEXT_MAX = 40;

const FONT = 'font-family="Inter, Helvetica, Arial, sans-serif"';
const MONO = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace"';

const escaped = (text: string): string =>
  text
    .replace(/[^\x20-\x7e]/gu, (c) => (c < ' ' || c === '\x7f' ? '?' : `&#${c.codePointAt(0)};`))
    .replace(/&(?!#\d+;)/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');

/** The end of a path says more than its beginning. */
const shortened = (text: string): string =>
  text.length <= LEGEND_TEXT_MAX ? text : `...${text.slice(3 - LEGEND_TEXT_MAX)}`;

/** The picture as a file that a browser opens. */
export function mapSvg(picture: Picture, title: string, name: (ino: number) => string): string {
  const gridWidth = picture.columns * CELL.width;
  const width = Math.max(gridWidth + OFFSETS_WIDTH + 2 * MARGIN, LEGEND.column * 2);
  const gridHeight = picture.rows * CELL.height;
  const across = Math.max(1, Math.floor((width - 2 * MARGIN) / LEGEND.column));
  const legendTop = TITLE_HEIGHT + gridHeight + 36;
  const height = legendTop + Math.ceil(picture.keys.length / across) * LEGEND.line + MARGIN;
  const scale = `one cell is ${humanSize(picture.cellBytes)}, the region ${humanSize(picture.size)}`;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"`,
    ` viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${MARGIN}" y="30" ${FONT} font-size="17" font-weight="600" fill="#1a202c">${escaped(title)}</text>`,
    `<text x="${MARGIN}" y="50" ${FONT} font-size="12" fill="#5a6675">${scale}</text>`,
    ...gridParts(picture),
    ...legendParts(picture.keys, across, legendTop, name),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

/** Cells of one kind that follow each other in a row are one rectangle with its letter. */
function gridParts(picture: Picture): string[] {
  const { cells, columns, keys } = picture;
  const left = MARGIN + OFFSETS_WIDTH;
  const parts: string[] = [];
  for (let from = 0, row = 0; from < cells.length; from += columns, row++) {
    const y = TITLE_HEIGHT + row * CELL.height;
    const offset = humanSize(from * picture.cellBytes);
    parts.push(
      `<text x="${left - 10}" y="${y + 13}" ${MONO} font-size="11" fill="#5a6675" text-anchor="end">${offset}</text>`,
    );
    const end = Math.min(cells.length, from + columns);
    for (let at = from; at < end; ) {
      let next = at;
      while (next < end && cells[next] === cells[at]) next++;
      parts.push(...runParts(keys[cells[at]], left + (at - from) * CELL.width, y, next - at));
      at = next;
    }
  }
  return parts;
}

function runParts(key: Key, x: number, y: number, cells: number): string[] {
  const color = colorOf(key);
  const width = cells * CELL.width - 1;
  const rect = `<rect x="${x}" y="${y}" width="${width}" height="${CELL.height - 2}" rx="2" fill="${color}"/>`;
  if (key.kind === 'free') return [rect];
  const text =
    `<text x="${x + width / 2}" y="${y + 12}" ${MONO} font-size="11" fill="${inkOn(color)}" ` +
    `text-anchor="middle">${escaped(key.letter)}</text>`;
  return [rect, text];
}

function legendParts(
  keys: readonly Key[],
  across: number,
  top: number,
  name: (ino: number) => string,
): string[] {
  const rows = Math.ceil(keys.length / across);
  return keys.flatMap((key, i) => {
    const x = MARGIN + Math.floor(i / rows) * LEGEND.column;
    const y = top + (i % rows) * LEGEND.line;
    const color = colorOf(key);
    const full = keyText(key, name);
    return [
      `<g><title>${escaped(full)}: ${key.bytes} bytes</title>`,
      `<rect x="${x}" y="${y}" width="${LEGEND.swatch}" height="${LEGEND.swatch}" rx="3" fill="${color}"/>`,
      `<text x="${x + LEGEND.swatch / 2}" y="${y + 12}" ${MONO} font-size="11" fill="${inkOn(color)}"` +
        ` text-anchor="middle">${escaped(key.letter)}</text>`,
      `<text x="${x + 26}" y="${y + 13}" ${FONT} font-size="13" fill="#1a202c">${escaped(shortened(full))}` +
        `<tspan dx="8" fill="#5a6675">${humanSize(key.bytes)}</tspan></text></g>`,
    ];
  });
}
