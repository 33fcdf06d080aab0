import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** What a comparison runs, as the build puts it. */
const inPackage = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const CLI_PROGRAM = inPackage('dist/cli/main.js');
export const EXEC_PROGRAM = inPackage('build/Release/rmapfs-exec');
export const AGENT_PROGRAM = inPackage('build/Release/rmapfs-agent');

/** The comparison cannot be made, or not go on. The message is one sentence, to follow "cannot compare: ". */
export class CompareError extends Error {
  override readonly name = 'CompareError';
}

/** Runs a program to its end; CompareError with what it said when it fails. */
export async function runProgram(program: string, ...args: string[]): Promise<string> {
  // In a process group of its own: Ctrl-C is for the comparison, which lets a running command finish first.
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once('error', (error) => reject(new CompareError(`${program} cannot be run: ${error.message}`)));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 1));
  });
  const [status, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  if (status === 0) return stdout;
  throw new CompareError(`${program} ${args.join(' ')} ended with ${status}: ${stderr.trim()}`);
}

export const runCommand = (...args: string[]): Promise<string> =>
  runProgram(process.execPath, CLI_PROGRAM, ...args);
