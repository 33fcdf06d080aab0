import { readFileSync } from 'node:fs';

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
