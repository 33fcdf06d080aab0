import { spawnSync } from 'node:child_process';
import type { Command } from 'commander';
import { ControlClient } from '../control/client.js';
import { errnoNameOf } from '../control/error.js';
import type { InfoDocument } from '../control/schema.js';
import { probe } from '../engine/index.js';
import { DAEMON_WAIT_MS, KEEPERS_LOOK_MS } from '../limits.js';
import type { CliEnvironment } from './environment.js';
import { explain, failure } from './errors.js';
import { currentMounts, type MountEntry, mayBeOurs, mountOf, resolvePath } from './mounts.js';
import { keepersOf, keptBy } from './other-namespaces.js';
import { isRunning, type ProcessIdentity, processIdentity } from './processes.js';
import { withRegion } from './region.js';

export function registerUmount(program: Command, env: CliEnvironment): void {
  program
    .command('umount')
    .description('commit, unmount, and wait for the daemon to end')
    .argument('<dir>', 'the mount point or a path below it')
    .option('--force', 'also clear a mount whose daemon is gone')
    .addHelpText('after', '\nExample:\n  # rmapfs umount /mnt/pmem')
    .action((dir: string, options: { force?: boolean }) => runUmount(env, dir, options.force === true));
}

async function runUmount(env: CliEnvironment, dir: string, force: boolean): Promise<void> {
  const asked = `unmount ${dir}`;
  const mount = findMount(asked, dir);
  const served = findDaemon(env, asked, mount, force);
  detach(asked, mount, served === 'gone');
  if (served === 'gone') return;
  await waitForEnd(asked, mount, served.daemon);
  await sayHowItEnded(env, asked, served.info);
}

function findMount(asked: string, dir: string): MountEntry {
  let resolved: string;
  try {
    resolved = resolvePath(dir);
  } catch (error) {
    throw explain(error, asked, dir);
  }
  const mount = mountOf(currentMounts(), resolved);
  if (!mayBeOurs(mount)) {
    throw failure(asked, 'it is not on a mounted rmapfs; name the mount point or a path below it');
  }
  return mount;
}

interface Served {
  daemon: ProcessIdentity;
  info: InfoDocument;
}

/** The process that serves the mount; 'gone' when there is none and the mount is to be cleared. */
function findDaemon(env: CliEnvironment, asked: string, mount: MountEntry, force: boolean): Served | 'gone' {
  let info: InfoDocument;
  try {
    const client = ControlClient.open(mount.mountpoint, 'r', env.control);
    info = client.info();
    client.close();
  } catch (error) {
    if (force && errnoNameOf(error) === 'ENOTCONN') return 'gone';
    throw explain(error, asked, mount.mountpoint);
  }
  const { pid } = info;
  const daemon = pid === undefined ? null : processIdentity(pid);
  if (daemon !== null) return { daemon, info };
  throw failure(
    asked,
    `its daemon (process ${pid}) is not to be seen from here; unmount it where it was mounted`,
  );
}

/** umount(8) for root, fusermount3 for others. `lazy` takes a dead mount away though files on it are open. */
function detach(asked: string, mount: MountEntry, lazy: boolean): void {
  const root = process.geteuid?.() === 0;
  const program = root ? 'umount' : 'fusermount3';
  const flags: string[] = root ? [] : ['-u'];
  if (lazy) flags.push(root ? '-l' : '-z');
  const result = spawnSync(program, [...flags, '--', mount.mountpoint], { encoding: 'utf8' });
  if (result.error !== undefined) {
    const code = errnoNameOf(result.error);
    const advice = code === 'ENOENT' ? 'install it' : 'unmount as root';
    throw failure(asked, `${program} cannot be run (${code}); ${advice}`, result.error);
  }
  if (result.status === 0) return;
  const said = result.stderr.trim().replaceAll(/\s*\n\s*/g, '; ');
  if (/busy/i.test(said)) {
    const advice = `end the processes that use it (fuser -vm ${mount.mountpoint} lists them)`;
    throw failure(asked, `files on it are in use; ${advice}`);
  }
  throw failure(asked, `${program} ended with status ${result.status} (${said})`);
}

/**
 * The last commit is made after the kernel has let the mount go: only the daemon's end says that it is done. It does
 * not come while another mount namespace has the mount, so that is looked for, and not waited for.
 */
async function waitForEnd(asked: string, mount: MountEntry, daemon: ProcessIdentity): Promise<void> {
  const began = Date.now();
  let looked = began;
  while (isRunning(daemon)) {
    const now = Date.now();
    if (now - looked > KEEPERS_LOOK_MS) {
      looked = now;
      const keepers = keepersOf(mount.source);
      if (keepers.length > 0) throw failure(asked, `it is unmounted here, but ${keptBy(keepers)}`);
    }
    if (now - began > DAEMON_WAIT_MS) {
      const advice = 'wait for it before the region is used again';
      throw failure(asked, `it is unmounted, but its daemon (process ${daemon.pid}) still runs; ${advice}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * The kernel's unmount succeeds whatever becomes of the last commit: the region tells. Nothing is said where it cannot
 * be asked: it is in use again, or may be read by its owner only.
 */
async function sayHowItEnded(env: CliEnvironment, asked: string, info: InfoDocument): Promise<void> {
  const { region } = info;
  if (region === undefined || info.readOnly) return;
  let found: ReturnType<typeof probe>;
  try {
    found = await withRegion(region, asked, { readOnly: true }, (media) => probe(media));
  } catch {
    return;
  }
  if (found.kind !== 'rmapfs' || found.sb.clean) return;
  const why = found.sb.shutdownReason || 'its daemon could not write what was not yet durable';
  const advice = `what was not yet durable is lost: see its log, then run rmapfs fsck ${region}`;
  if (!info.shutdown) throw failure(asked, `it is unmounted, but ${why}; ${advice}`);
  env.warn(`${info.region} was shut down (${why}); ${advice}\n`);
}
