import { describe, expect, it } from 'vitest';
import { PoisonDocument } from '../../src/control/schema.js';
import { type FailureEnv, notifyFailure } from '../../src/failure/chain.js';
import { asIno } from '../../src/types.js';
import type { FailureJob, OwnerWithPaths } from '../../src/vfs/jobs.js';
import { type FakeProcess, FakeSignaller, FakeTable } from '../support/fake-processes.js';

const PAGE = 4096;
const AT = 0x7f00_0000_0000;

function fileOwner(ino: number, page: number, path: string): OwnerWithPaths {
  return {
    kind: 'file',
    ino: asIno(ino),
    fileOffset: page * PAGE,
    physical: 8 * PAGE,
    length: PAGE,
    fork: 'data',
    unwritten: false,
    shareCount: 2,
    paths: [path],
    open: true,
  };
}

function job(change: Partial<FailureJob> = {}): FailureJob {
  return {
    kind: 'failure',
    unique: 77n,
    report: 3,
    physical: 8 * PAGE,
    length: PAGE,
    latent: false,
    policy: 'early',
    owners: [fileOwner(20, 1, '/a'), fileOwner(21, 5, '/b')],
    shutdown: false,
    ...change,
  };
}

/** Two processes that have the page of one file each; dropping the pages takes them out of the processes. */
function world() {
  const processes: FakeProcess[] = [
    { pid: 100, mappings: [{ start: AT, end: AT + 8 * PAGE, fileOffset: 0, ino: 20 }], present: [AT + PAGE] },
    {
      pid: 101,
      mappings: [{ start: AT, end: AT + 8 * PAGE, fileOffset: 0, ino: 21 }],
      present: [AT + 5 * PAGE],
    },
    { pid: 102 },
  ];
  const steps: string[] = [];
  const table = new FakeTable(processes);
  const signaller = new FakeSignaller((pid) => {
    steps.push(`signal ${pid}`);
    return 'delivered';
  });
  let now = 0;
  const env: FailureEnv = {
    device: { major: 0, minor: 50 },
    table,
    signaller,
    invalidator: {
      invalidate(range) {
        steps.push(`invalidate ${range.ino} ${range.offset}+${range.length}`);
        for (const process of processes) delete process.present;
      },
    },
    nowMicros: () => {
      now += 10;
      return now;
    },
  };
  return { env, steps, table, signaller };
}

describe('notifyFailure', () => {
  it('collects, then unmaps all owners, then signals, and reports it', () => {
    const { env, steps, table } = world();
    const report = notifyFailure(job(), env);
    expect(table.scans).toBe(1);
    expect(steps).toEqual([
      'invalidate 20 4096+4096',
      'invalidate 21 20480+4096',
      'signal 100',
      'signal 101',
    ]);
    expect(report.victims.map((v) => [v.pid, v.ino, v.address, v.means, v.result])).toEqual([
      [100, 20, '0x7f0000001000', 'ptrace', 'delivered'],
      [101, 21, '0x7f0000005000', 'ptrace', 'delivered'],
    ]);
    expect(report).toMatchObject({
      physical: 8 * PAGE,
      length: PAGE,
      latent: false,
      shutdown: false,
      policy: 'early',
      victimsOmitted: 0,
      scan: { processes: 3, ended: 0, unreadable: 0 },
      micros: { scan: 10, invalidate: 10, deliver: 10 },
    });
    expect(report.owners).toEqual(job().owners);
  });

  it('is the document that the client expects, after JSON', () => {
    const { env } = world();
    const report = notifyFailure(job(), env);
    const read = PoisonDocument.parse(JSON.parse(JSON.stringify(report)));
    expect(read).toEqual(JSON.parse(JSON.stringify(report)));
  });

  it('late unmaps and signals nobody', () => {
    const { env, steps } = world();
    const report = notifyFailure(job({ policy: 'late' }), env);
    expect(steps).toEqual(['invalidate 20 4096+4096', 'invalidate 21 20480+4096']);
    expect(report.victims.map((v) => [v.pid, v.means])).toEqual([
      [100, 'none'],
      [101, 'none'],
    ]);
  });

  it('notify touches nothing', () => {
    const { env, steps } = world();
    expect(notifyFailure(job({ policy: 'notify' }), env).victims.length).toBe(2);
    expect(steps).toEqual([]);
  });

  it('a latent error is told to nobody and looks at nobody', () => {
    const { env, steps, table } = world();
    const report = notifyFailure(job({ latent: true }), env);
    expect(steps).toEqual([]);
    expect(table.scans).toBe(0);
    expect(report).toMatchObject({ latent: true, victims: [] });
    expect(report.owners.length).toBe(2);
  });

  it('metadata and free space have no processes; data owners beside them are told all the same', () => {
    const { env, steps, table } = world();
    const others: OwnerWithPaths[] = [
      { kind: 'metadata', physical: 0, length: PAGE, tree: 'bmap' },
      { kind: 'free', physical: PAGE, length: PAGE },
    ];
    expect(notifyFailure(job({ owners: others, shutdown: true }), env).shutdown).toBe(true);
    expect(table.scans).toBe(0);
    notifyFailure(job({ owners: [...others, fileOwner(20, 1, '/a')], shutdown: true }), env);
    expect(steps).toEqual(['invalidate 20 4096+4096', 'signal 100']);
  });
});
