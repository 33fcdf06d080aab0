import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FsError, InvariantError } from '../../src/errors.js';
import { REGION_MAX_BYTES, REGION_MIN_BYTES, WINDOW_BYTES } from '../../src/limits.js';
import { openRegion, type RegionMedia } from '../../src/media/region.js';
import { asPhys, BLOCK_SIZE } from '../../src/types.js';

/** open(2); node:fs does not have it. */
const O_PATH = 0o10000000;
const TMPFS = 0x0102_1994;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const WINDOW_BLOCKS = WINDOW_BYTES / BLOCK_SIZE;

const isTmpfs = (path: string): boolean => existsSync(path) && statfsSync(path).type === TMPFS;
const diskDir = ['/var/tmp', tmpdir()].find((path) => existsSync(path) && !isTmpfs(path));

const open: RegionMedia[] = [];
let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(diskDir ?? tmpdir(), 'rmapfs-region-'));
  path = join(dir, 'region');
});

afterEach(() => {
  for (const region of open.splice(0)) region.close();
  rmSync(dir, { recursive: true });
});

function create(size = 4 * MIB, at = path, sparse = true): RegionMedia {
  const region = openRegion(at, { readOnly: false, create: { size, sparse } });
  open.push(region);
  return region;
}

function reopen(readOnly = false): RegionMedia {
  const region = openRegion(path, { readOnly });
  open.push(region);
  return region;
}

function closeAll(): void {
  for (const region of open.splice(0)) region.close();
}

/** The FsError of a call, which must name the region in its sentence. */
function refusal(call: () => unknown, name = path): FsError {
  try {
    call();
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    expect(error.message).toContain(name);
    return error;
  }
  throw new Error('the call did not throw');
}

describe('create and open', () => {
  test('a new region is zeroed, private, sparse, and keeps what was written', () => {
    const region = create();
    expect([region.blocks, region.readOnly, region.path]).toEqual([1024, false, path]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(path).size).toBe(4 * MIB);
    region.bytes(asPhys(1023), 1).fill(7);
    region.words(asPhys(5))[region.wordIndex(asPhys(5))] = 0x0403_0201;
    region.noteDirty(asPhys(5), 1);
    region.noteDirty(asPhys(1023), 1);
    region.flush();
    closeAll();
    const file = readFileSync(path);
    expect([...file.subarray(5 * BLOCK_SIZE, 5 * BLOCK_SIZE + 5)]).toEqual([1, 2, 3, 4, 0]);
    const again = reopen();
    expect(again.bytes(asPhys(1023), 1).every((byte) => byte === 7)).toBe(true);
  });

  test('an existing file gets the size asked for', () => {
    writeFileSync(path, Buffer.alloc(2 * MIB, 1));
    expect(create(3 * MIB).blocks).toBe(768);
    expect(statSync(path).size).toBe(3 * MIB);
  });

  test('a partial block at the end is left out', () => {
    writeFileSync(path, Buffer.alloc(2 * MIB + BLOCK_SIZE - 1));
    expect(reopen().blocks).toBe(512);
    expect(statSync(path).size).toBe(2 * MIB + BLOCK_SIZE - 1);
  });

  test('read-only sees the data and refuses to be dirty', () => {
    create().bytes(asPhys(3), 1).fill(9);
    closeAll();
    const region = reopen(true);
    expect([region.readOnly, region.bytes(asPhys(3), 1)[0]]).toEqual([true, 9]);
    expect(refusal(() => region.noteDirty(asPhys(3), 1)).code).toBe('EROFS');
    region.flush();
  });

  test('close is the end of all views, and may be repeated', () => {
    const region = create();
    const words = region.words(asPhys(0));
    region.close();
    region.close();
    expect(words.length).toBe(0);
    expect(() => region.flush()).toThrow(InvariantError);
  });
});

