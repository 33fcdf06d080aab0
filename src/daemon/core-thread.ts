import { MessageChannel, Worker } from 'node:worker_threads';
import { type CoreOptions, type FromCore, MOUNT_STATE, SHARED } from './bridge.js';
import { CoreLink } from './core-link.js';
import { SharedGate } from './gate.js';

/** How the core ended. */
export interface CoreEnd {
  /** By an unmount, with everything committed. */
  clean: boolean;
  reason: string;
}

/** The core as the main thread has it in its hands. */
export interface Core {
  readonly link: CoreLink;
  readonly gate: SharedGate;
  /** Resolves after the thread has ended and its last message was handled. Never rejects. */
  readonly ended: Promise<CoreEnd>;
  /** Tells the core, which waits for it after 'opened', to serve this descriptor of /dev/fuse. */
  serve(fuseFd: number): void;
  /** Tells it instead that the mount failed: it closes the region and ends. */
  giveUp(): void;
}

/** Starts src/daemon/core.ts (or, in tests, another script that keeps to bridge.ts) as a worker. */
export function startCoreThread(
  script: URL,
  options: Omit<CoreOptions, 'shared' | 'port'>,
  wakeThread: (tid: number) => void,
  handle: (message: FromCore) => void,
): Core {
  const buffer = new SharedArrayBuffer(SHARED.slots * Int32Array.BYTES_PER_ELEMENT);
  const shared = new Int32Array(buffer);
  const { port1: ours, port2: theirs } = new MessageChannel();
  const workerData: CoreOptions = { ...options, shared: buffer, port: theirs };
  const worker = new Worker(script, { workerData, transferList: [theirs] });
  const link = new CoreLink(ours, shared, wakeThread);

  let end: CoreEnd = { clean: false, reason: 'the core ended without a word' };
  ours.on('message', (message: FromCore) => {
    if (message.type === 'ended') end = { clean: message.clean, reason: message.reason };
    else handle(message);
  });
  worker.on('error', (error) => {
    end = { clean: false, reason: `the core crashed: ${error.stack ?? error.message}` };
  });
  // The port closes after its last message, which may come later than the exit of the thread.
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const drained = new Promise<void>((resolve) => ours.once('close', () => resolve()));
  const ended = Promise.all([exited, drained]).then(() => {
    link.close();
    return end;
  });
  const setMountState = (state: number): void => {
    Atomics.store(shared, SHARED.mount, state);
    Atomics.notify(shared, SHARED.mount);
  };
  return {
    link,
    gate: new SharedGate(shared),
    ended,
    serve(fuseFd) {
      Atomics.store(shared, SHARED.fuseFd, fuseFd);
      setMountState(MOUNT_STATE.mounted);
    },
    giveUp: () => setMountState(MOUNT_STATE.failed),
  };
}
