/** What is meant to differ. Each has its row in docs/SEMANTICS.md. */

/** One answer of native/agent: "RET ERRNO FIELD... [NAME MODE NLINK UID GID SIZE TIMES]...". */
export interface Asked {
  words: readonly string[];
  xfs: string;
  rmapfs: string;
  /** Lines that were run before, the latest last. */
  before: readonly { line: string; known?: string }[];
}

interface Known {
  id: string;
  /** The first cell of its row in docs/SEMANTICS.md. */
  row: string;
  /** Whether the difference of the two answers is this one and nothing else. */
  is(asked: Asked): boolean;
}

const BLOCK = 4096;
const LARGEST = 16 * 1024 ** 4;
const SUFFIX: Readonly<Record<string, number>> = { K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** The number that a word stands for, NaN for a name. */
function numberOf(word: string): number {
  const match = /^(-?\d+)([KMGT]?)$/.exec(word);
  return match === null ? Number.NaN : Number(match[1]) * (SUFFIX[match[2]] ?? 1);
}

/** An answer without which times moved. */
export const withoutTimes = (answer: string): string => answer.replaceAll(/ (new|mc|m|c|-)\]/g, ']');
const withoutAtime = (answer: string): string => answer.replace(/ atime=\S+/, '');
const errnoOf = (answer: string): string => answer.split(' ')[1];

const usedBefore = (asked: Asked, ...operations: string[]): boolean =>
  asked.before.some(({ line }) => operations.includes(line.split(' ')[0]));

/** A store through a mapping was made before: by the agent, or by another process. */
const hasStores = (asked: Asked): boolean => usedBefore(asked, 'mstore', 'poke');

/** Where a block may have been zeroed in part: ends of files and of zeroed ranges. */
const ENDS: Readonly<Record<string, (words: readonly string[]) => number[]>> = {
  truncate: (w) => [numberOf(w[2])],
  write: (w) => [numberOf(w[2]) + numberOf(w[3])],
  append: (w) => [numberOf(w[3])],
  dwrite: (w) => [numberOf(w[2]) + numberOf(w[3])],
  swrite: (w) => [numberOf(w[2]) + numberOf(w[3])],
  mstore: () => [],
  allocate: (w) => [numberOf(w[2]) + numberOf(w[3])],
  zero: (w) => [numberOf(w[2]), numberOf(w[2]) + numberOf(w[3])],
  punch: (w) => [numberOf(w[2]), numberOf(w[2]) + numberOf(w[3])],
  zerokeep: (w) => [numberOf(w[2]), numberOf(w[2]) + numberOf(w[3])],
  unshare: (w) => [numberOf(w[2]) + numberOf(w[3])],
  tmpfile: (w) => [numberOf(w[3])],
  copy: (w) => [numberOf(w[2]), numberOf(w[4]), numberOf(w[5])],
  clone: (w) => [numberOf(w[2]), numberOf(w[4]), numberOf(w[5])],
};

const hasOddEnds = (asked: Asked): boolean =>
  asked.before.some(({ line }) => {
    const words = line.split(' ');
    return ENDS[words[0]]?.(words).some((end) => end % BLOCK !== 0) ?? false;
  });

/** The blocks of a map answer: block number -> "", "u", "s". */
function blocksOf(answer: string): Map<number, string> {
  const blocks = new Map<number, string>();
  const text = / extents:((?: \d+-\d+u?s?)*)/.exec(answer)?.[1] ?? '';
  for (const [, start, end, flags] of text.matchAll(/ (\d+)-(\d+)(u?s?)/g))
    for (let at = Number(start); at < Number(end); at += BLOCK) blocks.set(at, flags);
  return blocks;
}

const isShared = (flags: string | undefined): boolean => flags === 's';
const hasData = (flags: string | undefined): boolean => flags === '' || flags === 's';

/** Whether `relation` holds for every block of either file. */
function everyBlock(
  asked: Asked,
  relation: (xfs: string | undefined, rmapfs: string | undefined) => boolean,
): boolean {
  const [xfs, rmapfs] = [blocksOf(asked.xfs), blocksOf(asked.rmapfs)];
  return [...new Set([...xfs.keys(), ...rmapfs.keys()])].every((at) => relation(xfs.get(at), rmapfs.get(at)));
}

const FALLOCATES = new Set([
  'allocate',
  'keep',
  'zero',
  'zerokeep',
  'punch',
  'collapse',
  'insert',
  'unshare',
  'fallocate',
]);

/** A file is shorter here than on XFS from then on. */
const hitLargest = (step: { known?: string }): boolean => step.known === 'largest-file';

