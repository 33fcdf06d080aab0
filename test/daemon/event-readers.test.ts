import { describe, expect, it, vi } from 'vitest';
import { decodeEventsAnswer } from '../../src/control/codec.js';
import { EVENTS } from '../../src/control/protocol.js';
import type { FailureJob } from '../../src/daemon/bridge.js';
import { EventReaders } from '../../src/daemon/event-readers.js';
import { errnoOf } from '../../src/errors.js';
import { type EventBody, EventRing } from '../../src/failure/event-ring.js';
import { EVENT_OWNERS_MAX, EVENT_READERS_MAX } from '../../src/limits.js';
import { asIno } from '../../src/types.js';

const record = new Uint8Array(EVENTS.size);

const LONG_MS = 50_000;

const healed = (block: number): EventBody => ({
  type: 'healed',
  physical: block * 8192,
  length: 4096,
  by: 'write',
});

function setUp() {
  const answers: { unique: bigint; error: number; cursor: number; events: { type: string }[] }[] = [];
  const readers = new EventReaders(new EventRing(() => 1), (message) => {
    const bytes = Buffer.from(message);
    const error = bytes.readInt32LE(4);
    const answer = { unique: bytes.readBigUInt64LE(8), error, cursor: -1, events: [] as { type: string }[] };
    if (error === 0) {
      expect(bytes.length).toBe(32 + EVENTS.size);
      const page = decodeEventsAnswer(bytes.subarray(32));
      answer.cursor = page.cursor;
      const lines = Buffer.from(page.data).toString().split('\n').slice(0, -1);
      answer.events = lines.map((line) => JSON.parse(line) as { type: string });
    }
    answers.push(answer);
  });
  return { readers, answers };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

describe('readers of failure events', () => {
  it('answers at once when there is something, or when nobody wants to wait', () => {
    const { readers, answers } = setUp();
    readers.read({ unique: 1n, cursor: 0, waitMs: 0, record });
    readers.publish(healed(1));
    readers.read({ unique: 2n, cursor: 0, waitMs: LONG_MS, record });
    expect(answers).toMatchObject([
      { unique: 1n, error: 0, cursor: 0, events: [] },
      { unique: 2n, error: 0, cursor: 1, events: [{ type: 'healed' }] },
    ]);
  });

  it('holds every reader back until an event comes, which all of them get', async () => {
    const { readers, answers } = setUp();
    for (const unique of [1n, 2n, 3n]) readers.read({ unique, cursor: 0, waitMs: LONG_MS, record });
    await turn();
    expect(answers).toEqual([]);
    readers.publish(healed(1));
    readers.publish(healed(5));
    expect(answers).toEqual([]);
    await turn();
    expect(answers.map((a) => [a.unique, a.cursor])).toEqual([
      [1n, 2],
      [2n, 2],
      [3n, 2],
    ]);
  });

  it('answers nobody while a failure is being told', async () => {
    const { readers, answers } = setUp();
    readers.read({ unique: 1n, cursor: 0, waitMs: LONG_MS, record });
    readers.telling();
    readers.publish(healed(1));
    await turn();
    expect(answers).toEqual([]);
    readers.told();
    await turn();
    expect(answers).toHaveLength(1);
  });

  it('answers with nothing when the time is over', () => {
    vi.useFakeTimers();
    try {
      const { readers, answers } = setUp();
      readers.read({ unique: 1n, cursor: 0, waitMs: 20, record });
      vi.advanceTimersByTime(19);
      expect(answers).toEqual([]);
      vi.advanceTimersByTime(1);
      expect(answers).toMatchObject([{ unique: 1n, error: 0, cursor: 0, events: [] }]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('lets an interrupted reader go with EINTR, once', async () => {
    const { readers, answers } = setUp();
    readers.read({ unique: 1n, cursor: 0, waitMs: LONG_MS, record });
    readers.interrupt(7n);
    expect(answers).toEqual([]);
    readers.interrupt(1n);
    readers.interrupt(1n);
    readers.publish(healed(1));
    await turn();
    expect(answers).toMatchObject([{ unique: 1n, error: -errnoOf('EINTR') }]);
  });

  it('lets all go before an unmount', async () => {
    const { readers, answers } = setUp();
    readers.read({ unique: 1n, cursor: 0, waitMs: LONG_MS, record });
    readers.end();
    readers.read({ unique: 2n, cursor: 0, waitMs: LONG_MS, record });
    expect(answers.map((a) => a.error)).toEqual([-errnoOf('ENODEV'), -errnoOf('ENODEV')]);
    readers.goOn();
    readers.read({ unique: 3n, cursor: 0, waitMs: LONG_MS, record });
    readers.publish(healed(1));
    readers.end();
    expect(answers.at(-1)).toMatchObject({ unique: 3n, error: 0, cursor: 1 });
  });

  it('refuses a cursor that no event has, and too many readers', () => {
    const { readers, answers } = setUp();
    readers.read({ unique: 1n, cursor: 1, waitMs: LONG_MS, record });
    expect(answers.map((a) => a.error)).toEqual([-errnoOf('EINVAL')]);
    for (let i = 0; i < EVENT_READERS_MAX; i++)
      readers.read({ unique: BigInt(i + 2), cursor: 0, waitMs: LONG_MS, record });
    expect(answers).toHaveLength(1);
    readers.read({ unique: 9999n, cursor: 0, waitMs: LONG_MS, record });
    expect(answers.at(-1)?.error).toBe(-errnoOf('EAGAIN'));
    readers.end();
  });
});

describe('the events of a failure', () => {
  const owner = (ino: number): FailureJob['owners'][number] => ({
    kind: 'file',
    ino: asIno(ino),
    fileOffset: 0,
    physical: 8192,
    length: 4096,
    fork: 'data',
    unwritten: false,
    shareCount: 2,
    paths: [`/${ino}`],
    open: true,
  });
  const job = (change: Partial<FailureJob>): FailureJob => ({
    kind: 'failure',
    reply: null,
    by: 'poison',
    pid: 0,
    accessor: 0,
    unique: 1n,
    report: 1,
    physical: 8192,
    length: 4096,
    latent: false,
    policy: 'late',
    owners: [owner(20), owner(21), { kind: 'free', physical: 8192, length: 4096 }],
    newlyBad: 4096,
    metadata: { repaired: [], lost: null },
    ...change,
  });

  function eventsOf(failure: FailureJob) {
    const { readers, answers } = setUp();
    readers.failure(failure, 3);
    let cursor = 0;
    const events: { type: string }[] = [];
    for (;;) {
      readers.read({ unique: 1n, cursor, waitMs: 0, record });
      const page = answers.at(-1);
      if (page === undefined || page.events.length === 0) return events;
      events.push(...page.events);
      cursor = page.cursor;
    }
  }

  it('are the error and the lost data of each file', () => {
    expect(eventsOf(job({}))).toMatchObject([
      { type: 'media-error', physical: 8192, owners: 3, victims: 3, policy: 'late', by: 'poison' },
      { type: 'data-lost', ino: 20, paths: ['/20'] },
      { type: 'data-lost', ino: 21, paths: ['/21'] },
    ]);
  });

  it('are none for what nobody knows of', () => expect(eventsOf(job({ latent: true }))).toEqual([]));

  it('name a bounded number of owners and count all', () => {
    const owners = Array.from({ length: EVENT_OWNERS_MAX + 5 }, (_, i) => owner(100 + i));
    const events = eventsOf(job({ owners }));
    expect(events).toHaveLength(1 + EVENT_OWNERS_MAX);
    expect(events[0]).toMatchObject({ owners: EVENT_OWNERS_MAX + 5 });
  });
});
