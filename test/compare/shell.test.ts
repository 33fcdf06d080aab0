import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CATALOGUE } from '../../src/compare/catalogue.js';
import { dataScript } from '../../src/compare/data-script.js';
import { nameScript } from '../../src/compare/name-script.js';
import { shellScript } from '../../src/compare/shell.js';
import { runFake } from '../cli/run.js';
import { FakeMount } from '../control/fake-mount.js';

/** Operations of descriptors that stay open, of mappings and of other processes. */
const AGENT_ONLY = new Set(['open', 'close', 'pipe', 'memfd', 'mstore', 'view', 'peek', 'poke', 'unview']);
/** What their lines ask of the system that no tool passes on: flags, descriptors, numbers out of range. */
const CASES = Object.values(CATALOGUE).flat();
const RANDOM = [
  ...dataScript(1, 'exact', 300, false),
  ...dataScript(2, 'odd', 300, false),
  ...dataScript(3, 'mapped', 300, false),
  ...nameScript(4, 600, false),
];

const scratch = mkdtempSync(join(tmpdir(), 'rmapfs-shell-'));
afterAll(() => rmSync(scratch, { recursive: true }));

function written(script: readonly string[]): string {
  const file = join(scratch, 'script.sh');
  writeFileSync(file, shellScript(script, 'a test'));
  return file;
}

const sh = (...args: string[]) =>
  spawnSync('sh', args, { encoding: 'utf8', env: { PATH: process.env.PATH, RMAPFS_AGENT: '' } });

/** Neither of descriptors nor of mappings: those are the agent's. */
const isForTools = (line: string): boolean => !AGENT_ONLY.has(line.split(' ')[0]) && !line.includes('@');

/** Lines that a script leaves to the agent. */
const leftToAgent = (script: readonly string[]): string[] =>
  script.filter((line) => shellScript([line], 'a test').includes('\nagent '));

describe('a script of sh', () => {
  it('has every operation of the random scripts, but for those of descriptors and mappings', () => {
    const left = leftToAgent(RANDOM).filter(isForTools);
    // renameat2 flags, setxattr flags, getxattr into a small buffer, a socket, a time that is none.
    const known = /^(rename .* [nxw]+|setxattr .* [cr]|getxattr .* 10|mknod \S+ 140600 .*)$/;
    expect(left.filter((line) => !known.test(line))).toEqual([]);
    expect(left.length).toBeLessThan(RANDOM.length / 10);
  });

  it('of every named case is one that sh can read', () => {
    const file = written(CASES.filter((line) => line !== 'remount'));
    expect(sh('-n', file)).toMatchObject({ status: 0, stderr: '' });
    const forTools = CASES.filter(isForTools);
    expect(leftToAgent(forTools).length / forTools.length).toBeLessThan(0.05);
  });

  it('says what it needs before it does anything', () => {
    const needsAgent = written(['create a 644', 'mstore a 0 1 1', "link a 'b"]);
    expect(sh(needsAgent, scratch)).toMatchObject({
      status: 3,
      stdout: '',
      stderr: `${needsAgent}: this script needs rmapfs-agent for: mstore a 0 1 1. Set RMAPFS_AGENT to its path\n`,
    });
    expect(sh(written(['remount']), scratch).stderr).toMatch(/Set REMOUNT to a command/);
    expect(sh(written(['create a 644']), join(scratch, 'none'))).toMatchObject({ status: 2, stdout: '' });
  });

  it('prints what it sees: bytes, errors, contents, inodes', () => {
    const script = [
      'create a 640',
      'write a 5 20 1',
      'look a',
      'create a 644',
      'truncate b 1',
      'write a 0 16 100',
      'look a',
    ];
    const done = sh(written(script), scratch);
    expect(done.status).toBe(0);
    const [directory] = /\S+$/.exec(done.stderr.trim()) ?? [''];
    const first = Buffer.concat([Buffer.alloc(5), Buffer.from('0000000000\nb00000000')]);
    expect(readFileSync(join(directory, 'a')).subarray(16).equals(first.subarray(16))).toBe(true);
    expect(readFileSync(join(directory, 'a'), 'latin1').slice(0, 16)).toBe('A00000000000000\n');
    const dir = '  [. 40755 2 0 0 0]';
    const root = process.getuid?.() === 0;
    if (!root) return;
    expect(done.stdout.replaceAll(/cksum=\d+/g, 'cksum')).toBe(
      [
        ...['create a 640', '  = 0', '  [a 100640 1 0 0 0]', dir],
        ...['write a 5 20 1', '  = 20', '  [a 100640 1 0 0 25]'],
        ...['look a', '  = 25 cksum', '  [a 100640 1 0 0 25]'],
        ...['create a 644', '  = EEXIST', '  [a 100640 1 0 0 25]', dir],
        ...['truncate b 1', '  = ENOENT', '  [b none]'],
        ...['write a 0 16 100', '  = 16', '  [a 100640 1 0 0 25]'],
        ...['look a', '  = 25 cksum', '  [a 100640 1 0 0 25]', ''],
      ].join('\n'),
    );
  });

  it('is what rmapfs compare --as-sh prints', async () => {
    const fake = new FakeMount();
    const file = fake.file('script.txt', '# about\ncreate a 644\nclone a 0 b 0 4K\n');
    const { status, stdout } = await runFake(fake.system, 'compare', '--as-sh', file);
    fake.remove();
    expect(status).toBe(0);
    expect(stdout).toBe(shellScript(['create a 644', 'clone a 0 b 0 4K'], 'made from script.txt'));
    expect(stdout).toContain("io b 'reflink a 0 0 4096'");
  });
});
