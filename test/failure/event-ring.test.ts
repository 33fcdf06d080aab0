import { describe, expect, it } from 'vitest';
import { EVENTS_PAGE_BYTES } from '../../src/control/codec.js';
import { EventDocument } from '../../src/control/schema.js';
import { type EventBody, EventRing } from '../../src/failure/event-ring.js';
import { EVENT_BYTES_MAX, EVENT_RING_MAX } from '../../src/limits.js';

const BLOCK = 4096;

const healed = (block: number, by: 'write' | 'unpoison' = 'write'): EventBody => ({
  type: 'healed',
  physical: block * BLOCK,
  length: BLOCK,
  by,
});

const lostData = (ino: number, fileBlock: number, block: number, paths = ['/a']): EventBody => ({
  type: 'data-lost',
  ino,
  paths,
  fileOffset: fileBlock * BLOCK,
  physical: block * BLOCK,
  length: BLOCK,
});

const mediaError = (block: number): EventBody => ({
  type: 'media-error',
  physical: block * BLOCK,
  length: BLOCK,
  by: 'poison',
  policy: 'early',
  owners: 1,
  victims: 2,
});

function ringOf(...bodies: EventBody[]): EventRing {
  let seconds = 100;
  const ring = new EventRing(() => seconds++);
  for (const body of bodies) ring.publish(body);
  return ring;
}

/** Everything after the cursor, page by page, checked against the published schema. */
function readAll(ring: EventRing, from = 0, most = EVENTS_PAGE_BYTES) {
  const events: EventDocument[] = [];
  let lost = 0;
  for (let cursor = from; ; ) {
    const page = ring.read(cursor, most);
    expect(page.data.length).toBeLessThanOrEqual(most);
    lost += page.lost;
    const lines = page.data.toString().split('\n').slice(0, -1);
    expect(lines).toHaveLength(page.count);
    events.push(...lines.map((line) => EventDocument.parse(JSON.parse(line))));
    if (page.cursor === cursor) return { events, lost };
    cursor = page.cursor;
  }
}

describe('the ring of failure events', () => {
  it('gives every reader everything, from its own cursor on', () => {
    const ring = ringOf(healed(1), healed(10), healed(20));
    expect(readAll(ring).events.map((e) => e.seq)).toEqual([1, 2, 3]);
    expect(readAll(ring).events).toHaveLength(3);
    expect(readAll(ring, 2).events.map((e) => [e.seq, e.time])).toEqual([[3, 102]]);
    expect(readAll(ring, 3)).toEqual({ events: [], lost: 0 });
  });

  it('merges what continues an event that nobody has seen, in either direction', () => {
    const ring = ringOf(healed(5), healed(6), healed(4), healed(8));
    expect(readAll(ring).events).toMatchObject([
      { seq: 1, physical: 4 * BLOCK, length: 3 * BLOCK, count: 3, time: 100 },
      { seq: 2, physical: 8 * BLOCK, length: BLOCK, count: 1 },
    ]);
  });

  it('merges across the events of other kinds between them, and adds up who was hit', () => {
    const ring = ringOf(mediaError(5), lostData(20, 0, 5), mediaError(6), lostData(20, 1, 6));
    expect(readAll(ring).events).toMatchObject([
      { type: 'media-error', length: 2 * BLOCK, owners: 2, victims: 4, count: 2 },
      { type: 'data-lost', fileOffset: 0, length: 2 * BLOCK, count: 2 },
    ]);
  });

  it('merges nothing into an event that was seen', () => {
    const ring = ringOf(healed(5));
    readAll(ring);
    ring.publish(healed(6));
    expect(readAll(ring, 1).events).toMatchObject([{ seq: 2, physical: 6 * BLOCK, count: 1 }]);
  });

  it('keeps apart what differs in more than the place', () => {
    const other: EventBody[] = [
      healed(1),
      healed(2, 'unpoison'),
      lostData(20, 0, 1),
      lostData(21, 1, 2),
      lostData(20, 5, 2),
      { type: 'metadata-repaired', physical: 0, length: BLOCK, tree: 'rmap' },
      { type: 'metadata-repaired', physical: BLOCK, length: BLOCK, tree: 'bmap' },
      { type: 'shutdown', reason: 'one' },
      { type: 'shutdown', reason: 'two' },
      { type: 'remount-with-bad-blocks', ranges: 1, length: BLOCK },
    ];
    expect(readAll(ringOf(...other)).events).toHaveLength(other.length);
  });

  it('drops the oldest and tells each reader how many it lost', () => {
    const ring = ringOf(...Array.from({ length: EVENT_RING_MAX + 10 }, (_, i) => healed(2 * i)));
    const { events, lost } = readAll(ring);
    expect(lost).toBe(10);
    expect(events).toHaveLength(EVENT_RING_MAX);
    expect(events[0].seq).toBe(11);
    expect(readAll(ring, 4).lost).toBe(6);
    expect(readAll(ring, 10).lost).toBe(0);
  });

  it('leaves paths out before an event becomes too long for a page', () => {
    const long = (letter: string): string => `/${letter.repeat(4000)}`;
    const paths = [long('a'), long('b'), long('c')];
    const control = [`/${'\u0001'.repeat(4000)}`];
    const ring = ringOf(lostData(20, 0, 1, paths), lostData(21, 0, 9, control));
    const [first, second] = readAll(ring).events;
    expect(JSON.stringify(first).length).toBeLessThanOrEqual(EVENT_BYTES_MAX);
    expect(first).toMatchObject({ paths: paths.slice(0, 2) });
    expect(second).toMatchObject({ ino: 21, paths: [] });
  });
});
