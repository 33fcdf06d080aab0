import type { FoundBy } from '../control/schema.js';
import type { EngineEvent } from '../engine/events.js';
import { assert } from '../errors.js';
import { EVENT_BYTES_MAX, EVENT_MERGE_DEPTH, EVENT_RING_MAX } from '../limits.js';

/** A failure event before it has its place in the ring; src/control/schema.ts has the whole (EventDocument). */
export type EventBody =
  | EngineEvent
  | {
      type: 'media-error';
      physical: number;
      length: number;
      by: FoundBy;
      /** Who met it, when somebody did. */
      pid?: number;
      policy: string;
      owners: number;
      victims: number;
    }
  | {
      type: 'data-lost';
      ino: number;
      paths: string[];
      fileOffset: number;
      physical: number;
      length: number;
    }
  /** A node of a metadata tree was on a bad block and was made again elsewhere. */
  | { type: 'metadata-repaired'; physical: number; length: number; tree: string }
  | { type: 'remount-with-bad-blocks'; ranges: number; length: number };

interface Kept {
  readonly seq: number;
  /** Seconds since 1970. */
  readonly time: number;
  count: number;
  body: EventBody;
}

/** What a reader gets. */
export interface EventPage {
  /** Where its next page begins. */
  cursor: number;
  /** Events after its cursor that are not kept any more. */
  lost: number;
  count: number;
  /** JSON documents, each with a line feed behind it. */
  data: Buffer;
}

/**
 * The failure events of a mount, the last EVENT_RING_MAX of them. Readers have nothing here but a number (the seq of
 * the last event they saw), so there may be any number of them and none holds anything up. An event that continues
 * one which no reader has seen is merged with it.
 */
export class EventRing {
  readonly #slots: Kept[] = [];
  readonly #seconds: () => number;
  #last = 0;
  /** The highest seq that was given to a reader. */
  #seen = 0;

  /** @param seconds the wall clock, seconds since 1970 */
  constructor(seconds: () => number) {
    this.#seconds = seconds;
  }

  /** The seq of the newest event; 0 when there was none. */
  get last(): number {
    return this.#last;
  }

  publish(body: EventBody): void {
    const oldest = Math.max(this.#seen, this.#dropped, this.#last - EVENT_MERGE_DEPTH);
    for (let seq = this.#last; seq > oldest; seq--) {
      const kept = this.#at(seq);
      const merged = mergedBody(kept.body, body);
      if (merged === null) continue;
      kept.body = merged;
      kept.count += 1;
      return;
    }
    this.#last += 1;
    const kept = { seq: this.#last, time: this.#seconds(), count: 1, body };
    this.#slots[(this.#last - 1) % EVENT_RING_MAX] = kept;
  }

  /** The events after `cursor`, as many as fit into `most` bytes (at least EVENT_BYTES_MAX). */
  read(cursor: number, most: number): EventPage {
    assert(most > EVENT_BYTES_MAX, `a page of ${most} bytes may not hold an event`);
    assert(cursor <= this.#last, `cursor ${cursor} after ${this.#last} events`);
    const lost = Math.max(0, this.#dropped - cursor);
    const lines: Buffer[] = [];
    let bytes = 0;
    let at = cursor + lost;
    for (; at < this.#last; at++) {
      const line = lineOf(this.#at(at + 1));
      if (bytes + line.length > most) break;
      lines.push(line);
      bytes += line.length;
    }
    this.#seen = Math.max(this.#seen, at);
    return { cursor: at, lost, count: lines.length, data: Buffer.concat(lines, bytes) };
  }

  /** How many events are not kept any more. */
  get #dropped(): number {
    return Math.max(0, this.#last - EVENT_RING_MAX);
  }

  #at(seq: number): Kept {
    return this.#slots[(seq - 1) % EVENT_RING_MAX];
  }
}

/** The event as a line of at most EVENT_BYTES_MAX bytes: paths that would make it longer are left out. */
function lineOf({ seq, time, count, body }: Kept): Buffer {
  const { type, ...rest } = body;
  const stamped = { seq, time, type, count };
  const line = toLine({ ...stamped, ...rest });
  if (line.length <= EVENT_BYTES_MAX || !('paths' in rest)) return line;
  for (let kept = rest.paths.length - 1; ; kept--) {
    const shorter = toLine({ ...stamped, ...rest, paths: rest.paths.slice(0, kept) });
    if (shorter.length <= EVENT_BYTES_MAX || kept === 0) return shorter;
  }
}

const toLine = (event: object): Buffer => Buffer.from(`${JSON.stringify(event)}\n`);

interface Range {
  physical: number;
  length: number;
}

/** The two ranges as one, or null where they do not touch. */
function joined(a: Range, b: Range): Range | null {
  if (a.physical + a.length === b.physical) return { physical: a.physical, length: a.length + b.length };
  if (b.physical + b.length === a.physical) return { physical: b.physical, length: a.length + b.length };
  return null;
}

/** Both events as one, or null where the second does not continue the first. */
function mergedBody(a: EventBody, b: EventBody): EventBody | null {
  if (a.type === 'shutdown' || a.type === 'remount-with-bad-blocks' || !('physical' in b)) return null;
  const range = joined(a, b);
  if (range === null) return null;
  if (a.type === 'media-error' && b.type === 'media-error') {
    if (a.by !== b.by || a.pid !== b.pid || a.policy !== b.policy) return null;
    return { ...a, ...range, owners: a.owners + b.owners, victims: a.victims + b.victims };
  }
  if (a.type === 'data-lost' && b.type === 'data-lost') {
    const follows = b.fileOffset - a.fileOffset === b.physical - a.physical;
    if (a.ino !== b.ino || !follows) return null;
    return { ...a, ...range, fileOffset: Math.min(a.fileOffset, b.fileOffset) };
  }
  if (a.type === 'healed' && b.type === 'healed') return a.by === b.by ? { ...a, ...range } : null;
  if (a.type === 'metadata-repaired' && b.type === 'metadata-repaired') {
    return a.tree === b.tree ? { ...a, ...range } : null;
  }
  return null;
}
