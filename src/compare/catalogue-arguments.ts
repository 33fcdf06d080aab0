/**
 * What clone, dedupe and copy_file_range answer to all sorts of arguments: those of ioctl_ficlonerange(2),
 * ioctl_fideduperange(2) and copy_file_range(2), with each error that they name.
 *
 * A file is written as letters and a size: f file, t file of another filesystem, d directory, p pipe, n /dev/null,
 * x no descriptor, s the source itself; r w a o opened read-only, write-only, to append, as a path; y other bytes,
 * h a hole, u unwritten, l unlinked, i immutable, m set-user-ID.
 */

const K = 1024;
const B = 4096;
/** Written out: no double holds these. */
const P63_LESS_B = '9223372036854771712';
const P63_LESS_2B = '9223372036854767616';
const P62 = '4611686018427387904';

type Operation = 'cloneall' | 'clone' | 'dedupe' | 'copy';
type Offset = number | string;
type Call = readonly [Operation, src: string, dst: string, from?: Offset, to?: Offset, length?: Offset];

const CALLS: readonly Call[] = [
  ['cloneall', 'f65536', 'f0'],
  ['cloneall', 'f65436', 'f131072'],
  ['cloneall', 'f0', 'f65536'],
  ['cloneall', 'f65536', 's'],
  ['clone', 'f65536', 'f65536', 4 * B, 4 * B, 4 * B],
  ['clone', 'f65536', 'f65536', 1, 0, B],
  ['clone', 'f65536', 'f65536', 512, 0, B],
  ['clone', 'f65536', 'f65536', 0, 1, B],
  ['clone', 'f65536', 'f65536', 0, 512, B],
  ['clone', 'f65536', 'f65536', 0, 0, 100],
  ['clone', 'f65536', 'f65536', 0, 0, 6144],
  ['clone', 'f65536', 'f65536', 0, 0, 1],
  ['clone', 'f65436', 'f0', 0, 0, 65436],
  ['clone', 'f65436', 'f131072', 0, 73_728, 65436],
  ['clone', 'f65436', 'f65436', 0, 0, 65436],
  ['clone', 'f65436', 'f131072', 0, 0, 65436],
  ['clone', 'f65436', 'f65400', 0, 0, 65436],
  ['clone', 'f65436', 'f65500', 0, 0, 65436],
  ['clone', 'f65536', 'f65536', 0, 0, 0],
  ['clone', 'f65536', 'f65536', 4 * B, 4 * B, 0],
  ['clone', 'f65436', 'f65536', 4 * B, 4 * B, 0],
  ['clone', 'f65536', 'f131072', 64 * K, 0, 0],
  ['clone', 'f65536', 'f131072', 68 * K, 0, 0],
  ['clone', 'f65536', 'f131072', 128 * K, 0, B],
  ['clone', 'f65536', 'f131072', 60 * K, 0, 2 * B],
  ['clone', 'f65536', 'f131072', 0, 200_704, 64 * K],
  ['clone', 'f65536', 'f5000', 0, 32_768, B],
  ['clone', 'f65536', 's', 0, B, 2 * B],
  ['clone', 'f65536', 's', 0, 0, B],
  ['clone', 'f65536', 's', 0, B, B],
  ['clone', 'f65536', 's', 8 * B, 0, 4 * B],
  ['clone', 'f65536', 's', 0, 128 * K, 4 * B],
  ['clone', 'f65536', 's', 0, 64 * K, 0],
  ['clone', 'f65536', 't0', 0, 0, B],
  ['clone', 't65536', 'f36864', 0, 0, B],
  ['clone', 'f65536', 'fr266240', 0, 0, B],
  ['clone', 'f65536', 'fw266240', 0, 0, B],
  ['clone', 'f65536', 'fa266240', 0, 0, B],
  ['clone', 'f65536', 'fo266240', 0, 0, B],
  ['clone', 'fo65536', 'f266240', 0, 0, B],
  ['clone', 'fw65536', 'f36864', 0, 0, B],
  ['clone', 'fr65536', 'f36864', 0, 0, B],
  ['clone', 'fa65536', 'f36864', 0, 0, B],
  ['clone', 'd', 'f36864', 0, 0, B],
  ['clone', 'f65536', 'd', 0, 0, B],
  ['clone', 'p', 'f36864', 0, 0, B],
  ['clone', 'f65536', 'p', 0, 0, B],
  ['clone', 'n', 'f36864', 0, 0, B],
  ['clone', 'f65536', 'n', 0, 0, B],
  ['clone', 'x', 'f36864', 0, 0, B],
  ['clone', 'f65536', 'f36864', P63_LESS_B, 0, 2 * B],
  ['clone', 'f65536', 'f36864', -B, 0, B],
  ['clone', 'f65536', 'f36864', 0, -B, B],
  ['clone', 'f65536', 'f36864', 0, 0, -B],
  ['clone', 'f65536', 'f36864', 0, P63_LESS_2B, B],
  ['clone', 'f65536', 'f36864', 0, P62, B],
  ['clone', 'f65536', 'fi16384', 0, 0, B],
  ['clone', 'fi65536', 'f36864', 0, 0, B],
  ['clone', 'fh65536', 'f65536', 0, 0, 64 * K],
  ['clone', 'fu65536', 'f65536', 0, 0, 64 * K],
  ['clone', 'fu65536', 'fh65536', 0, 0, 64 * K],
  ['clone', 'fh65536', 'fu65536', 0, 0, 64 * K],
  ['clone', 'f65536', 'fu65536', 0, 0, 64 * K],
  ['clone', 'fl65536', 'f16384', 0, 0, 4 * B],
  ['clone', 'f65536', 'fl65536', 0, 0, 4 * B],
  ['clone', 'f65536', 'fm16384', 0, 0, 4 * B],
  ['dedupe', 'f65536', 'f65536', 0, 0, 64 * K],
  ['dedupe', 'f65536', 'fy65536', 0, 0, 64 * K],
  ['dedupe', 'f65536', 'f65536', 1, 0, B],
  ['dedupe', 'f65536', 'f65536', 0, 1, B],
  ['dedupe', 'f65536', 'f65536', 0, 0, 100],
  ['dedupe', 'f65536', 'f65536', 0, 0, 5000],
  ['dedupe', 'f65536', 'f65536', 0, 0, 0],
  ['dedupe', 'f65536', 'f131072', 64 * K, 0, B],
  ['dedupe', 'f65536', 'f131072', 60 * K, 0, 2 * B],
  ['dedupe', 'f65536', 'f4096', 0, 0, 2 * B],
  ['dedupe', 'f65536', 'f4096', 0, 8 * B, B],
  ['dedupe', 'f65536', 's', 0, B, 2 * B],
  ['dedupe', 'f65536', 's', 0, 0, B],
  ['dedupe', 'f65536', 's', 0, 4 * B, 4 * B],
  ['dedupe', 'f65536', 't65536', 0, 0, B],
  ['dedupe', 'f65536', 'fr65536', 0, 0, B],
  ['dedupe', 'f65536', 'fw65536', 0, 0, B],
  ['dedupe', 'f65536', 'fi65536', 0, 0, B],
  ['dedupe', 'f65536', 'd', 0, 0, B],
  ['dedupe', 'd', 'f65536', 0, 0, B],
  ['dedupe', 'f65536', 'x', 0, 0, B],
  ['dedupe', 'fw65536', 'f65536', 0, 0, B],
  ['dedupe', 'f65536', 'fa65536', 0, 0, B],
  ['dedupe', 'f65536', 'fo65536', 0, 0, B],
  ['dedupe', 'f65436', 'f65436', 0, 0, 65436],
  ['dedupe', 'f65436', 'f65536', 0, 0, 65436],
  ['dedupe', 'f65536', 'f65436', 0, 0, 65436],
  ['dedupe', 'fh65536', 'fh65536', 0, 0, 65536],
  ['dedupe', 'fu65536', 'fh65536', 0, 0, 65536],
  ['dedupe', 'f20971520', 'f20971520', 0, 0, 20 * K * K],
  ['dedupe', 'f65536', 'f65536', 0, P63_LESS_2B, B],
  ['copy', 'f65536', 'f0', 0, 0, 64 * K],
  ['copy', 'f65536', 'f0', 0, 0, 0],
  ['copy', 'f65536', 'f0', 128 * K, 0, B],
  ['copy', 'f65536', 'f0', 100, 200, 5000],
  ['copy', 'f65536', 'f65536', 60 * K, 0, 64 * K],
  ['copy', 'f65536', 's', 0, B, 2 * B],
  ['copy', 'f65536', 's', 0, B, B],
  ['copy', 'f65536', 's', 100, 20_000, 5000],
  ['copy', 'f65536', 'fr65536', 0, 0, B],
  ['copy', 'fw65536', 'f65536', 0, 0, B],
  ['copy', 'f65536', 'fa65536', 0, 0, B],
  ['copy', 'f65536', 'fi65536', 0, 0, B],
  ['copy', 'd', 'f65536', 0, 0, B],
  ['copy', 'f65536', 'd', 0, 0, B],
  ['copy', 'p', 'f65536', 0, 0, B],
  ['copy', 'f65536', 'n', 0, 0, B],
  ['copy', 'f65536', 't0', 0, 0, B],
  ['copy', 'f65536', 'fm0', 0, 0, B],
];

