import { readFileSync } from 'node:fs';

/**
 * The supplementary groups of a thread, from /proc/TID/status (proc_pid_status(5)): FUSE tells the daemon only one
 * group. None for a thread that is gone or in another pid namespace (0): a member's right is then not used.
 */
export function groupsOf(tid: number): readonly number[] {
  let status: string;
  try {
    status = readFileSync(`/proc/${tid}/status`, 'latin1');
  } catch {
    // As above: nothing is known of it.
    return [];
  }
  const line = /^Groups:([ \t\d]*)$/m.exec(status)?.[1].trim() ?? '';
  return line === '' ? [] : line.split(/\s+/).map(Number);
}
