import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

/**
 * What `rmapfs exec` costs programs that make none of its calls: the same commands with and without it, in turn.
 *
 *   node build/bench/exec.js
 *
 * Prints the least wall time of each and their ratio.
 */

const EXEC = resolve('build/Release/rmapfs-exec');
const ROUNDS = 9;
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  'find /usr -size +1M': ['find', '/usr', '-xdev', '-size', '+1M'],
  'cc, 9 files': ['sh', '-c', 'for f in native/exec/*.c; do cc -O1 -c -o /dev/null $f; done'],
  'dd, 400,000 calls': ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=1', 'count=200000', 'status=none'],
};

function milliseconds(command: readonly string[]): number {
  const [program, ...args] = command;
  const start = performance.now();
  const done = spawnSync(program, args, { stdio: 'ignore' });
  if (done.status !== 0) throw new Error(`${command.join(' ')} ended with status ${done.status}`);
  return performance.now() - start;
}

for (const [name, command] of Object.entries(COMMANDS)) {
  const plain: number[] = [];
  const below: number[] = [];
  milliseconds(command);
  for (let i = 0; i < ROUNDS; i++) {
    plain.push(milliseconds(command));
    below.push(milliseconds([EXEC, ...command]));
  }
  const [a, b] = [Math.min(...plain), Math.min(...below)];
  console.log(`${name}: ${a.toFixed(0)} ms, below exec ${b.toFixed(0)} ms, ratio ${(b / a).toFixed(2)}`);
}
