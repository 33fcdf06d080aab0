import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { control } from './support/control.js';
import { CLI, cli, cliOk, type Mounted, withMount } from './support/harness.js';
import { BLOCK, badBlocks, physicalOf, poisonFile, poisonPhysical, unreadable } from './support/poison.js';
import { run, runAs, sys, tool, waitFor } from './support/run.js';
import { Victim } from './support/victim.js';

const BLOCKS = 6;
const BAD = 3;
const AT = BAD * BLOCK;
const LIMIT_MS = 30_000;

interface Event {
  type: string;
  [field: string]: unknown;
}

const eventsOf = (m: Mounted): Event[] => cli('events', m.dir, '--json').json<{ events: Event[] }>().events;
const errorsOf = (m: Mounted): Event[] => eventsOf(m).filter((event) => event.type === 'media-error');
/** The chain goes on when whoever met the error has its answer already. */
const errorOf = (m: Mounted): Promise<Event> => waitFor('an event', () => errorsOf(m)[0], LIMIT_MS);

/** A file with a latent error in its fourth block. */
function withLatent(m: Mounted, name = 'a'): string {
  const file = m.path(name);
  writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, name));
  poisonFile(file, AT, '--latent');
  return file;
}

describe('a latent error', () => {
  it('is known to nobody until the block is read, not by readahead, and to all after that', () =>
    withMount({}, async (m) => {
      const file = m.path('a');
      writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
      expect(sys('read', file, 0, BLOCKS * BLOCK).ret).toBe(BLOCKS * BLOCK);
      const report = poisonFile(file, AT, '--latent');
      expect(report).toMatchObject({ latent: true, victims: [] });
      const range = { physical: report.physical, length: BLOCK };
      expect(sys('read', file, 0, BLOCK).ret).toBe(BLOCK);
      expect(sys('read', file, 0, AT).ret).toBe(AT);
      expect(badBlocks(m)).toMatchObject([{ ...range, latent: true }]);
      expect(eventsOf(m)).toEqual([]);
      expect(sys('read', file, AT, BLOCK).errno).toBe('EIO');
      expect(badBlocks(m)).toMatchObject([{ ...range, latent: false }]);
      expect(await errorOf(m)).toMatchObject({ ...range, by: 'access', owners: 1, pid: expect.any(Number) });
      expect(eventsOf(m)[1]).toMatchObject({ type: 'data-lost', paths: ['/a'], fileOffset: AT });
      expect(unreadable(file, BLOCKS)).toEqual([BAD]);
      expect(errorsOf(m)).toHaveLength(1);
    }));

  it('met by read(2): the reader gets EIO, and who has the page mapped is told', () =>
    withMount({}, async (m) => {
      const file = m.path('a');
      writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
      const victim = await Victim.start(m, file, { length: BLOCKS * BLOCK, touchAt: AT });
      const other = await Victim.start(m, file, { length: BLOCKS * BLOCK, touch: 'none' });
      poisonFile(file, AT, '--latent');
      await victim.settle();
      expect(victim.signals).toEqual([]);
      expect(sys('direct_read', file, AT, BLOCK).errno).toBe('EIO');
      expect(await errorOf(m)).toMatchObject({ by: 'access', victims: 1 });
      await victim.settle();
      await other.settle();
      expect(victim.signals).toMatchObject([
        { code: 'BUS_MCEERR_AO', address: victim.addressOf(AT), lsb: 12 },
      ]);
      expect(other.signals).toEqual([]);
      for (const each of [victim, other]) expect((await each.quit()).status).toBe(0);
    }));

  it('met through a mapping: SIGBUS for who touches it, once, and the others are told', () =>
    withMount({}, async (m) => {
      const file = m.path('a');
      writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
      const options = { length: BLOCKS * BLOCK, touchAt: AT };
      const [toucher, other] = [await Victim.start(m, file, options), await Victim.start(m, file, options)];
      poisonFile(file, AT, '--latent');
      const fault = await toucher.touch(AT);
      expect(fault).toMatchObject({ event: 'fault', address: toucher.addressOf(AT) });
      expect(await errorOf(m)).toMatchObject({ by: 'access', victims: 1, pid: toucher.pid });
      for (const each of [toucher, other]) await each.settle();
      expect(toucher.signals).toEqual([]);
      expect(other.signals).toMatchObject([{ code: 'BUS_MCEERR_AO', address: other.addressOf(AT) }]);
      expect((await other.touch(AT)).event).toBe('fault');
      expect((await other.touch(AT - BLOCK)).event).toBe('touch');
      for (const each of [toucher, other]) expect((await each.quit()).status).toBe(0);
    }));

  it('met by copy-on-write of a shared block: EIO, and it is known', () =>
    withMount({}, async (m) => {
      const file = m.path('a');
      writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
      tool('cp', [file, m.path('b')]);
      poisonFile(file, AT, '--latent');
      expect(sys('write', m.path('b'), AT + 10, 100, 1).errno).toBe('EIO');
      expect(await errorOf(m)).toMatchObject({ by: 'access', owners: 2 });
      expect(badBlocks(m)).toMatchObject([{ latent: false }]);
    }));

  it('is healed by a write of the whole block without anybody having known', () =>
    withMount({}, (m) => {
      const file = withLatent(m);
      expect(sys('write', file, AT, BLOCK, 0x77).ret).toBe(BLOCK);
      expect(unreadable(file, BLOCKS)).toEqual([]);
      expect([badBlocks(m), eventsOf(m)]).toEqual([[], []]);
    }));

  it('stays latent when a dirty page of it is written back, and over a remount', () =>
    withMount({}, async (m) => {
      const file = m.path('a');
      writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
      const victim = await Victim.start(m, file, { length: BLOCKS * BLOCK, touch: 'write', touchAt: AT });
      poisonFile(file, AT, '--latent');
      expect((await victim.quit()).status).toBe(0);
      await m.remount();
      expect(badBlocks(m)).toMatchObject([{ latent: true }]);
      expect(eventsOf(m)).toEqual([]);
      expect(unreadable(file, BLOCKS)).toEqual([BAD]);
      expect(badBlocks(m)).toMatchObject([{ latent: false }]);
    }));
});

