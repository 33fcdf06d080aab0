import { closeSync, fsyncSync, openSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeFallocateRequest } from '../src/control/codec.js';
import { systemIoctl } from '../src/control/ioctl.js';
import { EXTENT_FLAG, IOC, POISON_FLAG } from '../src/control/protocol.js';
import { control } from './support/control.js';
import { Mounted } from './support/harness.js';
import { BLOCK, unreadable } from './support/poison.js';
import { errnoOfCall, sys, tool } from './support/run.js';
import { Victim } from './support/victim.js';

/**
 * What kernel XFS does with a bad block, operation by operation, on a block with one owner and on a shared one.
 * Where rmapfs differs the expectation says so, and docs/SEMANTICS.md has a row.
 */

const BLOCKS = 6;
const BAD = 2;
const AT = BAD * BLOCK;
const KEEP_PUNCH = 3;
const KEEP_ZERO = 17;
const UNSHARE = 64;

const mounted = new Mounted({ size: '32M' });
beforeAll(() => {
  mounted.mkfs();
  mounted.mount();
});
afterAll(() => mounted.cleanUp());

type Sharing = 'shared' | 'not shared';

interface File {
  path: string;
  /** The other owner of a shared block. */
  other: string | null;
  /** Region offset of the bad block. */
  physical: number;
}

let made = 0;

/** Six blocks of "a", the third of which is bad. */
function badFile(sharing: Sharing): File {
  const path = mounted.path(`file-${made++}`);
  writeFileSync(path, Buffer.alloc(BLOCKS * BLOCK, 'a'));
  const other = sharing === 'shared' ? `${path}-other` : null;
  if (other !== null) tool('cp', [path, other]);
  const request = { offset: AT, length: BLOCK, flags: POISON_FLAG.file, policy: 0 };
  const report = control(path, (client) => client.poison(request));
  expect(report.owners).toHaveLength(sharing === 'shared' ? 2 : 1);
  return { path, other, physical: report.physical };
}

const isBad = (physical: number): boolean =>
  control(mounted.path('file-0'), (client) =>
    [...client.badBlocks()]
      .flat()
      .some((range) => range.physical <= physical && physical < range.physical + range.length),
  );

const unshare = (path: string): string =>
  errnoOfCall(() =>
    control(
      path,
      ({ fd }) =>
        systemIoctl(
          fd,
          IOC.fallocate,
          'write',
          encodeFallocateRequest({ mode: UNSHARE, offset: AT, length: BLOCK }),
        ),
      'r+',
    ),
  );

const cloneTo = (path: string, target: string): string => {
  writeFileSync(target, '');
  return errnoOfCall(() =>
    control(path, (source) =>
      control(target, (to) => to.clone(source, { srcOffset: 0, dstOffset: 0, length: BLOCKS * BLOCK }), 'r+'),
    ),
  );
};

/** Fails unless the other owner has its file as it was, with the bad block. */
function expectOtherKept({ other }: File): void {
  if (other !== null) expect(unreadable(other, BLOCKS)).toEqual([BAD]);
}

