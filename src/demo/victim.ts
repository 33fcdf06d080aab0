import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DemoFailure, runCommand, type Stage } from './stage.js';

const SOURCE = fileURLToPath(new URL('../../native/demo/victim.c', import.meta.url));
const ANSWER_WAIT_MS = 5_000;

/** What a process said about a SIGBUS that it got. */
export interface Account {
  code: number;
  address: number;
  lsb: number;
}

/** Compiles the program of the three processes. Returns the path of the executable. */
export async function compileVictim(directory: string): Promise<string> {
  const program = `${directory}/victim`;
  await runCommand('cc', ['-std=c11', '-O2', '-Wall', '-Wextra', '-o', program, SOURCE]);
  return program;
}

/** An ordinary process that maps a file, or only holds it open, and reports what happens to it. */
export class VictimProcess {
  readonly name: string;
  readonly pid: number;
  /** Where the file is mapped, 0 when it is not. */
  readonly address: number;
  readonly #child: ChildProcess;
  readonly #accounts: Account[];
  readonly #ended: Promise<number | string>;

  private constructor(
    name: string,
    child: ChildProcess,
    address: number,
    accounts: Account[],
    drained: Promise<void>,
  ) {
    this.name = name;
    this.pid = child.pid ?? 0;
    this.address = address;
    this.#child = child;
    this.#accounts = accounts;
    this.#ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => void drained.then(() => resolve(code ?? signal ?? 1)));
    });
  }

  /** Resolves when the process has mapped (or opened) the file and touched its pages. */
  static start(
    stage: Stage,
    name: string,
    program: string,
    mode: 'map' | 'open',
    file: string,
  ): Promise<VictimProcess> {
    const child = spawn(program, [mode, file], { stdio: ['pipe', 'pipe', 'inherit'] });
    stage.later(`end of the process that ${name}`, () => void child.kill('SIGKILL'));
    const accounts: Account[] = [];
    return new Promise((resolve, reject) => {
      child.once('error', (error) =>
        reject(new DemoFailure(`${program} cannot be started: ${error.message}`)),
      );
      child.once('exit', (code, signal) =>
        reject(new DemoFailure(`the process that ${name} ended: ${signal ?? code}`)),
      );
      const lines = createInterface({ input: child.stdout });
      const drained = new Promise<void>((done) => lines.once('close', done));
      lines.on('line', (line) => {
        const [word, first, second, third] = line.split(' ');
        if (word === 'ready') resolve(new VictimProcess(name, child, Number(second), accounts, drained));
        if (word === 'sigbus')
          accounts.push({ code: Number(first), address: Number(second), lsb: Number(third) });
      });
    });
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What the process has said about signals so far; waits for as many as are expected, but not for ever. */
  async accounts(expected: number): Promise<readonly Account[]> {
    const deadline = Date.now() + ANSWER_WAIT_MS;
    while (this.#accounts.length < expected && Date.now() < deadline && this.alive) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.#accounts;
  }

  /** Asks the process to end; resolves with its exit status, or the signal that ended it, and all its words read. */
  stop(): Promise<number | string> {
    this.#child.stdin?.end();
    return this.#ended;
  }
}
