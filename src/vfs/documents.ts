import type { InfoDocument } from '../control/schema.js';
import type { Owner } from '../engine/api.js';
import { FsError } from '../errors.js';
import { OWNER_PATHS_MAX, REPORT_OWNERS_MAX } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import type { VfsContext } from './context.js';
import type { OwnerWithPaths } from './jobs.js';

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

/**
 * Owners of a physical range with their paths, every one: a range with more than REPORT_OWNERS_MAX is
 * E2BIG. `open`: somebody has the file open, or maps it (a mapping keeps it open).
 */
export function ownersWithPaths(c: VfsContext, physical: number, length: number): OwnerWithPaths[] {
  const found: Owner[] = [];
  c.engine.owners(physical, length, (owner) => {
    found.push(owner);
    return found.length <= REPORT_OWNERS_MAX;
  });
  if (found.length > REPORT_OWNERS_MAX) {
    const detail = `${length} bytes at ${physical} have more than ${REPORT_OWNERS_MAX} owners: ask for less`;
    throw new FsError('E2BIG', 'owners', detail);
  }
  const paths = new Map<number, string[]>();
  const directories = new Map<number, string>();
  return found.map((owner) => {
    if (owner.kind !== 'file') return owner;
    let known = paths.get(owner.ino);
    if (known === undefined) {
      known = c.engine.paths(owner.ino, OWNER_PATHS_MAX, directories);
      paths.set(owner.ino, known);
    }
    // Assigned, because a copy by spreading costs more than all the rest of this.
    const full = owner as typeof owner & { paths: string[]; open: boolean };
    full.paths = known;
    full.open = (c.inodes.find(owner.ino)?.users ?? 0) > 0;
    return full;
  });
}

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

export function ownersDocument(c: VfsContext, physical: number, length: number): OwnerWithPaths[] {
  return ownersWithPaths(c, physical, checkedLength(c, 'owners', physical, length));
}
