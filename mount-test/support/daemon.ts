import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** /proc files of a process that has just ended cannot be read: that is no error here. */
function orNothing<T>(read: () => T, nothing: T): T {
  try {
    return read();
  } catch {
    return nothing;
  }
}

const holdsFuse = (pid: string): boolean =>
  orNothing(() => readdirSync(`/proc/${pid}/fd`), []).some(
    (fd) => orNothing(() => readlinkSync(`/proc/${pid}/fd/${fd}`), '') === '/dev/fuse',
  );

/**
 * The process that serves a region: it has both the region mapped and /dev/fuse open. 0 when there is none.
 */
export function daemonOf(region: string): number {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const maps = orNothing(() => readFileSync(`/proc/${pid}/maps`, 'utf8'), '');
    if (maps.includes(` ${region}\n`) && holdsFuse(pid)) return Number(pid);
  }
  return 0;
}

/** Whether the process exists and is no zombie. */
export function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return false;
  return !/\) Z /.test(orNothing(() => readFileSync(`/proc/${pid}/stat`, 'utf8'), ') Z '));
}

/** The line of /proc/mounts for a mount point: source, type and options; undefined when it is not mounted. */
export function mountOf(dir: string): { source: string; type: string; options: string[] } | undefined {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n').reverse()) {
    const [source, where, type, options] = line.split(' ');
    if (where === dir && source !== undefined && type !== undefined)
      return { source, type, options: (options ?? '').split(',') };
  }
  return undefined;
}
