import fs from 'node:fs';
import { DaemonOptions } from '../daemon/options.js';
import { DAEMON_POLL_MS, DAEMON_WAIT_MS, KEEPERS_LOOK_MS } from '../limits.js';
import { failure } from './errors.js';
import { currentMounts } from './mounts.js';
import { keepersOf, keptBy } from './other-namespaces.js';

/** What a daemon of a region was told, by the process list; undefined for every other process. */
function optionsOf(pid: string, region: string): DaemonOptions | undefined {
  let last: string | undefined;
  try {
    last = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').at(-2);
  } catch {
    // It has ended meanwhile, or may not be looked at: then it is not known as one.
    return undefined;
  }
  if (last?.startsWith('{') !== true || !last.includes(JSON.stringify(region))) return undefined;
  const parsed = DaemonOptions.safeParse(parseJson(last));
  return parsed.success && parsed.data.region === region ? parsed.data : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Another program's argument.
    return undefined;
  }
}

/** The daemon of the region that still runs and has no mount here, or undefined. */
function endingDaemon(region: string): DaemonOptions | undefined {
  const daemons = fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => optionsOf(pid, region))
    .filter((options) => options !== undefined);
  if (daemons.length === 0) return undefined;
  const mounts = currentMounts();
  return daemons.find(
    (daemon) =>
      !mounts.some((mount) => mount.mountpoint === daemon.mountpoint && mount.source === daemon.source),
  );
}

/**
 * umount(8) returns before the daemon has made the last commit and let go of the region. Who uses the region next
 * waits for that, as for the umount of any other filesystem: a minute at most, then the region is found in use. A mount
 * in another mount namespace, which may stay for ever, is not waited for: it is told.
 *
 * @param region without symbolic links.
 */
export async function awaitLastDaemon(asked: string, region: string): Promise<void> {
  const began = Date.now();
  let looked = began;
  for (let daemon = endingDaemon(region); daemon !== undefined; daemon = endingDaemon(region)) {
    const now = Date.now();
    if (now - began > DAEMON_WAIT_MS) return;
    if (now - looked > KEEPERS_LOOK_MS) {
      looked = now;
      const keepers = keepersOf(daemon.source);
      if (keepers.length > 0) throw failure(asked, keptBy(keepers));
    }
    await new Promise((resolve) => setTimeout(resolve, DAEMON_POLL_MS));
  }
}
