import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { POISON_FLAG } from '../src/control/protocol.js';
import { control } from './support/control.js';
import { cli, cliOk, type Mounted, withMount } from './support/harness.js';
import { BLOCK, poisonFile, type Report } from './support/poison.js';
import { sys, tool } from './support/run.js';
import { Victim, type VictimOptions } from './support/victim.js';

/** The block that is poisoned, and its offset. */
const BAD = 2;
const AT = BAD * BLOCK;
const BLOCKS = 6;

const makeFile = (m: Mounted, name: string): string => {
  writeFileSync(m.path(name), Buffer.alloc(BLOCKS * BLOCK, name.charCodeAt(0)));
  return m.path(name);
};
const whole: VictimOptions = { length: BLOCKS * BLOCK, touchAt: AT };

/** The one signal of a victim and the report's row for it, which must agree. */
async function expectSignalled(victim: Victim, report: Report, address: string): Promise<void> {
  await victim.settle();
  expect(victim.signals).toHaveLength(1);
  expect(victim.signals[0]).toMatchObject({ signal: 7, code: 'BUS_MCEERR_AO', address, lsb: 12, errno: 0 });
  const rows = report.victims.filter((row) => row.pid === victim.pid);
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({
    address,
    lsb: 12,
    code: 'BUS_MCEERR_AO',
    means: 'ptrace',
    result: 'delivered',
  });
}

async function expectSpared(victim: Victim, report: Report): Promise<void> {
  await victim.settle();
  expect(victim.signals).toEqual([]);
  expect(report.victims.filter((row) => row.pid === victim.pid)).toEqual([]);
  expect(victim.ended).toBeUndefined();
}

describe('the main story', () => {
  it('two mappers of a file and of its copy are signalled at the right address, a holder lives', () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      tool('cp', [a, m.path('b')]);
      const mapsA = await Victim.start(m, a, whole);
      const mapsB = await Victim.start(m, m.path('b'), whole);
      const holds = await Victim.start(m, a, { map: 'none' });
      const report = poisonFile(a, AT);
      expect(report.shutdown).toBe(false);
      expect(report.length).toBe(BLOCK);
      expect(report.owners.map((o) => [o.kind, o.paths, o.fileOffset, o.shareCount, o.open]).sort()).toEqual([
        ['file', ['/a'], AT, 2, true],
        ['file', ['/b'], AT, 2, true],
      ]);
      await expectSignalled(mapsA, report, mapsA.addressOf(AT));
      await expectSignalled(mapsB, report, mapsB.addressOf(AT));
      await expectSpared(holds, report);
      expect(report.victims).toHaveLength(2);
      for (const victim of [mapsA, mapsB]) {
        expect((await victim.touch(AT - BLOCK)).event).toBe('touch');
        expect((await victim.touch(AT + BLOCK)).event).toBe('touch');
        expect(await victim.touch(AT)).toMatchObject({ event: 'fault', signal: 7 });
      }
      for (const victim of [mapsA, mapsB, holds]) expect(await victim.quit()).toMatchObject({ status: 0 });
    }));
});

describe('signalled (policy early)', () => {
  const cases: Record<string, VictimOptions> = {
    'shared, page read': whole,
    'shared, page written': { ...whole, touch: 'write' },
    'read-only mapping': { ...whole, prot: 'r' },
    'private, page read': { ...whole, map: 'private' },
    'mapping of that block alone': { offset: AT },
    'descriptor closed after mmap': { ...whole, close: true },
    'file unlinked but mapped': { ...whole, unlink: true, close: true },
    'the same page mapped twice': { ...whole, twice: true },
    'touched by a second thread': { ...whole, thread: true },
  };
  it.each(Object.entries(cases))('%s', (_, options) =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      tool('cp', [a, m.path('b')]);
      const victim = await Victim.start(m, a, options);
      const report = poisonFile(existsSync(a) ? a : m.path('b'), AT);
      const mappedFrom = options.offset ?? 0;
      await victim.settle();
      expect(victim.signals).toHaveLength(1);
      expect(victim.signals[0]?.tid).toBe(victim.pid);
      if (options.twice) expect(report.victims).toHaveLength(1);
      else await expectSignalled(victim, report, victim.addressOf(AT, mappedFrom));
      await victim.quit();
    }),
  );

  it('a clone at another file offset', () =>
    withMount({}, async (m) => {
      const [a, b] = [makeFile(m, 'a'), makeFile(m, 'b')];
      cliOk('clone', a, b, '--src-offset', String(AT), '--dst-offset', '0', '--length', String(BLOCK));
      const victim = await Victim.start(m, b, { length: BLOCKS * BLOCK });
      await expectSignalled(victim, poisonFile(a, AT), victim.addressOf(0));
      await victim.quit();
    }));

  it('the parent of a fork whose child did not touch the page, alone', () =>
    withMount({}, async (m) => {
      const victim = await Victim.start(m, makeFile(m, 'a'), { ...whole, fork: true });
      const report = poisonFile(m.path('a'), AT);
      await victim.settle();
      expect(victim.signals.map((signal) => signal.who)).toEqual(['parent']);
      expect(report.victims.map((row) => row.pid)).toEqual([victim.pid]);
      await victim.quit();
    }));
});

