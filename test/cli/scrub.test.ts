import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PoisonDocument } from '../../src/control/schema.js';
import { FakeMount, INFO } from '../control/fake-mount.js';
import { type CliResult, runFake } from './run.js';

const BLOCK = 4096;
const STEP = INFO.size / 4;

let fake: FakeMount;
beforeEach(() => {
  fake = new FakeMount();
});
afterEach(() => fake.remove());

const scrub = (...args: string[]): Promise<CliResult> =>
  runFake(fake.system, 'scrub', fake.directory, '--max-io', String(STEP), '--rest-us', '0', ...args);

const latentAt = (physical: number): PoisonDocument => ({
  physical,
  length: BLOCK,
  latent: false,
  owners: [
    {
      kind: 'file',
      ino: 20,
      paths: ['/data'],
      fileOffset: 8192,
      physical,
      length: BLOCK,
      fork: 'data',
      unwritten: false,
      shareCount: 1,
      open: true,
    },
  ],
  victims: [],
  shutdown: false,
});

describe('rmapfs scrub', () => {
  test('reads the region step by step, each as large as was asked for', async () => {
    const done = await scrub();
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(done.stdout).toBe(`read ${INFO.size} bytes from offset 0 on: 0 bytes with latent errors\n`);
    expect(fake.requests('scrub')).toEqual(Array(4).fill({ maxBytes: STEP, flags: 0 }));
  });

  test('says what it found, and goes on behind it', async () => {
    fake.latent = [latentAt(STEP + BLOCK), latentAt(STEP + 2 * BLOCK)];
    fake.damaged = [{ physical: 3 * STEP, tree: 'rmap', detail: 'wrong checksum' }];
    const { status, stdout } = await scrub();
    expect(status).toBe(0);
    expect(stdout).toMatch(/^read \d+ bytes from offset 0 on: 8192 bytes with latent errors\n/);
    expect(stdout).toContain(`${BLOCK} bytes at physical offset ${STEP + BLOCK}, 0 victims\n`);
    expect(stdout).toContain(`${BLOCK} bytes at physical offset ${STEP + 2 * BLOCK}, 0 victims\n`);
    expect(stdout).toMatch(/\/data/);
    expect(stdout).toContain(`damaged metadata at physical offset ${3 * STEP} (rmap): wrong checksum\n`);
    expect(fake.scrubbed).toBe(INFO.size);
  });

  test('--json has all of it', async () => {
    fake.latent = [latentAt(BLOCK)];
    const document = JSON.parse((await scrub('--json')).stdout);
    expect(document).toEqual({
      size: INFO.size,
      from: 0,
      position: INFO.size,
      complete: true,
      latent: [latentAt(BLOCK)],
      damaged: [],
    });
  });

  test('goes on where an earlier one was stopped, and from the start with --restart', async () => {
    fake.scrubbed = 3 * STEP;
    expect((await scrub()).stdout).toMatch(new RegExp(`^read ${STEP} bytes from offset ${3 * STEP} on`));
    fake.scrubbed = 3 * STEP;
    fake.log.length = 0;
    expect((await scrub('--restart')).stdout).toMatch(
      new RegExp(`^read ${INFO.size} bytes from offset 0 on`),
    );
    expect(fake.requests('scrub').map((request) => (request as { flags: number }).flags)).toEqual([
      1, 0, 0, 0,
    ]);
  });

  test('Ctrl-C stops it between two steps: status 130, and how to go on', async () => {
    const running = scrub('--rest-us', '99999999');
    while (fake.scrubbed === 0) await new Promise((resolve) => setImmediate(resolve));
    process.emit('SIGINT');
    const { status, stdout } = await running;
    expect(status).toBe(130);
    expect(stdout).toContain(
      `\nstopped at ${STEP} of ${INFO.size} bytes; go on with: rmapfs scrub ${fake.directory}\n`,
    );
    expect(fake.scrubbed).toBe(STEP);
  });

  test.each([
    ['EPERM', /^rmapfs: cannot scrub .*allowed to root and to the user who mounted/],
    ['EIO', /^rmapfs: cannot scrub [^\n]*\n$/],
  ])('%s is one sentence', async (errno, sentence) => {
    fake.failures.set('scrub', errno);
    expect(await scrub()).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(sentence) });
  });

  test.each([
    ['--max-io', '4095'],
    ['--max-io', '1G'],
    ['--rest-us', '-1'],
    ['--rest-us', '100000000'],
  ])('wrong usage: %s %s', async (...args) => {
    expect((await scrub(...args)).status).toBe(2);
    expect(fake.requests('scrub')).toEqual([]);
  });
});
