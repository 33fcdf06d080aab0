import { readFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CLI, cli, cliOk, type Mounted, withMount } from './support/harness.js';
import {
  type BadRange,
  BLOCK,
  badBlocks,
  physicalOf,
  poisonFile,
  poisonPhysical,
  unreadable,
} from './support/poison.js';
import { run, sys, tool } from './support/run.js';
import { Victim } from './support/victim.js';

const BLOCKS = 6;
const BAD = 2;
const AT = BAD * BLOCK;
const PUNCH = 3;
const ZERO_KEEP = 17;

/** A file of six blocks whose third is bad. Returns its path and where the bad block lies. */
function withBadBlock(m: Mounted, name = 'a'): { file: string; physical: number } {
  const file = m.path(name);
  writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, name.charCodeAt(0)));
  const physical = physicalOf(file, AT);
  expect(poisonFile(file, AT)).toMatchObject({ physical, length: BLOCK, latent: false });
  return { file, physical };
}

describe('reading', () => {
  it('EIO at the block through every way of reading, the neighbours read fine', () =>
    withMount({}, (m) => {
      const { file } = withBadBlock(m);
      expect(unreadable(file, BLOCKS)).toEqual([BAD]);
      expect(sys('read', file, AT + 100, 10).errno).toBe('EIO');
      expect(sys('direct_read', file, AT, BLOCK).errno).toBe('EIO');
      expect(sys('direct_read', file, AT + BLOCK, BLOCK).ret).toBe(BLOCK);
      expect(sys('read', file, 0, BLOCKS * BLOCK).ret).toBe(AT);
      expect(run('cat', [file]).stdout.length).toBe(AT);
      expect(run('cat', [file]).stderr).toMatch(/Input\/output error/);
      const saved = run('dd', [
        `if=${file}`,
        `of=${m.base}/saved`,
        'bs=4096',
        'conv=noerror,sync',
        'status=none',
      ]);
      expect(saved.signal).toBeNull();
      const expected = Buffer.alloc(BLOCKS * BLOCK, 'a').fill(0, AT, AT + BLOCK);
      expect(readFileSync(`${m.base}/saved`).equals(expected)).toBe(true);
    }));

  it('EIO in both files that share the block', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a'), Buffer.alloc(BLOCKS * BLOCK, 'a'));
      tool('cp', [m.path('a'), m.path('b')]);
      poisonFile(m.path('b'), AT);
      expect([unreadable(m.path('a'), BLOCKS), unreadable(m.path('b'), BLOCKS)]).toEqual([[BAD], [BAD]]);
    }));

  it('stat, fsync, seek, rename, extents and cp as a clone still succeed', () =>
    withMount({}, (m) => {
      const { file } = withBadBlock(m);
      expect(sys('statx', file).size).toBe(BLOCKS * BLOCK);
      expect(sys('seek', file, 'data', AT).ret).toBe(AT);
      tool('sync', [file]);
      cliOk('clone', file, m.path('clone'));
      expect(unreadable(m.path('clone'), BLOCKS)).toEqual([BAD]);
      const flags = cli('extents', file, '--json').json<{ fileOffset: number; flags: string[] }[]>();
      expect(flags.find((e) => e.fileOffset === AT)?.flags).toContain('bad');
      tool('mv', [file, m.path('moved')]);
      expect(unreadable(m.path('moved'), BLOCKS)).toEqual([BAD]);
    }));
});

