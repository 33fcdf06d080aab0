import { runCli } from '../../src/cli/program.js';
import type { ControlSystem } from '../../src/control/system.js';

export interface CliResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a command line in this process with what it prints collected. */
export async function runFake(control: ControlSystem, ...args: string[]): Promise<CliResult> {
  const result: CliResult = { status: -1, stdout: '', stderr: '' };
  result.status = await runCli(args, {
    progress: async () => ({ start: () => {}, update: () => {}, stop: () => {} }),
    window: { columns: 80, rows: 24, color: false },
    control,
    write: async (text) => {
      result.stdout += text;
    },
    warn: (text) => {
      result.stderr += text;
    },
  });
  return result;
}
