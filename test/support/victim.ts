import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Compiles victim.c into a directory of its own. Call `remove` when done. */
export function buildVictim(): { program: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'rmapfs-victim-'));
  const program = join(dir, 'victim');
  const source = new URL('./victim.c', import.meta.url).pathname;
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, source, '-lpthread']);
  return { program, remove: () => rmSync(dir, { recursive: true }) };
}

/** A running victim (see victim.c for the steps). */
export class VictimProcess {
  readonly pid: number;
  /** All lines it has printed. */
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  #partial = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#partial + text).split('\n');
      this.#partial = lines.pop() ?? '';
      this.lines.push(...lines);
    });
  }

  /** Resolves once it has done all steps. */
  static async start(program: string, file: string, ...steps: string[]): Promise<VictimProcess> {
    const child = spawn(program, [file, ...steps], { stdio: ['pipe', 'pipe', 'inherit'] });
    const victim = new VictimProcess(child);
    await victim.until(() => victim.lines.includes('ready'), 'ready');
    return victim;
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Signal that ended it, or null. */
  get killedBy(): string | null {
    return this.#child.signalCode;
  }

  /** The numbers after a word, one for each line that starts with it: addresses ("map"), pids ("child"). */
  values(word: string): number[] {
    return this.lines.filter((line) => line.startsWith(`${word} `)).map((line) => Number(line.split(' ')[1]));
  }

  get sigbus(): string[] {
    return this.lines.filter((line) => line.startsWith('sigbus '));
  }

  unblock(): void {
    this.#child.stdin?.write('u');
  }

  /** Waits for a condition, 10 s at most. */
  async until(condition: () => boolean, what: string): Promise<void> {
    for (const end = Date.now() + 60_000; !condition(); ) {
      if (Date.now() > end)
        throw new Error(`victim ${this.pid}: no ${what}; it said ${this.lines.join(', ')}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async stop(): Promise<void> {
    if (!this.alive) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}
