import { fstatSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { type FromCore, SHARED } from '../../src/daemon/bridge.js';
import type { Core, CoreEnd } from '../../src/daemon/core-thread.js';
import { Daemon, type DaemonParts } from '../../src/daemon/daemon.js';
import { SharedGate } from '../../src/daemon/gate.js';
import type { DaemonOptions } from '../../src/daemon/options.js';
import { FakeSignaller, FakeTable } from '../support/fake-processes.js';

const options: DaemonOptions = {
  region: '/dev/shm/region',
  mountpoint: tmpdir(),
  source: '/dev/shm/region',
  subtype: true,
  readOnly: false,
  nouuid: false,
  allowOther: false,
  policy: 'early',
  cache: 'auto',
  extraOptions: [],
  logFile: null,
  foreground: false,
};

/** A daemon whose core, device and mounts are made up. `core` says what the core does once it is started. */
function setUp(
  behave: (core: { send: (message: FromCore) => void; end: (end: CoreEnd) => void }) => void,
  change: Partial<DaemonParts> = {},
) {
  const steps: string[] = [];
  let send: (message: FromCore) => void = () => {};
  let end: (end: CoreEnd) => void = () => {};
  let fd = -1;
  const parts: DaemonParts = {
    checkMountpoint: (dir) => Promise.resolve(dir),
    mount: async () => {
      steps.push('mount');
      fd = openSync('/dev/null', 'r+');
      return { fuseFd: fd, device: '0:99' };
    },
    unmount: async (_dir, device) => {
      steps.push(`unmount ${device}`);
      end({ clean: true, reason: 'unmounted' });
      return 'done';
    },
    startCore: (handle): Core => {
      send = handle;
      const ended = new Promise<CoreEnd>((resolve) => {
        end = resolve;
      });
      const link = { idle: true, post: () => Promise.resolve(), close: () => {} };
      setImmediate(() => behave({ send, end }));
      return {
        link: link as unknown as Core['link'],
        gate: new SharedGate(new Int32Array(SHARED.slots)),
        ended,
        serve: (fuseFd) => {
          steps.push(fuseFd === fd ? 'mounted' : `mounted with descriptor ${fuseFd}`);
          send({ type: 'ready' });
        },
        giveUp: () => {
          steps.push('failed');
          end({ clean: true, reason: 'not mounted' });
        },
      };
    },
    syncFilesystem: () => Promise.resolve(),
    callerWord: () => 0,
    table: new FakeTable([]),
    signaller: new FakeSignaller(),
    log: (level, text) => steps.push(`${level}: ${text}`),
    ...change,
  };
  return {
    parts,
    steps,
    send: (message: FromCore) => send(message),
    end: (e: CoreEnd) => end(e),
    fd: () => fd,
  };
}

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

describe('Daemon', () => {
  it('opens the region, then mounts, then serves until it is unmounted', async () => {
    const world = setUp(({ send }) => send({ type: 'opened' }));
    const daemon = await Daemon.start(options, world.parts);
    expect(world.steps.slice(0, 2)).toEqual(['mount', 'mounted']);
    expect(isOpen(world.fd())).toBe(true);
    await daemon.stop('SIGTERM');
    expect(await daemon.ended).toEqual({ clean: true, reason: 'unmounted' });
    expect(isOpen(world.fd())).toBe(false);
    expect(world.steps.filter((step) => step === 'unmount 0:99').length).toBe(1);
  });

  it('mounts nothing when the region is bad', async () => {
    const reason = '/dev/shm/region holds no rmapfs filesystem; make one with: rmapfs mkfs';
    const world = setUp(({ end }) => end({ clean: false, reason }));
    await expect(Daemon.start(options, world.parts)).rejects.toThrow(reason);
    expect(world.steps).toEqual([]);
  });

  it('lets the core close the region when the mount fails', async () => {
    const world = setUp(({ send }) => send({ type: 'opened' }), {
      mount: () => Promise.reject(new Error('cannot mount it there')),
    });
    await expect(Daemon.start(options, world.parts)).rejects.toThrow('cannot mount it there');
    expect(world.steps).toEqual(['failed']);
  });

  it('opens nothing when the mount point is bad', async () => {
    const world = setUp(() => {}, { checkMountpoint: () => Promise.reject(new Error('no such directory')) });
    await expect(Daemon.start(options, world.parts)).rejects.toThrow('no such directory');
    expect(world.fd()).toBe(-1);
  });

  it('ends, with the device closed, when the core crashes', async () => {
    const world = setUp(({ send }) => send({ type: 'opened' }));
    const daemon = await Daemon.start(options, world.parts);
    world.end({ clean: false, reason: 'the core crashed: boom' });
    expect(await daemon.ended).toEqual({ clean: false, reason: 'the core crashed: boom' });
    expect(isOpen(world.fd())).toBe(false);
  });

  it('unmounts again on a second stop only when the first one failed', async () => {
    let attempts = 0;
    const world = setUp(({ send }) => send({ type: 'opened' }), {
      unmount: () => (attempts++ === 0 ? Promise.reject(new Error('no')) : Promise.resolve('busy')),
    });
    const daemon = await Daemon.start(options, world.parts);
    for (let i = 0; i < 3; i++) await daemon.stop('SIGTERM');
    expect(attempts).toBe(2);
    expect(world.steps.some((step) => step.startsWith('warn:') && step.includes('last user'))).toBe(true);
    world.end({ clean: true, reason: 'unmounted' });
    await daemon.ended;
  });

  it('passes on what the core logs', async () => {
    const world = setUp(({ send }) => send({ type: 'opened' }));
    const daemon = await Daemon.start(options, world.parts);
    world.send({ type: 'log', level: 'warn', text: 'look here' });
    expect(world.steps).toContain('warn: look here');
    await daemon.stop('done');
    await daemon.ended;
  });
});
