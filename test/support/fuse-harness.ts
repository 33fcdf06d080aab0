import type { Engine } from '../../src/engine/api.js';
import type { EngineEvent } from '../../src/engine/events.js';
import type { FailureJob, FileRange } from '../../src/failure/job.js';
import { fuse_in_header, fuse_ioctl_in, type Layout, OPCODE } from '../../src/fuse/abi.js';
import { Reply } from '../../src/fuse/reply.js';
import { Request } from '../../src/fuse/request.js';
import { putI64 } from '../../src/fuse/words.js';
import type { Clock, Time } from '../../src/types.js';
import { accessTimesOf } from '../../src/vfs/access-times.js';
import type { EventsJob, GoingDownJob, MceKillJob, Outbox, WriteBackJob } from '../../src/vfs/jobs.js';
import { Vfs } from '../../src/vfs/vfs.js';
import { takeAnswer } from './answer.js';

/** A clock that goes one second with every look. */
export class StepClock implements Clock {
  last = 1_000_000;
  seconds(): number {
    return this.last;
  }
  now(into: Time): void {
    this.last += 1;
    into.sec = this.last;
    into.nsec = 123;
  }
}

/** An answer as the kernel would get it. */
export interface Answer {
  /** 0, or the negative errno. */
  error: number;
  unique: bigint;
  body: Buffer;
}

class RecordingOutbox implements Outbox {
  readonly failures: FailureJob[] = [];
  readonly writeBacks: WriteBackJob[] = [];
  /** Answers to requests that were held back. */
  readonly answers: Uint8Array[] = [];
  /** Inodes whose attributes the kernel forgets. */
  readonly dropped: number[] = [];
  readonly goingDowns: GoingDownJob[] = [];
  readonly mceKills: MceKillJob[] = [];
  readonly results: { after: FileRange[]; reply: Uint8Array }[] = [];
  readonly invalidated: FileRange[] = [];
  readonly logs: string[] = [];
  failure(job: FailureJob): void {
    this.failures.push(job);
  }
  mceKill(job: MceKillJob): void {
    this.mceKills.push(job);
  }
  goingDown(job: GoingDownJob): void {
    this.goingDowns.push(job);
  }
  writeBack(job: WriteBackJob): void {
    this.writeBacks.push(job);
  }
  answer(reply: Uint8Array): void {
    this.answers.push(reply);
  }
  dropAttributes(inos: readonly number[]): void {
    this.dropped.push(...inos);
  }
  ran(after: FileRange[], reply: Uint8Array): void {
    this.results.push({ after, reply });
  }
  invalidate(ranges: FileRange[]): void {
    this.invalidated.push(...ranges);
  }
  readonly published: EngineEvent[] = [];
  readonly eventJobs: EventsJob[] = [];
  readonly interrupted: bigint[] = [];
  publish(event: EngineEvent): void {
    this.published.push(event);
  }
  events(job: EventsJob): void {
    this.eventJobs.push(job);
  }
  interrupt(unique: bigint): void {
    this.interrupted.push(unique);
  }
  log(level: string, text: string): void {
    this.logs.push(`${level}: ${text}`);
  }
}

/** The bytes of a record with the named fields set; 64-bit fields take numbers. */
export function fill<F extends string>(
  layout: Layout<F>,
  fields: Partial<Record<NoInfer<F>, number>>,
): Buffer {
  const bytes = Buffer.alloc(layout.size);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (const [field, value] of Object.entries(fields) as [F, number][]) {
    const at = layout.at[field];
    if (layout.width[field] === 8) putI64(words, at / 4, value);
    else if (layout.width[field] === 4) words[at / 4] = value;
    else throw new TypeError(`${field} has ${layout.width[field]} bytes`);
  }
  return bytes;
}

/** A NUL-terminated string. */
export const cstring = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1');

export interface Caller {
  uid?: number;
  gid?: number;
  pid?: number;
}

/** A Vfs with a wire on which records go in and out, without a kernel. */
export class FuseHarness {
  readonly outbox = new RecordingOutbox();
  readonly request = new Request();
  readonly reply = new Reply();
  readonly caller = { tid: 0 };
  readonly vfs: Vfs;
  /** Supplementary groups of threads. */
  readonly groups = new Map<number, number[]>();
  /** Users of threads whose requests do not name one. */
  readonly ids = new Map<number, { uid: number; gid: number }>();
  /** Processes of threads that are in a page fault. */
  readonly faulting = new Map<number, number>();
  /** What was offered to be answered elsewhere, and whether it is. */
  readonly faults: { unique: bigint; pid: number; tid: number }[] = [];
  takesFaults = true;
  /** Pages are written back when main() is called, and not at once. */
  holds = false;
  #writtenBack = 0;
  #answered = 0;
  readonly #engine: Engine;
  #unique = 0n;

