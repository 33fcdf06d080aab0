import { getSystemErrorMap } from 'node:util';
import { ControlError, errnoNameOf } from '../control/error.js';
import { errnoOf, FsError } from '../errors.js';

/** An operation that failed: the message is one sentence that says what was asked, what was found, what to do. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** The command ended otherwise than with 0; the program ends with its status. */
export class CommandStatus extends Error {
  override readonly name = 'CommandStatus';
  readonly status: number;

  constructor(status: number) {
    super(`the command ended with status ${status}`);
    this.status = status;
  }
}

/** What was found and what to do, by errno name: the second half of "cannot ASKED: FOUND". */
export type Findings = Readonly<Partial<Record<string, string>>>;

const GENERAL: Findings = {
  ENOENT: 'there is no such file or directory; check the path',
  ENOTDIR: 'a part of the path is no directory; check the path',
  EACCES: 'access to the path is denied; run it as root or as the owner of the file',
  EPERM: 'that is allowed to root and to the user who mounted only; run it as one of them',
  EROFS: 'the filesystem is read-only; mount it without -o ro',
  ENOSPC: 'there is no space left; free some, or make a larger region',
  ESTALE: 'the answer was dropped because many newer ones were asked for; run the command again',
  EIO: 'the filesystem answers with an I/O error; see "rmapfs info" for a shutdown and the log of the daemon',
  E2BIG: 'the range has too many owners for one answer; ask for a smaller one',
  EFBIG: 'the range goes beyond the largest file offset; choose a smaller one',
};

/** `Cannot ASKED: FOUND`, where FOUND holds what to do as well. */
export function failure(asked: string, found: string, cause?: unknown): CommandError {
  return new CommandError(`cannot ${asked}: ${found}`, { cause });
}

/**
 * The sentence for an error of the control interface or of the system. `path` is what the user named;
 * `special` says what an errno means for this command. A bug of ours is passed on as it is.
 */
export function explain(error: unknown, asked: string, path: string, special: Findings = {}): unknown {
  if (error instanceof CommandError) return error;
  const code = errnoNameOf(error);
  const found = special[code];
  if (found !== undefined) return failure(asked, found, error);
  if (code === 'ENOTCONN') {
    return failure(
      asked,
      `the daemon of ${path} is gone; clear the mount with: rmapfs umount --force ${path}`,
      error,
    );
  }
  if (code === 'ENOTTY') {
    const advice = 'name the mount point or a path below it';
    return failure(asked, `${path} is not on a mounted rmapfs; ${advice}`, error);
  }
  if (code === 'EPROTO' && error instanceof ControlError) {
    return failure(asked, `${error.message}; mount again with this version of rmapfs`, error);
  }
  if (error instanceof FsError) return failure(asked, plainSentence(error.message), error);
  const general = GENERAL[code];
  if (general !== undefined) return failure(asked, general, error);
  return /^E[A-Z0-9]+$/.test(code) ? failure(asked, `${describeErrno(code)} (${code})`, error) : error;
}

/** The sentence of a FsError without the operation before it and the errno behind it. */
export function plainSentence(message: string): string {
  return message.replace(/^[a-z]+: /, '').replace(/ \(E[A-Z0-9]+\)$/, '');
}

/** The text of strerror(3) for an errno name, or the name. */
function describeErrno(name: string): string {
  try {
    return getSystemErrorMap().get(-errnoOf(name as Parameters<typeof errnoOf>[0]))?.[1] ?? name;
  } catch {
    return name;
  }
}
