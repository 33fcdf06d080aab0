import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Mounted, withMount } from './support/harness.js';
import { sys } from './support/run.js';

const LONG_AGO = 1_000_000_000;

const atimeOf = (path: string): number => (sys('statx', path).atime as [number, number])[0];

/** Whether a read moves an access time that is older than the last change, and one that is newer than all. */
function moves(path: string, read: (path: string) => unknown): { older: boolean; newer: boolean } {
  const moved = (atime: number): boolean => {
    sys('utimens', path, atime, 0, LONG_AGO, 0);
    read(path);
    return atimeOf(path) !== atime;
  };
  return { older: moved(LONG_AGO - 5), newer: moved(Math.floor(Date.now() / 1000) + 3600) };
}

const of = (m: Mounted): Record<'file' | 'directory', { older: boolean; newer: boolean }> => {
  mkdirSync(m.path('d'));
  writeFileSync(m.path('d/f'), 'text');
  return {
    file: moves(m.path('d/f'), (path) => readFileSync(path)),
    directory: moves(m.path('d'), (path) => readdirSync(path)),
  };
};

describe('access times', () => {
  const [never, relative, always] = [
    { older: false, newer: false },
    { older: true, newer: false },
    { older: true, newer: true },
  ];
  it.each([
    ['relatime', relative, relative],
    ['noatime', never, never],
    ['nodiratime', relative, never],
    ['strictatime', always, always],
  ])('-o %s', (option, file, directory) =>
    withMount({ options: [option] }, (m) => expect(of(m)).toEqual({ file, directory })),
  );
});
