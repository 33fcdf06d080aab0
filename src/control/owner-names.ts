import { NAMES_CACHED_MAX } from '../limits.js';
import type { ControlClient } from './client.js';
import type { FileDocument } from './schema.js';

/** Paths of the files that a drawing names: asks for each once and remembers it. */
export class OwnerNames {
  readonly #client: ControlClient;
  readonly #known = new Map<number, FileDocument>();

  constructor(client: ControlClient) {
    this.#client = client;
  }

  of(ino: number): FileDocument {
    const known = this.#known.get(ino);
    if (known !== undefined) return known;
    if (this.#known.size >= NAMES_CACHED_MAX) this.#known.clear();
    const found = this.#client.file(ino);
    this.#known.set(ino, found);
    return found;
  }
}