  constructor(engine: Engine, clock: Clock, ownerUid = 1000, accessTimes = accessTimesOf([])) {
    this.#engine = engine;
    let random = 0;
    this.vfs = new Vfs(
      {
        engine,
        clock,
        random: (bytes) => {
          random += 1;
          return Buffer.alloc(bytes, random);
        },
        nanoseconds: () => 0,
        ownerUid,
        policy: 'early',
        cache: 'auto',
        accessTimes,
        caller: this.caller,
        groupsOf: (tid) => this.groups.get(tid) ?? [],
        idsOf: (tid) => this.ids.get(tid) ?? { uid: 0xffff_ffff, gid: 0xffff_ffff },
        faultingProcess: (tid) => this.faulting.get(tid) ?? 0,
        takeFault: (unique, pid, tid) => {
          this.faults.push({ unique, pid, tid });
          return this.takesFaults;
        },
        outbox: this.outbox,
        gate: { reset: () => {}, current: () => 0, again: () => true },
        mainTid: -1,
        region: '/region',
      },
      this.reply,
    );
  }

  /** Puts raw bytes on the wire. Returns the answers that came. */
  raw(message: Buffer): Answer[] {
    message.copy(this.request.buffer);
    if (!this.request.accept(message.length)) return [];
    const answers = this.#serve(this.request);
    return this.holds ? answers : [...answers, ...this.main()];
  }

  #serve(request: Request): Answer[] {
    this.reply.begin(request);
    this.vfs.handle(request, this.reply);
    const answer = takeAnswer(this.reply, this.#engine.readSources);
    return answer === null ? [] : [parseAnswer(answer)];
  }

  /** Does what main would: writes back, page after page. Returns the answers to what was held back. */
  main(failed: string | null = null): Answer[] {
    const answers: Answer[] = [];
    for (;;) {
      const { writeBacks, answers: given } = this.outbox;
      while (this.#writtenBack < writeBacks.length) {
        this.vfs.writtenBack(writeBacks[this.#writtenBack++].id, failed);
      }
      while (this.#answered < given.length) answers.push(parseAnswer(given[this.#answered++]));
      const message = this.vfs.ready();
      if (message === null) return answers;
      const request = new Request(message);
      request.accept(message.length);
      answers.push(...this.#serve(request));
    }
  }

  message(opcode: number, nodeid: number, body: Buffer, caller: Caller = {}): Buffer {
    this.#unique += 2n;
    const header = fill(fuse_in_header, {
      len: fuse_in_header.size + body.length,
      opcode,
      nodeid,
      uid: caller.uid ?? 0,
      gid: caller.gid ?? 0,
      pid: caller.pid ?? 0,
    });
    header.writeBigUInt64LE(this.#unique, fuse_in_header.at.unique);
    return Buffer.concat([header, body]);
  }

  /** Sends a request that must get exactly one answer. */
  call(opcode: number, nodeid: number, body: Buffer, caller: Caller = {}): Answer {
    const answers = this.raw(this.message(opcode, nodeid, body, caller));
    if (answers.length !== 1) throw new Error(`${answers.length} answers`);
    if (answers[0].unique !== this.#unique) throw new Error('an answer to another request');
    return answers[0];
  }

  /** Sends a request that must get no answer now. */
  quiet(opcode: number, nodeid: number, body: Buffer, caller: Caller = {}): void {
    const answers = this.raw(this.message(opcode, nodeid, body, caller));
    if (answers.length !== 0) throw new Error(`an answer: ${answers[0].error}`);
  }

  ioctlBody(fh: number, cmd: number, input: Buffer): Buffer {
    const size = (cmd >>> 16) & 0x3fff;
    return Buffer.concat([
      fill(fuse_ioctl_in, {
        fh,
        cmd,
        in_size: ((cmd >>> 30) & 1) !== 0 ? size : 0,
        out_size: ((cmd >>> 30) & 2) !== 0 ? size : 0,
      }),
      input,
    ]);
  }

  /** An ioctl; the answer's body is the record only. */
  ioctl(nodeid: number, fh: number, cmd: number, input: Buffer, caller: Caller = {}): Answer {
    const answer = this.call(OPCODE.IOCTL, nodeid, this.ioctlBody(fh, cmd, input), caller);
    return { ...answer, body: answer.body.subarray(16) };
  }
}

export function parseAnswer(message: Uint8Array): Answer {
  const bytes = Buffer.from(message);
  if (bytes.readUInt32LE(0) !== bytes.length) throw new Error('the length in the header is wrong');
  return { error: bytes.readInt32LE(4), unique: bytes.readBigUInt64LE(8), body: bytes.subarray(16) };
}
