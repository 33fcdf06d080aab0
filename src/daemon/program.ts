import { spawn } from 'node:child_process';
import { FsError } from '../errors.js';

export interface Finished {
  status: number;
  /** What it said on standard error, or how it ended. */
  message: string;
}

/**
 * Runs a program in the plain locale, so that its messages can be told apart.
 * @param fd becomes its descriptor 3
 */
export function runProgram(
  program: string,
  args: readonly string[],
  fd?: number,
  variables: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe', ...(fd === undefined ? [] : [fd])],
      env: { ...process.env, LC_ALL: 'C', ...variables },
    });
    let message = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      message += text;
    });
    child.once('error', (error) => {
      reject(new FsError('ENOENT', program, `${program} cannot be run: ${error.message}; install it`));
    });
    child.once('close', (code, signal) => {
      const said = message.trim().replaceAll(/\s*\n\s*/g, '; ');
      resolve({ status: code ?? 1, message: said || `${program} ended by ${signal ?? code}` });
    });
  });
}
