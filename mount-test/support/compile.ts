import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FLAGS = ['-O1', '-Wall', '-Wextra', '-Werror', '-pthread'];

/**
 * Compiles a C file with warnings as errors and returns the program's path. The result is kept under the
 * system's temporary directory by its contents' hash, so that a run compiles each program once.
 */
function compileC(source: string, headers: readonly string[] = []): string {
  const hash = createHash('sha256').update(FLAGS.join(' '));
  for (const file of [source, ...headers]) hash.update(readFileSync(file));
  const cache = join(tmpdir(), `rmapfs-test-programs-${process.getuid?.() ?? 0}`);
  const program = join(cache, hash.digest('hex').slice(0, 24));
  if (existsSync(program)) return program;
  mkdirSync(cache, { recursive: true, mode: 0o755 });
  const temporary = `${program}.${process.pid}`;
  execFileSync('cc', [...FLAGS, '-o', temporary, source], { stdio: ['ignore', 'inherit', 'inherit'] });
  renameSync(temporary, program);
  return program;
}

const native = (name: string): string => join(import.meta.dirname, 'native', name);

/** The public header of the control interface. */
const RMAPFS_H = join(import.meta.dirname, '../../native/rmapfs.h');

/** A helper program of mount-test/support/native, by its name without ".c". */
export const helper = (name: string): string => compileC(native(`${name}.c`), [native('json.h'), RMAPFS_H]);
