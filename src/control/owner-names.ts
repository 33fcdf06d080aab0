import { FSMAP_NAMES_CACHED_MAX } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import type { ControlClient } from './client.js';
import type { FsmapRecord } from './codec.js';

export interface OwnerName {
  paths: string[];
  open: boolean;
}

/** A file that went away between two questions. */
const GONE: OwnerName = { paths: [], open: false };

/**
 * Paths for the records of FSMAP, which carry inode numbers only: asks for the owners of the record's first
 * block, which answers for everyone who shares it, and remembers the answers.
 */
export class OwnerNames {
  readonly #client: ControlClient;
  readonly #known = new Map<number, OwnerName>();

  constructor(client: ControlClient) {
    this.#client = client;
  }

  /** The name of the file that owns the record. */
  of(record: FsmapRecord): OwnerName {
    const known = this.#known.get(record.owner);
    if (known !== undefined) return known;
    if (this.#known.size >= FSMAP_NAMES_CACHED_MAX) this.#known.clear();
    for (const owner of this.#client.owners(record.physical, BLOCK_SIZE)) {
      if (owner.kind === 'file') this.#known.set(owner.ino, { paths: owner.paths, open: owner.open });
    }
    return this.#known.get(record.owner) ?? GONE;
  }
}