describe('not signalled (policy early)', () => {
  const cases: Record<string, VictimOptions> = {
    'descriptor open, not mapped': { map: 'none' },
    'mapped, page never touched': { ...whole, touch: 'none' },
    'only another page mapped': { offset: AT + BLOCK },
    'private, page written: the copy stays': { ...whole, map: 'private', touch: 'write' },
  };
  it.each(Object.entries(cases))('%s', (name, options) =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      const victim = await Victim.start(m, a, options);
      await expectSpared(victim, poisonFile(a, AT));
      if (name.startsWith('private')) expect((await victim.touch(AT)).value).toBe('a'.charCodeAt(0));
      await victim.quit();
    }),
  );

  it('a clone whose block was copied on write before', () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      tool('cp', [a, m.path('b')]);
      sys('write', m.path('b'), AT, 10, 66);
      const victim = await Victim.start(m, m.path('b'), whole);
      const report = poisonFile(a, AT);
      expect(report.owners.map((o) => o.paths)).toEqual([['/a']]);
      await expectSpared(victim, report);
      expect((await victim.touch(AT)).value).toBe(66);
      await victim.quit();
    }));
});

describe('what a process may do with SIGBUS', () => {
  it('blocked: it stays pending', () =>
    withMount({}, async (m) => {
      const victim = await Victim.start(m, makeFile(m, 'a'), { ...whole, sigbus: 'block' });
      poisonFile(m.path('a'), AT);
      expect(await victim.pending()).toBe(true);
      expect(victim.signals).toEqual([]);
      await victim.quit();
    }));

  it('ignored: it survives', () =>
    withMount({}, async (m) => {
      const victim = await Victim.start(m, makeFile(m, 'a'), { ...whole, sigbus: 'ignore' });
      poisonFile(m.path('a'), AT);
      await victim.settle();
      expect(await victim.quit()).toMatchObject({ status: 0 });
    }));

  it('no handler: it is killed by signal 7', () =>
    withMount({}, async (m) => {
      const victim = await Victim.start(m, makeFile(m, 'a'), { ...whole, sigbus: 'default' });
      poisonFile(m.path('a'), AT);
      expect(await victim.end()).toMatchObject({ signal: 'SIGBUS' });
    }));
});

describe('policies', () => {
  it('late: nobody is told, the next touch meets the error, other pages stay', () =>
    withMount({}, async (m) => {
      const victim = await Victim.start(m, makeFile(m, 'a'), whole);
      const report = poisonFile(m.path('a'), AT, '--policy', 'late');
      await victim.settle();
      expect(victim.signals).toEqual([]);
      expect(report.victims.filter((row) => row.result === 'delivered')).toEqual([]);
      expect((await victim.touch(AT + BLOCK)).event).toBe('touch');
      expect(await victim.touch(AT)).toMatchObject({ event: 'fault', signal: 7 });
      await victim.quit();
    }));

  it("late as the mount's own policy", () =>
    withMount({ options: ['allow_other', 'policy=late'] }, async (m) => {
      const victim = await Victim.start(m, makeFile(m, 'a'), whole);
      poisonFile(m.path('a'), AT);
      await victim.settle();
      expect(victim.signals).toEqual([]);
      expect((await victim.touch(AT)).event).toBe('fault');
      await victim.quit();
    }));

  it('kill: SIGKILL instead of SIGBUS, and only to those that have the page', () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      const [victim, holder] = [await Victim.start(m, a, whole), await Victim.start(m, a, { map: 'none' })];
      poisonFile(a, AT, '--policy', 'kill');
      expect(await victim.end()).toMatchObject({ signal: 'SIGKILL' });
      await holder.settle();
      await holder.quit();
    }));

  it('notify: nothing is unmapped or signalled', () =>
    withMount({}, async (m) => {
      const victim = await Victim.start(m, makeFile(m, 'a'), whole);
      poisonFile(m.path('a'), AT, '--policy', 'notify');
      await victim.settle();
      expect(victim.signals).toEqual([]);
      expect((await victim.touch(AT)).event).toBe('touch');
      await victim.quit();
    }));
});

