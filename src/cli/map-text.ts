import { channels, colorOf, inkOn } from './map-colors.js';
import { type Key, keyText, type Picture } from './map-picture.js';
import { humanSize } from './output.js';

/** Columns of the offset before each row. */
export const MARGIN_COLUMNS = 11;
/** Lines of a picture without its legend: the title, and one between it and the rows. */
export const HEAD_LINES = 2;

export interface TextStyle {
  color: boolean;
  legend: boolean;
  name: (ino: number) => string;
}

const RESET = '\u001b[0m';

function painted(text: string, key: Key): string {
  const color = colorOf(key);
  const ground = channels(color).join(';');
  const ink = channels(inkOn(color)).join(';');
  return `\u001b[48;2;${ground}m\u001b[38;2;${ink}m${text}${RESET}`;
}

/** The picture for a terminal. */
export function mapText(picture: Picture, title: string, style: TextStyle): string {
  const { keys, cells, columns } = picture;
  const paint = (text: string, i: number): string => (style.color ? painted(text, keys[i]) : text);
  let text = `${title}\n\n`;
  for (let from = 0; from < cells.length; from += columns) {
    const row = cells.slice(from, from + columns);
    text += `${humanSize(from * picture.cellBytes).padStart(MARGIN_COLUMNS - 1)} `;
    for (let at = 0; at < row.length; ) {
      let end = at;
      while (end < row.length && row[end] === row[at]) end++;
      text += paint(keys[row[at]].letter.repeat(end - at), row[at]);
      at = end;
    }
    text += '\n';
  }
  return style.legend ? `${text}\n${legendText(keys, style, paint)}` : text;
}

function legendText(
  keys: readonly Key[],
  style: TextStyle,
  paint: (text: string, i: number) => string,
): string {
  const lines = keys.map((key, i) => {
    const size = humanSize(key.bytes).padStart(12);
    return `  ${paint(key.letter, i)} ${size}  ${keyText(key, style.name)}\n`;
  });
  return lines.join('');
}
