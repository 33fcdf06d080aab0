import { constants } from 'node:os';

/** Names of errno values, as in errno(3). ENOATTR is ENODATA on Linux. */
export type ErrnoName = keyof typeof constants.errno | 'ENOTBLK' | 'EUCLEAN' | 'ENOKEY';

const EXTRA: Record<string, number> = { ENOTBLK: 15, EUCLEAN: 117, ENOKEY: 126 };

/** The positive errno number of a name. */
export function errnoOf(name: ErrnoName): number {
  const n = (constants.errno as Record<string, number>)[name] ?? EXTRA[name];
  if (n === undefined) throw new TypeError(`unknown errno name ${name}`);
  return n;
}

/**
 * An expected failure of an operation. `src/vfs` is the only place that turns it into an errno for
 * the kernel. The message says what was asked and what was found; it is not logged loudly.
 */
export class FsError extends Error {
  override readonly name = 'FsError';
  readonly code: ErrnoName;
  readonly op: string;
  /** The positive errno. */
  readonly errno: number;

  constructor(code: ErrnoName, op: string, detail: string) {
    super(`${op}: ${detail} (${code})`);
    this.code = code;
    this.op = op;
    this.errno = errnoOf(code);
  }
}

/**
 * A broken invariant: a bug of ours or a damaged region, never a user's mistake. The operation
 * answers EIO and it is logged loudly.
 */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * Assertions stay on in production: a wrong answer costs more than the check. Where `what` is put together from
 * numbers, use `if (...) broken(...)`: arguments are made even when the condition holds.
 */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) broken(what);
}

export function broken(what: string): never {
  throw new InvariantError(`invariant broken: ${what}`);
}

/** On-region damage (checksum, address, tree id, order). Carries EUCLEAN-like meaning; the kernel sees EIO. */
export class CorruptionError extends Error {
  override readonly name = 'CorruptionError';
  /** The damaged block, or -1 when it is not one block. */
  readonly block: number;

  constructor(block: number, detail: string) {
    super(`corruption in block ${block}: ${detail}`);
    this.block = block;
  }
}

/**
 * A commit did not come to its end: the medium refused a flush, or a node or an invariant was found broken on the way.
 * Nothing that came after the last commit can be called durable, and nothing more may be changed.
 */
export class CommitError extends Error {
  override readonly name = 'CommitError';

  constructor(cause: unknown) {
    super(`a commit failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
