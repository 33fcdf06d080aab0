import { closeSync } from 'node:fs';
import { FsError } from '../errors.js';
import { hasCode, receiveFd, socketPair } from '../native.js';
import type { DaemonOptions } from './options.js';
import { runProgram } from './program.js';

/**
 * Mounting as an ordinary user, through the set-uid program fusermount3(1): it opens /dev/fuse, checks the mount
 * point, mounts, and passes the descriptor over a Unix socket that _FUSE_COMMFD names. It adds nosuid and
 * nodev by itself, and user_id, group_id, fd and rootmode.
 */

const PROGRAM = 'fusermount3';
/** Where fusermount3 finds the socket: the first descriptor after the standard three. */
const CHILD_SOCKET = 3;
/** The kernel's default. Most versions of fusermount3 do not know the word. */
const DEFAULTS = new Set(['relatime']);
/** What only root may ask for. fusermount3 would pass over them with a warning that nobody sees. */
const ROOT_ONLY = new Set(['suid', 'dev']);

/** A comma ends an option and a backslash takes the meaning off the next character. */
const escapeValue = (text: string): string => text.replace(/[\\,]/g, '\\$&');

/** The -o argument of fusermount3. FsError for an option that needs root. */
export function fusermountOptions(options: DaemonOptions): string {
  const list = [
    'default_permissions',
    options.readOnly ? 'ro' : 'rw',
    `fsname=${escapeValue(options.source)}`,
    ...(options.subtype ? ['subtype=rmapfs'] : []),
    ...(options.allowOther ? ['allow_other'] : []),
  ];
  for (const option of options.extraOptions) {
    if (ROOT_ONLY.has(option)) {
      throw new FsError('EPERM', 'mount', `the option ${option} is for root; mount as root or without it`);
    }
    if (!DEFAULTS.has(option)) list.push(option);
  }
  return list.join(',');
}

/** @returns the descriptor of /dev/fuse, which is the caller's */
export async function mountAsUser(options: DaemonOptions, dir: string): Promise<number> {
  const list = fusermountOptions(options);
  const [ours, theirs] = socketPair();
  try {
    const run = runProgram(PROGRAM, ['-o', list, '--', dir], theirs, { _FUSE_COMMFD: String(CHILD_SOCKET) });
    const { status, message } = await run.finally(() => closeSync(theirs));
    if (status !== 0) throw new FsError('EPERM', 'mount', refusal(dir, message));
    return receiveFd(ours);
  } catch (error) {
    if (hasCode(error, 'EPIPE') || hasCode(error, 'EPROTO')) {
      throw new FsError('EPROTO', 'mount', `${PROGRAM} did not hand over /dev/fuse; is it of version 3?`);
    }
    throw error;
  } finally {
    closeSync(ours);
  }
}

/** Why fusermount3 refused, and what to do where it does not say so itself. */
function refusal(dir: string, message: string): string {
  const said = message.replaceAll(`${PROGRAM}: `, '');
  if (message.includes('user_allow_other')) {
    return (
      'allow_other is for root, unless /etc/fuse.conf has a line user_allow_other; ' +
      'add it as root, or mount without'
    );
  }
  if (message.includes('open /dev/fuse')) {
    return `${PROGRAM}: ${said}; load the module fuse, or as root: chmod 666 /dev/fuse`;
  }
  if (/no write access|not owner/.test(message)) {
    return `${dir} is not yours to mount on; name a directory that you may write to`;
  }
  return `${PROGRAM}: ${said}`;
}

/** @returns "busy" when the mount was detached only */
export async function unmountAsUser(dir: string): Promise<'done' | 'busy'> {
  const plain = await runProgram(PROGRAM, ['-u', '--', dir]);
  if (plain.status === 0 || /not mounted|not found/.test(plain.message)) return 'done';
  const lazy = await runProgram(PROGRAM, ['-u', '-z', '--', dir]);
  if (lazy.status === 0) return 'busy';
  throw new FsError('EBUSY', 'umount', `cannot unmount ${dir}: ${lazy.message}`);
}
