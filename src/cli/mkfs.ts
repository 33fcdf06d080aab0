import fs from 'node:fs';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { mkfs, probe, uuidText } from '../engine/index.js';
import { LABEL_MAX_BYTES, REGION_MAX_BYTES, REGION_MIN_BYTES } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import { parseSize } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { explain, failure } from './errors.js';
import { warnOfOthers } from './mount-place.js';
import { humanSize } from './output.js';
import { systemClock, withRegion } from './region.js';

interface Options {
  size?: number;
  label: string;
  force?: boolean;
  sparse?: boolean;
}

const EXAMPLE = `
Examples:
  $ rmapfs mkfs /dev/shm/region --size 64M --label test
  # rmapfs mkfs /dev/pmem0 --force`;

export function registerMkfs(program: Command, env: CliEnvironment): void {
  program
    .command('mkfs')
    .description('create or format a region')
    .argument('<region>', 'a file (made when it does not exist), /dev/pmemN or /dev/daxX.Y')
    .addOption(
      new Option('--size <n>', 'size of the region, in bytes; needed for a new file').argParser(parseSize),
    )
    .option('--label <text>', `a name, at most ${LABEL_MAX_BYTES} bytes`, '')
    .option('--sparse', 'take blocks of a file as they are used; when there are none left the mount ends')
    .option('--force', 'format a region that holds something')
    .addHelpText('after', EXAMPLE)
    .action((region: string, options: Options) => runMkfs(env, region, options));
}

async function runMkfs(env: CliEnvironment, region: string, options: Options): Promise<void> {
  const asked = `format ${region}`;
  checkLabel(asked, options.label);
  const stat = statRegion(asked, region);
  const isNew = stat === undefined;
  const size = wantedSize(asked, stat, options.size);
  if (isNew && !fs.existsSync(path.dirname(region))) {
    throw failure(asked, `there is no directory ${path.dirname(region)}; make it first`);
  }
  if (stat !== undefined) await checkContents(asked, region, stat, options.force === true);
  try {
    await format(env, asked, region, size, options);
    warnOfOthers(region, [], (text) => env.warn(text));
  } catch (error) {
    if (isNew) fs.rmSync(region, { force: true });
    throw error;
  }
}

function checkLabel(asked: string, label: string): void {
  const bytes = Buffer.byteLength(label);
  if (bytes > LABEL_MAX_BYTES || label.includes('\0')) {
    throw failure(asked, `the label has ${bytes} bytes; give one of at most ${LABEL_MAX_BYTES}, without NUL`);
  }
}

function statRegion(asked: string, region: string): fs.Stats | undefined {
  let stat: fs.Stats | undefined;
  try {
    stat = fs.statSync(region, { throwIfNoEntry: false });
  } catch (error) {
    throw explain(error, asked, region);
  }
  if (stat === undefined || stat.isFile() || stat.isBlockDevice() || stat.isCharacterDevice()) return stat;
  const found = stat.isDirectory() ? 'it is a directory' : 'it is neither a file nor a device';
  throw failure(asked, `${found}; name a file, /dev/pmemN or /dev/daxX.Y`);
}

/** The size in bytes that the region shall have; undefined for the whole of a device. */
function wantedSize(
  asked: string,
  stat: fs.Stats | undefined,
  given: number | undefined,
): number | undefined {
  const size = given ?? (stat?.isFile() ? stat.size : undefined);
  if (size === undefined && stat !== undefined) return undefined;
  if (size === undefined) throw failure(asked, 'it does not exist; give the size of a new one with --size');
  if (size < REGION_MIN_BYTES || size > REGION_MAX_BYTES) {
    const limits = `the smallest region has ${REGION_MIN_BYTES} bytes, the largest ${REGION_MAX_BYTES}`;
    throw failure(asked, `${size} bytes is no size for a region: ${limits}; choose another --size`);
  }
  return size;
}

/** Refuses what holds something, unless it is forced; and what is in use, in any case. */
async function checkContents(asked: string, region: string, stat: fs.Stats, force: boolean): Promise<void> {
  if (stat.isFile() && stat.size < REGION_MIN_BYTES) {
    if (force || fs.readFileSync(region).every((byte) => byte === 0)) return;
    throw failure(asked, 'it holds data that are not a rmapfs filesystem; use --force to overwrite them');
  }
  await withRegion(region, asked, { readOnly: true }, (media) => {
    const found = probe(media);
    if (force || found.kind === 'empty') return;
    if (found.kind === 'rmapfs') {
      const name = `${found.sb.label || 'without a label'}, ${uuidText(found.sb.uuid)}`;
      throw failure(asked, `it holds a rmapfs filesystem (${name}); use --force to overwrite it`);
    }
    throw failure(asked, `${found.detail}; use --force to overwrite it`);
  });
}

async function format(
  env: CliEnvironment,
  asked: string,
  region: string,
  size: number | undefined,
  { label, sparse = false }: Options,
): Promise<void> {
  const options = { readOnly: false, ...(size === undefined ? {} : { create: { size, sparse } }) };
  await withRegion(region, asked, options, async (media) => {
    const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
    mkfs(media, { label, clock: systemClock, uid, gid });
    const made = probe(media);
    if (made.kind !== 'rmapfs')
      throw failure(asked, 'the new filesystem cannot be read back; is the device broken?');
    const bytes = made.sb.blocks * BLOCK_SIZE;
    await env.write(`${region}: ${humanSize(bytes)} (${bytes} bytes), uuid ${uuidText(made.sb.uuid)}\n`);
  });
}
