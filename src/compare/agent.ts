import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { CompareError } from './programs.js';

/** Longest time without an answer. */
const ANSWER_WAIT_MS = 60_000;

/** A running native/agent: takes lines, gives a line for each (native/agent/main.c). */
export class Agent {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<void>;
  #unread = '';
  #complaint = '';
  #answers: string[] = [];
  #wanted = 0;
  #settle: ((error?: CompareError) => void) | undefined;

  /** @param command the program and its arguments */
  constructor(command: readonly string[]) {
    // In a process group of its own: Ctrl-C is for the comparison, which ends it.
    this.#child = spawn(command[0], command.slice(1), { detached: true, stdio: 'pipe' });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint += text;
    });
    // It ends early only after a complaint, which is what will be told.
    this.#child.stdin.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      const end = (how: string): void => {
        resolve();
        this.#settle?.(new CompareError(`${command.join(' ')} ended: ${this.#complaint.trim() || how}`));
      };
      this.#child.once('error', (error) => end(error.message));
      this.#child.once('close', (code, signal) => end(`${signal ?? code}`));
    });
  }

  /** The answers to the lines, in order. One call at a time. CompareError when it ends or says nothing for long. */
  async run(lines: readonly string[]): Promise<string[]> {
    this.#answers = [];
    this.#wanted = lines.length;
    if (lines.length === 0) return [];
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = (error) => (error === undefined ? resolve() : reject(error));
        const count = { seen: 0 };
        timer = setInterval(() => {
          if (this.#answers.length === count.seen)
            reject(new CompareError(`no answer for a minute to: ${lines[this.#answers.length]}`));
          count.seen = this.#answers.length;
        }, ANSWER_WAIT_MS);
        this.#child.stdin.write(`${lines.join('\n')}\n`);
      });
      return this.#answers;
    } finally {
      clearInterval(timer);
      this.#settle = undefined;
    }
  }

  #take(text: string): void {
    const lines = (this.#unread + text).split('\n');
    this.#unread = lines.pop() ?? '';
    this.#answers.push(...lines);
    if (this.#answers.length >= this.#wanted) this.#settle?.();
  }

  /** Ends it and its processes; resolves when nothing of it uses the mount any more. */
  async end(): Promise<void> {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    await this.#ended;
  }
}
