import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FailureEnv, finishFailure } from '../../src/failure/chain.js';
import type { FailureJob } from '../../src/failure/job.js';
import { LatentMappers } from '../../src/failure/latent.js';
import { MceKillChoices } from '../../src/failure/mce-kill.js';
import { deviceId, Procfs } from '../../src/failure/procfs.js';
import { NativeSignaller } from '../../src/failure/signaller.js';
import { asIno } from '../../src/types.js';
import { buildVictim, VictimProcess } from '../support/victim.js';

/**
 * The chain with real processes: the table of kernel SEMANTICS "who is signalled", on a file of tmpfs (whose
 * pages cannot be dropped, which nothing here depends on).
 */

const PAGES = 64;
const BAD = 40;
let dir: string;
let file: string;
let victim: ReturnType<typeof buildVictim>;
const running: VictimProcess[] = [];

beforeAll(() => {
  victim = buildVictim();
  dir = mkdtempSync('/dev/shm/rmapfs-signals-');
  file = join(dir, 'file');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((process) => process.stop()));
});
afterAll(() => {
  rmSync(dir, { recursive: true });
  victim.remove();
});

async function start(...steps: string[]): Promise<VictimProcess> {
  const process = await VictimProcess.start(victim.program, file, ...steps);
  running.push(process);
  return process;
}

let ino = 0;
let dev = 0;

function makeFile(): void {
  writeFileSync(file, Buffer.alloc(PAGES * 4096, 'x'));
  ({ ino, dev } = statSync(file));
}

function fail(pages: number, policy: FailureJob['policy'] = 'early') {
  const env: FailureEnv = {
    device: deviceId(dev),
    table: new Procfs(),
    choices: new MceKillChoices(new Procfs()),
    mappers: new LatentMappers(),
    shutdown: async () => {},
    signaller: new NativeSignaller(),
    invalidator: { invalidate: () => {} },
    nowMicros: () => Math.round(performance.now() * 1000),
  };
  const length = pages * 4096;
  const place = { fileOffset: BAD * 4096, physical: 0, length };
  const job: FailureJob = {
    ...{
      kind: 'failure',
      reply: null,
      by: 'poison',
      pid: 0,
      accessor: 0,
      unique: 1n,
      report: 1,
      physical: 0,
      length,
      latent: false,
      policy,
      newlyBad: length,
      metadata: { repaired: [], lost: null },
    },
    owners: [
      {
        kind: 'file',
        ino: asIno(ino),
        ...place,
        fork: 'data',
        unwritten: false,
        shareCount: 1,
        paths: [],
        open: true,
      },
    ],
  };
  return finishFailure(job, env);
}

const sigbusLine = (address: number) => `sigbus 5 0x${address.toString(16)} 12`;