function rmapNode(m: Mounted): { physical: number } {
  const node = cli('fsmap', m.dir, '--json')
    .json<{ physical: number; owner: { kind: string; tree?: string } }[]>()
    .find(({ owner }) => owner.kind === 'metadata' && owner.tree === 'rmap');
  if (node === undefined) throw new Error('no node of the reverse map');
  return node;
}

interface Scrub {
  from: number;
  position: number;
  size: number;
  complete: boolean;
  latent: { physical: number; length: number; owners: { paths: string[] }[]; victims: { pid: number }[] }[];
  damaged: unknown[];
}

const scrub = (m: Mounted, ...args: string[]): Scrub =>
  cli('scrub', m.dir, '--max-io', '1M', '--rest-us', '0', ...args, '--json').json<Scrub>();

describe('rmapfs scrub', () => {
  it('finds latent errors, says whose they are, and whoever maps them is told', () =>
    withMount({ size: '16M' }, async (m) => {
      const file = withLatent(m);
      tool('cp', [file, m.path('b')]);
      poisonFile(file, 0, '--latent');
      const victim = await Victim.start(m, m.path('b'), { length: BLOCK, touch: 'none' });
      const physical = [0, AT].map((offset) => physicalOf(file, offset));
      const found = scrub(m);
      expect(found).toMatchObject({ from: 0, position: found.size, complete: true, damaged: [] });
      expect(found.latent.map((report) => [report.physical, report.length])).toEqual(
        physical.map((at) => [at, BLOCK]),
      );
      for (const { owners } of found.latent) expect(owners.map((o) => o.paths[0])).toEqual(['/a', '/b']);
      expect(badBlocks(m).map((range) => range.latent)).toEqual([false, false]);
      expect(errorsOf(m)).toMatchObject([{ by: 'scrub' }, { by: 'scrub' }]);
      expect(unreadable(m.path('b'), BLOCKS)).toEqual([0, BAD]);
      expect(scrub(m).latent).toEqual([]);
      expect((await victim.quit()).status).toBe(0);
      expect(cliOk('scrub', m.dir)).toMatch(/0 bytes with latent errors/);
    }));

  it('goes on where it was stopped, and from the start after its end', () =>
    withMount({ size: '16M' }, async (m) => {
      withLatent(m);
      const slow = ['--max-io', '1M', '--rest-us', '5000000', '--json'];
      const child = m.spawn(process.execPath, [CLI, 'scrub', m.dir, ...slow]);
      let out = '';
      child.stdout?.on('data', (chunk: Buffer) => {
        out += chunk.toString();
      });
      const ended = new Promise<number | null>((done) => child.on('close', done));
      // Its first step comes upon the error; some 15 are left, with 5 seconds before each.
      await waitFor('the first step', () => (badBlocks(m)[0]?.latent === false ? true : undefined), LIMIT_MS);
      child.kill('SIGINT');
      expect(await ended).toBe(130);
      const stopped = JSON.parse(out) as Scrub;
      expect(stopped).toMatchObject({ from: 0, complete: false });
      expect(stopped.latent).toHaveLength(1);
      expect(stopped.position).toBeGreaterThanOrEqual(physicalOf(m.path('a'), AT) + BLOCK);
      const steps = control(m.dir, (client) => [
        client.scrub(BLOCK, false).from,
        client.scrub(BLOCK, true).from,
      ]);
      expect(steps).toEqual([stopped.position, 0]);
      expect(scrub(m)).toMatchObject({ from: BLOCK, complete: true, latent: [] });
      expect(scrub(m).from).toBe(0);
    }));

  it('finds a latent error in metadata, which is made again', () =>
    withMount({ size: '16M' }, async (m) => {
      withLatent(m);
      cliOk('unpoison', m.dir, '--offset', '0', '--length', '18446744073709551615');
      const node = rmapNode(m);
      poisonPhysical(m, node.physical, BLOCK, '--latent');
      expect(scrub(m).latent).toMatchObject([{ physical: node.physical, length: BLOCK }]);
      expect(badBlocks(m)).toMatchObject([{ physical: node.physical, latent: false }]);
      const types = eventsOf(m).map((event) => event.type);
      expect(types).toContain('metadata-repaired');
      // Who comes upon one notices nothing.
      const next = rmapNode(m);
      poisonPhysical(m, next.physical, BLOCK, '--latent');
      writeFileSync(m.path('b'), Buffer.alloc(BLOCKS * BLOCK, 'b'));
      expect(await waitFor('the second error', () => errorsOf(m)[1], LIMIT_MS)).toMatchObject({
        by: 'access',
      });
      expect(badBlocks(m).filter((range) => range.latent)).toEqual([]);
      expect(unreadable(m.path('b'), BLOCKS)).toEqual([]);
      expect(unreadable(m.path('a'), BLOCKS)).toEqual([]);
    }));

  it('is for root and the owner of the mount', () =>
    withMount({ size: '16M' }, (m) => {
      const done = runAs(65534, process.execPath, CLI, 'scrub', m.dir);
      expect([done.status, done.stderr]).toEqual([
        1,
        expect.stringMatching(/root and to the user who mounted/),
      ]);
    }));
});

describe('poison that cannot be', () => {
  it('of an unmounted filesystem, of one that is shut down, and of what is bad already', () =>
    withMount({ size: '16M' }, async (m) => {
      const file = m.path('a');
      writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
      poisonFile(file, AT);
      const again = cli('poison', '--file', file, '--offset', String(AT), '--length', '4K');
      expect([again.status, again.stdout]).toEqual([
        0,
        expect.stringMatching(/was bad already: nothing was changed/),
      ]);
      expect(errorsOf(m)).toHaveLength(1);
      cliOk('poison', m.dir, '--offset', '0', '--length', '4K');
      const down = cli('poison', m.dir, '--offset', '1M', '--length', '4K');
      expect([down.status, down.stderr]).toEqual([1, expect.stringMatching(/^rmapfs: cannot poison .*shut/)]);
      await m.umount();
      const gone = cli('poison', m.dir, '--offset', '1M', '--length', '4K');
      expect([gone.status, gone.stderr]).toEqual([1, expect.stringMatching(/is not on a mounted rmapfs/)]);
      expect(run('ls', ['-A', m.dir]).stdout).toBe('');
    }));
});
