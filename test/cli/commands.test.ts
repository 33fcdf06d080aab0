import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WHOLE_DEVICE } from '../../src/control/codec.js';
import { EXTENT_FLAG, POISON_FLAG, POLICIES } from '../../src/control/protocol.js';
import type { FileOwnerDocument, OwnerDocument, PoisonDocument } from '../../src/control/schema.js';
import { FakeMount, INFO } from '../control/fake-mount.js';
import { type CliResult, runFake } from './run.js';

let fake: FakeMount;
beforeEach(() => {
  fake = new FakeMount();
});
afterEach(() => fake.remove());

const run = (...args: string[]): Promise<CliResult> => runFake(fake.system, ...args);

async function json(...args: string[]): Promise<unknown> {
  const { status, stdout, stderr } = await run(...args, '--json');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

const owner = (ino: number, name: string): FileOwnerDocument => ({
  kind: 'file',
  ino,
  paths: [name],
  fileOffset: 0,
  physical: 8192,
  length: 4096,
  fork: 'data',
  shareCount: 2,
  open: ino === 2,
});

const POISONED: PoisonDocument = {
  physical: 8192,
  length: 4096,
  latent: false,
  owners: [owner(2, '/a'), owner(3, '/b')],
  victims: [
    {
      pid: 41,
      tid: 41,
      comm: 'victim',
      ino: 2,
      address: '0x7f0000001000',
      lsb: 12,
      signal: 'SIGBUS',
      code: 'BUS_MCEERR_AO',
      means: 'ptrace',
      result: 'delivered',
    },
  ],
  shutdown: false,
};

describe('JSON and tables', () => {
  test('info', async () => {
    expect(await json('info', fake.directory)).toEqual(INFO);
    const { stdout } = await run('info', fake.directory);
    expect(stdout).toContain(INFO.uuid);
    expect(stdout).toContain('1048576');
    expect(stdout).toMatch(/^saved by sharing +3 \(12\.0 KiB\)$/m);
  });

  test('extents', async () => {
    const file = fake.file('f');
    fake.extents = [0, 1, 2].map((i) => ({
      fileOffset: i * 4096,
      physical: 40960 - i * 4096,
      length: 4096,
      flags: [EXTENT_FLAG.shared, EXTENT_FLAG.unwritten | EXTENT_FLAG.bad, EXTENT_FLAG.last][i],
    }));
    expect(await json('extents', file)).toEqual([
      { fileOffset: 0, physical: 40960, length: 4096, flags: ['shared'] },
      { fileOffset: 4096, physical: 36864, length: 4096, flags: ['unwritten', 'bad'] },
      { fileOffset: 8192, physical: 32768, length: 4096, flags: ['last'] },
    ]);
    const lines = (await run('extents', file)).stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[2]).toMatch(/^ +4096 +36864 +4096 {2}unwritten,bad$/);
  });

  test('an empty list is an empty JSON array', async () => {
    expect(await json('extents', fake.file('f'))).toEqual([]);
    expect(await json('badblocks', fake.directory)).toEqual([]);
  });

  test('fsmap has a shared extent once an owner, with paths', async () => {
    const [first, second] = POISONED.owners;
    fake.owners = [
      { kind: 'superblock', physical: 0, length: 4096 },
      { kind: 'metadata', physical: 4096, length: 4096, tree: 'rmap' },
      { ...first, unwritten: true } as OwnerDocument,
      second,
      { kind: 'free', physical: 12288, length: 4096, bad: true },
    ];
    const map = (await json('fsmap', fake.directory)) as { owner: unknown; flags: string[] }[];
    const { bad: _bad, ...free } = fake.owners[4];
    expect(map.map((entry) => entry.owner)).toEqual([...fake.owners.slice(0, 4), free]);
    expect(map.map((entry) => entry.flags)).toEqual([[], [], ['shared', 'unwritten'], ['shared'], ['bad']]);
    expect(fake.requests('owners')[0]).toMatchObject({ offset: 0, length: WHOLE_DEVICE });
    expect((await run('fsmap', fake.directory)).stdout).toMatch(/\[metadata: rmap\]/);
  });

  test('owners', async () => {
    fake.owners = [...POISONED.owners, { kind: 'free', physical: 12288, length: 4096 }];
    expect(await json('owners', fake.directory, '--offset', '8K', '--length', '8K')).toEqual(fake.owners);
    const { stdout } = await run('owners', fake.directory, '--offset', '8K', '--length', '8K');
    expect(stdout).toMatch(/8192 +4096 +2 +0 +2 {2}yes +\/a\n/);
    expect(stdout).toMatch(/\[free\]/);
    // Two pages of two, with the range as it was asked for.
    expect(fake.requests('owners').slice(-2)).toMatchObject([
      { offset: 8192, length: 8192, place: [0, 0, 0, 0, 0] },
      { offset: 8192, length: 8192, place: [2, 0, 0, 0, 0] },
    ]);
  });

  test('poison', async () => {
    fake.poisoned = POISONED;
    const args = ['poison', fake.directory, '--offset', '8K', '--length', '4096'];
    expect(await json(...args, '--policy', 'late', '--latent')).toEqual(POISONED);
    expect(fake.requests('poison')).toEqual([
      { offset: 8192, length: 4096, flags: POISON_FLAG.latent, policy: POLICIES.indexOf('late') },
    ]);
    const { stdout } = await run(...args);
    expect(stdout).toMatch(/2 owners/);
    expect(stdout).not.toMatch(/more/);
    fake.poisoned = { ...POISONED, ownersOmitted: 7 };
    expect((await run(...args)).stdout).toMatch(/\nand 7 owners more: rmapfs owners lists all of them\n/);
    expect(stdout).toMatch(
      /41 +41 {2}victim +2 {2}0x7f0000001000 +12 {2}SIGBUS {2}BUS_MCEERR_AO {2}ptrace {2}delivered/,
    );
  });

  test('poison and unpoison by file offset', async () => {
    fake.poisoned = POISONED;
    const file = fake.file('f');
    await json('poison', '--file', file, '--offset', '0', '--length', '4K');
    expect(await json('unpoison', '--file', file, '--offset', '0', '--length', '4K')).toEqual({
      cleared: 4096,
    });
    const entries = fake.log.filter((entry) => entry.name === 'poison' || entry.name === 'unpoison');
    expect(entries).toMatchObject([
      { path: file, request: { flags: POISON_FLAG.file } },
      { path: file, request: { flags: POISON_FLAG.file } },
    ]);
  });

  test('badblocks', async () => {
    fake.bad = [1, 2, 3].map((i) => ({
      physical: i * 8192,
      length: 4096,
      latent: i === 2,
      since: 1_700_000_000,
    }));
    expect(await json('badblocks', fake.directory)).toEqual(fake.bad);
    expect((await run('badblocks', fake.directory)).stdout).toContain('2023-11-14T22:13:20.000Z');
  });

  test('dedupe', async () => {
    const args = ['dedupe', fake.file('a'), '4K', fake.file('b'), '8K', '4K'];
    expect(await json(...args)).toEqual({ bytesDeduped: 4096, status: 'same' });
    expect(fake.requests('dedupe')).toMatchObject([{ srcOffset: 4096, dstOffset: 8192, length: 4096 }]);
    fake.dedupe = { bytesDeduped: 0, status: 1 };
    expect(await json(...args)).toEqual({ bytesDeduped: 0, status: 'differs' });
  });

  test('stats', async () => {
    expect(await json('stats', fake.directory)).toEqual(fake.stats);
    expect((await run('stats', fake.directory)).stdout).toMatch(/operations\.read +7\n/);
  });
});

