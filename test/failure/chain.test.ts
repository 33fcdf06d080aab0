import { describe, expect, it } from 'vitest';
import { PoisonDocument } from '../../src/control/schema.js';
import { CorruptionError } from '../../src/errors.js';
import {
  deviceFailed,
  type FailureEnv,
  finishFailure,
  type Holder,
  notifyFailure,
} from '../../src/failure/chain.js';
import type { FailureJob, OwnerWithPaths } from '../../src/failure/job.js';
import { LatentMappers } from '../../src/failure/latent.js';
import { MceKillChoices } from '../../src/failure/mce-kill.js';
import { reportText } from '../../src/failure/report.js';
import { MCE_KILL_PROCESSES_MAX, REPORT_OWNERS_MAX } from '../../src/limits.js';
import type { Layer, MediaRange } from '../../src/media/layer.js';
import { asIno } from '../../src/types.js';
import { ReportStore } from '../../src/vfs/reports.js';
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
    reply: null,
    by: 'poison',
    pid: 0,
    accessor: 0,
    unique: 77n,
    report: 3,
    physical: 8 * PAGE,
    length: PAGE,
    latent: false,
    policy: 'early',
    owners: [fileOwner(20, 1, '/a'), fileOwner(21, 5, '/b')],
    newlyBad: PAGE,
    metadata: { repaired: [], lost: null },
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
    choices: new MceKillChoices(table),
    mappers: new LatentMappers(),
    shutdown: async (reason) => {
      steps.push(`shutdown: ${reason}`);
    },
    repaired: (node) => steps.push(`repaired ${node.tree}`),
  };
  return { env, steps, table, signaller };
}

