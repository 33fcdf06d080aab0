import { closeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import createDebug from 'debug';
import type { FailureEnv } from '../failure/chain.js';
import type { Signaller } from '../failure/deliver.js';
import { EventRing } from '../failure/event-ring.js';
import { LatentMappers } from '../failure/latent.js';
import { MceKillChoices } from '../failure/mce-kill.js';
import { deviceId, type ProcessTable } from '../failure/procfs.js';
import { MOUNT_READY_TIMEOUT_MS } from '../limits.js';
import type { FromCore, ToCore } from './bridge.js';
import type { Core, CoreEnd } from './core-thread.js';
import { EventReaders } from './event-readers.js';
import { Jobs } from './jobs.js';
import { describeError, type Log } from './log.js';
import type { Mounted } from './mount.js';
import { Notifier } from './notifier.js';
import type { DaemonOptions } from './options.js';
import { writeFileBack } from './write-back.js';

const debug = createDebug('rmapfs:main');

/** The system below the daemon. Passed in, so that a test can run it without root. */
export interface DaemonParts {
  /** Returns the mount point without symbolic links. */
  readonly checkMountpoint: (dir: string) => Promise<string>;
  readonly mount: (options: DaemonOptions, dir: string) => Promise<Mounted>;
  readonly unmount: (dir: string, device: string) => Promise<'done' | 'busy'>;
  readonly startCore: (handle: (message: FromCore) => void) => Core;
  /** Writes the kernel's dirty pages of the filesystem back. */
  readonly syncFilesystem: (dir: string) => Promise<void>;
  readonly callerWord: (pid: number, address: number) => number;
  readonly table: ProcessTable;
  readonly signaller: Signaller;
  readonly log: Log;
}

/**
 * The life of one mount as the main thread sees it:
 *
 *     check the mount point -> core: region and engine -> /dev/fuse, mount(2) -> core: FUSE_INIT -> serving
 *     serving -> unmounted by anyone, or by stop() -> core: commit, clean mark -> end
 *
 * The region is opened before anything is mounted, so that a bad one is only an error message.
 */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #parts: DaemonParts;
  readonly #dir: string;
  readonly #opened = deferred<void>();
  readonly #ready = deferred<void>();
  readonly #jobs = deferred<Jobs>();
  readonly #core: Core;
  /** What the starter should tell the user, although all went well. */
  notice: string | undefined;
  /** Replaced when there is a descriptor to write to; readers come through jobs only, and so after that. */
  #replyEvents: Notifier['reply'] = () => {};
  readonly #events = new EventReaders(new EventRing(() => Date.now() / 1000), (message) =>
    this.#replyEvents(message),
  );
  /** Null until it is mounted. */
  #mounted: Mounted | null = null;
  #stopping = false;
  /** Resolves when the core has ended and /dev/fuse is closed, so that nobody hangs on the mount. */
  readonly ended: Promise<CoreEnd>;

  /** Resolves with a mount that can be used. Rejects with nothing mounted. */
  static async start(options: DaemonOptions, parts: DaemonParts): Promise<Daemon> {
    const dir = await parts.checkMountpoint(options.mountpoint);
    const daemon = new Daemon(options, parts, dir);
    await daemon.#start();
    return daemon;
  }

  private constructor(options: DaemonOptions, parts: DaemonParts, dir: string) {
    this.#options = options;
    this.#parts = parts;
    this.#dir = dir;
    this.#core = parts.startCore((message) => this.#handle(message));
    this.ended = this.#core.ended.then((end) => {
      if (this.#mounted !== null) closeSync(this.#mounted.fuseFd);
      for (const step of [this.#opened, this.#ready, this.#jobs]) step.reject(new Error(end.reason));
      return end;
    });
  }

  async #start(): Promise<void> {
    await this.#opened.promise;
    debug('the region is open: mounting on %s', this.#dir);
    try {
      this.#mounted = await this.#parts.mount(this.#options, this.#dir);
    } catch (error) {
      this.#core.giveUp();
      await this.ended;
      throw error;
    }
    const { fuseFd } = this.#mounted;
    this.#core.serve(fuseFd);
    try {
      await inTime(this.#ready.promise, 'FUSE_INIT of the kernel');
      // Not the synchronous form: the core answers it.
      const root = await inTime(stat(this.#dir), `answer of ${this.#dir}`);
      this.#serve(fuseFd, root.dev);
    } catch (error) {
      await this.stop('it could not be started');
      throw error;
    }
  }

  #serve(fuseFd: number, dev: number): void {
    const { table, signaller, log, callerWord } = this.#parts;
    const notifier = new Notifier(fuseFd);
    this.#replyEvents = (message) => notifier.reply(message);
    const nowMicros = (): number => Math.round(performance.now() * 1000);
    const device = deviceId(dev);
    const shutdown = (reason: string): Promise<void> => post({ type: 'shutdown', reason });
    const choices = new MceKillChoices(table);
    const mappers = new LatentMappers();
    const repaired: FailureEnv['repaired'] = (node) =>
      this.#events.publish({ type: 'metadata-repaired', ...node });
    const env = {
      device,
      table,
      signaller,
      invalidator: notifier,
      nowMicros,
      shutdown,
      choices,
      mappers,
      repaired,
    };
    const post = (message: ToCore): Promise<void> => this.#core.link.post(message);
    const sync = (): Promise<void> => this.#parts.syncFilesystem(this.#dir);
    const { gate } = this.#core;
    const writeBack = (ino: number, path: string): boolean => writeFileBack(this.#dir, ino, path);
    const jobParts = { env, notifier, post, events: this.#events, log, callerWord, sync, gate, writeBack };
    this.#jobs.resolve(new Jobs(jobParts));
    log('info', `${this.#options.region} on ${this.#dir}, device ${device.major}:${device.minor}`);
  }

  /** Unmounts, which ends the core. A mount in use is detached instead and ends with its last user. */
  async stop(why: string): Promise<void> {
    if (this.#stopping || this.#mounted === null) return;
    this.#stopping = true;
    this.#parts.log('info', `unmounting ${this.#dir}: ${why}`);
    this.#events.end();
    try {
      const how = await this.#parts.unmount(this.#dir, this.#mounted.device);
      if (how === 'busy') this.#parts.log('warn', `${this.#dir} is in use: it ends with its last user`);
    } catch (error) {
      this.#stopping = false;
      this.#events.goOn();
      this.#parts.log('error', describeError(error));
    }
  }

  #handle(message: FromCore): void {
    debug('core: %s', message.type);
    switch (message.type) {
      case 'opened':
        if (message.notice !== undefined) {
          this.notice = message.notice;
          this.#parts.log('warn', message.notice);
        }
        this.#opened.resolve();
        break;
      case 'ready':
        this.#ready.resolve();
        break;
      case 'log':
        this.#parts.log(message.level, message.text);
        break;
      case 'failure':
        this.#withJobs((jobs) => jobs.failure(message.job));
        break;
      case 'writeback':
        this.#withJobs((jobs) => jobs.writeBack(message.job));
        break;
      case 'goingdown':
        this.#withJobs((jobs) => jobs.goingDown(message.job));
        break;
      case 'mcekill':
        this.#withJobs((jobs) => jobs.mceKill(message.job));
        break;
      case 'ran':
        this.#withJobs((jobs) => jobs.ran(message.after, message.reply));
        break;
      case 'invalidate':
        this.#withJobs((jobs) => jobs.invalidate(message.ranges));
        break;
      case 'event':
        this.#events.publish(message.event);
        break;
      case 'events':
        this.#withJobs(() => this.#events.read(message.job));
        break;
      case 'interrupt':
        this.#withJobs(() => this.#events.interrupt(message.unique));
        break;
      case 'ended':
        // Belongs to the core thread, which gives it out as `ended`.
        break;
    }
  }

  /** A user may be quicker than the start: the jobs of the core wait, in order, until the mount is known. */
  #withJobs(run: (jobs: Jobs) => void): void {
    void this.#jobs.promise.then(run);
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: Error) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (reason: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // A step that nobody waits for any more may fail: its reason is in `ended` too.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** @param what what did not come, when it did not */
async function inTime<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`mount: waited ${MOUNT_READY_TIMEOUT_MS} ms for the ${what}, in vain`);
    timer = setTimeout(() => reject(error), MOUNT_READY_TIMEOUT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
