import { readFileSync } from 'node:fs';
import { errnoOf } from '../errors.js';
import { errorReply } from '../fuse/ioctl-reply.js';
import { PTRACE_STOP_WAIT_MS } from '../limits.js';
import { takeFault } from '../native.js';
import { BLOCK_SHIFT } from '../types.js';

/**
 * The process of a thread that waits in a page fault, 0 for one that is in a system call (proc_pid_syscall(5): -1
 * stands for "in the kernel, but not by a system call"), or that cannot be looked at. Takes no lock that a fault holds.
 */
export function faultingProcess(tid: number): number {
  try {
    if (!readFileSync(`/proc/${tid}/syscall`, 'latin1').startsWith('-1 ')) return 0;
    const tgid = /^Tgid:\s*(\d+)$/m.exec(readFileSync(`/proc/${tid}/status`, 'latin1'));
    return tgid === null ? 0 : Number(tgid[1]);
  } catch {
    // It has ended, or belongs to somebody else: then it is told like any other process.
    return 0;
  }
}

/**
 * Makes the answerer of page faults on a bad block. A machine check gives the thread SIGBUS BUS_MCEERR_AR; from EIO the
 * kernel makes BUS_ADRERR. So the thread is traced for the time between the answer and its signal. Neither the core
 * nor the main thread can wait for that: the core serves the fault when the kernel asks again, and main may wait for
 * the lock of this very page (see main.ts). False: the caller answers.
 */
export function faultAnswerer(fuseFd: number): (unique: bigint, pid: number, tid: number) => boolean {
  return (unique, pid, tid) =>
    takeFault(fuseFd, errorReply(unique, errnoOf('EIO')), pid, tid, BLOCK_SHIFT, PTRACE_STOP_WAIT_MS);
}
