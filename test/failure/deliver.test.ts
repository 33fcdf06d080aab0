import { describe, expect, it } from 'vitest';
import type { Policy } from '../../src/control/protocol.js';
import { killProcs } from '../../src/failure/deliver.js';
import type { Victim } from '../../src/failure/victims.js';
import { SIGBUS_HANDLER_WAIT_MS } from '../../src/limits.js';
import { asIno } from '../../src/types.js';
import { type FakeProcess, FakeSignaller, FakeTable } from '../support/fake-processes.js';

function victim(pid: number, address = 0x7f00_0000_1000): Victim {
  return {
    pid,
    tid: pid,
    comm: 'p',
    startTicks: 1000 + pid,
    ino: asIno(9),
    fileOffset: 4096,
    address,
    owner: 0,
  };
}

function run(victims: Victim[], policy: Policy, processes: FakeProcess[], signaller = new FakeSignaller()) {
  const rows = killProcs(victims, () => policy, new FakeTable(processes), signaller);
  return { rows, sent: signaller.sent };
}

describe('early', () => {
  it('sends SIGBUS with the siginfo of an action optional memory error', () => {
    const { rows, sent } = run([victim(5)], 'early', [{ pid: 5 }]);
    expect(sent).toEqual(['sigbus 5/5 code 5 0x7f0000001000 lsb 12']);
    expect(rows).toEqual([
      {
        pid: 5,
        tid: 5,
        comm: 'p',
        ino: 9,
        fileOffset: 4096,
        address: '0x7f0000001000',
        lsb: 12,
        signal: 'SIGBUS',
        code: 'BUS_MCEERR_AO',
        means: 'ptrace',
        result: 'delivered',
      },
    ]);
  });

  it('falls back to a plain SIGBUS, then to SIGKILL', () => {
    const signaller = new FakeSignaller(
      () => ({ errno: 'EPERM' }),
      (pid, signal) => (pid === 6 && signal === 'SIGBUS' ? { errno: 'EAGAIN' } : 'delivered'),
    );
    const { rows, sent } = run([victim(5), victim(6)], 'early', [{ pid: 5 }, { pid: 6 }], signaller);
    expect(sent.filter((line) => !line.startsWith('sigbus'))).toEqual(['SIGBUS 5', 'SIGBUS 6', 'SIGKILL 6']);
    expect(rows.map((row) => [row.signal, row.code, row.means, row.result])).toEqual([
      ['SIGBUS', 'SI_USER', 'kill', 'delivered'],
      ['SIGKILL', 'SI_USER', 'sigkill', 'delivered'],
    ]);
  });

  it('says why nothing could be sent', () => {
    const eperm = () => ({ errno: 'EPERM' });
    const { rows } = run([victim(5)], 'early', [{ pid: 5 }], new FakeSignaller(eperm, eperm));
    expect(rows[0]).toMatchObject({ signal: 'none', code: 'none', means: 'none', result: 'failed: EPERM' });
  });

  it('sends nothing to a process that ignores SIGBUS, has ended, or has given its pid away', () => {
    const processes = [
      { pid: 5, sigbusIgnored: true },
      { pid: 6, gone: true },
      { pid: 7, startTicks: 1 },
    ];
    const { rows, sent } = run([victim(5), victim(6), victim(7)], 'early', processes);
    expect(sent).toEqual([]);
    expect(rows.map((row) => row.means)).toEqual(['none', 'none', 'none']);
    expect(rows.map((row) => row.result)).toEqual(['ignored: the process ignores SIGBUS', 'ended', 'ended']);
  });

  it.each([
    ['blocked', 'pending: the process blocks SIGBUS'],
    ['stuck', 'pending: the process waits in the kernel'],
  ] as const)('reports %s as a plain signal that waits', (outcome, result) => {
    const { rows } = run([victim(5)], 'early', [{ pid: 5 }], new FakeSignaller(() => outcome));
    expect(rows[0]).toMatchObject({ signal: 'SIGBUS', code: 'SI_TKILL', means: 'kill', result });
  });

  it('sends no second signal where one is pending, since they merge', () => {
    const blocked = { pid: 5, sigbusBlocked: true, sigbusPending: true };
    const { rows, sent } = run([victim(5)], 'early', [blocked]);
    expect(sent).toEqual([]);
    expect(rows[0]).toMatchObject({ means: 'none', result: 'merged: a SIGBUS is pending already' });
  });

  it('lets a process return from its handler before it is told of the next page', () => {
    const process: FakeProcess = { pid: 5 };
    const signaller = new FakeSignaller(() => {
      process.sigbusBlocked = true;
      return 'delivered';
    });
    signaller.onPause = () => {
      if (signaller.paused % 3 === 0) process.sigbusBlocked = false;
    };
    const { rows } = run([victim(5, 0x1000), victim(5, 0x2000)], 'early', [process], signaller);
    expect(rows.map((row) => row.result)).toEqual(['delivered', 'delivered']);
    expect(signaller.paused).toBe(3);
  });

  it('does not wait for a process that blocks SIGBUS anyway, nor for ever, nor twice', () => {
    const process: FakeProcess = { pid: 5 };
    const signaller = new FakeSignaller(() => {
      if (process.sigbusBlocked) return 'blocked';
      process.sigbusBlocked = true;
      return 'delivered';
    });
    const pages = [victim(5, 0x1000), victim(5, 0x2000), victim(5, 0x3000), victim(6)];
    const { rows } = run(pages, 'early', [process, { pid: 6, sigbusBlocked: true }], signaller);
    expect(rows.map((row) => row.result.split(':')[0])).toEqual([
      'delivered',
      'pending',
      'pending',
      'pending',
    ]);
    expect(signaller.paused).toBe(SIGBUS_HANDLER_WAIT_MS);
  });
});

describe('the other policies', () => {
  it.each(['late', 'notify'] as const)('%s sends nothing but lists the victims', (policy) => {
    const { rows, sent } = run([victim(5)], policy, [{ pid: 5 }]);
    expect(sent).toEqual([]);
    expect(rows).toMatchObject([{ pid: 5, signal: 'none', means: 'none', result: `policy ${policy}` }]);
  });

  it('kill sends SIGKILL once to each process, even to one that ignores SIGBUS', () => {
    const processes = [{ pid: 5, sigbusIgnored: true }, { pid: 6 }];
    const { rows, sent } = run([victim(5), victim(5, 0x2000), victim(6)], 'kill', processes);
    expect(sent).toEqual(['SIGKILL 5', 'SIGKILL 6']);
    expect(rows.map((row) => [row.means, row.result])).toEqual([
      ['sigkill', 'delivered'],
      ['none', 'ended'],
      ['sigkill', 'delivered'],
    ]);
  });
});
