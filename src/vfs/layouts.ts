import { FsError } from '../errors.js';
import type { FileRange } from '../failure/job.js';
import { errorReply } from '../fuse/ioctl-reply.js';
import type { Request } from '../fuse/request.js';
import { LAYOUT_ROUNDS_MAX, LAYOUT_WAITING_MAX, PARKED_BYTES_MAX } from '../limits.js';
import { BLOCK_SIZE, type Ino } from '../types.js';
import { Closing, type PageGate } from './closing.js';
import type { Inode, InodeCache } from './inode-cache.js';
import type { Outbox } from './jobs.js';

/** An operation that gives file ranges other blocks, or shares them. */
export interface Remap {
  unique: bigint;
  /** The calling thread. */
  tid: number;
  source: Inode;
  destination: Inode;
  /** Where nobody may have a page while it is done; offset -1: only the attributes change. */
  ranges: FileRange[];
  /** Does it. Returns the record to answer with (empty for none), or throws. */
  run: () => Uint8Array;
}

/** A request that asks where the blocks of files are. It comes again when what was stored to their pages has blocks. */
interface Look {
  unique: bigint;
  inodes: readonly Inode[];
  message: Buffer;
}

type Waiting = { kind: 'remap'; remap: Remap } | { kind: 'look'; look: Look };

interface Active {
  readonly id: number;
  readonly waiting: Waiting;
  /** Of a remap. */
  readonly closing: Closing | null;
  interrupted: boolean;
  rounds: number;
}

/** Thrown by an operation before it has changed anything: its request waits, and is served again from its start. */
export class Parked extends Error {
  override readonly name = 'Parked';
  /** Whose pages are to be written back first; none: it waits for the remap under way. */
  readonly inodes: readonly Inode[];

  constructor(inodes: readonly Inode[] = []) {
    super('the request waits');
    this.inodes = inodes;
  }
}

const uniqueOf = (waiting: Waiting): bigint =>
  waiting.kind === 'remap' ? waiting.remap.unique : waiting.look.unique;

/**
 * Who has to let go of pages before an operation may go on: one after the other, in the order in which they came. The
 * main thread has the kernel write back and drop the pages (it waits for this one meanwhile), see Closing.
 */
export class LayoutQueue {
  readonly #queue: Waiting[] = [];
  readonly #ready: { message: Buffer; isLook: boolean }[] = [];
  readonly #parked: Buffer[] = [];
  readonly #inodes: InodeCache;
  readonly #outbox: Outbox;
  readonly #gate: PageGate;
  readonly #pathOf: (ino: Ino) => string | null;
  readonly #isOurs: () => boolean;
  readonly #execute: (remap: Remap, refused: FsError | null) => Uint8Array;
  #active: Active | null = null;
  #parkedBytes = 0;
  #last = 0;
  /** The request under way has had its pages written back. */
  #isSettled = false;

  /**
   * @param isOurs whether the request under way is the main thread's, which must not wait for itself
   * @param pathOf a path below the mount, null where there is none
   * @param execute carries a remap out, or refuses it, and returns the whole reply
   */
  constructor(
    inodes: InodeCache,
    outbox: Outbox,
    gate: PageGate,
    isOurs: () => boolean,
    pathOf: (ino: Ino) => string | null,
    execute: (remap: Remap, refused: FsError | null) => Uint8Array,
  ) {
    this.#inodes = inodes;
    this.#outbox = outbox;
    this.#gate = gate;
    this.#isOurs = isOurs;
    this.#pathOf = pathOf;
    this.#execute = execute;
  }

  /** EAGAIN when too many wait. */
  start(remap: Remap): void {
    this.#admit({ kind: 'remap', remap });
    this.#inodes.hold(remap.source);
    this.#inodes.hold(remap.destination);
    this.#next();
  }