describe('a region larger than 4 GiB', () => {
  const SIZE = 6 * GIB + 8 * MIB;

  test('every window is its own part of the file', () => {
    const region = create(SIZE);
    expect(region.blocks).toBe(SIZE / BLOCK_SIZE);
    const marks: number[] = [];
    for (let w = 0; w <= 6; w++) {
      const last = Math.min((w + 1) * WINDOW_BLOCKS, region.blocks) - 1;
      marks.push(w * WINDOW_BLOCKS, w * WINDOW_BLOCKS + 1, last);
    }
    for (const block of marks) {
      region.words(asPhys(block))[region.wordIndex(asPhys(block)) + 1023] = block + 1;
      region.noteDirty(asPhys(block), 1);
    }
    region.flush();
    const fd = openSync(path, 'r');
    const word = Buffer.alloc(4);
    for (const block of marks) {
      readSync(fd, word, 0, 4, block * BLOCK_SIZE + 4092);
      expect([block, word.readUInt32LE()]).toEqual([block, block + 1]);
      expect(region.bytes(asPhys(block), 1).readUInt32LE(4092)).toBe(block + 1);
    }
    closeSync(fd);
    expect(statSync(path).blocks * 512).toBeLessThan(16 * MIB);
  });

  test('a run ends at its window', () => {
    const region = create(SIZE);
    const border = 5 * WINDOW_BLOCKS;
    expect(region.contiguous(asPhys(border - 3), 10)).toBe(3);
    expect(region.contiguous(asPhys(border), 10)).toBe(10);
    expect(region.bytes(asPhys(border - 3), 3).length).toBe(3 * BLOCK_SIZE);
    expect(() => region.bytes(asPhys(border - 3), 4)).toThrow(InvariantError);
    expect(() => region.bytes(asPhys(region.blocks - 1), 2)).toThrow(InvariantError);
    expect(() => region.words(asPhys(region.blocks))).toThrow(InvariantError);
    expect(() => region.words(asPhys(2 ** 32 - 1))).toThrow(InvariantError);
    expect(() => region.noteDirty(asPhys(region.blocks - 1), 2)).toThrow(InvariantError);
  });
});

