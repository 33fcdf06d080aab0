import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { CommandStatus, failure } from './errors.js';

/** native/exec, as node-gyp builds it. */
const PROGRAM = fileURLToPath(new URL('../../build/Release/rmapfs-exec', import.meta.url));

/** Signals sent to this process that are for the command; the terminal sends SIGINT and SIGQUIT to it as well. */
const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;
const OF_THE_TERMINAL = ['SIGINT', 'SIGQUIT'] as const;

const EXAMPLE = `
Examples:
  $ rmapfs exec -- cp --reflink=always /mnt/pmem/data /mnt/pmem/copy
  $ rmapfs exec -- filefrag -v /mnt/pmem/copy
  $ rmapfs exec -- bash

FICLONE, FICLONERANGE, FIDEDUPERANGE, FS_IOC_FIEMAP, FS_IOC_GETFSMAP and the fallocate modes collapse, insert and
unshare work for COMMAND and its children on every rmapfs mount. The exit status is that of COMMAND; 127 when there
is no such command, 126 when it cannot be run, 125 when it could not be watched. A signal that ends COMMAND ends
rmapfs exec too.`;

export function registerExec(program: Command): void {
  program
    .command('exec')
    .description('run a command for which FICLONE, FIEMAP and the like reach the mount')
    .usage('-- COMMAND [ARGUMENT]...')
    .argument('<command...>', 'the command and its arguments, after --')
    .addHelpText('after', EXAMPLE)
    .action(runExec);
}

async function runExec(command: string[]): Promise<void> {
  const status = await new Promise<number>((resolve, reject) => {
    const child = spawn(PROGRAM, command, { stdio: 'inherit' });
    for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal));
    for (const signal of OF_THE_TERMINAL) process.on(signal, () => {});
    child.on('error', (error) =>
      reject(failure(`run ${PROGRAM}`, `${error.message}; build it with: npm run install`, error)),
    );
    child.on('exit', (code, signal) => {
      for (const name of [...PASSED_ON, ...OF_THE_TERMINAL]) process.removeAllListeners(name);
      if (signal !== null) process.kill(process.pid, signal);
      resolve(code ?? 1);
    });
  });
  if (status !== 0) throw new CommandStatus(status);
}
