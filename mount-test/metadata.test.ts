import { closeSync, openSync, readdirSync, readFileSync, readSync, unlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { control } from './support/control.js';
import { cli, type Mounted, withMount } from './support/harness.js';
import { nodeOf, ownersOf, poison } from './support/metadata.js';
import { BLOCK } from './support/poison.js';
import { errnoOfCall, run, sys, tool, waitFor } from './support/run.js';
import { Victim } from './support/victim.js';

const BLOCKS = 6;

const physicalOf = (path: string): number =>
  control(path, (client) => [...client.extents()].flat()[0].physical);

/** Every tree has a node: sharing, an attribute, a bad block; an orphan as long as the descriptor is open. */
function populate(m: Mounted): { orphan: number; contents: Map<string, Buffer> } {
  const contents = new Map<string, Buffer>();
  tool('mkdir', [m.path('d')]);
  for (const name of ['a', 'd/b', 'd/c']) {
    const bytes = Buffer.alloc(BLOCKS * BLOCK, name.at(-1));
    writeFileSync(m.path(name), bytes);
    contents.set(name, bytes);
  }
  tool('cp', [m.path('a'), m.path('copy')]);
  contents.set('copy', Buffer.alloc(BLOCKS * BLOCK, 'a'));
  tool('setfattr', ['-n', 'user.x', '-v', 'y', m.path('a')]);
  writeFileSync(m.path('orphan'), 'unlinked but open');
  const orphan = openSync(m.path('orphan'), 'r');
  unlinkSync(m.path('orphan'));
  poison(m, 1024 * BLOCK);
  return { orphan, contents };
}

function expectContents(m: Mounted, contents: ReadonlyMap<string, Buffer>): void {
  for (const [name, bytes] of contents) {
    expect(readFileSync(m.path(name)).equals(bytes), name).toBe(true);
    expect(sys('direct_read', m.path(name), 0, BLOCKS * BLOCK).ret).toBe(BLOCKS * BLOCK);
  }
}

function expectShutDown(m: Mounted): void {
  expect(errnoOfCall(() => openSync(m.path('a'), 'r'))).toBe('EIO');
  expect(errnoOfCall(() => readdirSync(m.path('d')))).toBe('EIO');
  expect(errnoOfCall(() => writeFileSync(m.path('new'), ''))).toBe('EIO');
  expect(run('stat', [m.path('a')]).stderr).toMatch(/Input\/output error/);
  expect(control(m.dir, (client) => client.info())).toMatchObject({ shutdown: true });
}

describe('a tree node whose contents other trees know', () => {
  it('is made again elsewhere, and the mount goes on', () =>
    withMount({ size: '16M' }, async (m) => {
      const { orphan, contents } = populate(m);
      const trees = ['bmap', 'rmap', 'refcount', 'free', 'badblock', 'chunk', 'parent', 'orphan'];
      const failed: number[] = [];
      for (const tree of trees) {
        const physical = nodeOf(m, tree);
        const report = poison(m, physical);
        failed.push(physical);
        expect(report.owners, tree).toMatchObject([{ kind: 'metadata', tree }]);
        expect(report, tree).toMatchObject({ shutdown: false, victims: [] });
        expect(report.metadata).toMatchObject({ repaired: [{ tree, physical }], lost: null });
        writeFileSync(m.path(`after-${tree}`), tree);
        contents.set(`after-${tree}`, Buffer.from(tree));
      }
      expect(readFileSync(orphan, 'utf8')).toBe('unlinked but open');
      closeSync(orphan);
      const inUse = ownersOf(m).filter((owner) => owner.kind === 'metadata' && owner.tree !== 'unused');
      expect(
        inUse.filter(({ physical, length }) => failed.some((f) => f >= physical && f < physical + length)),
      ).toEqual([]);
      for (const tree of trees) contents.delete(`after-${tree}`);
      expectContents(m, contents);
      await m.remount();
      expectContents(m, contents);
      for (const tree of trees) expect(readFileSync(m.path(`after-${tree}`), 'utf8')).toBe(tree);
      expect(control(m.dir, (client) => client.info().blocks.bad)).toBe(failed.length + 1);
      expect(readFileSync(m.log, 'utf8')).toMatch(
        /node of the rmap tree at \d+ has failed: it was made again/,
      );
    }));

  it('a node of the rmap with the data that it tells of: their owner is found all the same', () =>
    withMount({ size: '16M' }, async (m) => {
      writeFileSync(m.path('a'), Buffer.alloc(BLOCKS * BLOCK, 'a'));
      const victim = await Victim.start(m, m.path('a'), { length: BLOCKS * BLOCK });
      poison(m, nodeOf(m, 'rmap'));
      const report = poison(m, physicalOf(m.path('a')));
      expect(report.owners).toMatchObject([{ kind: 'file', paths: ['/a'] }]);
      expect(report.victims).toMatchObject([{ pid: victim.pid, result: 'delivered' }]);
      await victim.quit();
    }));

  it('a free metadata block goes bad without a word', () =>
    withMount({ size: '16M' }, (m) => {
      const report = poison(m, nodeOf(m, 'unused'));
      expect(report).toMatchObject({ shutdown: false, metadata: { repaired: [], lost: null } });
      writeFileSync(m.path('a'), 'x');
    }));
});

describe('metadata that stand in one place only', () => {
  it.each(['inode', 'dirent', 'xattr'])(
    'a node of the %s tree: EIO, mapped pages load, the next mount says why',
    (tree) =>
      withMount({ size: '16M', damaged: true }, async (m) => {
        const { orphan } = populate(m);
        closeSync(orphan);
        const victim = await Victim.start(m, m.path('a'), { length: BLOCKS * BLOCK, touchAt: BLOCK });
        const unmapped = openSync(m.path('d', 'b'), 'r');
        expect(readSync(unmapped, Buffer.alloc(1), 0, 1, 0)).toBe(1);
        const physical = nodeOf(m, tree);
        const report = poison(m, physical);
        expect(report).toMatchObject({ shutdown: true, victims: [] });
        expect(report.metadata?.lost).toBe(
          `a node of the ${tree} tree lies on the bad block ${physical / BLOCK}`,
        );
        expectShutDown(m);
        const cachedRead = (): string => errnoOfCall(() => readSync(unmapped, Buffer.alloc(1), 0, 1, 0));
        await waitFor('EIO for a cached page', () => (cachedRead() === 'EIO' ? true : undefined));
        closeSync(unmapped);
        expect(await victim.touch(BLOCK)).toMatchObject({ event: 'touch', value: 'a'.charCodeAt(0) });
        const again = cli('poison', m.dir, '--offset', String(physical), '--length', String(BLOCK));
        expect(again).toMatchObject({
          status: 1,
          stderr: expect.stringMatching(/has shut down.*fsck --repair/),
        });
        await victim.quit();
        await m.umount();
        const next = cli('mount', m.region, m.dir);
        expect(next.status).toBe(1);
        expect(next.stderr).toContain(report.metadata?.lost);
        expect(next.stderr).toMatch(/rmapfs fsck --repair.*-o ro/);
        expect(cli('info', m.region, '--json').json()).toMatchObject({ lastShutdown: report.metadata?.lost });
        if (tree !== 'xattr') return;
        expect(cli('mount', m.region, m.dir, '-o', 'ro').status).toBe(0);
        expect(readFileSync(m.path('d', 'b')).length).toBe(BLOCKS * BLOCK);
        expect(cli('umount', m.dir).status).toBe(0);
      }),
  );

  it('a superblock slot: shut down, and the other one is enough for the next mount', () =>
    withMount({ size: '16M' }, async (m) => {
      const { orphan, contents } = populate(m);
      closeSync(orphan);
      const report = poison(m, 0);
      expect(report).toMatchObject({ shutdown: true, owners: [{ kind: 'superblock' }] });
      expectShutDown(m);
      await m.umount();
      const next = cli('mount', m.region, m.dir);
      expect(next.status).toBe(0);
      expect(next.stderr).toMatch(/shut down: superblock slot \d lies on the bad block \d+;.*fsck --repair/);
      expectContents(m, contents);
      expect(cli('umount', m.dir).status).toBe(0);
    }));

  it('a range of data and metadata: the owners of data are told, then it shuts down', () =>
    withMount({ size: '16M', damaged: true }, async (m) => {
      const { orphan } = populate(m);
      closeSync(orphan);
      const victim = await Victim.start(m, m.path('copy'), { length: BLOCKS * BLOCK });
      const end = physicalOf(m.path('a')) + BLOCK;
      const report = poison(m, 0, end);
      await victim.settle();
      expect(victim.signals).toMatchObject([{ code: 'BUS_MCEERR_AO', address: victim.addressOf(0) }]);
      expect(report.victims).toMatchObject([{ pid: victim.pid, result: 'delivered' }]);
      const told = report.owners.flatMap((owner) => (owner.kind === 'file' ? owner.paths : []));
      expect(told).toEqual(expect.arrayContaining(['/a', '/copy']));
      expect(report.owners.map((owner) => owner.kind)).toEqual(
        expect.arrayContaining(['superblock', 'metadata']),
      );
      expect(report.shutdown).toBe(true);
      expectShutDown(m);
      expect((await victim.touch(0)).event).toBe('fault');
      await victim.quit();
    }));
});
