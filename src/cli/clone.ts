import fs from 'node:fs';
import { type Command, Option } from 'commander';
import { ControlClient } from '../control/client.js';
import { parseSize } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { explain, type Findings, failure } from './errors.js';

interface Options {
  srcOffset: number;
  dstOffset: number;
  length: number;
}

const EXAMPLE = `
Examples:
  $ rmapfs clone /mnt/pmem/data /mnt/pmem/copy
  $ rmapfs clone /mnt/pmem/data /mnt/pmem/part --src-offset 1M --length 64K

DST is made when it does not exist. As with FICLONERANGE (ioctl_ficlonerange(2)), bytes of DST
outside the range stay.`;

const sizeOption = (name: string, what: string): Option =>
  new Option(`--${name} <n>`, what).argParser(parseSize).default(0);

export function registerClone(program: Command, env: CliEnvironment): void {
  program
    .command('clone')
    .description('share the blocks of SRC with DST (reflink)')
    .argument('<src>', 'a file of the mount')
    .argument('<dst>', 'a file of the same mount')
    .addOption(sizeOption('src-offset', 'where the range begins in SRC, in bytes'))
    .addOption(sizeOption('dst-offset', 'where it shall be in DST, in bytes'))
    .addOption(sizeOption('length', "bytes to share; 0 goes to SRC's end"))
    .addHelpText('after', EXAMPLE)
    .action((src: string, dst: string, options: Options) => runClone(env, src, dst, options));
}

function runClone(env: CliEnvironment, src: string, dst: string, options: Options): void {
  const asked = `clone ${src} to ${dst}`;
  const { srcOffset, dstOffset, length } = options;
  const pair = { asked, src, dst, makeDst: true, findings: CLONE_FINDINGS };
  withBoth(env, pair, (source, target) => target.clone(source, { srcOffset, dstOffset, length }));
}

const ALIGNMENT =
  'offsets and length must be multiples of 4096 ' +
  '(a length may end at the end of SRC when nothing of DST lies behind it), ' +
  'inside SRC, and not overlap in one file';

/** The errors of ioctl_ficlonerange(2). */
const CLONE_FINDINGS: Findings = {
  EINVAL: ALIGNMENT,
  EXDEV: 'they are on different mounts; copy it with cp',
  EISDIR: 'one of them is a directory; name files',
  ETXTBSY: 'the destination is a swap file; name another one',
};

/** The findings of dedupe are those of clone: the rules are the same. */
export const DEDUPE_FINDINGS = CLONE_FINDINGS;

/** Two files of one mount, and the words for a failure. */
export interface FilePair {
  asked: string;
  src: string;
  dst: string;
  /** Make DST when it does not exist. */
  makeDst: boolean;
  findings: Findings;
}

/** Opens both files and runs `use`. A DST that was made here is removed when that fails. */
export function withBoth<T>(
  env: CliEnvironment,
  pair: FilePair,
  use: (source: ControlClient, target: ControlClient) => T,
): T {
  let path = pair.src;
  let unwanted = false;
  const clients: ControlClient[] = [];
  try {
    const source = ControlClient.open(pair.src, 'r', env.control);
    clients.push(source);
    const stat = fs.fstatSync(source.fd);
    if (!stat.isFile()) throw failure(pair.asked, `${pair.src} is a directory; name a file`);
    path = pair.dst;
    if (pair.makeDst) unwanted = makeFile(pair.dst, stat.mode & 0o777);
    const target = ControlClient.open(pair.dst, 'r+', env.control);
    clients.push(target);
    const result = use(source, target);
    unwanted = false;
    return result;
  } catch (error) {
    throw explain(error, pair.asked, path, pair.findings);
  } finally {
    for (const client of clients) client.close();
    if (unwanted) fs.unlinkSync(pair.dst);
  }
}

/** Makes an empty file; false when there is one. */
function makeFile(path: string, mode: number): boolean {
  try {
    fs.closeSync(fs.openSync(path, 'wx', mode));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
