import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/cli/region.js';
import { InfoDocument } from '../../src/control/schema.js';
import { controlSystem } from '../../src/control/system.js';
import { openEngine } from '../../src/engine/index.js';
import { LABEL_MAX_BYTES, REGION_MIN_BYTES } from '../../src/limits.js';
import { openRegion } from '../../src/media/region.js';
import { type CliResult, runFake } from './run.js';

/** Commands on an unmounted region: a real file, no mount, no root. */

let directory: string;
let region: string;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rmapfs-region-'));
  region = path.join(directory, 'region');
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

const run = (...args: string[]): Promise<CliResult> => runFake(controlSystem, ...args);

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(...args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

async function refused(...args: string[]): Promise<string> {
  const before = fs.existsSync(region) ? fs.readFileSync(region) : null;
  const { status, stdout, stderr } = await run(...args);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(/^rmapfs: cannot [^\n]+\n$/);
  const after = fs.existsSync(region) ? fs.readFileSync(region) : null;
  expect(before === null ? after === null : after?.equals(before)).toBe(true);
  return stderr;
}

describe('mkfs', () => {
  test('makes a region that info describes', async () => {
    expect(await ok('mkfs', region, '--size', '4M', '--label', 'a label')).toContain('4194304 bytes');
    const info = InfoDocument.parse(JSON.parse(await ok('info', region, '--json')));
    expect(info).toMatchObject({
      label: 'a label',
      size: 4194304,
      blocks: { total: 1024, shared: 0, bad: 0 },
      clean: true,
      shutdown: false,
    });
    expect(info.uuid).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(info.blocks.free).toBeGreaterThan(512);
    expect(await ok('info', region)).toMatch(/^label +a label\n[\s\S]*clean +yes\n/);
    expect(await ok('badblocks', region, '--json')).toBe('[\n]\n');
  });

  test('refuses a filesystem without --force, and formats it with it', async () => {
    await ok('mkfs', region, '--size', '4M');
    const text = await refused('mkfs', region);
    expect(text).toContain('holds a rmapfs filesystem');
    expect(text).toContain('--force');
    await ok('mkfs', region, '--force', '--size', '2M');
    expect(fs.statSync(region).size).toBe(2 * 1024 * 1024);
  });

  test.each([
    ['XFS', 0, 'XFSB'],
    ['btrfs', 65536 + 64, '_BHRfS_M'],
    ['data that are not a rmapfs filesystem', 100, 'hello'],
  ])('refuses %s without --force', async (what, at, magic) => {
    const bytes = Buffer.alloc(REGION_MIN_BYTES);
    bytes.write(magic, at, 'latin1');
    fs.writeFileSync(region, bytes);
    expect(await refused('mkfs', region)).toContain(what);
    await ok('mkfs', region, '--force');
  });

  test('refuses a small file that holds something', async () => {
    fs.writeFileSync(region, 'a letter');
    expect(await refused('mkfs', region, '--size', '4M')).toContain('--force');
  });

  test('takes an empty file and a file of zeros', async () => {
    fs.writeFileSync(region, '');
    await ok('mkfs', region, '--size', '4M');
    fs.writeFileSync(region, Buffer.alloc(REGION_MIN_BYTES));
    await ok('mkfs', region);
  });

  test('names the smallest size', async () => {
    expect(await refused('mkfs', region, '--size', '512K')).toContain(`${REGION_MIN_BYTES}`);
    expect(await refused('mkfs', region, '--size', '17T')).toContain('largest');
  });

  test('a new file needs a size, and a directory that exists', async () => {
    expect(await refused('mkfs', region)).toContain('--size');
    expect(await refused('mkfs', path.join(directory, 'no', 'region'), '--size', '4M')).toContain(
      'no directory',
    );
    expect(await refused('mkfs', directory, '--size', '4M')).toContain('is a directory');
  });

  test('a label that is too long', async () => {
    const label = 'x'.repeat(LABEL_MAX_BYTES + 1);
    expect(await refused('mkfs', region, '--size', '4M', '--label', label)).toContain(`${LABEL_MAX_BYTES}`);
  });

  test('a region that is in use is refused, forced or not', async () => {
    await ok('mkfs', region, '--size', '4M');
    const media = openRegion(region, { readOnly: false });
    try {
      expect(await refused('mkfs', region, '--force')).toContain('in use');
      expect(await refused('info', region)).toContain('in use');
    } finally {
      media.close();
    }
    await ok('info', region);
  });
});

describe('info and badblocks of an unmounted region', () => {
  test('show bad blocks, and that nobody has unmounted it', async () => {
    await ok('mkfs', region, '--size', '4M');
    const media = openRegion(region, { readOnly: false });
    const engine = openEngine(media, { clock: systemClock });
    let free = -1;
    engine.owners(0, 4194304, (owner) => {
      if (owner.kind === 'free') free = owner.physical;
      return free < 0;
    });
    engine.poison(free, 8192, true);
    media.close();
    const bad = JSON.parse(await ok('badblocks', region, '--json')) as { since: number }[];
    expect(bad).toEqual([{ physical: free, length: 8192, latent: true, since: bad[0].since }]);
    expect(Math.abs(bad[0].since - Date.now() / 1000)).toBeLessThan(60);
    const info = InfoDocument.parse(JSON.parse(await ok('info', region, '--json')));
    expect(info).toMatchObject({ clean: false, blocks: { bad: 2 } });
  });

  test('what is no region is named', async () => {
    fs.writeFileSync(region, Buffer.alloc(REGION_MIN_BYTES));
    expect(await refused('info', region)).toContain('empty');
    fs.writeFileSync(region, Buffer.alloc(REGION_MIN_BYTES, 'x'));
    expect(await refused('info', region)).toContain('not a rmapfs filesystem');
    expect(await refused('badblocks', path.join(directory, 'none'))).toContain('no such file');
    expect(await refused('info', directory)).toContain('not on a mounted rmapfs');
  });

  test('a truncated region is named', async () => {
    await ok('mkfs', region, '--size', '4M');
    fs.truncateSync(region, 3 * 1024 * 1024);
    expect(await refused('info', region)).toContain('truncated');
  });
});

describe('mount and umount', () => {
  test('refuse what is not there before anything is started', async () => {
    expect(await refused('mount', region, directory)).toContain('rmapfs mkfs');
    await ok('mkfs', region, '--size', '4M');
    expect(await refused('mount', region, path.join(directory, 'none'))).toContain('mkdir');
    expect(await refused('mount', region, region)).toContain('no directory');
    expect(await refused('umount', directory)).toContain('not on a mounted rmapfs');
    expect(await refused('umount', '--force', directory)).toContain('not on a mounted rmapfs');
  });
});