describe('the policy of a file and of a process', () => {
  const setPolicy = (file: string, policy: string): string =>
    sys('setxattr', file, 'user.rmapfs.policy', policy, 0).errno;

  it("the file's goes before the mount's, one named in the call before both", () =>
    withMount({ options: ['allow_other', 'policy=late'] }, async (m) => {
      const [early, late] = [makeFile(m, 'e'), makeFile(m, 'l')];
      expect(setPolicy(early, 'early')).toBe('0');
      expect(setPolicy(early, 'soon')).toBe('EINVAL');
      const victims = [await Victim.start(m, early, whole), await Victim.start(m, late, whole)];
      await expectSignalled(victims[0], poisonFile(early, AT), victims[0].addressOf(AT));
      expect(poisonFile(late, AT).victims).toMatchObject([{ result: 'policy late' }]);
      expect(setPolicy(early, 'notify')).toBe('0');
      const again = await Victim.start(m, early, { ...whole, touchAt: AT + BLOCK });
      const report = poisonFile(early, AT + BLOCK, '--policy', 'early');
      await expectSignalled(again, report, again.addressOf(AT + BLOCK));
      for (const victim of [...victims, again]) await victim.quit();
    }));

  it('each owner of a shared block by its own', () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      tool('cp', [a, m.path('b')]);
      expect(setPolicy(m.path('b'), 'kill')).toBe('0');
      const [told, killed] = [await Victim.start(m, a, whole), await Victim.start(m, m.path('b'), whole)];
      await expectSignalled(told, poisonFile(a, AT), told.addressOf(AT));
      expect(await killed.end()).toMatchObject({ signal: 'SIGKILL' });
      await told.quit();
    }));

  it('a process that asks for late is not told early, one that asks for early is told under late', () =>
    withMount({}, async (m) => {
      const [a, b] = [makeFile(m, 'a'), makeFile(m, 'b')];
      const late = await Victim.start(m, a, { ...whole, mce: 'late' });
      const early = await Victim.start(m, b, { ...whole, mce: 'early' });
      expect(poisonFile(a, AT).victims).toMatchObject([
        { pid: late.pid, means: 'none', result: 'policy late' },
      ]);
      expect(await late.touch(AT)).toMatchObject({ event: 'fault', signal: 7 });
      const report = poisonFile(b, AT, '--policy', 'late');
      await expectSignalled(early, report, early.addressOf(AT));
      expect(late.signals).toEqual([]);
      for (const victim of [late, early]) await victim.quit();
    }));
});

describe('victims that are hard to reach', () => {
  it('one that is below a debugger gets a plain SIGBUS, and the others theirs', () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      const [traced, other] = [
        await Victim.start(m, a, { ...whole, traced: true }),
        await Victim.start(m, a, whole),
      ];
      const report = poisonFile(a, AT);
      await traced.settle();
      expect(traced.signals).toMatchObject([{ signal: 7, code: 'SI_USER' }]);
      expect(report.victims.find((row) => row.pid === traced.ownPid)).toMatchObject({
        code: 'SI_USER',
        means: 'kill',
        result: 'delivered',
      });
      await expectSignalled(other, report, other.addressOf(AT));
      for (const victim of [traced, other]) await victim.quit();
    }));

  it('one in a pid namespace of its own is told like any other', () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      const victim = await Victim.start(m, a, whole, ['unshare', '--pid', '--fork', '--kill-child']);
      expect(victim.ownPid).toBe(1);
      const report = poisonFile(a, AT);
      await victim.settle();
      const address = victim.addressOf(AT);
      expect(victim.signals).toMatchObject([{ code: 'BUS_MCEERR_AO', address, pid: 1, tid: 1 }]);
      const outside = Number(readFileSync(`/proc/${victim.pid}/task/${victim.pid}/children`, 'utf8').trim());
      expect(report.victims).toMatchObject([{ pid: outside, tid: outside, address, means: 'ptrace' }]);
      await victim.quit();
    }));
});

