import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { constants, deliverSigbus, takeFault } from '../../src/native.js';
import { failure } from '../support/failure.js';

const { BUS_MCEERR_AO, BUS_MCEERR_AR } = constants;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WAIT_MS = 20_000;
const ADDRESS = 0x7f12_3456_7000;

let dir: string;
let program: string;
const running: Victim[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'rmapfs-sigbus-'));
  program = join(dir, 'victim');
  const source = fileURLToPath(new URL('./sigbus-victim.c', import.meta.url));
  execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-Werror', '-o', program, source, '-lpthread']);
});

afterAll(() => rmSync(dir, { recursive: true }));

afterEach(async () => {
  await Promise.all(running.splice(0).map((victim) => victim.end()));
});

/** A running victim and what it has printed. */
class Victim {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  #partial = '';

  private constructor(child: ChildProcess) {
    this.child = child;
    this.pid = child.pid ?? 0;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#partial + text).split('\n');
      this.#partial = lines.pop() ?? '';
      this.lines.push(...lines);
    });
  }

  static async start(...modes: string[]): Promise<Victim> {
    const victim = new Victim(spawn(program, modes, { stdio: ['pipe', 'pipe', 'inherit'] }));
    running.push(victim);
    await victim.until(() => victim.lines.length > 0);
    return victim;
  }

  /** The thread that is meant. */
  get tid(): number {
    return Number(this.lines[0].split(' ')[1]);
  }

  get state(): string {
    return this.#status(/^State:\s*(\S)/m);
  }

  get tracer(): string {
    return this.#status(/^TracerPid:\s*(\d+)/m);
  }

  get isSigbusPending(): boolean {
    return (BigInt(`0x${this.#status(/^SigPnd:\s*(\S+)/m)}`) & 0x40n) !== 0n;
  }

  get startTicks(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  }

  async until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`not in 60 s; lines: ${this.lines.join(' | ')}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async end(): Promise<void> {
    this.child.stdin?.end();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGCONT');
      await once(this.child, 'exit');
    }
  }

  #status(field: RegExp): string {
    return field.exec(readFileSync(`/proc/${this.pid}/task/${this.tid}/status`, 'latin1'))?.[1] ?? '';
  }
}

const deliver = (
  victim: Victim,
  code = BUS_MCEERR_AO,
  address: number | bigint = ADDRESS,
  waitMs = WAIT_MS,
) => deliverSigbus(victim.pid, victim.tid, code, address, 12, waitMs, victim.startTicks);

/** A worker that delivers once. */
const DELIVERER = `
  const { workerData, parentPort } = require('node:worker_threads');
  const native = require('node-gyp-build')(${JSON.stringify(ROOT)});
  const { pid, done } = workerData;
  parentPort.postMessage(native.deliverSigbus(pid, pid, 5, 4096, 12, 1000, 0));
  Atomics.add(done, 0, 1);
  Atomics.notify(done, 0);`;

const BY_PTRACE = { means: 'ptrace', result: 'delivered' };

test('a thread that waits for SIGBUS takes it at once, as a plain signal, and nobody waits for a stop', async () => {
  const victim = await Victim.start('await');
  for (let n = 1; n <= 3; n++) {
    await victim.until(() => victim.state === 'S');
    expect(deliver(victim, BUS_MCEERR_AO, ADDRESS, 60_000).result).toBe('awaited');
    await victim.until(() => victim.lines.length === 1 + n);
    // SI_USER, which glibc makes of SI_TKILL.
    expect(victim.lines[n]).toBe('taken 0');
  }
});

describe('a handler sees the siginfo asked for', () => {
  test.each([
    ['action optional', 5, ADDRESS, '0x7f1234567000'],
    ['action required', 4, ADDRESS + 0x123, '0x7f1234567123'],
    ['an address of 64 bits', 5, 0xffff_8000_1234_5678n, '0xffff800012345678'],
    ['address 0', 5, 0, '0x0'],
  ])('%s', async (_name, code, address, printed) => {
    const victim = await Victim.start('handle');
    expect(deliver(victim, code, address)).toEqual(BY_PTRACE);
    await victim.until(() => victim.lines.length === 2);
    expect(victim.lines[1]).toBe(`sigbus ${code} ${printed} 12 0 ${victim.pid}`);
    expect(victim.tracer).toBe('0');
  });

  test.each([['thread'], ['busy']])('a second thread (%s), and it runs there', async (mode) => {
    const victim = await Victim.start('handle', mode);
    expect(victim.tid).not.toBe(victim.pid);
    expect(deliver(victim)).toEqual(BY_PTRACE);
    await victim.until(() => victim.lines.length === 2);
    expect(victim.lines[1]).toBe(`sigbus 5 0x7f1234567000 12 0 ${victim.tid}`);
  });

  test('many times over, each once', async () => {
    const victim = await Victim.start('handle', 'busy');
    const rounds = 200;
    for (let i = 0; i < rounds; i++) {
      expect(deliver(victim, BUS_MCEERR_AO, i * 4096)).toEqual(BY_PTRACE);
    }
    await victim.until(() => victim.lines.length > rounds);
    const printed = victim.lines.slice(1).map((line) => Number(line.split(' ')[2]));
    expect(printed).toEqual(Array.from({ length: rounds }, (_, i) => i * 4096));
  });

  test('from several worker threads at once', async () => {
    const victims = await Promise.all([1, 2, 3, 4].map(() => Victim.start('handle')));
    const done = new Int32Array(new SharedArrayBuffer(4));
    const answers = victims.map(async ({ pid }) =>
      once(new Worker(DELIVERER, { eval: true, workerData: { pid, done } }), 'message'),
    );
    // The victims are our children: our own event loop must not take their stops for their ends.
    for (let i = 0; i < victims.length; i++) Atomics.wait(done, 0, i, 60_000);
    expect((await Promise.all(answers)).flat()).toEqual(victims.map(() => 'delivered'));
    for (const victim of victims) await victim.until(() => victim.lines[1]?.startsWith('sigbus 5 0x1000 12'));
  });

  test('even when the parent, which we are, takes the news of the stop for itself', async () => {
    const victim = await Victim.start('handle');
    const done = new Int32Array(new SharedArrayBuffer(4));
    const workerData = { pid: victim.pid, done };
    expect(await once(new Worker(DELIVERER, { eval: true, workerData }), 'message')).toEqual(['delivered']);
    await victim.until(() => victim.lines[1]?.startsWith('sigbus 5 0x1000 12'));
  });
});

describe('what the target made of SIGBUS', () => {
  test('no handler: it ends by signal 7', async () => {
    const victim = await Victim.start();
    const ended = once(victim.child, 'exit');
    expect(deliver(victim, BUS_MCEERR_AR)).toEqual(BY_PTRACE);
    expect(await ended).toEqual([null, 'SIGBUS']);
  });

  test('ignored: it lives on', async () => {
    const victim = await Victim.start('ignore');
    expect(deliver(victim)).toEqual(BY_PTRACE);
    await victim.until(() => victim.state === 'S');
    expect([victim.tracer, victim.isSigbusPending]).toEqual(['0', false]);
  });

  test('blocked: it is pending, plain, and the answer says so', async () => {
    const victim = await Victim.start('handle', 'block');
    expect(deliver(victim)).toEqual({ means: 'kill', result: 'blocked' });
    expect([victim.isSigbusPending, victim.tracer, victim.lines.length]).toEqual([true, '0', 1]);
    victim.child.stdin?.write('u');
    await victim.until(() => victim.lines.length === 2);
    expect(victim.lines[1]).toMatch(/^sigbus -6 /);
  });
});

describe('other stops on the way', () => {
  test('other signals keep their siginfo', async () => {
    const victim = await Victim.start('handle', 'other', 'busy');
    const sender = spawn('sh', ['-c', `for i in $(seq 200); do kill -USR1 ${victim.pid}; done`]);
    const ended = once(sender, 'exit');
    let rounds = 0;
    while (sender.exitCode === null) {
      expect(deliver(victim)).toEqual(BY_PTRACE);
      rounds++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ended;
    const printed = (word: string) => victim.lines.filter((line) => line.startsWith(word));
    // The signals that are pending at once are one, and the thread that takes them may run last of all.
    await victim.until(() => printed('sigbus').length === rounds && printed('other').length > 0);
    const others = printed('other');
    // SI_USER; the union's first word is the sender's pid, which si_value does not cover.
    for (const line of others) expect(line).toMatch(/^other 10 0 /);
  });

  test('a signal that is taken first arrives with the value it was queued with', async () => {
    const victim = await Victim.start('handle', 'other');
    process.kill(victim.pid, 'SIGSTOP');
    await victim.until(() => victim.state === 'T');
    // Among a thread's own signals SIGILL goes before SIGBUS (next_signal() in kernel/signal.c).
    await Victim.start(`queue=${victim.pid}`);
    expect(deliver(victim)).toEqual(BY_PTRACE);
    process.kill(victim.pid, 'SIGCONT');
    await victim.until(() => victim.lines.length === 3);
    expect(victim.lines.slice(1).sort()).toEqual([
      'other 4 -1 4242',
      `sigbus 5 0x7f1234567000 12 0 ${victim.pid}`,
    ]);
  });

  test('a process that job control stopped stays stopped, and sees the siginfo when it goes on', async () => {
    const victim = await Victim.start('handle');
    process.kill(victim.pid, 'SIGSTOP');
    await victim.until(() => victim.state === 'T');
    expect(deliver(victim)).toEqual(BY_PTRACE);
    await victim.until(() => victim.state === 'T');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([victim.state, victim.tracer, victim.lines.length]).toEqual(['T', '0', 1]);
    process.kill(victim.pid, 'SIGCONT');
    await victim.until(() => victim.lines.length === 2);
    expect(victim.lines[1]).toBe(`sigbus 5 0x7f1234567000 12 0 ${victim.pid}`);
  });

  test('a storm of stops and continuations leaves nobody stopped', async () => {
    const victim = await Victim.start('handle', 'busy');
    const storm = `for i in $(seq 150); do kill -STOP ${victim.pid}; kill -CONT ${victim.pid}; done`;
    const sender = spawn('sh', ['-c', storm]);
    const ended = once(sender, 'exit');
    while (sender.exitCode === null) {
      expect(deliver(victim)).toEqual(BY_PTRACE);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ended;
    await victim.until(() => victim.state === 'R' && victim.tracer === '0');
  });

  test('a target that executes another program meanwhile', async () => {
    for (let i = 0; i < 20; i++) {
      const victim = await Victim.start('handle', 'exec');
      process.kill(victim.pid, 'SIGUSR2');
      // Delivered to the old image, whose pending handler the new one wipes out, or to the new one, which may
      // have no handler yet. In no case may it be left stopped or traced.
      expect(deliver(victim)).toEqual(BY_PTRACE);
      await victim.until(() => victim.child.signalCode === 'SIGBUS' || victim.lines.length >= 2);
      if (victim.child.signalCode === null) {
        await victim.until(() => victim.child.signalCode !== null || victim.state === 'S');
      }
    }
  });
});

test('a thread that cannot stop: no-stop in time, the plain signal is pending, nobody stays traced', async () => {
  const victim = await Victim.start('handle', 'vfork');
  await victim.until(() => victim.state === 'D');
  expect(deliver(victim, BUS_MCEERR_AO, ADDRESS, 100)).toEqual({ means: 'kill', result: 'no-stop' });
  expect([victim.state, victim.tracer, victim.isSigbusPending]).toEqual(['D', '0', true]);
  victim.child.stdin?.write('x');
  await victim.until(() => victim.lines.length === 2);
  expect(victim.lines[1]).toMatch(/^sigbus -6 /);
});

/** A thread that waits for an answer and then faults: the request and /dev/fuse are a byte in a FIFO. */
async function faulter(use: (victim: Victim, fd: number) => Promise<void>): Promise<void> {
  const fifo = join(dir, `fifo-${running.length}-${process.pid}`);
  execFileSync('mkfifo', [fifo]);
  const fd = openSync(fifo, 'r+');
  try {
    await use(await Victim.start('handle', `fault=${fifo}`), fd);
  } finally {
    closeSync(fd);
    rmSync(fifo);
  }
}

const FAULT = Buffer.from('f');
const take = (victim: Victim, fd: number, waitMs = WAIT_MS, answer = FAULT) =>
  takeFault(fd, answer, victim.pid, victim.tid, 12, waitMs);

describe('takeFault', () => {
  test('answers, and the SIGBUS that the kernel forces on the thread becomes that of a machine check', () =>
    faulter(async (victim, fd) => {
      for (let round = 1; round <= 20; round++) {
        await victim.until(() => take(victim, fd));
        await victim.until(() => victim.lines.length === 1 + round);
        expect(victim.lines[round]).toMatch(new RegExp(`^sigbus 4 0x[0-9a-f]+07b 12 0 ${victim.tid}$`));
      }
      await victim.until(() => victim.tracer === '0');
    }));

  test('a thread that somebody else traces, and one that has ended, get the answer alone', () =>
    faulter(async (victim, fd) => {
      const tracer = await Victim.start(`trace=${victim.tid}`);
      expect(take(victim, fd)).toBe(true);
      // It stops for its tracer, which leaves it so until it ends.
      await victim.until(() => victim.state === 't');
      await tracer.end();
      await victim.until(() => victim.lines.length === 2);
      expect(victim.lines[1]).toMatch(/^sigbus 2 0x[0-9a-f]+07b /);
      await victim.until(() => takeFault(fd, FAULT, victim.pid, 2 ** 31 - 1, 12, WAIT_MS));
      await victim.until(() => victim.lines.length === 3);
    }));

  test('a fault that ends well: the thread is let go; a second one meanwhile is not taken', () =>
    faulter(async (victim, fd) => {
      expect(take(victim, fd, 300, Buffer.from('n'))).toBe(true);
      expect(take(victim, fd)).toBe(false);
      await victim.until(() => take(victim, fd));
      await victim.until(() => victim.lines.length === 2);
      expect(victim.lines[1]).toMatch(/^sigbus 4 /);
    }));

  test('a SIGBUS for the same thread waits for it, and keeps its address', () =>
    faulter(async (victim, fd) => {
      expect(take(victim, fd, 300, Buffer.from('n'))).toBe(true);
      expect(deliver(victim)).toEqual(BY_PTRACE);
      await victim.until(() => victim.lines.length === 2);
      expect(victim.lines[1]).toBe(`sigbus 5 0x7f1234567000 12 0 ${victim.tid}`);
    }));

  test('bad arguments', () => {
    const { pid } = process;
    const calls = [
      () => takeFault(-1, FAULT, pid, pid, 12, 100),
      () => takeFault(1, Buffer.alloc(65), pid, pid, 12, 100),
      () => takeFault(1, FAULT, 0, pid, 12, 100),
      () => takeFault(1, FAULT, pid, 0, 12, 100),
      () => takeFault(1, FAULT, pid, pid, 64, 100),
      () => takeFault(1, FAULT, pid, pid, 12, 0),
    ];
    for (const call of calls) expect(failure(call)).toMatchObject({ code: 'EINVAL', errno: -22 });
    expect(takeFault(1023, FAULT, pid, pid, 12, 100)).toBe(false);
  });
});

describe('failures', () => {
  test('a traced process: EPERM, and nothing is sent', async () => {
    const victim = await Victim.start('handle');
    await Victim.start(`trace=${victim.pid}`);
    expect(failure(() => deliver(victim))).toMatchObject({ code: 'EPERM', errno: -1, syscall: 'ptrace' });
    expect([victim.isSigbusPending, victim.lines.length]).toEqual([false, 1]);
  });

  test('our own process: EPERM', () => {
    expect(failure(() => deliverSigbus(process.pid, process.pid, 5, 0, 12, 100)).code).toBe('EPERM');
  });

  test('an ended process, and one that is not reaped yet: ESRCH', async () => {
    const victim = await Victim.start();
    await victim.end();
    const gone = failure(() => deliverSigbus(victim.pid, victim.pid, 5, 0, 12, WAIT_MS));
    expect(gone).toMatchObject({ code: 'ESRCH', errno: -3 });

    const zombie = await Victim.start();
    process.kill(zombie.pid, 'SIGKILL');
    // No turn of the event loop in between, so nobody has reaped it.
    while (zombie.state !== 'Z');
    expect(failure(() => deliverSigbus(zombie.pid, zombie.pid, 5, 0, 12, WAIT_MS)).code).toBe('ESRCH');
    await once(zombie.child, 'exit');
    expect(zombie.child.signalCode).toBe('SIGKILL');
  });

  test('a thread of another process, and a pid with another start time: ESRCH, and nothing is sent', async () => {
    const victim = await Victim.start('handle');
    const other = await Victim.start('handle', 'thread');
    expect(failure(() => deliverSigbus(victim.pid, other.tid, 5, 0, 12, WAIT_MS)).code).toBe('ESRCH');
    const reused = () => deliverSigbus(victim.pid, victim.pid, 5, 0, 12, WAIT_MS, victim.startTicks + 1);
    expect(failure(reused).code).toBe('ESRCH');
    expect([victim.lines.length, other.lines.length]).toEqual([1, 1]);
    expect([victim.isSigbusPending, other.isSigbusPending]).toEqual([false, false]);
  });

  test('bad arguments', () => {
    const { pid } = process;
    const calls = [
      () => deliverSigbus(0, pid, 5, 0, 12, 100),
      () => deliverSigbus(-1, pid, 5, 0, 12, 100),
      () => deliverSigbus(pid, 2 ** 31, 5, 0, 12, 100),
      () => deliverSigbus(pid, pid, 3, 0, 12, 100),
      () => deliverSigbus(pid, pid, 5, -1, 12, 100),
      () => deliverSigbus(pid, pid, 5, 2 ** 53, 12, 100),
      () => deliverSigbus(pid, pid, 5, 2n ** 64n, 12, 100),
      () => deliverSigbus(pid, pid, 5, -1n, 12, 100),
      () => deliverSigbus(pid, pid, 5, 0, 64, 100),
      () => deliverSigbus(pid, pid, 5, 0, 12, 0),
      () => deliverSigbus(pid, pid, 5, 0, 12, 60_001),
      () => deliverSigbus(pid, pid, 5, 0, 12, 100, 0.5),
    ];
    for (const call of calls) expect(failure(call)).toMatchObject({ code: 'EINVAL', errno: -22 });
  });
});
