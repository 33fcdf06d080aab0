import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { registerBadBlocks } from './badblocks.js';
import { registerClone } from './clone.js';
import { registerCompare } from './compare.js';
import { registerDedupe } from './dedupe.js';
import type { CliEnvironment } from './environment.js';
import { CommandError } from './errors.js';
import { CommandStatus, registerExec } from './exec.js';
import { registerExtents } from './extents.js';
import { registerFsmap } from './fsmap.js';
import { registerInfo } from './info.js';
import { registerMkfs } from './mkfs.js';
import { registerMount } from './mount.js';
import { registerOwners } from './owners.js';
import { registerPoison } from './poison.js';
import { registerStats } from './stats.js';
import { registerUmount } from './umount.js';
import { registerUnpoison } from './unpoison.js';

/** Exit statuses of every command. */
const EXIT = { done: 0, failed: 1, usage: 2 } as const;

const EXAMPLE = `
Sizes and offsets are bytes; the suffixes K M G T (powers of 1024) are accepted.

Example:
  # rmapfs mkfs /dev/shm/region --size 64M
  # rmapfs mount /dev/shm/region /mnt/pmem
  # rmapfs fsmap /mnt/pmem`;

function packageVersion(): string {
  const found: unknown = createRequire(import.meta.url)('../../package.json');
  return (found as { version: string }).version;
}

function buildProgram(env: CliEnvironment): Command {
  const program = new Command('rmapfs')
    .description('a filesystem for memory that can fail: shared extents, a reverse map, poison on purpose')
    .version(packageVersion())
    .showHelpAfterError(false)
    .exitOverride()
    .addHelpText('after', EXAMPLE);
  registerMkfs(program, env);
  registerMount(program);
  registerUmount(program, env);
  registerInfo(program, env);
  registerClone(program, env);
  registerDedupe(program, env);
  registerExec(program);
  registerExtents(program, env);
  registerFsmap(program, env);
  registerOwners(program, env);
  registerPoison(program, env);
  registerUnpoison(program, env);
  registerBadBlocks(program, env);
  registerStats(program, env);
  registerCompare(program, env);
  for (const command of program.commands) configure(command, env);
  configure(program, env);
  return program;
}

/** Wrong usage is answered with one line that says what is wrong, and the usage line. */
function configure(command: Command, env: CliEnvironment): void {
  command.configureOutput({
    // Help into a pipe that was closed early (| head): nobody is left to be told.
    writeOut: (text) => void env.write(text).catch(() => {}),
    writeErr: env.warn,
    outputError: (text, write) => {
      const usage = command.createHelp().commandUsage(command);
      write(`${text.replace(/^error: /, 'rmapfs: ').trimEnd()}\nUsage: ${usage}\n`);
    },
  });
}

/** Runs one command line (without node and the script). Returns the exit status. */
export async function runCli(args: readonly string[], env: CliEnvironment): Promise<number> {
  try {
    await buildProgram(env).parseAsync([...args], { from: 'user' });
    return EXIT.done;
  } catch (error) {
    return report(error, env);
  }
}

function report(error: unknown, env: CliEnvironment): number {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
  if (error instanceof CommandStatus) return error.status;
  // The reader of a pipe has had enough: there is nobody to tell.
  if ((error as { code?: unknown }).code === 'EPIPE') return EXIT.failed;
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (error instanceof CommandError) env.warn(`rmapfs: ${error.message}\n`);
  else env.warn(`rmapfs: a bug of rmapfs, please report it: ${detail}\n`);
  return EXIT.failed;
}
