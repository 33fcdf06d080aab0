import fs from 'node:fs';
import path from 'node:path';
import cliProgress from 'cli-progress';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Comparison, Difference, OperationRow } from '../compare/compare.js';
import {
  CompareError,
  checkMachine,
  compareFilesystems,
  parseScript,
  scriptText,
  shellScript,
  withPair,
} from '../compare/index.js';
import { jsonOption } from './arguments.js';
import type { CliEnvironment } from './environment.js';
import { CommandError, CommandStatus } from './errors.js';
import { type Column, counted, formatTable, printJson } from './output.js';

interface Options {
  seed: number;
  ops: number;
  replay?: string;
  /** A directory. */
  sh?: string;
  asSh?: string;
  json?: boolean;
}

/** Exit statuses of this command alone. */
const DIFFERS = 1;
const CANNOT_COMPARE = 2;
const INTERRUPTED = 130;

const HELP = `
Makes an XFS filesystem (on a loop device) and a region, both in /dev/shm, mounts them in a private directory, runs
named cases and then random operations on both, and compares every answer: errno, contents, sizes, holes, shared
blocks, modes, owners, links, times, xattrs, what other processes see through mappings. A difference is shrunk to the
shortest script; --sh writes it as a shell script too (xfs_io, dd, coreutils), to be run on any two mount points:
sh FILE /mnt/a > a; sh FILE /mnt/b > b; diff a b. Needs root, XFS in the kernel, and mkfs.xfs (package xfsprogs).
Exit status: 0 all the same, 1 something differs, 2 the comparison cannot be made.

Examples:
  # rmapfs compare --seed 7 --ops 100000
  # rmapfs compare
  # rmapfs compare --replay script.txt
  $ rmapfs compare --as-sh script.txt > script.sh`;

/** A whole number of 0 .. 2^32 - 1. */
function parseCount(text: string): number {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value < 2 ** 32) return value;
  throw new InvalidArgumentError('It must be a whole number below 2^32.');
}

const numberOption = (flags: string, what: string, value: number): Option =>
  new Option(flags, what).argParser(parseCount).default(value);

export function registerCompare(program: Command, env: CliEnvironment): void {
  program
    .command('compare')
    .description('run the same operations on rmapfs and on kernel XFS, and show what differs')
    .addOption(numberOption('--seed <n>', 'of the random operations', 1))
    .addOption(numberOption('--ops <n>', 'random operations after the named cases', 2000))
    .option('--replay <file>', 'run this script and nothing else')
    .option('--sh <directory>', 'write a shell script for each difference')
    .option('--as-sh <file>', 'print this script as a shell script, and run nothing')
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action((options: Options) => runCompare(env, options));
}

const COLUMNS: readonly Column<OperationRow>[] = [
  { title: 'OPERATION', align: 'left', text: (row) => row.operation },
  { title: 'COUNT', align: 'right', text: (row) => `${row.count}` },
  { title: 'SAME', align: 'right', text: (row) => `${row.same}` },
  { title: 'MEANT TO DIFFER', align: 'right', text: (row) => `${row.known}` },
  { title: 'DIFFERS', align: 'right', text: (row) => `${row.differs}` },
];

async function runCompare(env: CliEnvironment, options: Options): Promise<void> {
  try {
    if (options.asSh !== undefined) {
      await env.write(shellScript(readScript(options.asSh), `made from ${path.basename(options.asSh)}`));
      return;
    }
    const script = options.replay === undefined ? undefined : readScript(options.replay);
    await checkMachine();
    const result = await comparing(env, options, script);
    await (options.json ? printJson(env, result) : printResult(env, result));
    if (options.sh !== undefined) writeShellScripts(env, options.sh, result);
    if (result.differences.length > 0) throw new CommandStatus(DIFFERS);
  } catch (error) {
    if (!(error instanceof CompareError)) throw error;
    env.warn(`rmapfs: cannot compare: ${error.message}\n`);
    throw new CommandStatus(CANNOT_COMPARE);
  }
}

/** A file for each difference. */
function writeShellScripts(env: CliEnvironment, directory: string, { differences }: Comparison): void {
  for (const [i, { where, line, script }] of differences.entries()) {
    const file = path.join(directory, `difference-${i + 1}.sh`);
    try {
      fs.mkdirSync(directory, { recursive: true });
      fs.writeFileSync(file, shellScript(script, `${where}: "${line}" differs`));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      throw new CommandError(`cannot write ${file}: ${message}; name a directory that can be written`);
    }
    env.warn(`rmapfs: ${file} shows it with sh\n`);
  }
}

function readScript(file: string): string[] {
  try {
    return parseScript(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new CommandError(`cannot replay ${file}: ${message}; name a file with a script of rmapfs compare`);
  }
}

/** Runs it with a progress bar on a terminal; Ctrl-C takes everything away first. */
async function comparing(
  env: CliEnvironment,
  options: Options,
  script: string[] | undefined,
): Promise<Comparison> {
  const bar = new cliProgress.SingleBar({
    format: 'comparing [{bar}] {percentage}% {what}',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  });
  let interrupted = false;
  const stop = (): void => {
    interrupted = true;
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  if (process.stderr.isTTY) bar.start(1, 0, { what: '' });
  try {
    const choices = {
      seed: options.seed,
      operations: options.ops,
      ...(script === undefined ? {} : { script }),
    };
    const result = await withPair((pair) =>
      compareFilesystems(pair, {
        ...choices,
        interrupted: () => interrupted,
        progress: (done, what) => bar.update(done, { what }),
      }),
    );
    if (!interrupted) return result;
  } finally {
    bar.stop();
    for (const signal of signals) process.removeListener(signal, stop);
  }
  env.warn('rmapfs: interrupted; everything was taken away again\n');
  throw new CommandStatus(INTERRUPTED);
}

async function printResult(env: CliEnvironment, result: Comparison): Promise<void> {
  const { rows, differences } = result;
  for (const difference of differences) await env.write(differenceText(difference));
  await env.write(formatTable(COLUMNS, [...rows, totalOf(rows)]));
  const found = differences.length === 0 ? 'no difference' : counted(differences.length, 'difference');
  await env.write(
    `\n${result.cases} named cases, ${result.operations} operations, seed ${result.seed}: ${found}\n`,
  );
}

function totalOf(rows: readonly OperationRow[]): OperationRow {
  const sum = (of: (row: OperationRow) => number): number => rows.reduce((all, row) => all + of(row), 0);
  const [count, same] = [sum((row) => row.count), sum((row) => row.same)];
  return {
    operation: 'all',
    count,
    same,
    known: sum((row) => row.known),
    differs: sum((row) => row.differs),
  };
}

function differenceText({ where, line, xfs, rmapfs, script }: Difference): string {
  const text = scriptText(script, `${where}: run it with rmapfs compare --replay FILE`);
  return `${where}: "${line}"\n  XFS:    ${xfs}\n  rmapfs: ${rmapfs}\n\n${text}\n`;
}
