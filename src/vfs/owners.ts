import { decodeOwnersRequest, encodeOwnersAnswer, OWNERS_PAGE_BYTES } from '../control/codec.js';
import type { Owner, OwnerPlace } from '../engine/api.js';
import { FsError } from '../errors.js';
import { BLOCK_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import { checkedLength, WithPaths } from './documents.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';

/** Words of the reverse map's keys. */
const KEY_MAX = 0xffff_ffff;

/** A page of owners of a physical range, from the place on that the answer before gave. Nothing is kept between two. */
export function owners(c: VfsContext, call: IoctlCall): IoctlResult {
  const { offset, length, place: words } = decodeOwnersRequest(call.input);
  const bytes = checkedLength(c, 'owners', offset, length);
  c.layouts.settle(c.inodes.stored());
  const first = Math.floor(offset / BLOCK_SIZE);
  const end = Math.ceil((offset + bytes) / BLOCK_SIZE);
  const place = placeOf(words, first, end);
  const page = new Page(c);
  const last = c.engine.ownersFrom(place, end, (owner) => page.take(owner));
  const report = page.long === null ? 0 : c.reports.reserve();
  if (page.long !== null) c.reports.put(report, page.long, true);
  const { at, end: runEnd, start, owner, from } = place;
  const answer = { place: [at, runEnd, start, owner, from] as const, report, last };
  encodeOwnersAnswer(call.output, { ...answer, count: page.lines.length, data: page.data() });
  return 'done';
}

/** EINVAL for a place that no answer about this range can have given. */
function placeOf(words: readonly number[], first: number, limit: number): OwnerPlace {
  if (words.every((word) => word === 0)) return { at: first, end: 0, start: 0, owner: 0, from: 0 };
  const [at, end, start, owner, from] = words;
  const isRun = end > at && start < limit && owner <= KEY_MAX && from <= KEY_MAX + 1;
  const isBlock = end === 0 && start === 0 && owner === 0 && from === 0;
  if (at < first || at > limit || end > limit || !(isRun || isBlock)) {
    throw new FsError('EINVAL', 'owners', `no place in the blocks [${first}, ${limit})`);
  }
  return { at, end, start, owner, from };
}

/** As many JSON documents as fit into one record. */
class Page {
  readonly lines: Buffer[] = [];
  /** An owner that fits into no page: it is alone. */
  long: string | null = null;
  readonly #c: VfsContext;
  readonly #paths: WithPaths;
  #room = OWNERS_PAGE_BYTES;

  constructor(c: VfsContext) {
    this.#c = c;
    this.#paths = new WithPaths(c);
  }

  take(owner: Owner): boolean {
    if (this.long !== null) return false;
    const bad = this.#c.engine.isBad(owner.physical, owner.length);
    const json = JSON.stringify({ ...this.#paths.of(owner), ...(bad && { bad }) });
    const line = Buffer.from(`${json}\n`);
    if (line.length <= this.#room) {
      this.#room -= line.length;
      this.lines.push(line);
      return true;
    }
    if (this.lines.length > 0) return false;
    this.long = json;
    return true;
  }

  data(): Buffer {
    return Buffer.concat(this.lines);
  }
}
