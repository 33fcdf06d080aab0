import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url));

/** Something that was observed is not what it should be. The message says which step and what was seen. */
export class DemoFailure extends Error {
  override readonly name = 'DemoFailure';
}

/** Throws unless what was observed is as it should be. */
export function observe(ok: boolean, otherwise: string): asserts ok {
  if (!ok) throw new DemoFailure(otherwise);
}

interface Undo {
  what: string;
  run: () => Promise<void> | void;
}

/** Prints the story, runs commands, and remembers what must be taken away at the end. */
export class Stage {
  readonly #undo: Undo[] = [];
  #step = 0;
  #running: Promise<unknown> = Promise.resolve();
  #ended = false;

  heading(text: string): void {
    this.#step++;
    process.stdout.write(`\n${this.#step}. ${text}\n\n`);
  }

  say(text: string): void {
    process.stdout.write(`   ${text.trimEnd().replaceAll('\n', '\n   ')}\n`);
  }

  /** To be undone at the end, last first, whatever happens until then. */
  later(what: string, run: () => Promise<void> | void): void {
    this.#undo.push({ what, run });
  }

  /** Ends the story and undoes everything; goes on after a failure and returns what could not be undone. */
  async cleanUp(): Promise<string[]> {
    this.#ended = true;
    await this.#running;
    const failed: string[] = [];
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      try {
        await undo.run();
      } catch (error) {
        failed.push(`${undo.what}: ${(error as Error).message}`);
      }
    }
    return failed;
  }

  /** Runs a program as a user would, shows the command, and returns what it printed. */
  async run(program: string, ...args: string[]): Promise<string> {
    if (this.#ended) throw new DemoFailure('interrupted');
    this.say(`$ ${[program, ...args].join(' ')}`);
    const isOurs = program === 'rmapfs';
    const running = isOurs ? runCommand(process.execPath, [CLI, ...args]) : runCommand(program, args);
    this.#running = running.catch(() => {});
    return running;
  }

  /** Runs a rmapfs command with --json and returns the document. */
  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.run('rmapfs', ...args, '--json')) as T;
  }
}

/** Standard output of a program; DemoFailure with its message when it fails. */
export async function runCommand(program: string, args: string[]): Promise<string> {
  // In a process group of its own: Ctrl-C is for the demo, which lets a running command finish first.
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once('error', (error) => reject(new DemoFailure(`${program} cannot be run: ${error.message}`)));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 1));
  });
  const [status, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  if (status === 0) return stdout;
  throw new DemoFailure(`${[program, ...args].join(' ')} ended with ${status}: ${stderr.trim()}`);
}

/** For undoing: a rmapfs command that is not shown. */
export const quietly = (...args: string[]): Promise<string> => runCommand(process.execPath, [CLI, ...args]);