const [SRC, DST] = ['@0', '@1'] as const;

function openFlags(spec: string): string {
  if (spec.includes('r')) return 'r';
  if (spec.includes('w')) return 'w';
  if (spec.includes('a')) return 'ua';
  return spec.includes('o') ? 'p' : 'u';
}

function fillLines(spec: string, name: string, size: number): string[] {
  if (size === 0) return [];
  if (spec.includes('h')) return [`truncate ${name} ${size}`];
  if (spec.includes('u')) return [`allocate ${name} 0 ${size}`];
  return [`write ${name} 0 ${size} ${spec.includes('y') ? 101 : 100}`];
}

/** The lines that make what a specification says and open it as `handle`. */
function makeLines(spec: string, name: string, handle: string): string[] {
  const size = Number(/\d+$/.exec(spec)?.[0] ?? 0);
  switch (spec[0]) {
    case 'd':
      return [`open ${handle} . r`];
    case 'n':
      return [`open ${handle} /dev/null u`];
    case 'p':
      return [`pipe ${handle} ${handle === SRC ? 'r' : 'w'}`];
    case 't':
      return [`memfd ${handle} ${size}`];
    case 'f': {
      const lines = [`create ${name} 644`, ...fillLines(spec, name, size)];
      if (spec.includes('m')) lines.push(`chmod ${name} 4755`);
      lines.push(`open ${handle} ${name} ${openFlags(spec)}`);
      if (spec.includes('l')) lines.push(`unlink ${name}`);
      if (spec.includes('i')) lines.push(`flags ${name} i`);
      return lines;
    }
    default:
      return [];
  }
}

