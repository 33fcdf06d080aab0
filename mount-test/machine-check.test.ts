import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { POISON_FLAG } from '../src/control/protocol.js';
import { control } from './support/control.js';
import { Mounted } from './support/harness.js';
import { BLOCK } from './support/poison.js';
import { Victim, type VictimOptions } from './support/victim.js';

/** What a thread sees that meets a bad block in a page fault: what a machine check gives it. */

const BLOCKS = 6;
const AT = 3 * BLOCK;
/** Not the start of the page: the address is exact. */
const WITHIN = AT + 123;
const whole: VictimOptions = { length: BLOCKS * BLOCK };

const m = new Mounted({ size: '32M' });
beforeAll(() => {
  m.mkfs();
  m.mount();
});
afterAll(() => m.cleanUp());

let made = 0;

function makeFile(): string {
  const file = m.path(`file-${made++}`);
  writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
  return file;
}

const makeLatent = (file: string): unknown =>
  control(file, (client) =>
    client.poison({ offset: AT, length: BLOCK, flags: POISON_FLAG.file | POISON_FLAG.latent, policy: 0 }),
  );

const latentBlocks = (): unknown[] =>
  control(m.dir, (client) => [...client.badBlocks()].flat().filter((range) => range.latent));

const byMachineCheck = (victim: Victim, tid = victim.pid) => ({
  event: 'fault',
  signal: 7,
  code: 'BUS_MCEERR_AR',
  address: victim.addressOf(WITHIN),
  lsb: 12,
  errno: 0,
  tid,
});

const MAPPINGS: Record<string, VictimOptions> = {
  'a shared mapping': whole,
  'a private mapping': { ...whole, map: 'private' },
  'a read-only mapping': { ...whole, prot: 'r' },
};

describe('a page fault that meets a bad block', () => {
  it('of a load or a store, latent or known: BUS_MCEERR_AR with the exact address', async () => {
    for (const [name, options] of Object.entries(MAPPINGS)) {
      for (const access of ['touch', 'store'] as const) {
        if (access === 'store' && options.prot === 'r') continue;
        const what = `${access} through ${name}`;
        const file = makeFile();
        const victim = await Victim.start(m, file, options);
        makeLatent(file);
        for (const state of ['latent', 'known']) {
          expect([what, state, await victim[access](WITHIN)]).toMatchObject([
            what,
            state,
            byMachineCheck(victim),
          ]);
          expect(latentBlocks()).toEqual([]);
        }
        expect((await victim.touch(AT - BLOCK)).event).toBe('touch');
        await victim.settle();
        expect(victim.signals).toEqual([]);
        expect((await victim.quit()).status).toBe(0);
      }
    }
  });

  it('of a second thread: that one gets it, and no other', async () => {
    const file = makeFile();
    const victim = await Victim.start(m, file, { ...whole, touchAt: AT });
    makeLatent(file);
    const fault = await victim.touchInThread(WITHIN);
    expect(fault.tid).not.toBe(victim.pid);
    expect(fault).toMatchObject(byMachineCheck(victim, fault.tid));
    await victim.settle();
    expect(victim.signals).toEqual([]);
    expect((await victim.quit()).status).toBe(0);
  });

  it('of a process in a pid namespace of its own', async () => {
    const file = makeFile();
    const victim = await Victim.start(m, file, whole, ['unshare', '--pid', '--fork', '--kill-child']);
    makeLatent(file);
    expect(await victim.touch(WITHIN)).toMatchObject(byMachineCheck(victim, 1));
    expect((await victim.quit()).status).toBe(0);
  });

  it('of many processes at once: each', async () => {
    const file = makeFile();
    const victims = await Promise.all(Array.from({ length: 12 }, () => Victim.start(m, file, whole)));
    makeLatent(file);
    const faults = await Promise.all(victims.map((victim) => victim.touch(WITHIN)));
    for (const [i, victim] of victims.entries()) expect(faults[i]).toMatchObject(byMachineCheck(victim));
    for (const victim of victims) expect((await victim.quit()).status).toBe(0);
  });

  it('of a process that does not handle SIGBUS, or blocks or ignores it: its end', async () => {
    for (const sigbus of ['default', 'block', 'ignore'] as const) {
      const file = makeFile();
      const victim = await Victim.start(m, file, { ...whole, sigbus });
      makeLatent(file);
      await expect(victim.touch(WITHIN)).rejects.toThrow(/ended/);
      expect(await victim.end()).toMatchObject({ signal: 'SIGBUS' });
    }
  });
});

describe('where no machine check can be shown', () => {
  it('an access by the kernel: EFAULT, and no signal', async () => {
    for (const how of ['load', 'store'] as const) {
      const file = makeFile();
      const victim = await Victim.start(m, file, whole);
      makeLatent(file);
      for (const state of ['latent', 'known']) {
        const call = await victim.kernelAccess(WITHIN, how);
        expect([state, call.event, call.ret, call.errno]).toEqual([state, 'call', -1, 'EFAULT']);
      }
      expect(latentBlocks()).toEqual([]);
      expect(await victim.touch(WITHIN)).toMatchObject(byMachineCheck(victim));
      expect((await victim.quit()).status).toBe(0);
    }
  });

  it('a process below a debugger: the SIGBUS that the kernel makes of EIO', async () => {
    const file = makeFile();
    const victim = await Victim.start(m, file, { ...whole, traced: true });
    makeLatent(file);
    const { lsb: _of, ...seen } = byMachineCheck(victim, victim.ownPid);
    expect(await victim.touch(WITHIN)).toMatchObject({ ...seen, code: 'BUS_ADRERR' });
    expect((await victim.quit()).status).toBe(0);
  });

  it('an access past the end of the file right after one: BUS_ADRERR as ever', async () => {
    const file = makeFile();
    const victim = await Victim.start(m, file, { length: (BLOCKS + 2) * BLOCK });
    makeLatent(file);
    expect(await victim.touch(WITHIN)).toMatchObject(byMachineCheck(victim));
    expect(await victim.touch((BLOCKS + 1) * BLOCK)).toMatchObject({ event: 'fault', code: 'BUS_ADRERR' });
    expect((await victim.quit()).status).toBe(0);
  });
});
