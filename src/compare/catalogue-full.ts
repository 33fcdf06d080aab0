/** Filesystems without space. The two differ in size: what fits is not compared, what holds then is. */

/** a and b share 64 KiB, c has 64 KiB of its own; then not a block is free. */
const FULL = [
  ...['create a 644', 'write a 0 64K 1', 'create b 644', 'cloneall a b', 'create c 644', 'write c 0 64K 3'],
  ...['fsync a', 'fsync b', 'fsync c', 'fill x 5'],
];
const LOOKS = ['look a', 'look b', 'look c', 'kept x 5'];

const onFull = (...lines: string[]): string[] => [
  ...FULL,
  ...lines,
  ...LOOKS,
  'drain x',
  ...LOOKS.slice(0, 3),
];

export const FULL_CASES: Readonly<Record<string, readonly string[]>> = {
  'full: what was acknowledged holds, and after a remount': onFull('kept x 5', 'remount', 'kept x 5'),
  'full: an overwrite in place needs nothing': onFull(
    ...['write c 8192 4096 7', 'fsync c', 'write c 100 50 8', 'dwrite c 16K 8192 9', 'fsync c'],
  ),
  // Whether one more block is found is a matter of moments on XFS, which sets blocks aside and takes them back.
  'full: what does not fit is ENOSPC and changes nothing': onFull('allocate c 64K 1M', 'allocate a 1M 2M'),
  'full: punch and truncate give space back': onFull(
    ...[
      'punch c 0 32K',
      'fsync c',
      'look c',
      'truncate c 40000',
      'fsync c',
      'look c',
      'truncate c 0',
      'fsync c',
    ],
  ),
  'full: unlink gives space back, and it can be written': onFull(
    ...[
      'unlink x1',
      'pause',
      'create d 644',
      'write d 0 64K 4',
      'fsync d',
      'look d',
      'unlink d',
      'create x1 644',
    ],
  ),
  'full: names and times of what is there can change': onFull(
    ...['chmod c 600', 'utimes c 5 6', 'rename c c2', 'rename c2 c', 'fsync c'],
  ),
};
