import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import type { CliEnvironment } from './environment.js';
import { CommandError, CommandStatus } from './errors.js';

/** Exit statuses of every command. */
const EXIT = { done: 0, failed: 1, usage: 2 } as const;

const EXAMPLE = `
Sizes and offsets are bytes; the suffixes K M G T (powers of 1024) are accepted.

Example:
  # rmapfs mkfs /dev/shm/region --size 64M
  # rmapfs mount /dev/shm/region /mnt/pmem
  # rmapfs fsmap /mnt/pmem`;

type Register = (program: Command, env: CliEnvironment) => void;

/**
 * The commands, in the order of the help. A command line loads only the one it names: most commands run for a shorter
 * time than it takes to load all of them.
 */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  mkfs: async () => (await import('./mkfs.js')).registerMkfs,
  mount: async () => (await import('./mount.js')).registerMount,
  umount: async () => (await import('./umount.js')).registerUmount,
  info: async () => (await import('./info.js')).registerInfo,
  clone: async () => (await import('./clone.js')).registerClone,
  dedupe: async () => (await import('./dedupe.js')).registerDedupe,
  exec: async () => (await import('./exec.js')).registerExec,
  extents: async () => (await import('./extents.js')).registerExtents,
  fsck: async () => (await import('./fsck.js')).registerFsck,
  fsmap: async () => (await import('./fsmap.js')).registerFsmap,
  owners: async () => (await import('./owners.js')).registerOwners,
  poison: async () => (await import('./poison.js')).registerPoison,
  unpoison: async () => (await import('./unpoison.js')).registerUnpoison,
  badblocks: async () => (await import('./badblocks.js')).registerBadBlocks,
  events: async () => (await import('./events.js')).registerEvents,
  map: async () => (await import('./map.js')).registerMap,
  scrub: async () => (await import('./scrub.js')).registerScrub,
  scenario: async () => (await import('./scenario.js')).registerScenario,
  compare: async () => (await import('./compare.js')).registerCompare,
  trim: async () => (await import('./trim.js')).registerTrim,
  stats: async () => (await import('./stats.js')).registerStats,
};

function packageVersion(): string {
  const found: unknown = createRequire(import.meta.url)('../../package.json');
  return (found as { version: string }).version;
}

function buildProgram(env: CliEnvironment, registers: readonly Register[]): Command {
  const program = new Command('rmapfs')
    .description('a filesystem for memory that can fail: shared extents, a reverse map, poison on purpose')
    .version(packageVersion())
    .showHelpAfterError(false)
    .exitOverride()
    .addHelpText('after', EXAMPLE);
  for (const register of registers) register(program, env);
  for (const command of program.commands) {
    configure(command, env);
    for (const sub of command.commands) configure(sub, env);
  }
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

/** What the command line needs: the command that it names, or all for help and for a mistake. */
function needed(args: readonly string[]): Promise<Register[]> {
  const named = args[0] !== undefined && Object.hasOwn(COMMANDS, args[0]) ? [COMMANDS[args[0]]] : [];
  const loaders = named.length > 0 ? named : Object.values(COMMANDS);
  return Promise.all(loaders.map((load) => load()));
}

/** Runs one command line (without node and the script). Returns the exit status. */
export async function runCli(args: readonly string[], env: CliEnvironment): Promise<number> {
  try {
    await buildProgram(env, await needed(args)).parseAsync([...args], { from: 'user' });
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
