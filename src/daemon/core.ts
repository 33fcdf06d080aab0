import { randomBytes } from 'node:crypto';
import { writevSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Engine } from '../engine/api.js';
import { openEngine } from '../engine/index.js';
import { Channel, type ChannelEnd, type ChannelHooks, type FuseDevice } from '../fuse/channel.js';
import { openRegion } from '../media/region.js';
import { currentTid, exchange, exchangev, installWakeHandler } from '../native.js';
import { Vfs } from '../vfs/vfs.js';
import { type CoreOptions, type FromCore, MOUNT_STATE, SHARED, type ToCore } from './bridge.js';
import { systemClock } from './clock.js';
import { describeError } from './log.js';

/**
 * The core: the worker that owns the engine and answers the kernel. It never waits for the main thread but
 * once, for the mount, before it serves anybody. src/daemon/main.ts has the rules between the two.
 */

const nanoseconds = (): number => Math.round(performance.now() * 1e6);

function fuseDevice(fd: number): FuseDevice {
  const writeErrno = new Int32Array(1);
  return {
    writeErrno,
    exchange: (answer, length, request) => exchange(fd, answer, length, request, writeErrno),
    exchangev: (parts, request) => exchangev(fd, parts, request, writeErrno),
    send: (parts) => void writevSync(fd, parts),
  };
}

class Core {
  readonly #shared: Int32Array;
  readonly #port: MessagePort;
  readonly #engine: Engine;
  readonly #channel: Channel;
  readonly #vfs: Vfs;
  #dirty = false;

  constructor(options: CoreOptions, engine: Engine, fuseFd: number) {
    this.#shared = new Int32Array(options.shared);
    this.#port = options.port;
    this.#engine = engine;
    const post = (message: FromCore): void => this.#port.postMessage(message);
    const log = (level: 'error' | 'warn' | 'info', text: string): void => post({ type: 'log', level, text });
    const hooks: ChannelHooks = {
      ready: (connection) => {
        this.#vfs.connected(connection);
        post({ type: 'ready' });
      },
      waiting: () => Atomics.load(this.#shared, SHARED.ack) !== Atomics.load(this.#shared, SHARED.posted),
      poll: () => this.#poll(),
      served: () => this.#noteDirty(),
      log,
    };
    this.#channel = new Channel(fuseDevice(fuseFd), hooks);
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
        region: options.region,
        outbox: {
          failure: (job) => post({ type: 'failure', job }),
          remap: (job) => post({ type: 'remap', job }),
          goingDown: (job) => post({ type: 'goingdown', job }),
          ran: (id, after, reply) => post({ type: 'ran', id, after, reply }),
          invalidate: (ranges) => post({ type: 'invalidate', ranges }),
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
    this.#vfs.end();
    return end;
  }

  #noteDirty(): void {
    const { dirty } = this.#engine;
    if (dirty === this.#dirty) return;
    this.#dirty = dirty;
    Atomics.store(this.#shared, SHARED.dirty, dirty ? 1 : 0);
  }

  /** Handles what main has posted. */
  #poll(): void {
    const shared = this.#shared;
    while (Atomics.load(shared, SHARED.ack) !== Atomics.load(shared, SHARED.posted)) {
      const received = receiveMessageOnPort(this.#port);
      // Counted after it is posted, so it is there; if it is not, the next round finds it.
      if (received === undefined) return;
      try {
        this.#receive(received.message as ToCore);
      } catch (error) {
        this.#log(`message from the main thread: ${describeError(error)}`);
      }
      Atomics.add(shared, SHARED.ack, 1);
      this.#noteDirty();
    }
  }

  #receive(message: ToCore): void {
    switch (message.type) {
      case 'run':
        this.#vfs.runRemap(message.id);
        break;
      case 'drop':
        this.#vfs.dropRemap(message.id);
        break;
      case 'goingdown':
        this.#vfs.goDown(message.unique, message.mode);
        break;
      case 'commit':
        this.#engine.commit();
        break;
      case 'report':
        this.#vfs.storeReport(message.id, message.json);
        break;
    }
  }

  #log(text: string): void {
    this.#port.postMessage({ type: 'log', level: 'error', text } satisfies FromCore);
  }
}

/** Says that the region is open and waits for the mount. The descriptor of /dev/fuse, or null when it failed. */
function waitForMount(options: CoreOptions): number | null {
  const shared = new Int32Array(options.shared);
  options.port.postMessage({ type: 'opened' } satisfies FromCore);
  Atomics.wait(shared, SHARED.mount, MOUNT_STATE.waiting);
  if (Atomics.load(shared, SHARED.mount) !== MOUNT_STATE.mounted) return null;
  return Atomics.load(shared, SHARED.fuseFd);
}

/** Opens region and engine, serves, and closes both, whatever happens between. */
function serve(options: CoreOptions): ChannelEnd {
  const media = openRegion(options.region, { readOnly: options.readOnly });
  try {
    const engine = openEngine(media, { clock: systemClock });
    const fuseFd = waitForMount(options);
    const end: ChannelEnd =
      fuseFd === null
        ? { clean: false, reason: 'the mount failed' }
        : new Core(options, engine, fuseFd).run();
    const healthy = !engine.info.shutdown;
    engine.close();
    return healthy ? end : { clean: false, reason: `${end.reason}, after the filesystem was shut down` };
  } finally {
    media.close();
  }
}

function main(options: CoreOptions): void {
  let end: ChannelEnd;
  try {
    end = serve(options);
  } catch (error) {
    end = { clean: false, reason: describeError(error) };
  }
  options.port.postMessage({ type: 'ended', ...end } satisfies FromCore);
  options.port.close();
}

main(workerData as CoreOptions);