describe('writing', () => {
  it('a part of the block: EIO, and nothing heals', () =>
    withMount({}, (m) => {
      const { file } = withBadBlock(m);
      expect(sys('write', file, AT + 10, 100, 1).errno).toMatch(/EIO|EFAULT/);
      expect(unreadable(file, BLOCKS)).toEqual([BAD]);
      expect(badBlocks(m)).toHaveLength(1);
    }));

  it('the whole block by its only owner: written and healed, in place', () =>
    withMount({}, (m) => {
      const { file, physical } = withBadBlock(m);
      expect(sys('write', file, AT, BLOCK, 0x77).ret).toBe(BLOCK);
      expect(unreadable(file, BLOCKS)).toEqual([]);
      expect(readFileSync(file).equals(Buffer.alloc(BLOCKS * BLOCK, 'a').fill(0x77, AT, AT + BLOCK))).toBe(
        true,
      );
      expect(badBlocks(m)).toEqual([]);
      expect(physicalOf(file, AT)).toBe(physical);
    }));

  it('several blocks across it, and with O_DIRECT: written and healed', () =>
    withMount({}, (m) => {
      const { file } = withBadBlock(m);
      expect(sys('write', file, BLOCK, 3 * BLOCK, 0x78).ret).toBe(3 * BLOCK);
      const { file: other } = withBadBlock(m, 'o');
      expect(sys('direct_write', other, AT, BLOCK, 0x79).ret).toBe(BLOCK);
      expect([...unreadable(file, BLOCKS), ...unreadable(other, BLOCKS)]).toEqual([]);
      expect(badBlocks(m)).toEqual([]);
    }));

  it('the write-back of a mapped page never heals', () =>
    withMount({}, async (m) => {
      const file = m.path('a');
      writeFileSync(file, Buffer.alloc(BLOCKS * BLOCK, 'a'));
      const victim = await Victim.start(m, file, { length: BLOCKS * BLOCK, touchAt: AT });
      await victim.store(AT);
      poisonFile(file, AT);
      run('sync', [file]);
      await victim.settle();
      expect(unreadable(file, BLOCKS)).toEqual([BAD]);
      expect(badBlocks(m)).toHaveLength(1);
      expect((await victim.store(AT)).event).toBe('fault');
      await victim.quit();
      run('sync', [m.dir]);
      await m.remount();
      expect(unreadable(file, BLOCKS)).toEqual([BAD]);
    }));
});

describe('shared bad blocks', () => {
  it('the last owner that is left heals it with a whole-block write', () =>
    withMount({}, (m) => {
      const { file, physical } = withBadBlock(m);
      cliOk('clone', file, m.path('b'));
      unlinkSync(file);
      expect(sys('write', m.path('b'), AT, BLOCK, 0x62).ret).toBe(BLOCK);
      expect(unreadable(m.path('b'), BLOCKS)).toEqual([]);
      expect(badBlocks(m).some((range) => range.physical === physical)).toBe(false);
    }));

  it('a part write to a shared bad block is EIO and leaves both files as they are', () =>
    withMount({}, (m) => {
      const { file } = withBadBlock(m);
      cliOk('clone', file, m.path('b'));
      expect(sys('write', m.path('b'), AT + 1, 10, 1).errno).toBe('EIO');
      expect([unreadable(file, BLOCKS), unreadable(m.path('b'), BLOCKS)]).toEqual([[BAD], [BAD]]);
    }));
});

describe('taking a file off the block', () => {
  const ways: Record<string, (file: string) => void> = {
    'punch hole': (file) => void expect(sys('fallocate', file, PUNCH, AT, BLOCK).errno).toBe('0'),
    'zero range': (file) => void expect(sys('fallocate', file, ZERO_KEEP, AT, BLOCK).errno).toBe('0'),
    'truncate and extend': (file) => {
      truncateSync(file, AT);
      truncateSync(file, BLOCKS * BLOCK);
    },
  };
  it.each(Object.entries(ways))('%s: reads as zeros; the block stays bad and is passed over', (_, takeOff) =>
    withMount({ size: '8M' }, async (m) => {
      const { file, physical } = withBadBlock(m);
      takeOff(file);
      expect(unreadable(file, BLOCKS)).toEqual([]);
      expect(
        readFileSync(file)
          .subarray(AT, AT + BLOCK)
          .every((byte) => byte === 0),
      ).toBe(true);
      expect(badBlocks(m).map((range) => [range.physical, range.length])).toEqual([[physical, BLOCK]]);
      await m.remount();
      run('dd', ['if=/dev/zero', `of=${m.path('fill')}`, 'bs=4096']);
      expect(run('cmp', [m.path('fill'), '/dev/zero']).stderr).toMatch(/EOF on .*fill/);
      const owners = cli('owners', m.dir, '--offset', String(physical), '--length', String(BLOCK), '--json');
      expect(owners.json<{ kind: string }[]>().map((owner) => owner.kind)).toEqual(['free']);
    }),
  );

  it('punch of a part and truncate into the middle: EIO', () =>
    withMount({}, (m) => {
      const { file } = withBadBlock(m);
      expect(sys('fallocate', file, PUNCH, AT + 10, 100).errno).toBe('EIO');
      expect(() => truncateSync(file, AT + 100)).toThrow('EIO');
      expect(unreadable(file, BLOCKS)).toEqual([BAD]);
    }));

  it('unlink: the file goes, the block stays bad in free space', () =>
    withMount({}, (m) => {
      const { file, physical } = withBadBlock(m);
      unlinkSync(file);
      tool('sync', [m.dir]);
      expect(badBlocks(m).map((range) => range.physical)).toEqual([physical]);
    }));
});

