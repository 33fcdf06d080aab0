import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { InvalidArgumentError } from 'commander';
import { ControlClient } from '../control/client.js';
import { CommandError, explain, failure } from './errors.js';
import { mountDetached } from './mount.js';
import { DEFAULT_MOUNT_CHOICES, parseMountOptions, parseSloppily, remountFlags } from './mount-options.js';

/**
 * mount.fuse.rmapfs, which mount(8) runs for `mount -t fuse.rmapfs` and lines of fstab(5) of that type:
 * `mount.fuse.rmapfs SPEC DIR [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]` ("external helpers" in mount(8)).
 */

/** Exit statuses of mount(8). */
const STATUS = { done: 0, usage: 1, failed: 32 } as const;

const USAGE = 'Usage: mount.fuse.rmapfs REGION DIR [-sfnv] [-t TYPE] [-o OPTIONS]\n';

interface Request {
  region: string;
  dir: string;
  /** All -o lists, joined. */
  options: string;
  /** -s: unknown options are passed over. */
  sloppy: boolean;
  /** -f: everything but the mount. */
  fake: boolean;
  verbose: boolean;
}

/** @returns null for wrong usage */
function parseRequest(args: readonly string[]): Request | null {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        options: { type: 'string', short: 'o', multiple: true },
        sloppy: { type: 'boolean', short: 's' },
        fake: { type: 'boolean', short: 'f' },
        // Nobody keeps /etc/mtab any more.
        'no-mtab': { type: 'boolean', short: 'n' },
        verbose: { type: 'boolean', short: 'v' },
        // mount(8) has entered the namespace already.
        namespace: { type: 'string', short: 'N' },
        types: { type: 'string', short: 't' },
      },
    });
    if (positionals.length !== 2) return null;
    const { sloppy = false, fake = false, verbose = false, options = [] } = values;
    return { region: positionals[0], dir: positionals[1], options: options.join(','), sloppy, fake, verbose };
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** @returns an exit status of mount(8) */
export async function runMountHelper(args: readonly string[], warn: (text: string) => void): Promise<number> {
  const request = parseRequest(args);
  if (request === null) {
    warn(USAGE);
    return STATUS.usage;
  }
  try {
    if (request.options.split(',').includes('remount')) remount(request);
    else await mountNew(request);
    if (request.verbose) warn(`mount.fuse.rmapfs: ${request.region} mounted on ${request.dir}.\n`);
    return STATUS.done;
  } catch (error) {
    if (!(error instanceof CommandError) && !(error instanceof InvalidArgumentError)) throw error;
    warn(`mount.fuse.rmapfs: ${error.message}\n`);
    return error instanceof CommandError ? STATUS.failed : STATUS.usage;
  }
}

async function mountNew({ region, dir, options, sloppy, fake }: Request): Promise<void> {
  const choices = (sloppy ? parseSloppily : parseMountOptions)(options, DEFAULT_MOUNT_CHOICES);
  await mountDetached(region, dir, choices, fake);
}

/**
 * `mount -o remount,ro` and the like: the kernel changes the flags of the mount, the daemon is not asked. It can give
 * nothing back that it did not open for writing.
 */
function remount({ dir, options, fake }: Request): void {
  const asked = `remount ${dir}`;
  const flags = remountFlags(options);
  const readOnly = flags.findLast((flag) => flag === 'ro' || flag === 'rw') === 'ro';
  try {
    const client = ControlClient.open(dir, 'r');
    const opened = client.info();
    client.close();
    if (!readOnly && opened.readOnly) {
      throw failure(asked, 'the region was opened read-only; unmount it and mount it again with -o rw');
    }
    if (readOnly) commit(dir);
  } catch (error) {
    throw explain(error, asked, dir);
  }
  if (fake) return;
  const list = ['remount', ...flags].join(',');
  const done = spawnSync('mount', ['-i', '--options-mode', 'ignore', '-o', list, '--', dir], {
    encoding: 'utf8',
  });
  if (done.error !== undefined) throw failure(asked, `mount(8) cannot be run: ${done.error.message}`);
  if (done.status !== 0) throw failure(asked, done.stderr.trim().replaceAll(/\s*\n\s*/g, '; '));
}

/** fsync(2) of a directory: what was done so far is durable. */
function commit(dir: string): void {
  const fd = fs.openSync(dir, 'r');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}