const withoutMaps = (answer: string): string => answer.replace(/ data=.*? blocks=\w+/, '');
const sameButMaps = (asked: Asked): boolean =>
  asked.words[0] === 'map' &&
  withoutMaps(asked.xfs) === withoutMaps(asked.rmapfs) &&
  errnoOf(asked.xfs) === '0';

export const KNOWN: readonly Known[] = [
  {
    id: 'st_blocks',
    row: 'st_blocks',
    is: (asked) => asked.xfs.replace(' blocks=more', ' blocks=all') === asked.rmapfs,
  },
  {
    id: 'refused-fallocate',
    row: 'times of a refused fallocate',
    is: ({ words, xfs, rmapfs }) =>
      FALLOCATES.has(words[0]) &&
      xfs.startsWith('-1') &&
      withoutTimes(xfs) === withoutTimes(rmapfs) &&
      rmapfs.endsWith(' -]'),
  },
  {
    id: 'refused-write',
    row: 'times of a write that finds no space',
    is: ({ words, xfs, rmapfs }) =>
      ['write', 'append', 'dwrite', 'swrite'].includes(words[0]) &&
      xfs.startsWith('-1 ENOSPC') &&
      withoutTimes(xfs) === withoutTimes(rmapfs) &&
      rmapfs.endsWith(' -]'),
  },
  {
    id: 'exchange',
    row: 'exchange of two names',
    is: ({ words, xfs, rmapfs }) =>
      words[0] === 'rename' && (words[3] ?? '').includes('x') && withoutTimes(xfs) === withoutTimes(rmapfs),
  },
  {
    id: 'chown-nothing',
    row: 'chown(path, -1, -1) of a set-id file by somebody else',
    is: ({ words, xfs, rmapfs }) =>
      words.slice(0, 1).concat(words.slice(2)).join(' ') === 'chown -1 -1' &&
      xfs.startsWith('-1 EPERM') &&
      rmapfs.startsWith('0 0'),
  },
  {
    id: 'followed-link',
    row: 'atime of a symbolic link that is followed',
    is: ({ words, xfs, rmapfs, before }) =>
      words[0] === 'utimes' &&
      words[1].includes('/') &&
      before.some(({ line }) => line.startsWith('symlink ')) &&
      withoutAtime(xfs) === withoutAtime(rmapfs) &&
      rmapfs.includes(' 120777 '),
  },
  {
    id: 'mapped-times',
    row: 'mtime of a store through a shared mapping',
    is: (asked) =>
      (hasStores(asked) || asked.words[0] === 'mstore') &&
      withoutTimes(asked.xfs) === withoutTimes(asked.rmapfs),
  },
  {
    id: 'largest-file',
    row: 'largest file',
    is: ({ words, before }) =>
      before.some(hitLargest) || words.map(numberOf).reduce((sum, n) => sum + (n > 0 ? n : 0), 0) > LARGEST,
  },
  {
    id: 'mapped-blocks',
    row: 'neighbours of a store through a mapping',
    is: (asked) => hasStores(asked) && (sameButMaps(asked) || asked.words[0] === 'seek'),
  },
  {
    id: 'shares-more',
    row: 'zeroing a part of a shared block (truncate, punch, zero-range)',
    is: (asked) =>
      sameButMaps(asked) &&
      hasOddEnds(asked) &&
      everyBlock(
        asked,
        (xfs, rmapfs) => hasData(xfs) === hasData(rmapfs) && (!isShared(xfs) || isShared(rmapfs)),
      ),
  },
  {
    id: 'copied-holes',
    row: 'copy_file_range',
    is: (asked) =>
      usedBefore(asked, 'copy') &&
      hasOddEnds(asked) &&
      (asked.words[0] === 'seek' ||
        (sameButMaps(asked) &&
          everyBlock(
            asked,
            (xfs, rmapfs) => !hasData(rmapfs) || (hasData(xfs) && (!isShared(xfs) || isShared(rmapfs))),
          ))),
  },
  {
    id: 'unwritten-clone',
    row: 'clone of unwritten over unwritten',
    is: (asked) =>
      usedBefore(asked, 'clone', 'cloneall', 'copy') &&
      sameButMaps(asked) &&
      everyBlock(asked, (xfs, rmapfs) => xfs === rmapfs || (xfs === 'u' && rmapfs === undefined)),
  },
  {
    id: 'direct-alignment',
    row: 'O_DIRECT of odd offsets and lengths',
    is: ({ words, xfs }) =>
      ['dwrite', 'dread'].includes(words[0]) &&
      xfs.startsWith('-1 EINVAL') &&
      (numberOf(words[2]) % 512 !== 0 || numberOf(words[3]) % 512 !== 0),
  },
];
