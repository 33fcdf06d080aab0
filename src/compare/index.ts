import fs from 'node:fs';
import { Pair } from './pair.js';
import { AGENT_PROGRAM, CompareError, EXEC_PROGRAM, runProgram } from './programs.js';

/** The comparison of rmapfs with kernel XFS: what the command line uses. */

export { compareFilesystems } from './compare.js';
export { CompareError } from './programs.js';
export { parseScript, scriptText } from './replay.js';
export { shellScript } from './shell.js';

const knowsXfs = (): boolean => /\txfs$/m.test(fs.readFileSync('/proc/filesystems', 'utf8'));

/** CompareError with what is missing on this machine. */
export async function checkMachine(): Promise<void> {
  if (process.geteuid?.() !== 0) throw new CompareError('only root may mount XFS; run it as root');
  for (const program of [AGENT_PROGRAM, EXEC_PROGRAM])
    if (!fs.existsSync(program))
      throw new CompareError(`${program} is not built; build it with: npm run install`);
  try {
    await runProgram('mkfs.xfs', '-V');
  } catch {
    throw new CompareError('mkfs.xfs cannot be run; install xfsprogs');
  }
  if (knowsXfs()) return;
  // Where there is no modprobe there is no module either.
  await runProgram('modprobe', 'xfs').catch(() => '');
  if (!knowsXfs()) throw new CompareError('this kernel has no XFS; use one that has');
}

/** Makes both filesystems, runs `use`, and takes everything away. */
export async function withPair<T>(use: (pair: Pair) => Promise<T>): Promise<T> {
  const pair = await Pair.make();
  try {
    return await use(pair);
  } finally {
    await pair.remove();
  }
}
