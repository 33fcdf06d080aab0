import type { Sigbus, SigbusOutcome, Signaller, SignalOutcome } from '../../src/failure/deliver.js';
import type {
  DeviceId,
  FileMapping,
  Look,
  ProcessState,
  ProcessTable,
  ScanCounts,
} from '../../src/failure/procfs.js';

export interface FakeProcess extends Partial<ProcessState> {
  pid: number;
  mappings?: FileMapping[];
  /** Addresses of pages that are present and belong to the file. */
  present?: number[];
  /** What looking at the process gives, when it is not "ok": at the maps, or later at the pagemap. */
  maps?: Look;
  pagemap?: Look;
  gone?: boolean;
}

/** A made-up process table. */
export class FakeTable implements ProcessTable {
  readonly processes: FakeProcess[];
  scans = 0;

  constructor(processes: FakeProcess[]) {
    this.processes = processes;
  }

  scan(_device: DeviceId, visit: (pid: number, mappings: FileMapping[]) => void): ScanCounts {
    this.scans++;
    const counts: ScanCounts = { processes: 0, ended: 0, unreadable: 0 };
    for (const process of this.processes) {
      if (process.maps !== undefined && process.maps !== 'ok') {
        counts[process.maps]++;
        continue;
      }
      counts.processes++;
      if (process.mappings !== undefined) visit(process.pid, process.mappings);
    }
    return counts;
  }

  filePages(pid: number, address: number, pages: number, out: Uint8Array): Look {
    const process = this.#find(pid);
    if (process?.pagemap !== undefined && process.pagemap !== 'ok') return process.pagemap;
    for (let i = 0; i < pages; i++) out[i] = process?.present?.includes(address + i * 4096) ? 1 : 0;
    return 'ok';
  }

  inspect(pid: number): ProcessState | Exclude<Look, 'ok'> {
    const process = this.#find(pid);
    if (process === undefined || process.gone) return 'ended';
    return {
      tgid: process.tgid ?? pid,
      comm: process.comm ?? `proc${pid}`,
      startTicks: process.startTicks ?? 1000 + pid,
      sigbusBlocked: process.sigbusBlocked ?? false,
      sigbusIgnored: process.sigbusIgnored ?? false,
      sigbusPending: process.sigbusPending ?? false,
    };
  }

  #find(pid: number): FakeProcess | undefined {
    return this.processes.find((process) => process.pid === pid);
  }
}

/** Records what would have been sent, and answers what it was told to. */
export class FakeSignaller implements Signaller {
  readonly sent: string[] = [];
  paused = 0;
  onPause: () => void = () => {};
  readonly #sigbus: (pid: number) => SigbusOutcome;
  readonly #plain: (pid: number, signal: 'SIGBUS' | 'SIGKILL') => SignalOutcome;

  constructor(
    sigbus: (pid: number) => SigbusOutcome = () => 'delivered',
    plain: (pid: number, signal: 'SIGBUS' | 'SIGKILL') => SignalOutcome = () => 'delivered',
  ) {
    this.#sigbus = sigbus;
    this.#plain = plain;
  }

  sigbus({ pid, tid, code, address, lsb }: Sigbus): SigbusOutcome {
    this.sent.push(`sigbus ${pid}/${tid} code ${code} 0x${address.toString(16)} lsb ${lsb}`);
    return this.#sigbus(pid);
  }

  plain(pid: number, signal: 'SIGBUS' | 'SIGKILL'): SignalOutcome {
    this.sent.push(`${signal} ${pid}`);
    return this.#plain(pid, signal);
  }

  pause(milliseconds: number): void {
    this.paused += milliseconds;
    this.onPause();
  }
}
