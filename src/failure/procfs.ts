import { assert } from '../errors.js';
import { PAGEMAP_BATCH_PAGES, PROC_MAPS_MAX_BYTES } from '../limits.js';
import { processesMapping, readFileInto } from '../native.js';
import { BLOCK_SIZE } from '../types.js';
import { parseComm, parseMaps, parseSignalMask, parseStartTicks, parseTgid } from './procparse.js';

/** Major and minor number of a filesystem's device. */
export interface DeviceId {
  major: number;
  minor: number;
}

/** A mapping of a file. Addresses and the offset in the file are bytes, multiples of the page size. */
export interface FileMapping {
  /**
   * User addresses above 2^53 exist (5-level page tables), but a multiple of 4096 below 2^64 is exact in a
   * JS number.
   */
  start: number;
  end: number;
  fileOffset: number;
  ino: number;
}

/** What became of an attempt to look at a process. */
export type Look = 'ok' | 'ended' | 'unreadable';

export interface ScanCounts {
  /** Processes whose mappings were read; kernel threads, which have none, are among them. */
  processes: number;
  /** Processes that ended while they were looked at. */
  ended: number;
  /** Processes that this one may not look at (EACCES: not root), or that could not be read. */
  unreadable: number;
}

/** How the main thread of a process would take a SIGBUS now. */
export interface ProcessState {
  /** The process that the thread belongs to; a process is looked at by its own number. */
  tgid: number;
  comm: string;
  /** Time of the start in clock ticks since boot: with the pid it names a process once and for all. */
  startTicks: number;
  sigbusBlocked: boolean;
  sigbusIgnored: boolean;
  /** A SIGBUS that was sent earlier has not been taken yet: another one merges with it. */
  sigbusPending: boolean;
}

/** The processes of the machine. Passed in, so that a test can use made-up ones. */
export interface ProcessTable {
  /**
   * One pass over all processes but this one. Calls `visit` for each that maps a file of the device, with
   * its mappings in the order of their addresses. Processes that end meanwhile or cannot be read are counted.
   */
  scan(device: DeviceId, visit: (pid: number, mappings: FileMapping[]) => void): ScanCounts;
  /**
   * Sets out[i] to 1 where page i from `address` on is present and belongs to the file, else to 0: never
   * touched, dropped, or replaced by a private copy. At most PAGEMAP_BATCH_PAGES pages.
   */
  filePages(pid: number, address: number, pages: number, out: Uint8Array): Look;
  inspect(pid: number): ProcessState | Exclude<Look, 'ok'>;
}

/** The number of a device (st_dev) in its two parts, as makedev(3) of Linux puts them together. */
export function deviceId(dev: number): DeviceId {
  const low = dev % 2 ** 32;
  const high = Math.floor(dev / 2 ** 32);
  return {
    major: ((high & 0xffff_f000) >>> 0) + ((low >>> 8) & 0xfff),
    minor: ((high & 0xfff) << 20) + ((low >>> 12) & 0xf_ff00) + (low & 0xff),
  };
}

const PROC_MAPS_START_BYTES = 256 * 1024;
/** /proc/PID/status has about 1.5 KiB; a long list of groups or CPUs comes behind the lines that are looked at. */
const SMALL_FILE_BYTES = 16 * 1024;
const PAGEMAP_ENTRY_BYTES = 8;
/** Byte 7 of a little-endian pagemap entry: bit 63 "present" and bit 61 "file page or shared-anon". */
const PRESENT_FILE_PAGE = 0xa0;

/**
 * The process table of /proc (proc(5), Documentation/admin-guide/mm/pagemap.rst). Reading another user's
 * process needs root or CAP_SYS_PTRACE.
 */
export class Procfs implements ProcessTable {
  readonly #root: string;
  #maps: Buffer = Buffer.allocUnsafe(PROC_MAPS_START_BYTES);
  readonly #pagemap: Buffer = Buffer.allocUnsafe(PAGEMAP_BATCH_PAGES * PAGEMAP_ENTRY_BYTES);
  readonly #small: Buffer = Buffer.allocUnsafe(SMALL_FILE_BYTES);

