import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { helper } from './compile.js';
import type { Mounted } from './harness.js';

/** Whoever can start a program. */
type Starter = Pick<Mounted, 'spawn'>;

/** One line of support/native/victim.c. */
export interface VictimEvent {
  event: 'ready' | 'signal' | 'touch' | 'fault' | 'call' | 'pending';
  who: 'parent' | 'child';
  pid?: number;
  tid?: number;
  signal?: number;
  /** Of a system call. */
  ret?: number;
  errno?: string | number;
  /** Name of si_code, and its number. */
  code?: string;
  codeNumber?: number;
  /** Hexadecimal. */
  address?: string;
  lsb?: number;
  at?: number;
  store?: boolean;
  value?: number;
  sigbus?: boolean;
}

export interface VictimOptions {
  map?: 'shared' | 'private' | 'none';
  prot?: 'r' | 'rw';
  /** File offset and length of the mapping, in bytes. */
  offset?: number;
  length?: number;
  touch?: 'read' | 'write' | 'none';
  /** File offset touched at the start. */
  touchAt?: number;
  thread?: boolean;
  fork?: boolean;
  twice?: boolean;
  close?: boolean;
  unlink?: boolean;
  sigbus?: 'handle' | 'block' | 'ignore' | 'default';
  /** Asks for this policy by RMAPFS_IOC_MCE_KILL. */
  mce?: 'late' | 'early';
  /** Below a debugger. */
  traced?: boolean;
}

const EVENT_LIMIT_MS = 60_000;

function argumentsOf(file: string, options: VictimOptions): string[] {
  const args = ['--file', file];
  for (const [name, value] of Object.entries(options)) {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (value === true) args.push(flag);
    else if (value !== false && value !== undefined) args.push(flag, String(value));
  }
  return args;
}

/** A process that maps or holds a file of the mount and tells what happens to it. */
export class Victim {
  readonly child: ChildProcess;
  /** All that it said so far. */
  readonly events: VictimEvent[] = [];
  /** How it ended; undefined while it lives. */
  ended: { status: number | null; signal: NodeJS.Signals | null } | undefined;
  #taken = 0;
  #wake: () => void = () => undefined;
  #stderr = '';

  private constructor(mounted: Starter, file: string, options: VictimOptions, below: readonly string[]) {
    const [program, ...args] = [...below, helper('victim'), ...argumentsOf(file, options)];
    this.child = mounted.spawn(program, args);
    const { stdout, stderr } = this.child;
    if (!stdout || !stderr) throw new Error('the victim was started without pipes');
    createInterface({ input: stdout }).on('line', (line) => {
      this.events.push(JSON.parse(line) as VictimEvent);
      this.#wake();
    });
    stderr.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.child.on('close', (status, signal) => {
      this.ended = { status, signal };
      this.#wake();
    });
  }

  /**
   * Starts one and waits until it has mapped and touched what it was told to.
   * @param below a command that runs the victim, as in "unshare -p -f": `pid` is that command's
   */
  static async start(
    mounted: Starter,
    file: string,
    options: VictimOptions = {},
    below: readonly string[] = [],
  ): Promise<Victim> {
    const victim = new Victim(mounted, file, options, below);
    const ready = options.fork ? 2 : 1;
    for (let i = 0; i < ready; i++) await victim.next('ready');
    return victim;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The victim's own number, as it sees itself: another one than `pid` below a debugger or in a pid namespace. */
  get ownPid(): number {
    return this.events.find((e) => e.event === 'ready' && e.who === 'parent')?.pid ?? 0;
  }

  /** Start of its mapping, as it printed it. */
  get address(): string {
    return this.events.find((e) => e.event === 'ready' && e.who === 'parent')?.address ?? '';
  }

  /** Address at which a file offset is mapped, for a mapping that starts at `mappedFrom`. */
  addressOf(offset: number, mappedFrom = 0): string {
    return `0x${(BigInt(this.address) + BigInt(offset - mappedFrom)).toString(16)}`;
  }

  /** SIGBUS signals it got while it touched nothing. */
  get signals(): VictimEvent[] {
    return this.events.filter((e) => e.event === 'signal');
  }

  /**
   * The next event, which must be of one of these kinds. Signals that were not asked for are passed over:
   * they come at any time and stay in {@link signals}.
   */
  async next(...kinds: VictimEvent['event'][]): Promise<VictimEvent> {
    const end = Date.now() + EVENT_LIMIT_MS;
    for (;;) {
      const event = await this.#take(kinds.join(' or '), end);
      if (kinds.includes(event.event)) return event;
      if (event.event !== 'signal')
        throw new Error(`victim said ${JSON.stringify(event)}, expected ${kinds.join(' or ')}`);
    }
  }

  async #take(wanted: string, end: number): Promise<VictimEvent> {
    for (;;) {
      const event = this.events[this.#taken];
      if (event) {
        this.#taken++;
        return event;
      }
      if (this.ended)
        throw new Error(`victim ended (${JSON.stringify(this.ended)}) before ${wanted}: ${this.#stderr}`);
      if (Date.now() > end) throw new Error(`victim ${this.pid} said nothing; expected ${wanted}`);
      await this.#newsOrTimeout(end - Date.now());
    }
  }

  #newsOrTimeout(limitMs: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, limitMs);
      this.#wake = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  /** Loads the byte at a file offset: its value ("touch"), or the SIGBUS it got ("fault"). */
  touch(offset: number): Promise<VictimEvent> {
    this.#command(`touch ${offset}`);
    return this.next('touch', 'fault');
  }

  store(offset: number): Promise<VictimEvent> {
    this.#command(`store ${offset}`);
    return this.next('touch', 'fault');
  }

  /** Like touch(), by a new thread. */
  touchInThread(offset: number): Promise<VictimEvent> {
    this.#command(`thread-touch ${offset}`);
    return this.next('touch', 'fault');
  }

  /** A system call loads the byte at a file offset, or stores one: what it returned. */
  kernelAccess(offset: number, how: 'load' | 'store'): Promise<VictimEvent> {
    this.#command(`kernel-${how} ${offset}`);
    return this.next('call', 'fault');
  }

  /** Whether a blocked SIGBUS is pending. */
  async pending(): Promise<boolean> {
    this.#command('pending');
    return (await this.next('pending')).sigbus === true;
  }

  /**
   * Asks it something harmless and waits for the answer: every signal sent to it before has then been handled
   * and is in {@link signals}.
   */
  async settle(): Promise<void> {
    await this.pending();
  }

  /** Waits for its end. */
  async end(): Promise<{ status: number | null; signal: NodeJS.Signals | null }> {
    const limit = Date.now() + EVENT_LIMIT_MS;
    while (!this.ended) {
      if (Date.now() > limit) throw new Error(`victim ${this.pid} did not end`);
      await this.#newsOrTimeout(limit - Date.now());
    }
    return this.ended;
  }

  async quit(): Promise<{ status: number | null; signal: NodeJS.Signals | null }> {
    this.#command('quit');
    return await this.end();
  }

  #command(text: string): void {
    this.child.stdin?.write(`${text}\n`);
  }
}