/** Offsets of the blocks of a range: neighbours may be listed in one range or in two. */
const blocksOf = (range: BadRange): number[] =>
  Array.from({ length: range.length / BLOCK }, (_, i) => range.physical + i * BLOCK);

describe('the list of bad blocks', () => {
  it('survives a remount and kill -9, and is emptied by unpoison', () =>
    withMount({}, async (m) => {
      const { file, physical } = withBadBlock(m);
      poisonFile(file, AT + BLOCK);
      const expected = [physical, physical + BLOCK];
      const list = () => badBlocks(m).flatMap(blocksOf);
      expect(list()).toEqual(expected);
      await m.remount();
      expect(list()).toEqual(expected);
      await m.kill9();
      m.mount();
      expect(list()).toEqual(expected);
      expect(unreadable(file, BLOCKS)).toEqual([BAD, BAD + 1]);
      cliOk('unpoison', m.dir, '--offset', String(physical), '--length', String(2 * BLOCK));
      expect(list()).toEqual([]);
      expect(unreadable(file, BLOCKS)).toEqual([]);
      expect(readFileSync(file).every((byte) => byte === 0x61)).toBe(true);
    }));

  it('badblocks of an unmounted region is the same list', () =>
    withMount({}, async (m) => {
      withBadBlock(m);
      const mounted = badBlocks(m);
      await m.umount();
      expect(cli('badblocks', m.region, '--json').json()).toEqual(mounted);
      m.mount();
    }));

  it('poison of free space tells nobody, and files are laid around it', () =>
    withMount({ size: '8M' }, (m) => {
      writeFileSync(m.path('a'), 'x');
      const map = cli('fsmap', m.dir, '--json').json<
        { physical: number; length: number; owner: { kind: string } }[]
      >();
      const free = map.find((record) => record.owner.kind === 'free' && record.length > 64 * BLOCK);
      if (!free) throw new Error('a fresh region has no free run of 64 blocks');
      const report = poisonPhysical(m, free.physical, 2 * BLOCK);
      expect(report).toMatchObject({ victims: [], shutdown: false });
      expect(report.owners.every((owner) => owner.kind === 'free')).toBe(true);
      run('dd', ['if=/dev/zero', `of=${m.path('fill')}`, 'bs=64k']);
      expect(run('cat', [m.path('fill')]).stderr).toBe('');
    }));

  it('poisoning a bad block again says so and changes nothing', () =>
    withMount({}, (m) => {
      const { file } = withBadBlock(m);
      const before = badBlocks(m);
      const again = cli('poison', '--file', file, '--offset', String(AT), '--length', String(BLOCK));
      expect(again).toMatchObject({ status: 0, stdout: expect.stringMatching(/^The range was bad already/) });
      expect(badBlocks(m)).toEqual(before);
    }));

  it('poison is for root and the user who mounted: EPERM for others, with the reason', () =>
    withMount({}, (m) => {
      writeFileSync(m.path('a'), 'x');
      const args = [CLI, 'poison', m.dir, '--offset', '0', '--length', String(BLOCK)];
      const refused = run(process.execPath, args, { uid: 65534, gid: 65534 });
      expect(refused).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/allowed to root and to the user/),
      });
      expect(badBlocks(m)).toEqual([]);
    }));
});
