import { Random } from './random.js';

/**
 * Random operations on the contents of a few files, as fsx makes them. `exact`: files end at a block's end and are not
 * mapped for writing, so that both filesystems must have the same blocks; `odd`: files end anywhere; `mapped`: stores
 * through mappings too.
 */
export type DataKind = 'exact' | 'odd' | 'mapped';

const BLOCK = 4096;
const FILES = ['f0', 'f1', 'f2', 'f3'] as const;
const FILE_BLOCKS = 48;
const HANDLES = ['@0', '@1'] as const;
/** Seeds whose bytes repeat in every block (native/agent/pattern.c), so that dedupe finds something. */
const PERIODIC = [100, 101, 102];

const WEIGHTS = {
  ...{
    write: 14,
    dwrite: 6,
    swrite: 2,
    append: 3,
    read: 3,
    dread: 2,
    truncate: 6,
    punch: 6,
    zero: 4,
    zerokeep: 3,
  },
  ...{
    allocate: 4,
    keep: 2,
    collapse: 4,
    insert: 4,
    unshare: 4,
    clone: 12,
    cloneall: 2,
    dedupe: 8,
    copy: 6,
    seek: 4,
  },
  ...{ fsync: 3, fdatasync: 1, drop: 3, open: 2 },
};
const MAPPED_WEIGHTS = { ...WEIGHTS, mstore: 14, view: 3, peek: 6, poke: 4 };
type Operation = keyof typeof MAPPED_WEIGHTS;

/** Makes the lines of one script. */
class DataScript {
  readonly #random: Random;
  readonly #kind: DataKind;
  readonly lines: string[] = [];

  constructor(random: Random, kind: DataKind) {
    this.#random = random;
    this.#kind = kind;
  }

  begin(): void {
    for (const file of FILES) {
      this.lines.push(`create ${file} 644`);
      if (this.#random.chance(70))
        this.lines.push(`write ${file} 0 ${this.#blocks(FILE_BLOCKS) * BLOCK} ${this.#seed()}`);
    }
    for (const handle of HANDLES) this.#open(handle);
  }

  /** One operation, and a look at what it may have changed. */
  step(): void {
    const mapped = this.#kind === 'mapped';
    const operation: Operation = mapped
      ? this.#random.weighted(MAPPED_WEIGHTS)
      : this.#random.weighted(WEIGHTS);
    const file = this.#file();
    this.lines.push(this.#line(operation, file));
    this.#look(operation, file);
  }

  #look(operation: Operation, file: string): void {
    const target = ['clone', 'cloneall', 'dedupe', 'copy'].includes(operation)
      ? (this.lines.at(-1)?.split(' ')[operation === 'cloneall' ? 2 : 3] ?? file)
      : file;
    const path = target.startsWith('@') ? this.#random.pick(FILES) : target;
    const how = this.#random.weighted({ read: 5, map: 3, direct: 2 });
    if (this.#random.chance(85)) this.lines.push(`look ${path} ${how}`);
    if (this.#kind !== 'mapped' && this.#random.chance(30)) this.lines.push(`map ${path}`);
  }

  #open(handle: string): void {
    // O_DIRECT here wants whole blocks, which the other operations do not promise.
    this.lines.push(`open ${handle} ${this.#random.pick(FILES)} ${this.#flags()}`);
  }

  #line(operation: Operation, file: string): string {
    const r = this.#random;
    switch (operation) {
      case 'write':
      case 'swrite':
      case 'append':
      case 'mstore':
        return `${operation} ${r.chance(15) ? r.pick(HANDLES) : file} ${this.#bytes(operation)} ${this.#seed()}`;
      case 'dwrite':
        return `dwrite ${file} ${this.#blocks(FILE_BLOCKS) * BLOCK} ${(1 + this.#blocks(8)) * BLOCK} ${this.#seed()}`;
      case 'read':
      case 'peek':
      case 'dread':
        if (operation === 'peek') return `peek ${r.below(3)}`;
        if (operation === 'dread')
          return `dread ${file} ${this.#blocks(FILE_BLOCKS) * BLOCK} ${(1 + this.#blocks(16)) * BLOCK}`;
        return `read ${file} ${r.below(FILE_BLOCKS * BLOCK)} ${r.below(16 * BLOCK)}`;
      case 'poke':
        return `poke ${r.below(3)} ${r.below(12 * BLOCK)} ${1 + r.below(3 * BLOCK)} ${this.#seed()}`;
      case 'view':
        return `view ${r.below(3)} ${file} ${16 * BLOCK} ${r.pick(['shared', 'write', 'lazy'])}`;
      case 'truncate':
        return `truncate ${file} ${this.#end()}`;
      case 'collapse':
      case 'insert':
        return `${operation} ${file} ${this.#aligned(24)} ${this.#aligned(6) || BLOCK}`;
      default:
        return this.#rangeLine(operation, file);
    }
  }

  #rangeLine(operation: Operation, file: string): string {
    const r = this.#random;
    switch (operation) {
      case 'clone':
      case 'dedupe':
      case 'copy':
        return this.#pairLine(operation, file);
      case 'cloneall':
        return `cloneall ${file} ${this.#file()}`;
      case 'seek':
        return `seek ${file} ${r.pick(['data', 'hole'])} ${r.below(FILE_BLOCKS * BLOCK)}`;
      case 'open':
        return `open ${r.pick(HANDLES)} ${file} ${this.#flags()}`;
      case 'fsync':
      case 'fdatasync':
      case 'drop':
        return `${operation} ${file}`;
      case 'punch':
      case 'zero':
      case 'zerokeep':
        // Zeroing a part of a shared block may leave it shared where it holds zeros already.
        if (this.#kind === 'exact')
          return `${operation} ${file} ${this.#aligned(FILE_BLOCKS)} ${this.#aligned(12) || BLOCK}`;
        return `${operation} ${file} ${this.#range()}`;
      default:
        return `${operation} ${r.chance(10) ? r.pick(HANDLES) : file} ${this.#range()}`;
    }
  }

  #pairLine(operation: 'clone' | 'dedupe' | 'copy', file: string): string {
    const r = this.#random;
    const [from, length] = [this.#aligned(FILE_BLOCKS), this.#aligned(12)];
    // The same place in both is where equal bytes are likely.
    const to = r.chance(50) ? from : this.#aligned(FILE_BLOCKS);
    const size = length === 0 && operation === 'copy' ? BLOCK : length;
    const [source, target] = [file, r.chance(10) ? r.pick(HANDLES) : this.#file()];
    return `${operation} ${source} ${from} ${target} ${to} ${size}`;
  }

  /** A write through a descriptor opened to append ends anywhere. */
  #flags(): string {
    const flags = ['u', 'u', 'w', 'r', 'us'];
    return this.#random.pick(this.#kind === 'exact' ? flags : [...flags, 'ua']);
  }

  #file(): string {
    return this.#random.pick(FILES);
  }

