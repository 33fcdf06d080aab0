import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FakeMount } from '../control/fake-mount.js';
import { type CliResult, runFake } from './run.js';

let fake: FakeMount;
beforeAll(() => {
  fake = new FakeMount();
});
afterAll(() => fake.remove());

const run = (...args: string[]): Promise<CliResult> => runFake(fake.system, ...args);

const COMMANDS = [
  'mkfs',
  'mount',
  'umount',
  'info',
  'clone',
  'dedupe',
  'exec',
  'extents',
  'fsck',
  'fsmap',
  'owners',
  'poison',
  'unpoison',
  'badblocks',
  'events',
  'map',
  'scrub',
  'scenario',
  'compare',
  'stats',
  'trim',
];

describe('help', () => {
  test.each(COMMANDS)('of %s shows an example, on standard output, with status 0', async (command) => {
    const { status, stdout, stderr } = await run(command, '--help');
    expect(status).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^Usage: rmapfs /);
    expect(stdout).toMatch(new RegExp(`Examples?:\\n  [$#] rmapfs ${command} `));
  });

  test('of the program lists the commands that exist, and no others', async () => {
    const { status, stdout } = await run('--help');
    expect(status).toBe(0);
    const listed = [...stdout.matchAll(/^ {2}([a-z]+)\s/gm)].map((match) => match[1]);
    expect(listed.filter((name) => name !== 'help').sort()).toEqual([...COMMANDS].sort());
  });

  test('--version prints the version of the package', async () => {
    expect(await run('--version')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });
});

describe('wrong usage is status 2 with what is wrong and the usage line', () => {
  test.each([
    ['no command', [], /^Usage: rmapfs /m],
    ['an unknown command', ['frobnicate'], /unknown command 'frobnicate'\nUsage: rmapfs /],
    ['an unknown option', ['info', '--jsno', '/'], /unknown option '--jsno'[\s\S]*Usage: rmapfs info /],
    ['a missing argument', ['fsmap'], /missing required argument 'dir'\nUsage: rmapfs fsmap /],
    ['too many arguments', ['fsmap', 'a', 'b'], /too many arguments[\s\S]*\nUsage: rmapfs fsmap /],
    [
      'a missing option',
      ['owners', '/', '--offset', '0'],
      /'--length <n>' not specified\nUsage: rmapfs owners /,
    ],
    [
      'a size that is none',
      ['owners', '/', '--offset', '4X', '--length', '1'],
      /'4X' is invalid[\s\S]*Usage: /,
    ],
    ['a negative size', ['owners', '/', '--offset', '-1', '--length', '1'], /Usage: rmapfs owners /],
    ['a size above 2^64', ['owners', '/', '--offset', '99999999999T', '--length', '1'], /below 2\^64/],
    [
      'an unknown policy',
      ['poison', '/', '--offset', '0', '--length', '4K', '--policy', 'loud'],
      /early, late, kill, notify/,
    ],
    [
      'neither DIR nor --file',
      ['poison', '--offset', '0', '--length', '4K'],
      /either a DIR[\s\S]*Usage: rmapfs poison /,
    ],
    [
      'both DIR and --file',
      ['unpoison', '/', '--file', '/f', '--offset', '0', '--length', '4K'],
      /Usage: rmapfs unpoison /,
    ],
    [
      'an unknown mount option',
      ['mount', '/r', '/d', '-o', 'ro,warp'],
      /no mount option 'warp'[\s\S]*Usage: rmapfs mount /,
    ],
    ['an unknown mount policy', ['mount', '/r', '/d', '-o', 'policy=x'], /'x' is no policy/],
  ] as const)('%s', async (_, args, message) => {
    const { status, stdout, stderr } = await run(...args);
    expect(stderr).toMatch(message);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).not.toContain('undefined');
  });
});
