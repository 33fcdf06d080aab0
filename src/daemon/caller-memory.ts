import { closeSync, openSync, readSync } from 'node:fs';
import { FsError } from '../errors.js';
import { hasCode } from '../native.js';

const WORD_BYTES = 4;

/**
 * The u32 at an address of another process, which waits in an ioctl meanwhile, through /proc/PID/mem
 * (proc_pid_mem(5)). EFAULT for an address that is not mapped, EPERM for a process that this one may not look at.
 */
export function callerWord(pid: number, address: number): number {
  const word = Buffer.alloc(WORD_BYTES);
  let fd = -1;
  try {
    fd = openSync(`/proc/${pid}/mem`, 'r');
    if (readSync(fd, word, 0, WORD_BYTES, address) === WORD_BYTES) return word.readUInt32LE(0);
  } catch (error) {
    if (!hasCode(error, 'EIO')) {
      throw new FsError('EPERM', 'ioctl', `the memory of process ${pid} cannot be read: ${String(error)}`);
    }
  } finally {
    if (fd >= 0) closeSync(fd);
  }
  throw new FsError('EFAULT', 'ioctl', `process ${pid} has nothing at its argument's address`);
}