describe('early', () => {
  it.each([
    ['shared and written', ['shared', 'handle', `write=${BAD}`]],
    ['read only and read', ['readonly', 'handle', `read=${BAD}`]],
    ['private and read', ['private', 'handle', `read=${BAD}`]],
    ['touched by a second thread', ['shared', 'handle', `thread=${BAD}`]],
    ['closed and unlinked', ['shared', 'handle', `write=${BAD}`, 'close', 'unlink']],
  ])('%s: BUS_MCEERR_AO at the page', async (_, steps) => {
    makeFile();
    const process = await start(...steps);
    const address = process.values('map')[0] + BAD * 4096;
    expect((await fail(1)).victims).toEqual([
      {
        ...{ pid: process.pid, tid: process.pid, comm: 'victim', ino, fileOffset: BAD * 4096 },
        ...{ address: `0x${address.toString(16)}`, lsb: 12, signal: 'SIGBUS', code: 'BUS_MCEERR_AO' },
        ...{ means: 'ptrace', result: 'delivered' },
      },
    ]);
    await process.until(() => process.sigbus.length > 0, 'SIGBUS');
    expect(process.sigbus).toEqual([sigbusLine(address)]);
    expect(process.alive).toBe(true);
  });

  it.each([
    ['only open', ['handle']],
    ['mapped, not touched', ['shared', 'handle']],
    ['other pages written', ['shared', 'handle', `write=${BAD - 1}`, `write=${BAD + 1}`]],
    ['private and written', ['private', 'handle', `write=${BAD}`]],
  ])('%s: nothing', async (_, steps) => {
    makeFile();
    const process = await start(...steps);
    expect((await fail(1)).victims).toEqual([]);
    expect(process.sigbus).toEqual([]);
  });

  it('a fork child that did not touch the page is left alone', async () => {
    makeFile();
    const parent = await start('shared', 'handle', `write=${BAD}`, 'fork');
    expect((await fail(1)).victims.map((v) => v.pid)).toEqual([parent.pid]);
  });

  it('every bad page of a range has its own signal and address', async () => {
    makeFile();
    const process = await start('shared', 'handle', `write=${BAD}`, `write=${BAD + 2}`, `write=${BAD + 5}`);
    const base = process.values('map')[0];
    const addresses = [BAD, BAD + 2, BAD + 5].map((page) => base + page * 4096);
    expect((await fail(6)).victims.map((v) => v.result)).toEqual(['delivered', 'delivered', 'delivered']);
    await process.until(() => process.sigbus.length === 3, 'three SIGBUS');
    expect(process.sigbus).toEqual(addresses.map(sigbusLine));
  });

  it('without a handler the process is killed by SIGBUS', async () => {
    makeFile();
    const process = await start('shared', `write=${BAD}`);
    expect((await fail(1)).victims).toMatchObject([{ means: 'ptrace', result: 'delivered' }]);
    await process.until(() => !process.alive, 'end');
    expect(process.killedBy).toBe('SIGBUS');
  });

  it('blocked: the signal stays pending, one for all pages', async () => {
    makeFile();
    const process = await start('shared', 'handle', 'block', `write=${BAD}`, `write=${BAD + 1}`);
    const results = (await fail(2)).victims.map((v) => [v.means, v.code, v.result.split(':')[0]]);
    expect(results).toEqual([
      ['kill', 'SI_TKILL', 'pending'],
      ['none', 'none', 'merged'],
    ]);
    expect(process.sigbus).toEqual([]);
    process.unblock();
    await process.until(() => process.sigbus.length > 0, 'SIGBUS');
    // SI_TKILL: no address.
    expect(process.sigbus.length).toBe(1);
    expect(process.sigbus[0]).toMatch(/^sigbus -6 /);
  });

  it('ignored: the process survives', async () => {
    makeFile();
    const process = await start('shared', 'ignore', `write=${BAD}`);
    expect((await fail(1)).victims).toMatchObject([
      { means: 'none', result: expect.stringMatching(/^ignored/) },
    ]);
    expect(process.alive).toBe(true);
  });

  it('a stopped process gets its signal when it goes on', async () => {
    makeFile();
    const stopped = await start('shared', 'handle', `write=${BAD}`);
    process.kill(stopped.pid, 'SIGSTOP');
    const [row] = (await fail(1)).victims;
    process.kill(stopped.pid, 'SIGCONT');
    await stopped.until(() => stopped.sigbus.length > 0, 'SIGBUS');
    expect(stopped.sigbus).toEqual([sigbusLine(stopped.values('map')[0] + BAD * 4096)]);
    expect(row).toMatchObject({ means: 'ptrace', result: 'delivered' });
  });
});

describe('other policies', () => {
  it('kill kills', async () => {
    makeFile();
    const process = await start('shared', 'ignore', `write=${BAD}`);
    expect((await fail(1, 'kill')).victims).toMatchObject([
      { signal: 'SIGKILL', means: 'sigkill', result: 'delivered' },
    ]);
    await process.until(() => !process.alive, 'end');
    expect(process.killedBy).toBe('SIGKILL');
  });

  it('late lists but does not signal', async () => {
    makeFile();
    const process = await start('shared', 'handle', `write=${BAD}`);
    expect((await fail(1, 'late')).victims).toMatchObject([
      { pid: process.pid, means: 'none', result: 'policy late' },
    ]);
    expect(process.sigbus).toEqual([]);
  });
});

it('says how it went with a process that is not there', () => {
  const signaller = new NativeSignaller();
  // Above the largest pid_max there is.
  const pid = 2 ** 22 + 1;
  expect(signaller.plain(pid, 'SIGKILL')).toBe('ended');
  expect(signaller.sigbus({ pid, tid: pid, startTicks: 0, code: 5, address: 4096, lsb: 12 })).toBe('ended');
});
