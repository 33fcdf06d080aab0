import { Random } from './random.js';

/** Random operations on names and attributes, as fsstress makes them, by root and by an ordinary user. */

const DIRECTORIES = ['.', 'd0', 'd1', 'd0/e', 'd1/e'] as const;
const NAMES = ['a', 'b', 'c', 'd0', 'd1', 'e'] as const;
const MODES = [
  '644',
  '600',
  '755',
  '777',
  '700',
  '1777',
  '2755',
  '2775',
  '4755',
  '6711',
  '0',
  '444',
  '666',
] as const;
const XATTRS = ['user.a', 'user.b', 'user.long-name-of-an-attribute', 'trusted.t', 'security.x'] as const;
const OPENS = ['r', 'u', 'wc', 'uct', 'ucx', 'rD', 'rf', 'wt'] as const;
const USER = 1000;

const WEIGHTS = {
  ...{
    create: 14,
    mkdir: 8,
    link: 7,
    symlink: 4,
    readlink: 2,
    rename: 16,
    unlink: 8,
    rmdir: 5,
    mknod: 2,
    tmpfile: 3,
  },
  ...{
    chmod: 6,
    chown: 5,
    utimes: 5,
    list: 4,
    access: 2,
    setxattr: 7,
    getxattr: 3,
    removexattr: 3,
    listxattr: 2,
  },
  ...{ write: 5, truncate: 3, look: 3, user: 3, umask: 1, open: 2, close: 1 },
};
type Operation = keyof typeof WEIGHTS;

class NameScript {
  readonly #random: Random;
  readonly lines: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  begin(): void {
    for (const directory of DIRECTORIES.slice(1))
      this.lines.push(`mkdir ${directory} 777`, `chmod ${directory} 777`);
    this.lines.push('chmod . 777');
  }

  step(): void {
    this.lines.push(this.#line(this.#random.weighted(WEIGHTS)));
  }

  #line(operation: Operation): string {
    const r = this.#random;
    switch (operation) {
      case 'create':
      case 'mkdir':
      case 'chmod':
        return `${operation} ${this.#path()} ${r.pick(MODES)}`;
      case 'link':
        return `link ${this.#path()} ${this.#path()}`;
      case 'symlink':
        return `symlink ${this.#path()} ${r.pick(['a', 'd0', '../a', '../d1', 'nothing', '.'])}`;
      case 'rename':
        return `rename ${this.#path()} ${this.#path()} ${r.pick(['-', '-', '-', 'n', 'x', 'w', 'nx'])}`;
      case 'mknod':
        return `mknod ${this.#path()} ${r.pick(['10644', '140600', '20600', '60660'])} ${r.below(300)} ${r.below(3)}`;
      case 'tmpfile':
        return `tmpfile ${r.pick(DIRECTORIES)} ${this.#path()} ${r.below(9000)} ${r.below(9)}`;
      case 'chown': {
        const [path, uid, gid] = [this.#path(), this.#owner(), this.#owner()];
        // Of nothing it is another thing, see known.ts: all that follows would differ.
        return `chown ${path} ${uid} ${`${uid}${gid}` === '-1-1' ? '0' : gid}`;
      }
      case 'utimes':
        return `utimes ${this.#path()} ${this.#time()} ${this.#time()}`;
      case 'access':
        return `access ${this.#path()} ${r.pick(['r', 'w', 'x', 'rw', 'rwx'])}`;
      case 'user':
        return `user ${r.pick([0, 0, USER])}`;
      case 'umask':
        return `umask ${r.pick(['022', '077', '0', '027'])}`;
      case 'write':
        return `write ${this.#path()} ${r.below(9000)} ${1 + r.below(9000)} ${r.below(6)}`;
      case 'truncate':
        return `truncate ${this.#path()} ${r.below(20_000)}`;
      case 'open':
        return `open @${r.below(2)} ${this.#path()} ${r.pick(OPENS)} ${r.pick(MODES)}`;
      case 'close':
        return `close @${r.below(2)}`;
      default:
        return this.#attributeLine(operation);
    }
  }

  #attributeLine(operation: Operation): string {
    const r = this.#random;
    const path = this.#path();
    switch (operation) {
      case 'setxattr': {
        const length = r.weighted({ small: 6, large: 1 }) === 'small' ? r.below(100) : r.below(9000);
        return `setxattr ${path} ${r.pick(XATTRS)} ${length} ${r.below(9)}${r.pick(['', '', ' c', ' r'])}`;
      }
      case 'getxattr':
        return `getxattr ${path} ${r.pick(XATTRS)} ${r.pick([0, 10, 65_536])}`;
      case 'removexattr':
        return `removexattr ${path} ${r.pick(XATTRS)}`;
      default:
        return `${operation} ${path}`;
    }
  }

  #path(): string {
    const directory = this.#random.pick(DIRECTORIES);
    const name = this.#random.pick(NAMES);
    return directory === '.' ? name : `${directory}/${name}`;
  }

  #owner(): number {
    return this.#random.pick([-1, 0, USER, 1001]);
  }

  #time(): string {
    return this.#random.pick(['now', 'omit', '0', '1000000000.123456789', '-1000.5', '4000000000.999999999']);
  }
}

/** A script of `operations` random operations on names. */
export function nameScript(seed: number, operations: number, remounts: boolean): string[] {
  const random = new Random(seed);
  const script = new NameScript(random);
  script.begin();
  for (let i = 1; i <= operations; i++) {
    script.step();
    if (i % 50 === 0) script.lines.push('tree');
    if (remounts && i % 250 === 0) script.lines.push('remount', 'tree');
  }
  return script.lines;
}
