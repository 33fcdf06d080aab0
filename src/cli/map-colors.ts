import type { Key } from './map-picture.js';

/** Colors of the picture, #rrggbb: told apart on a light and on a dark ground, also without full color vision. */
const FIXED: Readonly<Partial<Record<Key['kind'], string>>> = {
  free: '#e9edf1',
  superblock: '#2d3748',
  metadata: '#8292a8',
  shared: '#7b3fa0',
  bad: '#d6202a',
  latent: '#f08a24',
  other: '#b8b0a0',
};

/** Owners, one after the other; after the last it begins anew, and letters tell them apart. */
const OWNERS = [
  '#2f6fb7',
  '#3a9e5f',
  '#c9a227',
  '#38a9b8',
  '#a0673a',
  '#d47fb0',
  '#6c7f1f',
  '#5b5fc7',
  '#1f7a6d',
  '#9fb84a',
  '#b5566b',
  '#87b7e6',
] as const;

export function colorOf(key: Key): string {
  return FIXED[key.kind] ?? OWNERS[key.rank % OWNERS.length];
}

export function channels(color: string): [red: number, green: number, blue: number] {
  const value = Number.parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Black or white, whichever can be read on the color. */
export function inkOn(color: string): string {
  const [red, green, blue] = channels(color);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 150 ? '#1a202c' : '#ffffff';
}
