import createDebug from 'debug';
import { errnoOf, FsError } from '../errors.js';
import { type FailureEnv, finishFailure } from '../failure/chain.js';
import { reportText } from '../failure/report.js';
import { errorReply, ioctlReply } from '../fuse/ioctl-reply.js';
import { BLOCK_SIZE } from '../types.js';
import { GOINGDOWN_MODE } from '../vfs/jobs.js';
import type { FailureJob, FileRange, GoingDownJob, MceKillJob, ToCore, WriteBackJob } from './bridge.js';
import type { EventReaders } from './event-readers.js';
import type { SharedGate } from './gate.js';
import { describeError, type Log } from './log.js';
import { type Notifier, poisonReply } from './notifier.js';

const debug = createDebug('rmapfs:jobs');

const NOBODY = (): boolean => false;

export interface JobParts {
  readonly env: FailureEnv;
  readonly notifier: Pick<Notifier, 'invalidate' | 'reply'>;
  /** Resolves when the core has handled the message. */
  readonly post: (message: ToCore) => Promise<void>;
  readonly events: Pick<EventReaders, 'telling' | 'told' | 'failure'>;
  readonly gate: Pick<SharedGate, 'pass'>;
  /** Writes the dirty pages of a file back. False where there is no such file at the path, or it may not be opened. */
  readonly writeBack: (ino: number, path: string) => boolean;
  readonly log: Log;
  /** A u32 in the memory of a process that waits for an answer. */
  readonly callerWord: (pid: number, address: number) => number;
  /** Writes the kernel's dirty pages of the mount back. */
  readonly sync: () => Promise<void>;
}

/**
 * What the core hands to the main thread because it has to wait for the core, or for processes. Every job
 * that comes with a request is answered, with EIO when it throws: no caller is left hanging.
 */
export class Jobs {
  readonly #parts: JobParts;
  /** Failures are reported and answered in the order in which they happened. */
  #failures: Promise<void> = Promise.resolve();

  constructor(parts: JobParts) {
    this.#parts = parts;
  }

  /** Resolves when the failure is reported and its ioctl answered. */
  failure(job: FailureJob): Promise<void> {
    this.#parts.events.telling();
    this.#failures = this.#failures.then(() => this.#failure(job)).finally(() => this.#parts.events.told());
    return this.#failures;
  }

  async #failure(job: FailureJob): Promise<void> {
    const { env, notifier, post, events } = this.#parts;
    try {
      const report = await finishFailure(job, env);
      events.failure(job, report.victims.length + report.victimsOmitted);
      // The core must have the report before the caller can ask for it.
      await post({ type: 'report', id: job.report, json: reportText(job, report) });
      if (job.unique !== null) notifier.reply(poisonReply(job, job.unique, report.victims.length));
    } catch (error) {
      this.#failed(`failure at ${job.physical}`, error, job.unique);
    }
    if (job.reply !== null) notifier.reply(job.reply);
  }

  /** Has the kernel write pages back, and drop them where the job says so. */
  writeBack({ id, files, ranges, pages }: WriteBackJob): void {
    debug('write-back %d: %d files, %d ranges, %d pages', id, files.length, ranges.length, pages.length);
    let failed: string | null = null;
    try {
      for (const file of files) this.#writeFileBack(file);
      this.#invalidate(ranges);
      this.#parts.gate.pass(pages.length, (index) => {
        const { ino, page } = pages[index];
        this.#parts.notifier.invalidate({ ino, offset: page * BLOCK_SIZE, length: BLOCK_SIZE });
      });
    } catch (error) {
      failed = describeError(error);
      this.#parts.log('error', `write-back ${id}: ${failed}`);
    }
    void this.#parts.post({ type: 'writtenback', id, failed });
  }

  /** Without taking the pages from who maps them, where the file can be opened. */
  #writeFileBack({ ino, path }: WriteBackJob['files'][number]): void {
    if (path === null || !this.#parts.writeBack(ino, path)) {
      this.#parts.notifier.invalidate({ ino, offset: 0, length: 0 });
    }
  }

  /** The core has shut down for a GOINGDOWN ioctl: what the kernel has cached goes, and the caller gets its answer. */
  ran(after: readonly FileRange[], reply: Uint8Array): void {
    try {
      this.#invalidate(after);
    } catch (error) {
      this.#parts.log('error', `going down: pages were not dropped: ${describeError(error)}`);
    }
    this.#parts.notifier.reply(reply);
  }

  /** Hands the core what a GOINGDOWN ioctl asks for; its answer comes by ran(). */
  async goingDown(job: GoingDownJob): Promise<void> {
    const { callerWord, sync, post } = this.#parts;
    try {
      const mode = callerWord(job.pid, job.address);
      if (mode === GOINGDOWN_MODE.flushAll) await sync();
      await post({ type: 'goingdown', unique: job.unique, mode });
    } catch (error) {
      this.#failed('going down', error, job.unique);
    }
  }

  mceKill({ unique, pid, policy }: MceKillJob): void {
    try {
      this.#parts.env.choices.set(pid, policy);
      this.#parts.notifier.reply(ioctlReply(unique));
    } catch (error) {
      this.#failed('mce-kill', error, unique);
    }
  }

  /** Drops pages with nobody waiting. */
  invalidate(ranges: readonly FileRange[]): void {
    try {
      const isMapped = ranges.some((range) => range.unlessMapped) ? this.#mappedFiles() : NOBODY;
      this.#invalidate(
        ranges.map((range) => (range.unlessMapped && isMapped(range.ino) ? { ...range, offset: -1 } : range)),
      );
    } catch (error) {
      this.#parts.log('error', `pages were not dropped: ${describeError(error)}`);
    }
  }

  /** Which inodes processes map, as far as they can be looked at. */
  #mappedFiles(): (ino: number) => boolean {
    const { table, device } = this.#parts.env;
    const inos = new Set<number>();
    table.scan(device, (_pid, mappings) => {
      for (const { ino } of mappings) inos.add(ino);
    });
    return (ino) => inos.has(ino);
  }

  #invalidate(ranges: readonly FileRange[]): void {
    for (const range of ranges) this.#parts.notifier.invalidate(range);
  }

  /** An FsError is what the caller is told, and nobody else needs to know. */
  #failed(what: string, error: unknown, unique: bigint | null): void {
    if (!(error instanceof FsError) || unique === null) {
      this.#parts.log('error', `${what}: ${describeError(error)}`);
    }
    if (unique === null) return;
    this.#parts.notifier.reply(errorReply(unique, errnoOf(error instanceof FsError ? error.code : 'EIO')));
  }
}
