import path from 'node:path';
import { type Command, Option } from 'commander';
import { runAttached, startDetached } from './daemon.js';
import { CommandError, failure } from './errors.js';
import { awaitLastDaemon } from './last-daemon.js';
import { openLog } from './log-target.js';
import { DEFAULT_MOUNT_CHOICES, type MountChoices, parseMountOptions } from './mount-options.js';
import { checkMountpoint, checkRegion, warnOfOthers } from './mount-place.js';
import { currentMounts } from './mounts.js';

interface Options {
  options: MountChoices;
  foreground?: boolean;
}

const HELP = `
Options for -o: ro, rw, allow_other, policy=early|late|kill|notify, cache=auto|none|always, log=FILE|syslog,
nouuid (a copy of a mounted region, with its uuid), nosubtype (the type is "fuse" and not "fuse.rmapfs"), and the
generic ones of mount(8) (noatime, nosuid, nodev, noexec, sync ...). Permissions are always checked by the kernel.
Without root, fusermount3 mounts: with nosuid and nodev, and allow_other only when /etc/fuse.conf has the line
user_allow_other.
The daemon's log is /var/log/rmapfs/NAME.log for root, else $XDG_STATE_HOME/rmapfs/NAME.log
(~/.local/state); NAME is the mount point with '-' for '/'.

Examples:
  # rmapfs mount /dev/shm/region /mnt/pmem
  # rmapfs mount /dev/pmem0 /mnt/pmem -o noatime,policy=late
  $ rmapfs mount ~/region ~/mnt`;

export function registerMount(program: Command): void {
  program
    .command('mount')
    .description('mount a region; returns when the mount can be used')
    .argument('<region>', 'a file, /dev/pmemN or /dev/daxX.Y that mkfs has formatted')
    .argument('<dir>', 'the directory to mount on')
    .addOption(
      new Option('-o, --options <opt,...>', 'mount options')
        .argParser(parseMountOptions)
        .default(DEFAULT_MOUNT_CHOICES, 'rw,policy=early'),
    )
    .option('--foreground', 'stay attached; Ctrl-C unmounts')
    .addHelpText('after', HELP)
    .action((region: string, dir: string, options: Options) => {
      refuseBusy(region, dir);
      return options.foreground
        ? mountAttached(region, dir, options.options)
        : mountDetached(region, dir, options.options);
    });
}

/** A second mount over the first is mostly a slip, so this command asks for mount(8), which allows it. */
function refuseBusy(region: string, dir: string): void {
  const resolved = checkMountpoint(`mount ${region} on ${dir}`, dir);
  const there = currentMounts().find((mount) => mount.mountpoint === resolved);
  if (there === undefined) return;
  throw failure(
    `mount ${region} on ${dir}`,
    `${there.source} is mounted there already; unmount it, or mount over it with mount -t fuse.rmapfs`,
  );
}

/** What the daemon is to do, with both places checked. */
function placesOf(asked: string, region: string, dir: string, choices: MountChoices) {
  const { readOnly, nouuid, allowOther, policy, cache, subtype, extraOptions } = choices;
  const mountpoint = checkMountpoint(asked, dir);
  return {
    ...{ region: checkRegion(asked, region, readOnly), source: path.resolve(region), mountpoint },
    ...{ readOnly, nouuid, allowOther, policy, cache, subtype, extraOptions },
  };
}

async function mountAttached(region: string, dir: string, choices: MountChoices): Promise<void> {
  const asked = `mount ${region} on ${dir}`;
  const places = placesOf(asked, region, dir, choices);
  warnOfOthers(places.region, choices.extraOptions, (text) => process.stderr.write(text));
  await awaitLastDaemon(asked, places.region);
  const { failure: found, status } = await runAttached({ ...places, foreground: true, logFile: null });
  if (found !== null) throw failure(asked, found);
  if (status !== 0) throw new CommandError(`the daemon of ${places.mountpoint} ended with status ${status}`);
}

/** Mounts, and returns when the mount can be used. `fake`: checks only, as mount(8) does with -f. */
export async function mountDetached(
  region: string,
  dir: string,
  choices: MountChoices,
  fake = false,
): Promise<void> {
  const asked = `mount ${region} on ${dir}`;
  const places = placesOf(asked, region, dir, choices);
  if (fake) return;
  warnOfOthers(places.region, choices.extraOptions, (text) => process.stderr.write(text));
  await awaitLastDaemon(asked, places.region);
  const log = openLog(asked, places.mountpoint, choices.log);
  const found = await startDetached({ ...places, foreground: false, logFile: log.name }, log);
  if (found !== null) throw failure(asked, found);
}