/** Children one after the other, each of which touches all of a mapping and ends. */
const STORM = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(fd, os.fstat(fd).st_size)
print('ready', flush=True)
while True:
    child = os.fork()
    if child == 0:
        for at in range(0, len(pages), 4096): pages[at]
        os._exit(0)
    os.waitpid(child, 0)
`;
const STORMS = 3;
const STORM_BLOCKS = 40;
const STORM_POISONS = 15;

describe('victims that end', () => {
  it('while they are looked at and signalled: the run goes on, and says so', () =>
    withMount({}, async (m) => {
      writeFileSync(m.path('s'), Buffer.alloc(STORM_BLOCKS * BLOCK, 's'));
      const stays = await Victim.start(m, m.path('s'), { length: STORM_BLOCKS * BLOCK });
      const storms = Array.from({ length: STORMS }, () => m.spawn('python3', ['-c', STORM, m.path('s')]));
      await Promise.all(storms.map(({ stdout }) => stdout && once(stdout, 'data')));
      for (let i = 1; i <= STORM_POISONS; i++) {
        const at = (STORM_BLOCKS - i) * BLOCK;
        expect((await stays.touch(at)).event).toBe('touch');
        const report = control(m.path('s'), (client) =>
          client.poison({ offset: at, length: BLOCK, flags: POISON_FLAG.file, policy: 0 }),
        );
        expect(report.victims.map(({ pid }) => pid)).toContain(stays.pid);
        for (const { pid, result } of report.victims) {
          expect([pid, result]).toEqual([pid, expect.stringMatching(/^(delivered|ended|pending: .*)$/)]);
        }
        await stays.settle();
        expect(stays.signals).toHaveLength(i);
      }
      for (const storm of storms) storm.kill('SIGKILL');
      expect((await stays.quit()).status).toBe(0);
    }));

  it('by the first of two signals: the second one has nobody to go to', () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      const victim = await Victim.start(m, a, { ...whole, sigbus: 'default' });
      expect((await victim.touch(AT + BLOCK)).event).toBe('touch');
      const report = control(a, (client) =>
        client.poison({ offset: AT, length: 2 * BLOCK, flags: POISON_FLAG.file, policy: 0 }),
      );
      expect(await victim.end()).toMatchObject({ signal: 'SIGBUS' });
      const rows = report.victims.filter(({ pid }) => pid === victim.pid);
      expect(rows[0]).toMatchObject({ means: 'ptrace', result: 'delivered' });
      // On its way out it may still take a plain signal.
      expect(rows[1]).toMatchObject(
        rows[1]?.means === 'kill' ? { result: 'delivered' } : { means: 'none', result: 'ended' },
      );
    }));
});

/** RMAPFS_LONG: as many as the plan asks for; otherwise what a loaded machine does in seconds. */
const MANY = process.env.RMAPFS_LONG ? 1000 : 200;
const AT_ONCE = 20;

describe('many processes', () => {
  it(`${MANY} that map one file: all told, none twice`, () =>
    withMount({}, async (m) => {
      const a = makeFile(m, 'a');
      const victims: Victim[] = [];
      while (victims.length < MANY) {
        victims.push(
          ...(await Promise.all(Array.from({ length: AT_ONCE }, () => Victim.start(m, a, whole)))),
        );
      }
      const report = poisonFile(a, AT);
      expect(report.victims.map((row) => row.pid).sort()).toEqual(victims.map((victim) => victim.pid).sort());
      for (const victim of victims) await expectSignalled(victim, report, victim.addressOf(AT));
      for (const victim of victims) await victim.quit();
    }));

  it('other files and the daemon go on', () =>
    withMount({}, async (m) => {
      const [a, other] = [makeFile(m, 'a'), makeFile(m, 'o')];
      const bystander = await Victim.start(m, other, whole);
      await expectSpared(bystander, poisonFile(a, AT));
      const fd = openSync(other, 'r');
      expect(readFileSync(fd).length).toBe(BLOCKS * BLOCK);
      closeSync(fd);
      expect(cli('info', m.dir, '--json').json<{ blocks: { bad: number } }>().blocks.bad).toBe(1);
      await bystander.quit();
    }));
});
