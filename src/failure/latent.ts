import { LATENT_MAPPERS_MAX } from '../limits.js';
import { BLOCK_SIZE } from '../types.js';
import type { Look, ProcessTable } from './procfs.js';
import type { Victim } from './victims.js';

const keyOf = (pid: number, address: number): string => `${pid} ${address}`;

/**
 * Who had a page mapped and touched when its block became bad without anybody's knowledge. Such pages are dropped from
 * the page cache at once, because only then the next access meets the error; but on memory that is mapped directly they
 * would have stayed mapped, and their processes are to be told when the error becomes known.
 */
export class LatentMappers {
  /** Start time of the process by pid and address. */
  readonly #pages = new Map<string, number>();

  remember(victims: readonly Victim[]): void {
    for (const { pid, address, startTicks } of victims) {
      if (this.#pages.size >= LATENT_MAPPERS_MAX) return;
      this.#pages.set(keyOf(pid, address), startTicks);
    }
  }

  forget(victims: readonly Victim[]): void {
    for (const { pid, address } of victims) this.#pages.delete(keyOf(pid, address));
  }

  /** The process table as it would be if the pages had stayed. */
  table(inner: ProcessTable): ProcessTable {
    if (this.#pages.size === 0) return inner;
    return {
      scan: (device, visit) => inner.scan(device, visit),
      inspect: (pid) => inner.inspect(pid),
      filePages: (pid, address, pages, out) => this.#filePages(inner, pid, address, pages, out),
    };
  }

  #filePages(inner: ProcessTable, pid: number, address: number, pages: number, out: Uint8Array): Look {
    const look = inner.filePages(pid, address, pages, out);
    if (look !== 'ok') return look;
    for (let i = 0; i < pages; i++) {
      const startTicks = this.#pages.get(keyOf(pid, address + i * BLOCK_SIZE));
      if (startTicks === undefined || out[i] === 1) continue;
      const state = inner.inspect(pid);
      if (typeof state === 'string') return state;
      if (state.startTicks === startTicks) out[i] = 1;
    }
    return 'ok';
  }
}
