import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { controlSystem } from '../../src/control/system.js';
import { openRegion } from '../../src/media/region.js';
import { BLOCK_SIZE } from '../../src/types.js';
import { type CliResult, runFake } from './run.js';

let directory: string;
let region: string;
beforeEach(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rmapfs-fsck-'));
  region = path.join(directory, 'region');
  expect(await run('mkfs', region, '--size', '2M')).toMatchObject({ status: 0 });
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

const run = (...args: string[]): Promise<CliResult> => runFake(controlSystem, ...args);

/** Changes one byte in the last superblock slot, which mkfs leaves empty. */
function damage(): void {
  const fd = fs.openSync(region, 'r+');
  fs.writeSync(fd, Buffer.of(1), 0, 1, 2 * 1024 * 1024 - BLOCK_SIZE);
  fs.closeSync(fd);
}

describe('fsck', () => {
  test('of a new region is clean', async () => {
    expect(await run('fsck', region)).toEqual({ status: 0, stdout: `${region}: clean\n`, stderr: '' });
    const { status, stdout } = await run('fsck', region, '--json');
    expect([status, JSON.parse(stdout)]).toEqual([0, { clean: true, problems: [], omitted: 0 }]);
  });

  test('lists problems on standard output with status 1, and changes nothing', async () => {
    damage();
    const before = fs.readFileSync(region);
    const { status, stdout, stderr } = await run('fsck', region, '--json');
    expect([status, stderr]).toEqual([1, '']);
    expect(JSON.parse(stdout)).toMatchObject({
      clean: false,
      problems: [{ kind: 'superblock', repaired: false, physical: 2 * 1024 * 1024 - BLOCK_SIZE }],
    });
    const text = await run('fsck', region);
    expect(text).toMatchObject({ status: 1, stderr: '' });
    expect(text.stdout).toMatch(/^superblock: superblock slot 1: .* \(offset 2093056\)\n.*: 1 problem\n$/);
    expect(fs.readFileSync(region).equals(before)).toBe(true);
  });

  test('refuses a region in use, and what is none, with one sentence', async () => {
    const media = openRegion(region, { readOnly: false });
    const inUse = await run('fsck', region, '--json');
    media.close();
    fs.writeFileSync(region, Buffer.alloc(1024 * 1024));
    const empty = await run('fsck', region);
    const missing = await run('fsck', path.join(directory, 'none'));
    const found = [
      [inUse, /in use/],
      [empty, /empty/],
      [missing, /does not exist|no such file/],
    ] as const;
    for (const [result, why] of found) {
      expect(result).toMatchObject({ status: 1, stdout: '' });
      expect(result.stderr).toMatch(/^rmapfs: cannot check [^\n]+\n$/);
      expect(result.stderr).toMatch(why);
    }
    expect(await run('fsck')).toMatchObject({ status: 2 });
  });

  test('--repair mends what was found; -n says it before, with other statuses', async () => {
    damage();
    const before = fs.readFileSync(region);
    const dry = await run('fsck', '-n', region);
    expect(dry).toMatchObject({ status: 4, stderr: '' });
    expect(dry.stdout).toBe(
      `${region}: 1 problem\nsuperblock: both superblock slots are written anew\n` +
        `${region}: it would be repaired in 1 step; nothing was changed\n`,
    );
    expect(JSON.parse((await run('fsck', '-n', '--json', region)).stdout)).toMatchObject({
      clean: false,
      dryRun: true,
      problems: [{ kind: 'superblock', repaired: false }],
    });
    expect(fs.readFileSync(region).equals(before)).toBe(true);
    const { status, stdout } = await run('fsck', '--repair', '--json', region);
    expect([status, JSON.parse(stdout)]).toMatchObject([
      1,
      {
        clean: true,
        dryRun: false,
        problems: [{ kind: 'superblock', repaired: true }],
        omitted: 0,
        actions: [{ kind: 'superblock', detail: 'both superblock slots are written anew' }],
        omittedActions: 0,
        left: [],
      },
    ]);
    expect(await run('fsck', region)).toMatchObject({ status: 0 });
    expect(await run('fsck', '--repair', region)).toEqual({
      status: 0,
      stdout: `${region}: clean\n`,
      stderr: '',
    });
  });

  test('--repair of what cannot be repaired is status 8 with one sentence, and changes nothing', async () => {
    const media = openRegion(region, { readOnly: false });
    const inUse = await run('fsck', '--repair', region);
    media.close();
    const content = fs.readFileSync(region);
    content.fill(9, 64, 128);
    fs.writeFileSync(region, content);
    const noSlot = await run('fsck', '--repair', region);
    expect(fs.readFileSync(region).equals(content)).toBe(true);
    fs.writeFileSync(region, Buffer.alloc(1024 * 1024));
    const found = [
      [inUse, /in use/],
      [noSlot, /cannot be found.*nothing was changed/],
      [await run('fsck', '--repair', region), /empty/],
      [await run('fsck', '-n', path.join(directory, 'none')), /does not exist|no such file/],
    ] as const;
    for (const [result, why] of found) {
      expect(result).toMatchObject({ status: 8, stdout: '' });
      expect(result.stderr).toMatch(/^rmapfs: cannot repair [^\n]+\n$/);
      expect(result.stderr).toMatch(why);
    }
    expect(await run('fsck', '--repair')).toMatchObject({ status: 2 });
  });
});
