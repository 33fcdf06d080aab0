import { describe, expect, it } from 'vitest';
import { decodePoisonAnswer, encodePoisonRequest } from '../../src/control/codec.js';
import { POISON } from '../../src/control/protocol.js';
import { type FailureJob, type FileRange, SHARED, type ToCore } from '../../src/daemon/bridge.js';
import { SharedGate } from '../../src/daemon/gate.js';
import { Jobs } from '../../src/daemon/jobs.js';
import { FsError } from '../../src/errors.js';
import type { FailureEnv } from '../../src/failure/chain.js';
import { LatentMappers } from '../../src/failure/latent.js';
import { MceKillChoices } from '../../src/failure/mce-kill.js';
import { asIno } from '../../src/types.js';
import { FakeSignaller, FakeTable } from '../support/fake-processes.js';

const RECORD = encodePoisonRequest({ offset: 77 * 4096, length: 8192, flags: 2, policy: 3 });

function job(unique: bigint, report: number): FailureJob {
  const owners: FailureJob['owners'] = [{ kind: 'free', physical: 4096, length: 4096 }];
  const metadata = { repaired: [], lost: null };
  const failure = {
    kind: 'failure',
    reply: null,
    by: 'poison',
    pid: 0,
    accessor: 0,
    latent: false,
    policy: 'early',
    newlyBad: 4096,
  } as const;
  return { ...failure, unique, record: RECORD, report, physical: 4096, length: 4096, owners, metadata };
}

