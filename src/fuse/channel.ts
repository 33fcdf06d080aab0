import { constants } from 'node:os';
import { FsError } from '../errors.js';
import { CONTROL } from '../exchange.js';
import { fuse_out_header, OPCODE, OPCODE_NAMES } from './abi.js';
import { type Connection, negotiate } from './negotiate.js';
import { Reply } from './reply.js';
import { REQUEST_BUFFER_BYTES, Request } from './request.js';

export interface ChannelHandler {
  /** Answers one request through `reply`; must not throw. */
  handle(request: Request, reply: Reply): void;
}

/** /dev/fuse. */
export interface FuseDevice {
  /**
   * Makes the turn of the loop: each call sends the answer that `control` describes and, when it says so, waits for
   * the next request. See CONTROL.
   */
  bind(answer: Buffer, request: Buffer, control: Int32Array): () => void;
}

export interface ChannelHooks {
  /** The connection is set up: the kernel has its answer, or has it before anything else. */
  ready(connection: Connection): void;
  /** Whether poll() has something to do. Asked before each wait: must be cheap. */
  waiting(): boolean;
  /** Messages from another thread. */
  poll(): void;
  /** The next request that was held back and is to be served now, as it came in; null: none. */
  again(): Buffer | null;
  /** Called after each request. Must be cheap. */
  served(): void;
  /** Why no answer can be trusted any more, or null. Asked before each answer: must be cheap. */
  lost(): string | null;
  log(level: 'error' | 'warn' | 'info', text: string): void;
}

export interface ChannelEnd {
  /** Ended by an unmount. */
  clean: boolean;
  reason: string;
}

const { EINTR, EAGAIN, EIO, ENOENT, ENODEV } = constants.errno;

function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === errno);
  return found === undefined ? `errno ${errno}` : found[0];
}

/**
 * The loop over /dev/fuse: read one request, answer it, and again. It blocks in read(2), so it has a thread
 * of its own.
 */
export class Channel {
  readonly #hooks: ChannelHooks;
  readonly #turn: () => void;
  readonly #request = new Request(Buffer.alloc(REQUEST_BUFFER_BYTES));
  /** The one answer at a time. Who builds answers may bind to its buffers. */
  readonly reply = new Reply();
  #negotiated = false;

  constructor(device: FuseDevice, hooks: ChannelHooks) {
    this.#hooks = hooks;
    this.#turn = device.bind(this.reply.buffer, this.#request.buffer, this.reply.control);
  }

  /** Serves until the filesystem is unmounted (clean) or the device fails. */
  run(handler: ChannelHandler): ChannelEnd {
    for (;;) {
      if (this.#hooks.waiting()) {
        // A message can take long (a commit): nobody waits for it with a finished answer.
        this.#exchange(0);
        this.#hooks.poll();
        this.#serveAgain(handler);
        const why = this.#hooks.lost();
        if (why !== null) return { clean: false, reason: why };
      }
      const length = this.#exchange(1);
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
      const why = this.#hooks.lost();
      if (why !== null) return this.#refuseAll(why);
      this.#hooks.served();
    }
  }

  /**
   * Sends the answer, if there is one, and waits with `wait` 1. Then it returns the next request's length or a
   * negative errno. Whoever asked gets EIO where the answer itself cannot be sent.
   */
  #exchange(wait: 0 | 1): number {
    const { control } = this.reply;
    control[CONTROL.wait] = wait;
    try {
      this.#turn();
    } catch (error) {
      // The answer names memory that is not there: nothing was sent, and nothing received.
      this.#putError(error instanceof Error ? error.message : String(error));
      this.#turn();
    }
    const errno = control[CONTROL.writeErrno];
    control[CONTROL.answerBytes] = 0;
    // ENOENT: the request was aborted. ENODEV: the mount is gone; the next read says so too.
    if (errno !== 0 && errno !== ENOENT && errno !== ENODEV) {
      this.#putError(errnoName(errno));
      control[CONTROL.wait] = 0;
      this.#turn();
      control[CONTROL.answerBytes] = 0;
    }
    return control[CONTROL.received];
  }

  #serveAgain(handler: ChannelHandler): void {
    for (let message = this.#hooks.again(); message !== null; message = this.#hooks.again()) {
      const request = new Request(message);
      request.accept(message.length);
      this.reply.begin(request);
      handler.handle(request, this.reply);
      this.#exchange(0);
      this.#hooks.served();
    }
  }

  /** Answers EIO in the place of what is in the buffer. A request that takes no answer is not known to the kernel. */
  #refuseAll(reason: string): ChannelEnd {
    this.reply.begin(this.#request);
    this.reply.error(EIO);
    this.#exchange(0);
    return { clean: false, reason };
  }

  /** Puts EIO in the place of the answer. */
  #putError(why: string): void {
    const unique = this.reply.buffer.readBigUInt64LE(fuse_out_header.at.unique).toString(16);
    this.#hooks.log('error', `cannot answer request ${unique}: ${why}; it gets EIO`);
    this.reply.replace(EIO);
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
