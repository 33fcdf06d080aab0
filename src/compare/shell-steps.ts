/** How each operation of native/agent is done by the tools that every machine has. */

/** Sizes of values of extended attributes that fit into an argument. */
const XATTR_MAX = 65_536;
const SUFFIX: Readonly<Record<string, bigint>> = {
  '': 1n,
  K: 2n ** 10n,
  M: 2n ** 20n,
  G: 2n ** 30n,
  T: 2n ** 40n,
};
/** From here on a seed's bytes are the same in every block (native/agent/pattern.c). */
const SEED_PERIODIC = 100;

/** Where no tool can do what the agent does: it must do that step itself. */
export class NeedsAgent extends Error {}

/** What an operation depends on that lines before it have set. */
export interface ShellState {
  umask: number;
}

/** A word as an argument in sh. */
const quoted = (word: string): string =>
  /^[\w./=:,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** A path; a descriptor that stays open is the agent's. */
function path(word: string): string {
  if (word.startsWith('@')) throw new NeedsAgent();
  return quoted(word);
}

/** A number of 0 and more, in bytes. */
function bytes(word: string): string {
  const match = /^(\d+)([KMGT]?)$/.exec(word);
  if (match === null) throw new NeedsAgent();
  const value = BigInt(match[1]) * (SUFFIX[match[2]] ?? 1n);
  if (value >= 2n ** 63n) throw new NeedsAgent();
  return `${value}`;
}

function mode(word: string): number {
  if (!/^[0-7]+$/.test(word)) throw new NeedsAgent();
  return Number.parseInt(word, 8);
}

const octal = (bits: number): string => bits.toString(8).padStart(5, '0');

/** The letter of a seed in its bytes. */
function letter(seed: string): string {
  const value = Number(bytes(seed));
  if (value === 0) return '0';
  const periodic = value >= SEED_PERIODIC;
  return String.fromCharCode((periodic ? 65 : 97) + ((periodic ? value - SEED_PERIODIC : value) % 26));
}

const dataFor = (seed: string, offset: string, length: string): string =>
  `data ${letter(seed)} ${bytes(offset)} ${bytes(length)}`;

type Render = (words: readonly string[], state: ShellState) => readonly string[];

const writeWith =
  (flags: string): Render =>
  ([, file, offset, length, seed]) => [
    dataFor(seed, offset, length),
    `put ${path(file)} ${bytes(offset)} ${bytes(length)} ${quoted(flags)}`.replace(/ ''$/, ' ""'),
  ];

const readWith =
  (flags: string): Render =>
  ([, file, offset, length]) => [`get ${path(file)} ${bytes(offset)} ${bytes(length)} "${flags}"`];

/** A command of xfs_io with an offset and a length. */
const rangeOf =
  (command: string): Render =>
  ([, file, offset, length]) => [
    `io ${path(file)} '${command} ${bytes(offset)} ${bytes(length)}'`,
    'finished',
  ];

const fileSync =
  (...commands: string[]): Render =>
  ([, file]) => [`io_read ${path(file)} ${commands.map((command) => `'${command}'`).join(' ')}`, 'finished'];

const plain =
  (...command: string[]): Render =>
  (words) => [`run ${command.join(' ')} ${words.slice(1).map(path).join(' ')}`, 'finished'];

/** "@SECONDS" for touch(1); the agent takes what is behind the dot as nanoseconds. */
function timeOf(word: string): string {
  const match = /^(-?\d+)(?:\.(\d+))?$/.exec(word);
  if (match === null) throw new NeedsAgent();
  const nanoseconds = BigInt(match[1]) * 1_000_000_000n + BigInt(match[2] ?? 0);
  const positive = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = `${positive % 1_000_000_000n}`.padStart(9, '0');
  return `@${nanoseconds < 0n ? '-' : ''}${positive / 1_000_000_000n}.${fraction}`;
}

function utimes([, file, atime, mtime]: readonly string[]): string[] {
  const target = path(file);
  if (atime === 'now' && mtime === 'now') return [`existing ${target} touch -h -c ${target}`];
  const lines: string[] = [`run stat ${target}`];
  for (const [option, time, field] of [
    ['-a', atime, '%.9X'],
    ['-m', mtime, '%.9Y'],
  ] as const) {
    if (time === 'omit') continue;
    const date = time === 'now' ? '' : `-d ${timeOf(time)} `;
    lines.push(`[ "$status" -ne 0 ] || run touch -h -c ${option} ${date}${target}`);
    if (time !== 'now') lines.push(`[ "$status" -ne 0 ] || stat -c '  ${option} ${field}' ${target}`);
  }
  return [...lines, 'finished'];
}

/** The type of a special file for mknod(1). */
const NODES: ReadonlyMap<number, string> = new Map([
  [0o010000, 'p'],
  [0o020000, 'c'],
  [0o060000, 'b'],
]);

function makeNode([, file, word, major, minor]: readonly string[], { umask }: ShellState): string[] {
  const bits = mode(word);
  const type = NODES.get(bits & 0o170000);
  if (type === undefined) throw new NeedsAgent();
  const device = type === 'p' ? '' : ` ${bytes(major)} ${bytes(minor)}`;
  return [`run mknod -m ${octal(bits & 0o777 & ~umask)} ${path(file)} ${type}${device}`, 'finished'];
}

function setXattr([, file, name, length, seed, flags]: readonly string[]): string[] {
  if (flags !== undefined || Number(bytes(length)) > XATTR_MAX) throw new NeedsAgent();
  const value = Number(bytes(length)) === 0 ? '' : ' -v "0s$(base64 -w 0 "$work/data")"';
  const command = `run setfattr -h -n ${quoted(name)}${value} ${path(file)}`;
  return [dataFor(seed, '0', length), command, 'finished'];
}

function getXattr([, file, name, size]: readonly string[]): string[] {
  const room = Number(bytes(size));
  if (room > 0 && room < XATTR_MAX) throw new NeedsAgent();
  return [`run getfattr -h -n ${quoted(name)} --only-values ${path(file)}`, 'contents'];
}

function temporary([, directory, name, length, seed]: readonly string[]): string[] {
  const size = bytes(length);
  const write = size === '0' ? '' : ` -c "pwrite -q -i $work/data -b ${size} 0 ${size}"`;
  const command = `run xfs_io -T -m 640${write} -c 'flink ${path(name)}' ${path(directory)}`;
  return [dataFor(seed, '0', length), command, 'finished'];
}

function chown([, file, uid, gid]: readonly string[]): string[] {
  const id = (word: string): string => (word === '-1' ? '' : bytes(word));
  const owner = id(gid) === '' ? id(uid) || ':' : `${id(uid)}:${id(gid)}`;
  return [`run chown -h ${owner} ${path(file)}`, 'finished'];
}

const rangePair = ([, , from, , to, length]: readonly string[]): string =>
  `${bytes(from)} ${bytes(to)} ${bytes(length)}`;

/** FALLOC_FL_* combinations that xfs_io has a command for. */
const MODES: Readonly<Record<string, string>> = { 0: 'falloc', 1: 'falloc -k', 3: 'fpunch', 8: 'fcollapse' };

function fallocate([, file, word, offset, length]: readonly string[], state: ShellState): readonly string[] {
  const command = MODES[word];
  if (command === undefined) throw new NeedsAgent();
  return rangeOf(command)(['', file, offset, length], state);
}

const DATA_STEPS: Readonly<Record<string, Render>> = {
  write: writeWith(''),
  dwrite: writeWith(',direct'),
  swrite: writeWith(',sync'),
  append: ([, file, offset, length, seed]) => [
    dataFor(seed, offset, length),
    `append ${path(file)} ${bytes(offset)} ${bytes(length)}`,
  ],
  read: readWith(''),
  dread: readWith(',direct'),
  truncate: ([, file, size]) => [`existing ${path(file)} truncate -c -s ${bytes(size)} ${path(file)}`],
  allocate: rangeOf('falloc'),
  keep: rangeOf('falloc -k'),
  punch: rangeOf('fpunch'),
  zero: rangeOf('fzero'),
  zerokeep: rangeOf('fzero -k'),
  collapse: rangeOf('fcollapse'),
  insert: rangeOf('finsert'),
  unshare: rangeOf('funshare'),
  fallocate,
  fsync: fileSync('fsync'),
  fdatasync: fileSync('fdatasync'),
  drop: fileSync('fsync', 'fadvise -d 0 0'),
  seek: ([, file, what, offset]) => [`seek_to ${path(file)} ${what === 'data' ? 'd' : 'h'} ${bytes(offset)}`],
  flags: ([, file, letters]) => [`run chattr =${letters.replace('-', '')} ${path(file)}`, 'finished'],
  clone: (words) => [`io ${path(words[3])} 'reflink ${path(words[1])} ${rangePair(words)}'`, 'finished'],
  cloneall: ([, source, target]) => [`io ${path(target)} 'reflink ${path(source)}'`, 'finished'],
  dedupe: (words) => {
    if (words.length > 6) throw new NeedsAgent();
    return [`dedupe ${path(words[1])} ${path(words[3])} '${rangePair(words)}'`];
  },
  copy: (words) => {
    if (words.length > 6) throw new NeedsAgent();
    const [, source, from, target, to, length] = words;
    const range = `-s ${bytes(from)} -d ${bytes(to)} -l ${bytes(length)}`;
    return [`io ${path(target)} 'copy_range ${range} ${path(source)}'`, 'finished'];
  },
};

const NAME_STEPS: Readonly<Record<string, Render>> = {
  create: ([, file, word], { umask }) => [`create ${path(file)} ${octal(mode(word) & ~umask)}`],
  mkdir: ([, file, word], { umask }) => [
    `run mkdir -m ${octal(mode(word) & 0o1777 & ~umask).slice(-4)} ${path(file)}`,
    'finished',
  ],
  mknod: makeNode,
  link: plain('link'),
  symlink: ([, file, target]) => [`run ln -s -T ${quoted(target)} ${path(file)}`, 'finished'],
  readlink: ([, file]) => [`run readlink -v -n ${path(file)}`, 'contents'],
  rename: ([, from, to, flags]) => {
    if (flags !== undefined && flags !== '-') throw new NeedsAgent();
    return [`rename ${path(from)} ${path(to)}`];
  },
  unlink: plain('unlink'),
  rmdir: plain('rmdir'),
  chmod: ([, file, word]) => [`run chmod ${octal(mode(word))} ${path(file)}`, 'finished'],
  chown,
  utimes,
  list: ([, file]) => [`run ls -1a ${path(file)}`, 'finished', 'names <"$work/out"'],
  tmpfile: temporary,
  access: ([, file, letters]) => [`access_to '${[...letters].map((l) => `-${l}`).join(' ')}' ${path(file)}`],
  setxattr: setXattr,
  getxattr: getXattr,
  removexattr: ([, file, name]) => [`run setfattr -h -x ${quoted(name)} ${path(file)}`, 'finished'],
  listxattr: ([, file]) => [
    `run getfattr -h -m - ${path(file)}`,
    'finished',
    `grep -v '^#' "$work/out" | sort | names`,
  ],
};

const OTHER_STEPS: Readonly<Record<string, Render>> = {
  look: ([, file, how]) => [`look ${path(file)} ${how ?? 'read'}`],
  map: ([, file]) => [`map ${path(file)}`],
  blocks: ([, file]) => [`settle ${path(file)}`, `answer "$(stat -c %b ${path(file)})"`],
  atime: ([, file]) => [`atime ${path(file)}`],
  tree: () => ['tree'],
  user: ([, uid]) => [
    uid === '0'
      ? 'who='
      : `who='setpriv --reuid=${bytes(uid)} --regid=${bytes(uid)} --clear-groups --inh-caps=-all'`,
  ],
  limit: ([, size]) => [size === 'none' ? 'limit=' : `limit='prlimit --fsize=${bytes(size)}:unlimited'`],
  umask: ([, word], state) => {
    state.umask = mode(word);
    return [`umask ${octal(state.umask)}`];
  },
  pause: () => ['sleep 0.05'],
  remount: () => ['cd /', 'sh -c "$REMOUNT" || exit 2', 'cd "$directory/$name" || exit 2'],
};

export const STEPS: Readonly<Record<string, Render>> = { ...DATA_STEPS, ...NAME_STEPS, ...OTHER_STEPS };

/** Which words name what a line may change, as the tables of native/agent have them: n with its directory. */
export const TOUCHES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.keys(DATA_STEPS).map((operation) => [operation, 'f'])),
  ...Object.fromEntries(['clone', 'dedupe', 'copy'].map((operation) => [operation, 'f.f'])),
  cloneall: 'ff',
  ...Object.fromEntries(
    ['create', 'mkdir', 'mknod', 'symlink', 'unlink', 'rmdir'].map((operation) => [operation, 'n']),
  ),
  ...Object.fromEntries(
    ['readlink', 'chmod', 'chown', 'utimes', 'list', 'access'].map((operation) => [operation, 'f']),
  ),
  ...Object.fromEntries(
    ['setxattr', 'getxattr', 'removexattr', 'listxattr'].map((operation) => [operation, 'f']),
  ),
  link: 'nn',
  rename: 'nn',
  tmpfile: 'fn',
  look: 'f',
  map: 'f',
  blocks: 'f',
  atime: 'f',
};
