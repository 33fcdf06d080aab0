import type { FileDocument, InfoDocument } from '../control/schema.js';
import type { Owner } from '../engine/api.js';
import { FsError } from '../errors.js';
import type { OwnerWithPaths } from '../failure/job.js';
import { OWNER_PATHS_MAX, REPORT_OWNERS_MAX } from '../limits.js';
import { asIno, BLOCK_SIZE, type Ino, MAX_INO } from '../types.js';
import type { VfsContext } from './context.js';

/** The JSON documents of the REPORT ioctl, as src/control/schema.ts has them. */

export function infoDocument(c: VfsContext): InfoDocument {
  const { info } = c.engine;
  const space = c.engine.space();
  return {
    label: info.label,
    uuid: info.uuid,
    size: info.blocks * BLOCK_SIZE,
    blockSize: info.blockSize,
    blocks: {
      total: space.blocks,
      free: space.free,
      available: space.available,
      shared: space.shared,
      saved: space.saved,
      bad: space.bad,
      metadata: space.metadata,
    },
    inodes: space.inodes,
    lastTransaction: info.txid,
    clean: info.wasClean,
    shutdown: info.shutdown,
    lastShutdown: info.wasShutdown,
    readOnly: info.readOnly,
    pid: process.pid,
    region: c.region,
    policy: c.policy,
  };
}

export function statsDocument(c: VfsContext): Record<string, unknown> {
  return {
    operations: c.statistics.document(),
    inodes: c.inodes.size,
    handles: c.handles.size,
    lastTransaction: c.engine.info.txid,
  };
}

function eachOwner(c: VfsContext, physical: number, length: number, visit: (owner: Owner) => boolean): void {
  const place = { at: Math.floor(physical / BLOCK_SIZE), end: 0, start: 0, owner: 0, from: 0 };
  c.engine.ownersFrom(place, Math.ceil((physical + length) / BLOCK_SIZE), visit);
}

/** Owners of one answer get their paths: each file's are looked up once. */
export class WithPaths {
  readonly #c: VfsContext;
  readonly #paths = new Map<number, string[]>();
  readonly #directories = new Map<number, string>();

  constructor(c: VfsContext) {
    this.#c = c;
  }

  of(owner: Owner): OwnerWithPaths {
    if (owner.kind !== 'file') return owner;
    let known = this.#paths.get(owner.ino);
    if (known === undefined) {
      known = this.#c.engine.paths(owner.ino, OWNER_PATHS_MAX, this.#directories);
      this.#paths.set(owner.ino, known);
    }
    // Assigned, because a copy by spreading costs more than all the rest of this.
    const full = owner as typeof owner & { paths: string[]; open: boolean };
    full.paths = known;
    full.open = isOpen(this.#c, owner.ino);
    return full;
  }
}

/** Somebody has the file open, or maps it: a mapping keeps it open. */
const isOpen = (c: VfsContext, ino: Ino): boolean => (c.inodes.find(ino)?.users ?? 0) > 0;

/** See REPORT_KIND.file. */
export function fileDocument(c: VfsContext, ino: number): FileDocument {
  if (ino < 1 || ino > MAX_INO) throw new FsError('EINVAL', 'report', `${ino} is no inode number`);
  const known = asIno(ino);
  const paths = c.engine.exists(known) ? c.engine.paths(known, OWNER_PATHS_MAX) : [];
  return { ino, paths, open: isOpen(c, known) };
}

/**
 * Owners of a physical range with their paths. Of those beyond the first `most` only files that the kernel may have
 * pages of, since somebody may have to be told; `omitted`: how many others there are.
 */
export function ownersToTell(
  c: VfsContext,
  physical: number,
  length: number,
  most: number,
): { owners: OwnerWithPaths[]; omitted: number } {
  const owners: OwnerWithPaths[] = [];
  const paths = new WithPaths(c);
  let omitted = 0;
  eachOwner(c, physical, length, (owner) => {
    if (owners.length < most || hasPages(c, owner)) owners.push(paths.of(owner));
    else omitted++;
    return true;
  });
  return { owners, omitted };
}

/** Whether the kernel may have pages of the file in its cache: nobody can have mapped and touched any other. */
export const hasPages = (c: VfsContext, owner: Owner): boolean =>
  owner.kind === 'file' && c.inodes.find(owner.ino)?.cached === true;

/** A physical range as a control request gives it: ENXIO outside the region. Returns its length in bytes. */
export function checkedLength(c: VfsContext, op: string, physical: number, length: number): number {
  const size = c.engine.info.blocks * BLOCK_SIZE;
  // Offset 0 and length 2^64-1 mean everything, as for the kernel's notify_failure.
  const bytes = physical === 0 && length === Number.POSITIVE_INFINITY ? size : length;
  if (physical + bytes > size) {
    throw new FsError('ENXIO', op, `${bytes} bytes at ${physical} are outside the region of ${size} bytes`);
  }
  if (bytes === 0) throw new FsError('EINVAL', op, 'an empty range');
  return bytes;
}

/** All of them: a range with more than REPORT_OWNERS_MAX is E2BIG. */
export function ownersDocument(c: VfsContext, physical: number, length: number): OwnerWithPaths[] {
  const found: Owner[] = [];
  eachOwner(c, physical, checkedLength(c, 'owners', physical, length), (owner) => {
    found.push(owner);
    return found.length <= REPORT_OWNERS_MAX;
  });
  if (found.length > REPORT_OWNERS_MAX) {
    const detail = `${length} bytes at ${physical} have more than ${REPORT_OWNERS_MAX} owners: use OWNERS`;
    throw new FsError('E2BIG', 'owners', detail);
  }
  const paths = new WithPaths(c);
  return found.map((owner) => paths.of(owner));
}