describe.each<Sharing>(['not shared', 'shared'])('a bad block that is %s', (sharing) => {
  const inMapping = (options: object): Promise<{ victim: Victim; file: File }> => {
    const file = badFile(sharing);
    return Victim.start(mounted, file.path, { length: BLOCKS * BLOCK, touch: 'none', ...options }).then(
      (victim) => ({
        victim,
        file,
      }),
    );
  };

  it('read(2), O_DIRECT: EIO; one that begins before it stops short', () => {
    const { path } = badFile(sharing);
    expect(sys('read', path, AT, BLOCK)).toMatchObject({ ret: -1, errno: 'EIO' });
    expect(sys('direct_read', path, AT, BLOCK)).toMatchObject({ ret: -1, errno: 'EIO' });
    expect(sys('read', path, 0, BLOCKS * BLOCK).ret).toBe(AT);
    expect(sys('direct_read', path, 0, BLOCKS * BLOCK).ret).toBe(AT);
  });

  it.each(['shared', 'private'] as const)('load through a %s mapping: SIGBUS AR', async (map) => {
    const { victim } = await inMapping({ map });
    expect(await victim.touch(AT)).toMatchObject({ event: 'fault', signal: 7, code: 'BUS_MCEERR_AR' });
    expect((await victim.touch(AT - BLOCK)).event).toBe('touch');
    await victim.quit();
  });

  it('store through a mapping: SIGBUS AR (shared: BUS_ADRERR in the kernel), and nothing heals', async () => {
    const { victim, file } = await inMapping({});
    expect(await victim.store(AT)).toMatchObject({ event: 'fault', signal: 7, code: 'BUS_MCEERR_AR' });
    await victim.quit();
    expect(unreadable(file.path, BLOCKS)).toEqual([BAD]);
    expectOtherKept(file);
  });

  it('write(2) of a part of the block: EIO', () => {
    const file = badFile(sharing);
    expect(sys('write', file.path, AT + 10, 100, 1).errno).toBe('EIO');
    expect(sys('write', file.path, AT, 100, 1).errno).toBe('EIO');
    expect(unreadable(file.path, BLOCKS)).toEqual([BAD]);
    expectOtherKept(file);
  });

  it.each([
    ['the whole block', AT, BLOCK],
    ['several blocks across it', BLOCK, 3 * BLOCK],
  ])('write(2) of %s: written; healed, or a new block for the writer of a shared one', (_, at, length) => {
    const file = badFile(sharing);
    expect(sys('write', file.path, at, length, 0x77).ret).toBe(length);
    const expected = Buffer.alloc(BLOCKS * BLOCK, 'a').fill(0x77, at, at + length);
    expect(readFileSync(file.path).equals(expected)).toBe(true);
    expect(isBad(file.physical)).toBe(sharing === 'shared');
    expectOtherKept(file);
  });

  it('FALLOC_FL_UNSHARE_RANGE: EIO on a shared block, nothing to do on another', () => {
    const file = badFile(sharing);
    expect(unshare(file.path)).toBe(sharing === 'shared' ? 'EIO' : '0');
    expect(unreadable(file.path, BLOCKS)).toEqual([BAD]);
    expectOtherKept(file);
  });

  it.each([
    ['FALLOC_FL_ZERO_RANGE', KEEP_ZERO],
    ['FALLOC_FL_PUNCH_HOLE', KEEP_PUNCH],
  ])('%s of the whole block: zeros; the old block stays bad', (_, mode) => {
    const file = badFile(sharing);
    expect(sys('fallocate', file.path, mode, AT, BLOCK).errno).toBe('0');
    expect(readFileSync(file.path).equals(Buffer.alloc(BLOCKS * BLOCK, 'a').fill(0, AT, AT + BLOCK))).toBe(
      true,
    );
    expect(isBad(file.physical)).toBe(true);
    expectOtherKept(file);
  });

  it.each([
    ['FALLOC_FL_PUNCH_HOLE', KEEP_PUNCH],
    ['FALLOC_FL_ZERO_RANGE', KEEP_ZERO],
  ])('%s of a part: EIO', (_, mode) => {
    const file = badFile(sharing);
    expect(sys('fallocate', file.path, mode, AT + 10, 100).errno).toBe('EIO');
    expect(unreadable(file.path, BLOCKS)).toEqual([BAD]);
    expectOtherKept(file);
  });

  it('truncate into the middle: EIO, nothing changed', () => {
    const file = badFile(sharing);
    expect(errnoOfCall(() => truncateSync(file.path, AT + 100))).toBe('EIO');
    expect(statSync(file.path).size).toBe(BLOCKS * BLOCK);
    expectOtherKept(file);
  });

  it('truncate down to its start: the block stays bad, with the other owner or in free space', () => {
    const file = badFile(sharing);
    truncateSync(file.path, AT);
    expect(readFileSync(file.path).equals(Buffer.alloc(AT, 'a'))).toBe(true);
    expect(isBad(file.physical)).toBe(true);
    expectOtherKept(file);
  });

  it('FICLONE and copy_file_range as reflink succeed: the copy has the bad block too', () => {
    const file = badFile(sharing);
    const [clone, copy] = [`${file.path}-clone`, `${file.path}-copy`];
    expect(cloneTo(file.path, clone)).toBe('0');
    writeFileSync(copy, '');
    expect(sys('copy_file_range', file.path, 0, copy, 0, BLOCKS * BLOCK).ret).toBe(BLOCKS * BLOCK);
    for (const path of [file.path, clone, copy]) expect(unreadable(path, BLOCKS)).toEqual([BAD]);
  });

  it('dedupe: succeeds where the block is shared already, EIO where it must be compared', () => {
    const file = badFile(sharing);
    const target = file.other ?? `${file.path}-equal`;
    if (file.other === null) writeFileSync(target, Buffer.alloc(BLOCKS * BLOCK, 'a'));
    const range = { srcOffset: AT, dstOffset: AT, length: BLOCK };
    const answer = control(file.path, (source) => control(target, (to) => to.dedupe(source, range), 'r+'));
    if (sharing === 'shared') expect(answer).toMatchObject({ status: 0, bytesDeduped: BLOCK });
    else expect(answer.status).toBe(-5);
  });

  it('FIEMAP, fsync, stat, SEEK_DATA succeed', () => {
    const { path } = badFile(sharing);
    const extents = control(path, (client) => [...client.extents()].flat());
    expect(extents.find((extent) => extent.fileOffset === AT)).toMatchObject({
      length: BLOCK,
      flags: sharing === 'shared' ? EXTENT_FLAG.bad + EXTENT_FLAG.shared : EXTENT_FLAG.bad,
    });
    const fd = openSync(path, 'r+');
    fsyncSync(fd);
    closeSync(fd);
    expect(statSync(path).size).toBe(BLOCKS * BLOCK);
    expect(sys('seek', path, 'data', AT).ret).toBe(AT);
  });

  it('the neighbours can be read, written and mapped', async () => {
    const { victim, file } = await inMapping({});
    expect((await victim.store(AT - BLOCK)).event).toBe('touch');
    expect((await victim.store(AT + BLOCK)).event).toBe('touch');
    await victim.quit();
    expect(sys('write', file.path, AT - 10, 10, 0x62).ret).toBe(10);
    expect(sys('write', file.path, AT + BLOCK, 10, 0x62).ret).toBe(10);
    expect(unreadable(file.path, BLOCKS)).toEqual([BAD]);
    expectOtherKept(file);
  });
});

describe('after the other owners have let go', () => {
  const letGo: Record<string, (other: string) => void> = {
    punch: (other) => void expect(sys('fallocate', other, KEEP_PUNCH, AT, BLOCK).errno).toBe('0'),
    unlink: (other) => tool('rm', [other]),
    overwrite: (other) => void expect(sys('write', other, AT, BLOCK, 0x63).ret).toBe(BLOCK),
  };
  it.each(Object.entries(letGo))("%s: the last owner's whole-block write heals in place", (_, leave) => {
    const { path, other, physical } = badFile('shared');
    leave(other ?? '');
    expect(sys('write', path, AT, BLOCK, 0x64).ret).toBe(BLOCK);
    expect(unreadable(path, BLOCKS)).toEqual([]);
    expect(isBad(physical)).toBe(false);
    const extents = control(path, (client) => [...client.extents()].flat());
    const [extent] = extents.filter((e) => e.fileOffset <= AT && AT < e.fileOffset + e.length);
    expect(extent.physical + AT - extent.fileOffset).toBe(physical);
  });
});
