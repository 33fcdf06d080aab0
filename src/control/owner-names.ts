import { FSMAP_NAMES_CACHED_MAX } from '../limits.js';
import type { ControlClient } from './client.js';
import type { FileDocument } from './schema.js';

/** Paths for the records of FSMAP, which carry inode numbers only: asks for each file once and remembers it. */
export class OwnerNames {
  readonly #client: ControlClient;
  readonly #known = new Map<number, FileDocument>();

  constructor(client: ControlClient) {
    this.#client = client;
  }

  of(ino: number): FileDocument {
    const known = this.#known.get(ino);
    if (known !== undefined) return known;
    if (this.#known.size >= FSMAP_NAMES_CACHED_MAX) this.#known.clear();
    const found = this.#client.file(ino);
    this.#known.set(ino, found);
    return found;
  }
}
