/**
 * Mappings stay coherent: process 0 maps a shared, 1 maps b, a clone of all of a, 2 maps a privately and has read it,
 * 3 maps a privately and has not touched it, 4 maps a for storing. What each sees after an operation by the agent.
 */
const VIEWS = [
  ...['create a 644', 'write a 0 64K 1', 'create b 644', 'cloneall a b', 'create c 644', 'write c 0 64K 2'],
  ...[
    'view 0 a 64K shared',
    'view 1 b 64K shared',
    'view 2 a 64K private',
    'view 3 a 64K lazy',
    'view 4 a 64K write',
  ],
];
const PEEKS = ['peek 0', 'peek 1', 'peek 3', 'peek 2', 'peek 4'];

const after = (...lines: string[]): string[] => [
  ...VIEWS,
  ...lines.flatMap((line) => [line, ...PEEKS]),
  ...['look a', 'look b', 'look a direct', 'look b map', 'tree'],
];

export const MAPPING_CASES: Readonly<Record<string, readonly string[]>> = {
  'mappings: write of a part of a block': after('write a 5000 100 3'),
  'mappings: write of whole blocks': after('write a 8192 8192 3'),
  'mappings: O_DIRECT write': after('dwrite a 8192 8192 3'),
  'mappings: O_SYNC and O_APPEND write': after('swrite a 8192 8192 3', 'append a 0 4096 4'),
  'mappings: store through another mapping': after('poke 4 5000 10000 3'),
  'mappings: store by the agent': after('mstore a 5000 10000 3', 'fsync a'),
  'mappings: punch': after('punch a 8192 8192', 'punch a 20000 100'),
  'mappings: zero-range': after('zero a 8192 8192', 'zero a 20000 100'),
  'mappings: truncate and extend': after(
    'truncate a 20000',
    'truncate a 64K',
    'truncate a 0',
    'truncate a 64K',
  ),
  'mappings: collapse': after('collapse a 4096 8192'),
  'mappings: insert': after('insert a 4096 8192'),
  'mappings: clone of another range onto it': after('clone c 0 a 8192 16384', 'clone a 32K a 0 8192'),
  'mappings: dedupe': after('dedupe b 0 a 0 64K', 'write a 0 100 5'),
  'mappings: copy_file_range': after('copy c 0 a 8192 16384', 'copy c 100 a 30000 500'),
  'mappings: unshare': after('unshare a 0 64K', 'poke 4 0 10 9'),
  "mappings: store through one's own private mapping": after(
    'poke 2 5000 100 7',
    'write a 5000 4096 8',
    'fsync a',
  ),
  'mappings: a private page that was stored to is kept': after(
    'poke 2 0 10 7',
    'write a 0 64K 8',
    'truncate a 100',
  ),
  'mappings: store, then clone, then store': after(
    'poke 4 0 100 6',
    'cloneall a b',
    'poke 4 50 100 7',
    'drop a',
  ),
  'mappings: store, then dedupe': after('poke 4 0 100 6', 'dedupe a 0 b 0 4096', 'dedupe a 4096 b 4096 4096'),
  'mappings: drop of the cache': after('poke 4 0 100 6', 'drop a', 'drop b', 'write b 0 10 3'),
  'mappings: unlinked': after('unlink a', 'create a 644', 'write a 0 64K 9', 'poke 4 0 10 2'),
  'mappings: renamed over': after('rename c a', 'write a 0 10 2', 'poke 4 0 10 3'),
  'mappings: holes and unwritten blocks': [
    ...[
      'create h 644',
      'truncate h 64K',
      'allocate h 16K 16K',
      'view 0 h 64K shared',
      'view 1 h 64K write',
      'poke 1 0 10 1',
    ],
    ...[
      'peek 0',
      'poke 1 20000 10 1',
      'peek 0',
      'write h 40000 10 2',
      'peek 0',
      'look h',
      'look h direct',
      'look h map',
    ],
  ],
  'mappings: beyond the end': [
    ...[
      'create h 644',
      'write h 0 5000 1',
      'view 0 h 16K write',
      'view 1 h 16K lazy',
      'poke 0 6000 10 1',
      'poke 0 9000 10 1',
    ],
    ...[
      'look h',
      'truncate h 8192',
      'look h',
      'peek 0',
      'peek 1',
      'mstore h 8192 10 1',
      'mstore h 8190 10 1',
      'look h',
    ],
  ],
};
