import { randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Engine } from '../engine/api.js';
import type { PublishEvent } from '../engine/events.js';
import { openEngine, probe, uuidText } from '../engine/index.js';
import { CorruptionError } from '../errors.js';
import type { EventBody } from '../failure/event-ring.js';
import { Channel, type ChannelEnd, type ChannelHooks, type FuseDevice } from '../fuse/channel.js';
import { invalInode } from '../fuse/notify.js';
import { COMMIT_INTERVAL_MS } from '../limits.js';
import { openRegion, type RegionMedia } from '../media/region.js';
import { bindExchange, currentTid, hasCode, installWakeHandler, setWakeTimer } from '../native.js';
import { GOINGDOWN_REASON } from '../vfs/jobs.js';
import { Vfs } from '../vfs/vfs.js';
import { type CoreOptions, type FromCore, MOUNT_STATE, SHARED, type ToCore } from './bridge.js';
import { CurrentCaller, groupsOf, idsOf } from './callers.js';
import { systemClock } from './clock.js';
import { CommitClock } from './commit-clock.js';
import { SharedGate } from './gate.js';
import { describeError } from './log.js';
import { faultAnswerer, faultingProcess } from './page-fault.js';
import { claimUuid } from './uuid-claim.js';

/**
 * The core: the worker that owns the engine and answers the kernel. It never waits for the main thread but
 * once, for the mount, before it serves anybody. src/daemon/main.ts has the rules between the two.
 */

const BAD_RANGES_AT_A_TIME = 512;

const nanoseconds = (): number => Math.round(performance.now() * 1e6);

/** The descriptor of /dev/fuse; answers may point into `sources`. */
const fuseDevice = (fd: number, sources: readonly Buffer[]): FuseDevice => ({
  bind: (answer, request, control) => bindExchange(fd, answer, request, control, sources),
});

/** What the core serves. */
interface Served {
  readonly engine: Engine;
  readonly media: RegionMedia;
  readonly caller: CurrentCaller;
}

/**
 * An answer, or a notification that drops attributes alone: neither waits for anything. ENOENT: the kernel does not
 * have the inode, or nobody waits for the answer any more.
 */
function writeMessage(fuseFd: number, message: Uint8Array): void {
  try {
    writeSync(fuseFd, message);
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENODEV')) throw error;
  }
}

class Core {
  readonly #shared: Int32Array;
  readonly #port: MessagePort;
  readonly #engine: Engine;
  readonly #media: RegionMedia;
  readonly #channel: Channel;
  readonly #vfs: Vfs;
  readonly #commits: CommitClock;

  constructor(options: CoreOptions, { engine, media, caller }: Served, fuseFd: number) {
    this.#shared = new Int32Array(options.shared);
    this.#port = options.port;
    this.#engine = engine;
    this.#media = media;
    this.#commits = new CommitClock(COMMIT_INTERVAL_MS, () => performance.now(), setWakeTimer);
    const post = (message: FromCore): void => this.#port.postMessage(message);
    // What follows from a lost region is not worth a word beside why it is lost, which is said at the end.
    const log = (level: 'error' | 'warn' | 'info', text: string): void => {
      if (media.lost === null) post({ type: 'log', level, text });
    };
    const hooks: ChannelHooks = {
      ready: (connection) => {
        this.#vfs.connected(connection);
        post({ type: 'ready' });
      },
      waiting: () => this.#hasMessages() || this.#vfs.isReady || this.#commits.due,
      poll: () => this.#poll(),
      again: () => this.#vfs.ready(),
      served: () => this.#commits.changed(engine.dirty),
      lost: () => media.lost,
      log,
    };
    this.#channel = new Channel(fuseDevice(fuseFd, engine.readSources), hooks);
    this.#vfs = new Vfs(
      {
        engine,
        clock: systemClock,
        random: randomBytes,
        nanoseconds,
        ownerUid: options.ownerUid,
        policy: options.defaultPolicy,
        cache: options.cache,
        accessTimes: options.accessTimes,
        caller,
        groupsOf,
        idsOf,
        region: options.region,
        gate: new SharedGate(this.#shared),
        mainTid: process.pid,
        faultingProcess,
        takeFault: faultAnswerer(fuseFd),
        outbox: {
          failure: (job) => post({ type: 'failure', job }),
          writeBack: (job) => post({ type: 'writeback', job }),
          answer: (reply) => writeMessage(fuseFd, reply),
          dropAttributes: (inos) => {
            for (const ino of inos) writeMessage(fuseFd, invalInode(ino, -1, 0));
          },
          mceKill: (job) => post({ type: 'mcekill', job }),
          goingDown: (job) => post({ type: 'goingdown', job }),
          ran: (after, reply) => post({ type: 'ran', after, reply }),
          invalidate: (ranges) => post({ type: 'invalidate', ranges }),
          publish: (event) => post({ type: 'event', event }),
          events: (job) => post({ type: 'events', job }),
          interrupt: (unique) => post({ type: 'interrupt', unique }),
          log,
        },
      },
      this.#channel.reply,
    );
  }