describe('the lock', () => {
  test('one writer alone', () => {
    create();
    for (const readOnly of [false, true]) {
      const error = refusal(() => openRegion(path, { readOnly }));
      expect([error.code, error.message]).toEqual(['EBUSY', expect.stringContaining('is in use')]);
    }
    closeAll();
    reopen();
  });

  test('readers beside each other, no writer beside them', () => {
    create();
    closeAll();
    reopen(true);
    reopen(true);
    expect(refusal(() => openRegion(path, { readOnly: false })).code).toBe('EBUSY');
  });

  test('a refused create changes nothing', () => {
    create().bytes(asPhys(0), 1)[0] = 5;
    const create2 = () => openRegion(path, { readOnly: false, create: { size: 2 * MIB, sparse: false } });
    expect(refusal(create2).code).toBe('EBUSY');
    expect([statSync(path).size, open[0].bytes(asPhys(0), 1)[0]]).toEqual([4 * MIB, 5]);
  });

  test('of another process, gone with its death', async () => {
    create();
    closeAll();
    const holder = spawn('flock', ['-n', '-o', path, 'sh', '-c', 'echo locked; read x'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    expect(refusal(() => openRegion(path, { readOnly: true })).code).toBe('EBUSY');
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    reopen();
  });
});

describe('what is refused', () => {
  test('a missing file, and nothing is made', () => {
    expect(refusal(() => openRegion(path, { readOnly: false })).code).toBe('ENOENT');
    expect(refusal(() => openRegion(join(path, 'x'), { readOnly: true })).code).toBe('ENOENT');
    expect(readdirSync(dir)).toEqual([]);
  });

  test.each([true, false])('a directory (readOnly %s)', (readOnly) => {
    expect(refusal(() => openRegion(dir, { readOnly }), dir).code).toBe('EISDIR');
  });

  test('a FIFO does not block, a character device is no region', () => {
    execFileSync('mkfifo', [path]);
    expect(refusal(() => openRegion(path, { readOnly: true })).message).toContain('a FIFO');
    expect(refusal(() => openRegion(path, { readOnly: false })).code).toBe('EINVAL');
    expect(refusal(() => openRegion('/dev/zero', { readOnly: true }), '/dev/zero').message).toContain(
      'no devdax',
    );
  });

  test.each([0, 1, BLOCK_SIZE, REGION_MIN_BYTES - 1])('a file of %d bytes, naming both bounds', (size) => {
    writeFileSync(path, Buffer.alloc(size));
    const { code, message } = refusal(() => openRegion(path, { readOnly: false }));
    expect(code).toBe('EINVAL');
    expect(message).toContain(String(REGION_MIN_BYTES));
    expect(message).toContain(String(REGION_MAX_BYTES));
  });

  test.each([0, -1, REGION_MIN_BYTES - 1, REGION_MAX_BYTES + 1, 1.5 * MIB + 0.5, Number.NaN])(
    'to create %d bytes, and nothing is made',
    (size) => {
      expect(refusal(() => create(size)).code).toBe('EINVAL');
      expect(readdirSync(dir)).toEqual([]);
    },
  );

  test('to create what the filesystem cannot hold, and nothing is left', () => {
    // ext4 and tmpfs end at or below 16 TiB and 8 EiB: only a refusing filesystem can show this.
    let error: FsError | null = null;
    try {
      create(REGION_MAX_BYTES);
    } catch (thrown) {
      error = thrown as FsError;
    }
    if (error === null) return;
    expect(error).toBeInstanceOf(FsError);
    expect(error.message).toContain(path);
    expect(readdirSync(dir)).toEqual([]);
  });

  test('to create read-only', () => {
    expect(
      refusal(() => openRegion(path, { readOnly: true, create: { size: MIB, sparse: false } })).code,
    ).toBe('EINVAL');
  });

  test('a region that shrank is told, and one that did not is not', () => {
    const region = create();
    region.checkStillThere();
    truncateSync(path, 4 * MIB - 1);
    const { code, message } = refusal(() => region.checkStillThere());
    expect([code, message]).toEqual([
      'EIO',
      expect.stringContaining(`from ${4 * MIB} to ${4 * MIB - 1} bytes`),
    ]);
  });
});

/** What happens where SIGBUS would have ended the process. The region of each test is made by mount(8). */
describe.runIf(process.getuid?.() === 0)('a medium that is gone', () => {
  let full: string;

  beforeEach(() => {
    full = join(dir, 'full');
    mkdirSync(full);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4M', 'tmpfs', full]);
  });

  afterEach(() => {
    closeAll();
    execFileSync('umount', [full]);
  });

  test('a store that finds no room is no end of the process, and the next flush says so', () => {
    const at = join(full, 'region');
    const region = create(4 * MIB, at);
    writeFileSync(join(full, 'other'), Buffer.alloc(2 * MIB));
    region.flush();
    expect(region.lost).toBe(null);
    for (let block = 0; block < region.blocks; block++) region.bytes(asPhys(block), 1).fill(7);
    region.noteDirty(asPhys(0), region.blocks);
    const { code, message } = refusal(() => region.flush(), at);
    expect([code, message]).toEqual([
      'EIO',
      expect.stringContaining('is sparse, and its filesystem has no room'),
    ]);
    expect(region.lost).toMatch(/^byte \d+ of /);
    // It lasts, whatever room there is now.
    rmSync(join(full, 'other'));
    expect(refusal(() => region.flush(), at).code).toBe('EIO');
  });

  test('a region that shrank under a load reads zeros there, and nothing is called durable', () => {
    const at = join(full, 'region');
    const [region, other] = [create(4 * MIB, at), create()];
    region.bytes(asPhys(700), 1).fill(7);
    truncateSync(at, 2 * MIB);
    expect(region.bytes(asPhys(700), 1).every((byte) => byte === 0)).toBe(true);
    expect(refusal(() => region.flush(), at).message).toContain(`from ${4 * MIB} to ${2 * MIB} bytes`);
    expect([region.lost === null, other.lost]).toEqual([false, null]);
    other.flush();
  });

  test('mkfs gets all blocks or none: a full filesystem is found now and nothing is left', () => {
    const at = join(full, 'region');
    expect(create(3 * MIB, at, false).blocks).toBe(768);
    expect(statSync(at).blocks * 512).toBe(3 * MIB);
    const second = join(full, 'second');
    const { code, message } = refusal(() => create(2 * MIB, second, false), second);
    expect([code, message]).toEqual(['ENOSPC', expect.stringMatching(/no room for 2097152 bytes.*--sparse/)]);
    expect(readdirSync(full)).toEqual(['region']);
    // A file that was there keeps its size and what it holds.
    writeFileSync(second, Buffer.alloc(BLOCK_SIZE, 5));
    expect(refusal(() => create(2 * MIB, second, false), second).code).toBe('ENOSPC');
    expect(readFileSync(second).equals(Buffer.alloc(BLOCK_SIZE, 5))).toBe(true);
    expect(create(2 * MIB, second, true).blocks).toBe(512);
  });
});

describe('flush', () => {
  test.runIf(isTmpfs('/dev/shm'))('on tmpfs the pages are the store', () => {
    const memory = mkdtempSync('/dev/shm/rmapfs-region-');
    try {
      const region = create(4 * MIB, join(memory, 'region'));
      expect(region.medium).toBe('memory');
      region.noteDirty(asPhys(0), 1024);
      region.flush();
    } finally {
      closeAll();
      rmSync(memory, { recursive: true });
    }
  });

  /** Kilobytes of the region's mapping that are dirty. */
  function dirtyKilobytes(): number {
    const smaps = readFileSync('/proc/self/smaps', 'latin1');
    const part = smaps.slice(smaps.indexOf(path)).split(/\n[0-9a-f]+-[0-9a-f]+ /)[0];
    return [...part.matchAll(/_Dirty:\s+(\d+) kB/g)].reduce((sum, match) => sum + Number(match[1]), 0);
  }

  test.runIf(diskDir !== undefined)('on a disk the dirty pages are written before it returns', () => {
    const region = create();
    expect(region.medium).toBe('page-cache');
    for (const block of [0, 500, 1023]) {
      region.bytes(asPhys(block), 1).fill(block);
      region.noteDirty(asPhys(block), 1);
    }
    expect(dirtyKilobytes()).toBeGreaterThanOrEqual(12);
    region.flush();
    expect(dirtyKilobytes()).toBe(0);
  });

  test.runIf(diskDir !== undefined)('a failure is final: nothing is called durable after it', () => {
    const region = create();
    const fd = Number(readdirSync('/proc/self/fd').find((name) => linkOf(name) === path));
    closeSync(fd);
    // In the place of the region's file, what refuses fdatasync and has its size.
    expect(openSync(path, O_PATH)).toBe(fd);
    region.flush();
    region.noteDirty(asPhys(0), 1);
    expect(refusal(() => region.flush()).code).toBe('EIO');
    // The file is back and could be synced: that would say nothing of the pages that failed.
    closeSync(fd);
    expect(openSync(path, 'r+')).toBe(fd);
    expect(refusal(() => region.flush()).code).toBe('EIO');
  });
});

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

const loop = (...args: string[]): string =>
  execFileSync('losetup', ['-f', '--show', ...args], { encoding: 'utf8' }).trim();

describe('a block device', () => {
  const canLoop = process.getuid?.() === 0 && existsSync('/dev/loop-control');
  let device: string;

  beforeEach((context) => {
    if (!canLoop) context.skip('needs root and loop devices');
    const fd = openSync(path, 'w');
    ftruncateSync(fd, 8 * MIB + 512);
    closeSync(fd);
    device = loop(path);
  });

  afterEach(() => {
    closeAll();
    if (canLoop) execFileSync('losetup', ['-d', device]);
  });

  test('is mapped to its whole size, and one writer claims it', () => {
    const region = openRegion(device, { readOnly: false });
    open.push(region);
    expect([region.blocks, region.medium]).toEqual([2048, 'page-cache']);
    region.bytes(asPhys(2047), 1).fill(3);
    region.noteDirty(asPhys(2047), 1);
    region.flush();
    expect(readFileSync(path)[2047 * BLOCK_SIZE]).toBe(3);
    expect(refusal(() => openRegion(device, { readOnly: true }), device).code).toBe('EBUSY');
    region.checkStillThere();
  });

  test('create uses its first bytes, and not more than it has', () => {
    const create2 = (size: number) =>
      openRegion(device, { readOnly: false, create: { size, sparse: false } });
    expect(refusal(() => create2(9 * MIB), device).message).toContain(`less than the ${9 * MIB} asked for`);
    const region = create2(2 * MIB);
    open.push(region);
    expect(region.blocks).toBe(512);
  });

  const refusedAt = (at: string, readOnly = false): string =>
    refusal(() => openRegion(at, { readOnly }), at).code;

  test('of a file that is open is refused, and the file of one that is open', () => {
    for (const [first, second] of [
      [path, device],
      [device, path],
    ]) {
      const region = openRegion(first, { readOnly: false });
      expect([refusedAt(second), refusedAt(second, true)]).toEqual(['EBUSY', 'EBUSY']);
      region.close();
      const reader = openRegion(first, { readOnly: true });
      expect(refusedAt(second)).toBe('EBUSY');
      openRegion(second, { readOnly: true }).close();
      reader.close();
      openRegion(second, { readOnly: false }).close();
    }
  });

  test('over another one is refused together with it and with their file', () => {
    const second = loop(device);
    try {
      for (const first of [path, device, second]) {
        const region = openRegion(first, { readOnly: false });
        const others = [path, device, second].filter((at) => at !== first);
        expect(others.map((at) => refusedAt(at))).toEqual(['EBUSY', 'EBUSY']);
        region.close();
      }
    } finally {
      execFileSync('losetup', ['-d', second]);
    }
  });

  test('of other bytes of the file is another region, of some of the same is not', () => {
    const low = loop(path, '--sizelimit', String(2 * MIB));
    const high = loop(path, '--offset', String(4 * MIB));
    const across = loop(path, '--offset', String(MIB), '--sizelimit', String(4 * MIB));
    try {
      open.push(openRegion(low, { readOnly: false }), openRegion(high, { readOnly: false }));
      expect(refusedAt(across)).toBe('EBUSY');
    } finally {
      closeAll();
      for (const one of [low, high, across]) execFileSync('losetup', ['-d', one]);
    }
  });

  test('with a mounted filesystem on it keeps its file from being opened', () => {
    const mountPoint = join(dir, 'mnt');
    mkdirSync(mountPoint);
    execFileSync('mkfs.ext4', ['-q', '-F', device]);
    execFileSync('mount', [device, mountPoint]);
    try {
      expect(refusedAt(path)).toBe('EBUSY');
    } finally {
      execFileSync('umount', [mountPoint]);
    }
    openRegion(path, { readOnly: false }).close();
  });

  test('is refused while a filesystem on it is mounted', () => {
    const mountPoint = join(dir, 'mnt');
    mkdirSync(mountPoint);
    execFileSync('mkfs.ext4', ['-q', '-F', device]);
    execFileSync('mount', [device, mountPoint]);
    try {
      expect(refusal(() => openRegion(device, { readOnly: false }), device).code).toBe('EBUSY');
    } finally {
      execFileSync('umount', [mountPoint]);
    }
  });
});

test('a symbolic link is followed', () => {
  create();
  closeAll();
  const link = join(dir, 'link');
  symlinkSync(path, link);
  const region = openRegion(link, { readOnly: false });
  open.push(region);
  expect(refusal(() => openRegion(path, { readOnly: false })).code).toBe('EBUSY');
});
