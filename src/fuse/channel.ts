import { constants } from 'node:os';
import { errnoOf, FsError } from '../errors.js';
import { OPCODE, OPCODE_NAMES } from './abi.js';
import { type Connection, negotiate } from './negotiate.js';
import { Reply, type ReplySink } from './reply.js';
import { REQUEST_BUFFER_BYTES, Request } from './request.js';

export interface ChannelHandler {
  /** Answers one request through `reply`; must not throw. */
  handle(request: Request, reply: Reply): void;
}

/**
 * /dev/fuse. Each call sends an answer and then waits for the next request, in one step: it returns the length
 * of the request or the negative errno of the read, and leaves the errno of the write (or 0) in `writeErrno`.
 */
export interface FuseDevice {
  readonly writeErrno: Int32Array;
  /** Sends answer[0 .. length); nothing when length is 0. */
  exchange(answer: Buffer, length: number, request: Buffer): number;
  exchangev(parts: readonly Buffer[], request: Buffer): number;
  /** Sends an answer without waiting for a request. */
  send(parts: readonly Buffer[]): void;
}

export interface ChannelHooks {
  /** The connection is set up: the kernel has its answer, or has it before anything else. */
  ready(connection: Connection): void;
  /** Whether poll() has something to do. Asked before each wait: must be cheap. */
  waiting(): boolean;
  /** Messages from another thread. */
  poll(): void;
  /** Called after each request. Must be cheap. */
  served(): void;
  log(level: 'error' | 'warn' | 'info', text: string): void;
}

export interface ChannelEnd {
  /** Ended by an unmount. */
  clean: boolean;
  reason: string;
}

const { EINTR, EAGAIN, ENOENT, ENODEV } = constants.errno;

function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === errno);
  return found === undefined ? `errno ${errno}` : found[0];
}

/** Keeps the answer to the request at hand until the loop waits for the next one. */
class PendingAnswer implements ReplySink {
  readonly #device: FuseDevice;
  readonly #log: ChannelHooks['log'];
  #whole: Buffer = Buffer.alloc(0);
  #length = 0;
  #parts: readonly Buffer[] | null = null;

  constructor(device: FuseDevice, log: ChannelHooks['log']) {
    this.#device = device;
    this.#log = log;
  }

  write(bytes: Buffer, length: number): void {
    this.#whole = bytes;
    this.#length = length;
  }

  writev(parts: readonly Buffer[]): void {
    this.#parts = parts;
  }

  /** Sends the answer, if there is one, and waits. Returns the next request's length or a negative errno. */
  exchange(request: Buffer): number {
    const device = this.#device;
    const parts = this.#parts;
    const header = parts === null ? this.#whole : parts[0];
    const length =
      parts === null ? device.exchange(this.#whole, this.#length, request) : device.exchangev(parts, request);
    this.#parts = null;
    this.#length = 0;
    if (device.writeErrno[0] !== 0) this.#failed(device.writeErrno[0], header);
    return length;
  }

  /** Sends the answer, if there is one, without waiting. */
  flush(): void {
    const parts = this.#parts ?? (this.#length > 0 ? [this.#whole.subarray(0, this.#length)] : []);
    this.#parts = null;
    this.#length = 0;
    if (parts.length === 0) return;
    try {
      this.#device.send(parts);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      this.#failed(code in constants.errno ? errnoOf(code as 'EIO') : 0, parts[0]);
    }
  }

  #failed(errno: number, header: Buffer): void {
    // ENOENT: the request was aborted. ENODEV: the mount is gone; the next read says so too.
    if (errno === ENOENT || errno === ENODEV) return;
    const unique = header.readBigUInt64LE(8).toString(16);
    this.#log('error', `cannot answer request ${unique}: ${errnoName(errno)}`);
  }
}

/**
 * The loop over /dev/fuse: read one request, answer it, and again. It blocks in read(2), so it has a thread
 * of its own.
 */
export class Channel {
  readonly #hooks: ChannelHooks;
  readonly #answer: PendingAnswer;
  readonly #request = new Request(Buffer.alloc(REQUEST_BUFFER_BYTES));
  /** The one answer at a time. Who builds answers may bind to its buffers. */
  readonly reply: Reply;
  #negotiated = false;

  constructor(device: FuseDevice, hooks: ChannelHooks) {
    this.#hooks = hooks;
    this.#answer = new PendingAnswer(device, hooks.log);
    this.reply = new Reply(this.#answer);
  }

  /** Serves until the filesystem is unmounted (clean) or the device fails. */
  run(handler: ChannelHandler): ChannelEnd {
    const { buffer } = this.#request;
    for (;;) {
      if (this.#hooks.waiting()) {
        // A message can take long (a commit): nobody waits for it with a finished answer.
        this.#answer.flush();
        this.#hooks.poll();
      }
      const length = this.#answer.exchange(buffer);
      if (length < 0) {
        const errno = -length;
        if (errno === ENODEV) return { clean: true, reason: 'unmounted' };
        // EINTR: another thread has a message. ENOENT: the request was aborted between being queued and read.
        if (errno === EINTR || errno === EAGAIN || errno === ENOENT) continue;
        return { clean: false, reason: `reading /dev/fuse failed: ${errnoName(errno)}` };
      }
      // read(2) of a device never ends; 0 bytes mean that the descriptor is none.
      if (length === 0) return { clean: false, reason: 'reading /dev/fuse gave nothing' };
      const failure = this.#serve(handler, length);
      if (failure !== null) return { clean: false, reason: failure };
      this.#hooks.served();
    }
  }

  /** Serves the request in the buffer. Returns why the channel must end, or null. */
  #serve(handler: ChannelHandler, length: number): string | null {
    const request = this.#request;
    if (!request.accept(length)) {
      this.#hooks.log('error', `passed over a malformed request of ${length} bytes`);
      return null;
    }
    this.reply.begin(request);
    if (this.#negotiated && request.opcode !== OPCODE.INIT) {
      handler.handle(request, this.reply);
      return null;
    }
    return this.#init(request);
  }

  #init(request: Request): string | null {
    if (this.#negotiated || request.opcode !== OPCODE.INIT) {
      const name = OPCODE_NAMES[request.opcode] ?? String(request.opcode);
      return `the kernel sent ${name} ${this.#negotiated ? 'twice' : 'before init'}`;
    }
    try {
      const connection = negotiate(request, this.reply);
      this.#negotiated = true;
      this.#hooks.ready(connection);
      return null;
    } catch (error) {
      if (error instanceof FsError) return error.message;
      throw error;
    }
  }
}