describe('clone', () => {
  test('makes a new file with the permissions of the source', async () => {
    const src = fake.file('src');
    fs.chmodSync(src, 0o640);
    const dst = path.join(fake.directory, 'dst');
    expect(await run('clone', src, dst)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(fs.statSync(dst).mode & 0o777).toBe(0o640);
    expect(fake.requests('clone')).toMatchObject([{ srcOffset: 0, dstOffset: 0, length: 0 }]);
    await run('clone', src, dst, '--src-offset', '1M', '--dst-offset', '2M', '--length', '64K');
    expect(fake.requests('clone')[1]).toMatchObject({
      srcOffset: 2 ** 20,
      dstOffset: 2 ** 21,
      length: 65536,
    });
  });

  test('leaves no new file behind when it fails, and an old one alone', async () => {
    fake.failures.set('clone', 'EINVAL');
    const src = fake.file('src');
    const made = path.join(fake.directory, 'new');
    const { status, stderr } = await run('clone', src, made);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^rmapfs: cannot clone .*multiples of 4096/);
    expect(fs.existsSync(made)).toBe(false);
    const old = fake.file('old');
    await run('clone', src, old);
    expect(fs.readFileSync(old, 'utf8')).toBe('x');
  });
});

describe('failures are one sentence and status 1', () => {
  const range = ['--offset', '8K', '--length', '4K'];

  async function sentence(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await run(...args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^rmapfs: cannot [^\n]+\n$/);
    return stderr;
  }

  test('a path that is not there', async () => {
    expect(await sentence('fsmap', `${fake.directory}/none`)).toContain('there is no such file');
  });

  test('another filesystem', async () => {
    fake.filesystemType = 0x01021994;
    expect(await sentence('fsmap', fake.directory)).toContain('is not on a mounted rmapfs');
  });

  test('a dead daemon names the command that clears it', async () => {
    fake.failures.set('owners', 'ENOTCONN');
    expect(await sentence('fsmap', fake.directory)).toContain(`rmapfs umount --force ${fake.directory}`);
  });

  test('a range outside the device names its size', async () => {
    fake.failures.set('poison', 'ENXIO');
    expect(await sentence('poison', fake.directory, ...range)).toContain('has 1048576 bytes');
    const far = ['--offset', '8388608T', '--length', '4K'];
    expect(await sentence('poison', fake.directory, ...far)).toContain('has 1048576 bytes');
  });

  test('EPERM names who may', async () => {
    fake.failures.set('poison', 'EPERM');
    expect(await sentence('poison', fake.directory, ...range)).toContain('root');
  });

  test.each([
    ['1', '4096'],
    ['0', '1'],
    ['0', '0'],
    ['4096', '18446744073709551615'],
  ])('offset %s with length %s is refused before anything happens', async (offset, length) => {
    expect(await sentence('poison', fake.directory, '--offset', offset, '--length', length)).toMatch(/whole/);
    expect(fake.requests('poison')).toEqual([]);
  });

  test.each([
    [[], 8192],
    [[{ fileOffset: 0, length: 12288 }], 12288],
    [
      [
        { fileOffset: 0, length: 4096 },
        { fileOffset: 16384, length: 4096 },
      ],
      8192,
    ],
  ])('a hole is named by its offset (%j)', async (extents, offset) => {
    fake.failures.set('poison', 'ENXIO');
    fake.extents = extents.map((extent) => ({ ...extent, physical: 0, flags: 0 }));
    const file = fake.file('f');
    const args = ['--file', file, '--offset', '8K', '--length', '8K'];
    expect(await sentence('poison', ...args)).toContain(`${file} has no block at offset ${offset} `);
  });

  test('a daemon that dies between two questions does not hide the first failure', async () => {
    fake.failures.set('poison', 'ENXIO');
    fake.failures.set('extents', 'ENOTCONN');
    const text = await sentence('poison', '--file', fake.file('f'), ...range);
    expect(text).toContain('ENXIO');
  });
});