  #blocks(end: number): number {
    return this.#random.below(end);
  }

  /** Whole blocks; now and then not, where that is refused or the kind of script allows it. */
  #aligned(blocks: number): number {
    const odd = this.#kind !== 'exact' && this.#random.chance(10);
    return odd ? this.#random.below(blocks * BLOCK) : this.#blocks(blocks) * BLOCK;
  }

  /** Where a range or a file ends. */
  #end(): number {
    return this.#kind === 'exact'
      ? this.#blocks(FILE_BLOCKS + 1) * BLOCK
      : this.#random.below((FILE_BLOCKS + 1) * BLOCK);
  }

  /** "OFFSET LENGTH" with the end that the kind of script allows. */
  #range(): string {
    const end = Math.max(1, this.#end() || BLOCK);
    const length = 1 + this.#random.below(Math.min(end, 12 * BLOCK));
    return `${end - length} ${length}`;
  }

  #bytes(operation: Operation): string {
    if (operation === 'append')
      return `0 ${this.#kind === 'exact' ? BLOCK * (1 + this.#blocks(2)) : 1 + this.#random.below(3 * BLOCK)}`;
    return this.#range();
  }

  #seed(): number {
    const r = this.#random;
    return r.chance(40) ? r.pick(PERIODIC) : r.below(6);
  }
}

/** A script of `operations` random data operations, besides those that look at the result. */
export function dataScript(seed: number, kind: DataKind, operations: number, remounts: boolean): string[] {
  const random = new Random(seed);
  const script = new DataScript(random, kind);
  script.begin();
  for (let i = 1; i <= operations; i++) {
    script.step();
    if (i % 100 === 0) script.lines.push('tree');
    if (remounts && i % 250 === 0) script.lines.push('remount', 'tree');
  }
  return script.lines;
}
