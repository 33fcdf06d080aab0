import fs from 'node:fs';
import { errnoNameOf } from '../control/error.js';
import { mayBeOurs, parseMountinfo } from './mounts.js';

/** A mount namespace, by one of the processes in it. */
export interface Keeper {
  pid: number;
  comm: string;
  /** As /proc/PID/ns/mnt has it: "mnt:[4026532177]". */
  namespace: string;
  mountpoint: string;
}

/**
 * Mounts of a region in other mount namespaces than ours: they keep its daemon when the one that we see is unmounted.
 * One entry a namespace. Processes that may not be looked at (another user's) are passed over.
 *
 * @param source the region as it was named at the mount
 */
export function keepersOf(source: string): Keeper[] {
  const seen = new Set([namespaceOf('self')]);
  const keepers: Keeper[] = [];
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const namespace = namespaceOf(pid);
    if (namespace === undefined || seen.has(namespace)) continue;
    seen.add(namespace);
    const mounts = parseMountinfo(readIfThere(`/proc/${pid}/mountinfo`));
    const mount = mounts.find((one) => mayBeOurs(one) && one.source === source);
    if (mount === undefined) continue;
    const comm = readIfThere(`/proc/${pid}/comm`).trim();
    keepers.push({ pid: Number(pid), comm, namespace, mountpoint: mount.mountpoint });
  }
  return keepers;
}

/** Who they are and what to do, as the end of a sentence. */
export function keptBy(keepers: readonly Keeper[]): string {
  const each = keepers.map(
    ({ pid, comm, namespace, mountpoint }) => `process ${pid} (${comm}) in ${namespace} on ${mountpoint}`,
  );
  const { pid, mountpoint } = keepers[0];
  const advice = `unmount it there (nsenter -t ${pid} -m umount ${mountpoint}), or end the process`;
  return `it is still mounted in other mount namespaces: ${each.join(', ')}; ${advice}`;
}

const namespaceOf = (pid: string): string | undefined =>
  unlessGone(() => fs.readlinkSync(`/proc/${pid}/ns/mnt`));

const readIfThere = (path: string): string => unlessGone(() => fs.readFileSync(path, 'utf8')) ?? '';

/** Undefined for a process that has ended, or may not be looked at. */
function unlessGone(read: () => string): string | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL'].includes(errnoNameOf(error))) return undefined;
    throw error;
  }
}