  /** Serves until the mount is gone. */
  run(): ChannelEnd {
    installWakeHandler();
    Atomics.store(this.#shared, SHARED.coreTid, currentTid());
    const end = this.#channel.run(this.#vfs);
    const media = this.#media;
    if (media.lost !== null) this.#engine.shutdown(media.lost);
    const isWhole = this.#vfs.end();
    if (media.lost !== null) return { clean: false, reason: media.lost };
    return isWhole ? end : { clean: false, reason: `${end.reason}, after the filesystem was shut down` };
  }

  #hasMessages(): boolean {
    return Atomics.load(this.#shared, SHARED.ack) !== Atomics.load(this.#shared, SHARED.posted);
  }

  /** Handles what main has posted, and commits when it is time. */
  #poll(): void {
    this.#handleMessages();
    if (this.#commits.due) {
      this.#vfs.commit();
      this.#commits.done();
    }
    this.#commits.changed(this.#engine.dirty);
  }

  #handleMessages(): void {
    while (this.#hasMessages()) {
      const received = receiveMessageOnPort(this.#port);
      // Counted after it is posted, so it is there; if it is not, the next round finds it.
      if (received === undefined) return;
      const message = received.message as ToCore;
      this.#vfs.enter(`message '${message.type}'`, () => this.#receive(message));
      Atomics.add(this.#shared, SHARED.ack, 1);
    }
  }

  #receive(message: ToCore): void {
    switch (message.type) {
      case 'writtenback':
        this.#vfs.writtenBack(message.id, message.failed);
        break;
      case 'goingdown':
        this.#vfs.goDown(message.unique, message.mode);
        break;
      case 'shutdown':
        this.#vfs.shutDown(message.reason);
        break;
      case 'report':
        this.#vfs.storeReport(message.id, message.json);
        break;
    }
  }
}

const shutdownNotice = (region: string, reason: string): string =>
  `the last mount of ${region} was shut down: ${reason}; unmount it and run rmapfs fsck --repair ${region} to check it`;

/** The event of a mount that begins with known bad blocks, or null. */
function knownBadBlocks(engine: Engine): EventBody | null {
  let ranges = 0;
  let length = 0;
  for (let from = 0; ; ) {
    const found = engine.badBlocks(from, BAD_RANGES_AT_A_TIME);
    for (const range of found) {
      from = range.physical + range.length;
      if (range.latent) continue;
      ranges += 1;
      length += range.length;
    }
    if (found.length < BAD_RANGES_AT_A_TIME) break;
  }
  return ranges === 0 ? null : { type: 'remount-with-bad-blocks', ranges, length };
}

/** Says that the region is open and waits for the mount. The descriptor of /dev/fuse, or null when it failed. */
function waitForMount(options: CoreOptions, wasShutdown: string | null): number | null {
  const shared = new Int32Array(options.shared);
  const isDamage = wasShutdown !== null && wasShutdown !== GOINGDOWN_REASON;
  const notice = isDamage ? { notice: shutdownNotice(options.region, wasShutdown) } : {};
  options.port.postMessage({ type: 'opened', ...notice } satisfies FromCore);
  Atomics.wait(shared, SHARED.mount, MOUNT_STATE.waiting);
  if (Atomics.load(shared, SHARED.mount) !== MOUNT_STATE.mounted) return null;
  return Atomics.load(shared, SHARED.fuseFd);
}

/** Opens region and engine, serves, and closes both, whatever happens between. */
function serve(options: CoreOptions): ChannelEnd {
  const media = openRegion(options.region, { readOnly: options.readOnly });
  let giveUpClaim = (): void => {};
  try {
    giveUpClaim = claimMedia(options, media);
    const post = (message: FromCore): void => options.port.postMessage(message);
    const publish: PublishEvent = (event) => post({ type: 'event', event });
    const caller = new CurrentCaller();
    const interrupted = (): boolean => caller.isGone();
    const engine = openEngine(media, { clock: systemClock, publish, interrupted });
    const bad = knownBadBlocks(engine);
    if (bad !== null) post({ type: 'event', event: bad });
    const fuseFd = waitForMount(options, engine.info.wasShutdown);
    if (fuseFd !== null) return new Core(options, { engine, media, caller }, fuseFd).run();
    engine.close();
    return { clean: false, reason: 'the mount failed' };
  } finally {
    media.close();
    giveUpClaim();
  }
}

/** Before anything is written: a second mount of the same filesystem would destroy it, one of a copy confuse. */
function claimMedia({ claims, nouuid, region, readOnly }: CoreOptions, media: RegionMedia): () => void {
  const found = probe(media);
  // What is no filesystem is told by who opens it.
  if (nouuid || found.kind !== 'rmapfs') return () => {};
  return claimUuid(claims, uuidText(found.sb.uuid), `process ${process.pid}, ${region}`, readOnly);
}

/** Damage that the mount came upon is for its user to repair; all else that is unexpected comes with its stack. */
const reasonOf = (error: unknown, region: string): string =>
  error instanceof CorruptionError
    ? `the region is damaged (${error.message}); run rmapfs fsck --repair ${region}`
    : describeError(error);

function main(options: CoreOptions): void {
  let end: ChannelEnd;
  try {
    end = serve(options);
  } catch (error) {
    end = { clean: false, reason: reasonOf(error, options.region) };
  }
  options.port.postMessage({ type: 'ended', ...end } satisfies FromCore);
  options.port.close();
}

main(workerData as CoreOptions);