function scriptOf([operation, src, dst, from = 0, to = 0, length = 0]: Call): string[] {
  const target = dst === 's' ? SRC : DST;
  const call =
    operation === 'cloneall'
      ? `cloneall ${SRC} ${target}`
      : `${operation} ${SRC} ${from} ${target} ${to} ${length}`;
  const looks = [
    ...(src.startsWith('f') && !src.includes('l') ? ['look src', 'map src'] : []),
    ...(dst.startsWith('f') && !dst.includes('l') ? ['look dst', 'map dst'] : []),
  ];
  const makes = [...makeLines(src, 'src', SRC), ...makeLines(dst, 'dst', DST)];
  return [...makes, `user 0`, call, ...looks, 'look src map', 'drop src', 'look src direct'];
}

const nameOf = ([operation, src, dst, from, to, length]: Call): string =>
  `${operation}: ${src} -> ${dst}${from === undefined ? '' : ` (${from}, ${to}, ${length})`}`;

const TWO = [
  'create src 644',
  'write src 0 65536 100',
  'create dst 644',
  'write dst 0 65536 100',
  'chmod dst 644',
];

const CALLERS = ['user 0', 'user 1000', 'user 1001'];

/**
 * The rights of a destination, which belongs to 1000: each caller, on a descriptor that was opened before the file got
 * its flags. `mode` is that of the file.
 */