describe('finishFailure', () => {
  it('collects, then unmaps all owners, then signals, and reports it', async () => {
    const { env, steps, table } = world();
    const report = await finishFailure(job(), env);
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

  it('is the document that the client expects, after JSON', async () => {
    const { env } = world();
    const report = await finishFailure(job(), env);
    const read = PoisonDocument.parse(JSON.parse(JSON.stringify(report)));
    expect(read).toEqual(JSON.parse(JSON.stringify(report)));
  });

  it('late unmaps and signals nobody', async () => {
    const { env, steps } = world();
    const report = await finishFailure(job({ policy: 'late' }), env);
    expect(steps).toEqual(['invalidate 20 4096+4096', 'invalidate 21 20480+4096']);
    expect(report.victims.map((v) => [v.pid, v.means])).toEqual([
      [100, 'none'],
      [101, 'none'],
    ]);
  });

  it('notify touches nothing', async () => {
    const { env, steps } = world();
    expect((await finishFailure(job({ policy: 'notify' }), env)).victims.length).toBe(2);
    expect(steps).toEqual([]);
  });

  it('metadata and free space have no processes; data owners beside them are told before a shutdown', async () => {
    const { env, steps, table } = world();
    const others: OwnerWithPaths[] = [
      { kind: 'metadata', physical: 0, length: PAGE, tree: 'inode' },
      { kind: 'free', physical: PAGE, length: PAGE },
    ];
    const lost = { repaired: [{ tree: 'rmap', physical: 5 * PAGE, length: PAGE }], lost: 'no inodes' };
    expect((await finishFailure(job({ owners: others, metadata: lost }), env)).shutdown).toBe(true);
    expect(table.scans).toBe(0);
    steps.length = 0;
    const report = await finishFailure(
      job({ owners: [...others, fileOwner(20, 1, '/a')], metadata: lost }),
      env,
    );
    expect(steps).toEqual([
      ...['invalidate 20 4096+4096', 'signal 100'],
      ...['repaired rmap', 'shutdown: no inodes'],
    ]);
    expect(report).toMatchObject({ shutdown: true, metadata: lost });
  });

  it('shuts down although the owners could not be told', async () => {
    const { env, steps } = world();
    const invalidator = {
      invalidate: () => {
        throw new Error('device is gone');
      },
    };
    const damage = { repaired: [], lost: 'no names' };
    await expect(finishFailure(job({ metadata: damage }), { ...env, invalidator })).rejects.toThrow('gone');
    expect(steps).toEqual(['shutdown: no names']);
  });

  it('only those are looked for that can have pages: of cached files unmapped, of open ones in processes', async () => {
    const { env, steps, table } = world();
    await finishFailure(job({ cached: [] }), env);
    expect([steps, table.scans]).toEqual([[], 0]);
    const closed = [{ ...fileOwner(20, 1, '/a'), open: false }, fileOwner(21, 5, '/b')] as OwnerWithPaths[];
    await finishFailure(job({ owners: closed, cached: [0] }), env);
    expect([steps, table.scans]).toEqual([['invalidate 20 4096+4096'], 0]);
    const report = await finishFailure(job({ owners: closed, cached: [0, 1] }), env);
    expect(report.victims).toMatchObject([]);
    expect(table.scans).toBe(1);
  });

  it('the report of very many owners has those that were listed, and how many were not', async () => {
    const { env } = world();
    const all = Array.from({ length: 300 }, (_, i) => fileOwner(100 + i, 0, `/f${i}`));
    const reports = new ReportStore();
    const report = reports.reserve(JSON.stringify(all));
    const many = job({ report, owners: all.slice(0, 2), allOwners: { count: 310, omitted: 10 } });
    reports.put(report, reportText(many, await finishFailure(many, env)), true);
    const read = PoisonDocument.parse(JSON.parse(reports.page(report, 0, 2 ** 20, true).data.toString()));
    expect(read).toMatchObject({ owners: all, ownersOmitted: 10, policy: 'early', shutdown: false });
  });

  it('a range that was bad already is told to nobody', async () => {
    const { env, steps, table } = world();
    const report = await finishFailure(job({ newlyBad: 0 }), env);
    expect(report).toMatchObject({ newlyBad: 0, victims: [] });
    expect(report.owners).toHaveLength(2);
    expect([steps, table.scans]).toEqual([[], 0]);
  });
});

describe('whose policy holds', () => {
  const told = async (change: Partial<FailureJob>, choose?: (choices: MceKillChoices) => void) => {
    const { env, steps } = world();
    choose?.(env.choices);
    const { victims } = await finishFailure(job(change), env);
    return { results: victims.map((v) => `${v.pid} ${v.signal} ${v.result}`), steps };
  };
  const mixed = (first: 'late' | 'kill' | 'notify') => [
    { ...fileOwner(20, 1, '/a'), policy: first },
    fileOwner(21, 5, '/b'),
  ];

  it("the file's own before that of the mount", async () => {
    expect(await told({ owners: mixed('late') })).toEqual({
      results: ['100 none policy late', '101 SIGBUS delivered'],
      steps: ['invalidate 20 4096+4096', 'invalidate 21 20480+4096', 'signal 101'],
    });
    expect((await told({ owners: mixed('kill') })).results[0]).toBe('100 SIGKILL delivered');
    expect((await told({ owners: mixed('notify') })).steps).toEqual([
      'invalidate 21 20480+4096',
      'signal 101',
    ]);
  });

  it("between early and late a process's own before all", async () => {
    const [late, early] = [
      (choices: MceKillChoices) => choices.set(100, 0),
      (choices: MceKillChoices) => choices.set(101, 1),
    ];
    expect((await told({}, late)).results).toEqual(['100 none policy late', '101 SIGBUS delivered']);
    expect((await told({ policy: 'late' }, early)).results).toEqual([
      '100 none policy late',
      '101 SIGBUS delivered',
    ]);
    expect((await told({ policy: 'kill' }, late)).results[0]).toBe('100 SIGKILL delivered');
    expect((await told({ policy: 'notify' }, early)).results[1]).toBe('101 none policy notify');
  });

  it('a choice is of one process, is taken back, and ends with it', () => {
    const processes: FakeProcess[] = [{ pid: 7 }, { pid: 8, tgid: 7 }, { pid: 9 }];
    const choices = new MceKillChoices(new FakeTable(processes));
    choices.set(8, 0);
    expect(choices.apply('early', { pid: 7, startTicks: 1007 })).toBe('late');
    expect(choices.apply('early', { pid: 7, startTicks: 2000 })).toBe('early');
    expect(choices.apply('early', { pid: 9, startTicks: 1009 })).toBe('early');
    choices.set(7, 2);
    expect(choices.apply('early', { pid: 7, startTicks: 1007 })).toBe('early');
    expect(() => choices.set(7, 3)).toThrow(/EINVAL/);
    expect(() => choices.set(99, 1)).toThrow(/ESRCH/);
  });

  it('takes no more processes than MCE_KILL_PROCESSES_MAX, but for those that have ended', () => {
    const processes: FakeProcess[] = Array.from({ length: MCE_KILL_PROCESSES_MAX + 1 }, (_, i) => ({
      pid: 10 + i,
    }));
    const choices = new MceKillChoices(new FakeTable(processes));
    for (let i = 0; i < MCE_KILL_PROCESSES_MAX; i++) choices.set(10 + i, 1);
    const last = 10 + MCE_KILL_PROCESSES_MAX;
    expect(() => choices.set(last, 1)).toThrow(/ENOSPC/);
    processes[0].gone = true;
    choices.set(last, 1);
    expect(choices.apply('late', { pid: last, startTicks: 1000 + last })).toBe('early');
  });
});

describe('from the device to the owners', () => {
  const recorded: string[] = [];
  const holder = (change: Partial<Holder> = {}): Holder => ({
    record: ({ physical, length }) => {
      recorded.push(`${physical}+${length}`);
      return length;
    },
    damage: { repaired: [], lost: null },
    owners: ({ physical }) => ({ owners: [{ ...fileOwner(20, 1, '/a'), physical }], omitted: 0 }),
    ...change,
  });
  /** Two devices in stripes of two pages. */
  const stripe: Layer = {
    lostAbove: (device, { physical, length }) => {
      const pieces: MediaRange[] = [];
      for (let at = physical; at < physical + length; at += PAGE) {
        const [chunk, within] = [Math.floor(at / (2 * PAGE)), at % (2 * PAGE)];
        pieces.push({ physical: (2 * chunk + device) * 2 * PAGE + within, length: PAGE });
      }
      return pieces;
    },
  };
  const partition: Layer = {
    lostAbove: (_device, { physical, length }) =>
      physical < 100 * PAGE ? [] : [{ physical: physical - 100 * PAGE, length }],
  };

  it.each([
    ['a partition', partition, 0, 103 * PAGE, PAGE, [`${3 * PAGE}+${PAGE}`]],
    ['what lies before a partition', partition, 0, 3 * PAGE, PAGE, []],
    ['the second leg of a stripe', stripe, 1, PAGE, 2 * PAGE, [`${3 * PAGE}+${PAGE}`, `${6 * PAGE}+${PAGE}`]],
    ['a mirror with a good copy', { lostAbove: () => [] }, 0, 0, PAGE, []],
  ])('through %s', (_, layer, device, physical, length, expected) => {
    recorded.length = 0;
    const found = deviceFailed(device, { physical, length }, false, layer, holder());
    expect(recorded).toEqual(expected);
    expect(found.owners).toHaveLength(expected.length);
    expect(found.newlyBad).toBe(expected.length * PAGE);
  });

  it('asks again when nodes were made again, and knows what they were', () => {
    let asked = 0;
    const node: OwnerWithPaths = { kind: 'metadata', physical: PAGE, length: PAGE, tree: 'rmap' };
    const repaired = { repaired: [{ tree: 'rmap', physical: PAGE, length: PAGE }], lost: null };
    const owners = (): { owners: OwnerWithPaths[]; omitted: number } => ({
      owners: asked++ === 0 ? [node] : [{ ...node, tree: 'unused' }, fileOwner(20, 1, '/a')],
      omitted: 0,
    });
    const found = notifyFailure([{ physical: 0, length: PAGE }], false, holder({ damage: repaired, owners }));
    expect(found.owners.map((owner) => (owner.kind === 'metadata' ? owner.tree : owner.kind))).toEqual([
      'rmap',
      'file',
    ]);
  });

  it('goes on to the owners of other ranges when metadata are lost, and when nobody can be named', () => {
    recorded.length = 0;
    const ranges = [
      { physical: 0, length: PAGE },
      { physical: 9 * PAGE, length: PAGE },
    ];
    const damage = { repaired: [], lost: 'no inodes' };
    const found = notifyFailure(ranges, false, holder({ damage }));
    expect(recorded).toEqual(['0+4096']);
    expect(found).toMatchObject({ metadata: damage, owners: [{ physical: 0 }, { physical: 9 * PAGE }] });
    const some: Holder['owners'] = ({ physical }, most) => ({
      owners: physical === 0 ? Array(REPORT_OWNERS_MAX - 1).fill(fileOwner(20, 1, '/a')) : [],
      omitted: physical === 0 ? 5 : most,
    });
    expect(notifyFailure(ranges, false, holder({ owners: some }))).toMatchObject({ omitted: 6 });
    const unknown = (): never => {
      throw new CorruptionError(3, 'no rmap');
    };
    expect(notifyFailure(ranges, false, holder({ damage, owners: unknown })).owners).toEqual([]);
  });

  it('drops the pages of a latent error, tells nobody, and remembers who had them', async () => {
    const { env, steps } = world();
    const hidden = await finishFailure(job({ latent: true }), env);
    expect(hidden).toMatchObject({ latent: true, victims: [] });
    expect(hidden.owners).toHaveLength(2);
    expect(steps).toEqual(['invalidate 20 4096+4096', 'invalidate 21 20480+4096']);
    steps.length = 0;
    const found = await finishFailure(job({ by: 'access', accessor: 100 }), env);
    expect(found.victims.map((victim) => victim.pid)).toEqual([101]);
    expect(steps.at(-1)).toBe('signal 101');
    steps.length = 0;
    expect((await finishFailure(job(), env)).victims).toEqual([]);
  });

  it('leaves the pages alone when the blocks were bad already', async () => {
    const { env, steps } = world();
    await finishFailure(job({ latent: true, newlyBad: 0 }), env);
    expect(steps).toEqual([]);
  });
});