  /**
   * To be asked first by whatever asks for the map of files: throws Parked where somebody may have stored to pages that
   * have no block of their own yet.
   */
  settle(inodes: readonly Inode[]): void {
    if (this.#isSettled || this.#isOurs()) return;
    const stored = inodes.filter((inode) => inode.stored);
    if (stored.length > 0) throw new Parked(stored);
  }

  /** The request has thrown Parked. */
  park({ inodes }: Parked, request: Request): void {
    const message = request.copy();
    if (inodes.length > 0) {
      this.#admit({ kind: 'look', look: { unique: request.unique, inodes, message } });
      for (const inode of inodes) this.#inodes.hold(inode);
      this.#next();
      return;
    }
    this.#parked.push(message);
    this.#parkedBytes += message.length;
    // The remap gives way to what it keeps waiting: it is refused when its turn comes.
    if (this.#parkedBytes > PARKED_BYTES_MAX && this.#active !== null)
      this.#active.rounds = LAYOUT_ROUNDS_MAX;
  }

  /**
   * A page of the file is about to be filled, or written through: throws Parked when it has to wait for the remap, and
   * EIO for a read of many pages, which the kernel then asks for one by one.
   */
  touch(ino: Ino, offset: number, length: number, isWrite: boolean): void {
    const closing = this.#active?.closing;
    if (closing === null || closing === undefined || length === 0) return;
    const first = Math.floor(offset / BLOCK_SIZE);
    const last = Math.floor((offset + length - 1) / BLOCK_SIZE);
    const answer = closing.touch(ino, first, last, isWrite);
    if (answer === 'wait') throw new Parked();
    if (answer === 'refuse') throw new FsError('EIO', 'read', `inode ${ino}: one page at a time, please`);
  }

  /** The main thread has done what it was told. `failed`: why it could not. */
  writtenBack(id: number, failed: string | null): void {
    const active = this.#active;
    if (active === null || active.id !== id) return;
    if (failed !== null) this.#finish(active, new FsError('EIO', 'write-back', failed));
    else if (active.interrupted) this.#finish(active, interrupted());
    else if (active.closing === null) this.#finish(active, null);
    else this.#goOn(active, active.closing);
  }

  #goOn(active: Active, closing: Closing): void {
    const isTooMuch = closing.isTooMuch;
    const again = closing.round();
    if (again.length === 0) this.#finish(active, null);
    else if (isTooMuch || ++active.rounds > LAYOUT_ROUNDS_MAX) {
      this.#finish(active, new FsError('EAGAIN', 'remap', 'others do not leave the pages alone'));
    } else {
      this.#gate.reset();
      this.#outbox.writeBack({ id: active.id, files: [], ranges: [], pages: again });
    }
  }

  /** FUSE_INTERRUPT. Whether the request waits here: it is answered with EINTR, with nothing changed. */
  interrupt(unique: bigint): boolean {
    if (this.#active !== null && uniqueOf(this.#active.waiting) === unique) {
      this.#active.interrupted = true;
      return true;
    }
    const at = this.#queue.findIndex((waiting) => uniqueOf(waiting) === unique);
    if (at < 0) return false;
    const [waiting] = this.#queue.splice(at, 1);
    this.#settleFor(waiting, interrupted());
    return true;
  }

  /** Whether ready() has something. Cheap. */
  get isReady(): boolean {
    return this.#ready.length > 0;
  }

  /** The next request that is to be served, until this is called again; null when there is none (any more). */
  ready(): Buffer | null {
    const next = this.#ready.shift();
    this.#isSettled = next?.isLook === true;
    return next?.message ?? null;
  }

  /** The mount is gone: nobody waits any more. */
  end(): void {
    const waiting = this.#queue.splice(0);
    if (this.#active !== null) waiting.unshift(this.#active.waiting);
    this.#active = null;
    for (const one of waiting) this.#release(one);
    this.#ready.length = 0;
    this.#parked.length = 0;
  }

  #admit(waiting: Waiting): void {
    if (this.#queue.length >= LAYOUT_WAITING_MAX) {
      throw new FsError('EAGAIN', 'remap', `${this.#queue.length} wait already`);
    }
    this.#queue.push(waiting);
  }

  #next(): void {
    while (this.#active === null) {
      const waiting = this.#queue.shift();
      if (waiting === undefined) return;
      this.#begin(waiting);
    }
  }

  /** At once where the kernel can have no pages; else the main thread is told to have them written back. */
  #begin(waiting: Waiting): void {
    const ranges = waiting.kind === 'remap' ? this.#cachedRanges(waiting.remap) : [];
    const inodes = waiting.kind === 'look' ? waiting.look.inodes.filter((inode) => inode.stored) : [];
    if (ranges.length === 0 && inodes.length === 0) {
      this.#settleFor(waiting, null);
      return;
    }
    this.#last += 1;
    const closing = waiting.kind === 'remap' ? new Closing(ranges, this.#gate) : null;
    this.#active = { id: this.#last, waiting, closing, interrupted: false, rounds: 0 };
    const files = inodes.map(({ ino }) => ({ ino, path: this.#pathOf(ino) }));
    this.#outbox.writeBack({ id: this.#last, files, ranges, pages: [] });
  }

  #cachedRanges({ ranges }: Remap): FileRange[] {
    return ranges.filter(({ ino, offset }) => offset >= 0 && this.#inodes.find(ino)?.cached === true);
  }

  #finish(active: Active, refused: FsError | null): void {
    this.#active = null;
    this.#settleFor(active.waiting, refused);
    for (const message of this.#parked.splice(0)) this.#ready.push({ message, isLook: false });
    this.#parkedBytes = 0;
    this.#next();
  }

  #settleFor(waiting: Waiting, refused: FsError | null): void {
    if (waiting.kind === 'remap') {
      const { remap } = waiting;
      const reply = this.#execute(remap, refused);
      this.#outbox.dropAttributes([remap.destination.ino, remap.source.ino]);
      this.#outbox.answer(reply);
    } else if (refused !== null) this.#outbox.answer(errorReply(waiting.look.unique, refused.errno));
    else this.#ready.push({ message: waiting.look.message, isLook: true });
    this.#release(waiting);
  }

  #release(waiting: Waiting): void {
    const inodes =
      waiting.kind === 'remap' ? [waiting.remap.source, waiting.remap.destination] : waiting.look.inodes;
    for (const inode of inodes) this.#inodes.drop(inode);
  }
}

const interrupted = (): FsError => new FsError('EINTR', 'remap', 'the caller was interrupted');