function rightsScript(flags: string, opened: string, mode: string): string[] {
  const calls = [
    'dedupe @0 0 @1 0 4096',
    'dedupe @0 0 @1 0 0',
    'dedupe @0 0 @1 1 4096',
    'clone @0 0 @1 0 4096',
  ];
  return [
    ...[...TWO, 'chown dst 1000 1000', `chmod dst ${mode}`, 'open @0 src r', `open @1 dst ${opened}`],
    ...[`flags dst ${flags}`, `flags src ${flags}`],
    ...CALLERS.flatMap((caller) => [caller, ...calls, 'look dst']),
    ...['user 0', 'flags dst -', 'flags src -', 'map dst', 'look dst', 'look src'],
  ];
}

const RIGHTS = ['-', 'i', 'a', 'ia'].flatMap((flags) =>
  ['r', 'w', 'u', 'ua', 'p'].flatMap((opened) =>
    ['600', '646', '6777'].map(
      (mode) =>
        [
          `rights: flags ${flags}, opened ${opened}, mode ${mode}`,
          rightsScript(flags, opened, mode),
        ] as const,
    ),
  ),
);

/** Each call as a case by itself, and those that need more than two open files. */
export const ARGUMENT_CASES: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(CALLS.map((call) => [nameOf(call), scriptOf(call)])),
  ...Object.fromEntries(RIGHTS),
  'dedupe: the reserved field is not 0': [...TWO, 'dedupe src 0 dst 0 4096 1'],
  'copy: flags are not 0': [...TWO, 'copy src 0 dst 0 4096 1'],
  "dedupe: another user's file": [
    ...TWO,
    'open @0 src r',
    'open @1 dst r',
    'user 1000',
    'dedupe @0 0 @1 0 4096',
  ],
  "dedupe: another user's file that may be written": [
    ...[
      ...TWO,
      'chmod dst 666',
      'open @0 src r',
      'open @1 dst r',
      'user 1000',
      'dedupe @0 0 @1 0 4096',
      'map dst',
    ],
  ],
  'dedupe: own file, opened for reading': [
    ...[
      ...TWO,
      'chown dst 1000 1000',
      'open @0 src r',
      'open @1 dst r',
      'user 1000',
      'dedupe @0 0 @1 0 4096',
      'map dst',
    ],
  ],
  'clone: RLIMIT_FSIZE before, within and behind the range': [
    ...[
      ...TWO,
      'truncate dst 0',
      'limit 8192',
      'clone src 0 dst 8192 4096',
      'limit 10000',
      'clone src 0 dst 8192 4096',
    ],
    ...['limit 12288', 'clone src 0 dst 8192 4096', 'look dst', 'limit 4096', 'clone src 0 dst 8192 0'],
  ],
  'copy: RLIMIT_FSIZE before, within and behind the range': [
    ...[
      ...TWO,
      'truncate dst 0',
      'limit 8192',
      'copy src 0 dst 8192 4096',
      'limit 10000',
      'copy src 0 dst 8192 4096',
    ],
    ...['look dst', 'limit 12288', 'copy src 0 dst 8192 4096', 'look dst'],
  ],
  'write, truncate, allocate: RLIMIT_FSIZE': [
    ...[
      'create a 644',
      'limit 10000',
      'write a 8192 4096 1',
      'look a',
      'write a 10000 1 1',
      'truncate a 10001',
    ],
    ...['truncate a 10000', 'allocate a 0 10001', 'allocate a 0 10000', 'keep a 0 20000', 'zero a 9000 5000'],
    ...[
      'append a 0 10 1',
      'limit 8192',
      'dwrite a 4096 8192 2',
      'dwrite a 8192 4096 2',
      'limit 10000',
      'insert a 0 4096',
      'unshare a 0 12000',
      'look a',
    ],
  ],
};