function setUp() {
  const steps: string[] = [];
  const events: string[] = [];
  const replies: Buffer[] = [];
  const logged: string[] = [];
  const posted: ToCore[] = [];
  const handled: (() => void)[] = [];
  let broken = false;
  const notifier = {
    invalidate: (range: { ino: number; offset: number; length: number }) => {
      if (broken) throw new Error('device is gone');
      const what = range.offset === -1 ? ' attributes' : range.offset > 0 ? ` at ${range.offset}` : '';
      steps.push(`invalidate ${range.ino}${what}`);
    },
    reply: (message: Uint8Array) => {
      replies.push(Buffer.from(message));
      steps.push('reply');
    },
  };
  const table = new FakeTable([{ pid: 5 }]);
  const env: FailureEnv = {
    device: { major: 0, minor: 1 },
    table,
    choices: new MceKillChoices(table),
    mappers: new LatentMappers(),
    shutdown: async () => {},
    signaller: new FakeSignaller(),
    invalidator: notifier,
    nowMicros: () => 0,
  };
  const post = (message: ToCore): Promise<void> => {
    posted.push(message);
    steps.push(
      'id' in message && message.type !== 'writtenback' ? `${message.type} ${message.id}` : message.type,
    );
    return new Promise((resolve) => handled.push(resolve));
  };
  const jobs = new Jobs({
    env,
    notifier,
    post,
    events: {
      telling: () => events.push('telling'),
      told: () => events.push('told'),
      failure: (_job, victims) => events.push(`${steps.length} steps, ${victims} victims`),
    },
    log: (level, text) => logged.push(`${level} ${text}`),
    callerWord: (pid, address) => {
      if (address === 0) throw new FsError('EFAULT', 'ioctl', `nothing there in ${pid}`);
      return address;
    },
    gate: new SharedGate(new Int32Array(SHARED.slots)),
    writeBack: (ino, path) => {
      steps.push(`write back ${ino} ${path}`);
      return path !== '/gone';
    },
    sync: async () => {
      steps.push('sync');
    },
  });
  return {
    jobs,
    steps,
    events,
    replies,
    logged,
    posted,
    env,
    handled,
    breakDevice: () => {
      broken = true;
    },
  };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Length, error and unique of a fuse_out_header. */
const header = (reply: Buffer) => [reply.readUInt32LE(0), reply.readInt32LE(4), reply.readBigUInt64LE(8)];

describe('failure', () => {
  it('answers the ioctl only after the core has the report', async () => {
    const { jobs, steps, events, replies, handled } = setUp();
    const done = jobs.failure(job(0x1_0000_0002n, 7));
    await settle();
    expect(steps).toEqual(['report 7']);
    handled[0]();
    await done;
    expect(steps).toEqual(['report 7', 'reply']);
    expect(events).toEqual(['telling', '0 steps, 0 victims', 'told']);
    expect(header(replies[0])).toEqual([16 + 16 + POISON.size, 0, 0x1_0000_0002n]);
    const record = replies[0].subarray(32);
    expect(decodePoisonAnswer(record)).toEqual({ report: 7, owners: 1, victims: 0 });
    // What came in is as it was: the range in a file, its flags and policy.
    expect(record.subarray(0, POISON.report)).toEqual(RECORD.subarray(0, POISON.report));
  });

  it('takes one after the other', async () => {
    const { jobs, steps, handled } = setUp();
    const both = Promise.all([jobs.failure(job(2n, 1)), jobs.failure(job(4n, 2))]);
    await settle();
    expect(steps).toEqual(['report 1']);
    handled[0]();
    await settle();
    expect(steps).toEqual(['report 1', 'reply', 'report 2']);
    handled[1]();
    await both;
  });

  it('answers EIO and goes on when the chain throws', async () => {
    const { jobs, env, replies, logged, handled } = setUp();
    const broken = job(2n, 1);
    broken.owners = [
      {
        ...{ kind: 'file', ino: asIno(5), fileOffset: 0, physical: 4096, length: 4096, fork: 'data' },
        ...{ unwritten: false, shareCount: 1, paths: [], open: true },
      },
    ];
    env.table.scan = () => {
      throw new Error('no /proc here');
    };
    await jobs.failure(broken);
    expect(header(replies[0])).toEqual([16, -5, 2n]);
    expect(logged.join()).toMatch(/no \/proc here/);
    const next = jobs.failure(job(4n, 2));
    await settle();
    handled[0]();
    await next;
    expect(header(replies[1])[2]).toBe(4n);
  });
});

describe('write-back', () => {
  const range = (ino: number) => ({ ino: asIno(ino), offset: 0, length: 4096 });

  const none = { files: [], ranges: [], pages: [] };

  it('drops ranges, then pages one by one, and tells the core', () => {
    const { jobs, steps } = setUp();
    const pages = [3, 7].map((page) => ({ ino: asIno(10), page }));
    jobs.writeBack({ ...none, id: 3, ranges: [range(10), range(11)], pages });
    const dropped = ['invalidate 10', 'invalidate 11', 'invalidate 10 at 12288', 'invalidate 10 at 28672'];
    expect(steps).toEqual([...dropped, 'writtenback']);
  });

  it('writes files back by their paths, and drops the pages of those that have none', () => {
    const { jobs, steps } = setUp();
    const files = ['/a', '/gone', null].map((path, i) => ({ ino: asIno(10 + i), path }));
    jobs.writeBack({ ...none, id: 3, files });
    const written = ['write back 10 /a', 'write back 11 /gone', 'invalidate 11', 'invalidate 12'];
    expect(steps).toEqual([...written, 'writtenback']);
  });

  it('says so when pages could not be dropped', () => {
    const { jobs, logged, breakDevice, posted } = setUp();
    breakDevice();
    jobs.writeBack({ ...none, id: 3, ranges: [range(10)] });
    expect(posted).toMatchObject([{ type: 'writtenback', id: 3, failed: expect.stringContaining('gone') }]);
    expect(logged.length).toBe(1);
  });

  it('spares the pages of files that are mapped, where that is asked for', () => {
    const { jobs, steps, env } = setUp();
    const { processes } = env.table as FakeTable;
    const open = (ino: number): FileRange => ({ ...range(ino), unlessMapped: true });
    processes.push({ pid: 6, mappings: [{ start: 0x1000, end: 0x2000, fileOffset: 0, ino: 11 }] });
    jobs.invalidate([range(10), open(11), open(12)]);
    expect(steps).toEqual(['invalidate 10', 'invalidate 11 attributes', 'invalidate 12']);
  });

  it('sends the answer even when pages could not be dropped after', () => {
    const { jobs, replies, logged, breakDevice } = setUp();
    breakDevice();
    jobs.ran([range(10)], Buffer.from('the reply'));
    jobs.invalidate([range(10)]);
    expect(replies.map(String)).toEqual(['the reply']);
    expect(logged.length).toBe(2);
  });
});

describe('a refusal that its caller hears', () => {
  it('is no line of the log', () => {
    const { jobs, logged, replies } = setUp();
    jobs.mceKill({ unique: 2n, pid: 1, policy: 99 });
    expect(header(replies[0])[1]).toBeLessThan(0);
    expect(logged).toEqual([]);
  });
});

describe('going down', () => {
  it('hands the core the word that the caller passed by its address', async () => {
    const { jobs, steps, replies, handled } = setUp();
    const done = jobs.goingDown({ unique: 2n, pid: 1, address: 2 });
    await settle();
    expect(steps).toEqual(['goingdown']);
    handled[0]();
    await done;
    expect(replies).toEqual([]);
  });

  it('answers itself when there is no such word', async () => {
    const { jobs, steps, replies, logged } = setUp();
    await jobs.goingDown({ unique: 2n, pid: 1, address: 0 });
    expect(steps).toEqual(['reply']);
    expect(header(replies[0])).toEqual([16, -14, 2n]);
    expect(logged).toEqual([]);
  });
});