  /** @param root where proc is mounted; /proc but in tests */
  constructor(root = '/proc') {
    this.#root = root;
  }

  scan(device: DeviceId, visit: (pid: number, mappings: FileMapping[]) => void): ScanCounts {
    const needle = Buffer.from(` ${hex2(device.major)}:${hex2(device.minor)} `, 'latin1');
    const { pids, ...counts } = processesMapping(this.#root, needle, process.pid);
    for (const pid of pids) {
      const length = this.#readMaps(pid);
      if (typeof length === 'string') {
        counts.processes--;
        counts[length]++;
        continue;
      }
      const mappings = parseMaps(this.#maps.subarray(0, length), needle);
      if (mappings.length > 0) visit(pid, mappings);
    }
    return counts;
  }

  /** Reads the maps of a process to the start of #maps. Returns their length in bytes. */
  #readMaps(pid: number): number | Exclude<Look, 'ok'> {
    for (;;) {
      try {
        const length = readFileInto(`${this.#root}/${pid}/maps`, this.#maps);
        if (length < this.#maps.length) return length;
      } catch (error) {
        return lookOf(error);
      }
      if (this.#maps.length >= PROC_MAPS_MAX_BYTES) return 'unreadable';
      this.#maps = Buffer.allocUnsafe(2 * this.#maps.length);
    }
  }

  filePages(pid: number, address: number, pages: number, out: Uint8Array): Look {
    assert(pages <= PAGEMAP_BATCH_PAGES, 'pagemap entries are read in batches');
    try {
      const entries = this.#pagemap.subarray(0, pages * PAGEMAP_ENTRY_BYTES);
      const at = (address / BLOCK_SIZE) * PAGEMAP_ENTRY_BYTES;
      const length = readFileInto(`${this.#root}/${pid}/pagemap`, entries, at);
      // The kernel answers less only when the address space is gone.
      if (length !== entries.length) return 'ended';
      for (let i = 0; i < pages; i++) {
        const flags = entries[i * PAGEMAP_ENTRY_BYTES + 7] & PRESENT_FILE_PAGE;
        out[i] = flags === PRESENT_FILE_PAGE ? 1 : 0;
      }
      return 'ok';
    } catch (error) {
      return lookOf(error);
    }
  }

  inspect(pid: number): ProcessState | Exclude<Look, 'ok'> {
    try {
      const status = this.#text(pid, 'status').toString('latin1');
      const stat = this.#text(pid, 'stat');
      // A zombie has its entry still, but nobody is left to take a signal.
      if (/^State:\s*[ZX]/m.test(status)) return 'ended';
      return {
        tgid: parseTgid(status),
        comm: parseComm(stat),
        startTicks: parseStartTicks(stat.toString('latin1')),
        sigbusBlocked: parseSignalMask(status, 'SigBlk'),
        sigbusIgnored: parseSignalMask(status, 'SigIgn'),
        sigbusPending: parseSignalMask(status, 'SigPnd') || parseSignalMask(status, 'ShdPnd'),
      };
    } catch (error) {
      return lookOf(error);
    }
  }

  /** A small file of a process, until the next one is read. */
  #text(pid: number, name: string): Buffer {
    const length = readFileInto(`${this.#root}/${pid}/${name}`, this.#small);
    return this.#small.subarray(0, length);
  }
}

/** As show_map_vma prints it: "%02x". */
const hex2 = (n: number): string => n.toString(16).padStart(2, '0');

/** ENOENT: the directory of the process is gone. ESRCH: it went between the open and the read. */
function lookOf(error: unknown): Exclude<Look, 'ok'> {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ESRCH') return 'ended';
  if (code === undefined) throw error;
  return 'unreadable';
}
