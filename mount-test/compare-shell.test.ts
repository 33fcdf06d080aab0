import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Agent } from '../src/compare/agent.js';
import { dataScript } from '../src/compare/data-script.js';
import { nameScript } from '../src/compare/name-script.js';
import { AGENT_PROGRAM, EXEC_PROGRAM } from '../src/compare/programs.js';
import { shellScript } from '../src/compare/shell.js';
import { withMount } from './support/harness.js';

/** A script of the comparison as a script of sh: on one filesystem both do the same, and see the same. */

const SEED = Number(process.env.RMAPFS_SEED ?? 1);
const OPERATIONS = process.env.RMAPFS_LONG === '1' ? 500 : 35;

/** What can be compared of an answer: the number or the errno, the inodes, and more for some operations. */
interface Seen {
  line: string;
  result: string;
  states: string[];
  extra: string;
}

/** Operations whose tools tell the number that the system call returned. */
const COUNTED = new Set(['write', 'dwrite', 'swrite', 'append', 'read', 'dread', 'look', 'seek', 'readlink']);

const cksum = (path: string): string =>
  spawnSync('cksum', [path], { encoding: 'utf8' }).stdout.split(' ')[0] ?? '';

/** An answer of the agent, without what the tools do not tell. */
function answered(line: string, answer: string, contents: string): Seen {
  const [number, errno] = answer.split(' ');
  const operation = line.split(' ')[0];
  const blocks = / extents:((?: \S+)*) blocks=/.exec(answer)?.[1];
  const status = / status=(\w+)/.exec(answer)?.[1] ?? '';
  const refused = errno !== '0' ? errno : /^E[A-Z]/.exec(status) ? status : '';
  return {
    line,
    result: refused || (COUNTED.has(operation) ? number : '0'),
    states:
      operation === 'tree'
        ? []
        : [...answer.matchAll(/\[(\S+ [^\]]*)\]/g)].map((match) => match[1].replace(/ (new|mc|m|c|-)$/, '')),
    extra: contents || (blocks ?? (refused === '' ? status : '')),
  };
}

async function byAgent(command: string[], dir: string, script: readonly string[]): Promise<Seen[]> {
  const agent = new Agent([...command, AGENT_PROGRAM, dir]);
  try {
    await agent.run(['begin by-agent']);
    const seen: Seen[] = [];
    for (const line of script) {
      const [answer] = await agent.run([line]);
      const [operation, file] = line.split(' ');
      const isSeen = operation === 'look' && answer.split(' ')[1] === '0';
      seen.push(answered(line, answer, isSeen ? cksum(join(dir, 'by-agent', file)) : ''));
    }
    await agent.run(['end by-agent']);
    return seen;
  } finally {
    await agent.end();
  }
}

/** One line that a step has printed. */
function take(seen: Seen, text: string): void {
  const operation = seen.line.split(' ')[0];
  const said = /^ {2}= (.*)$/.exec(text)?.[1];
  const [number, more = ''] = said?.split(' ') ?? [];
  if (said !== undefined && /^(-1 E[A-Z0-9]+|\d+ 0)( |$)/.test(said)) {
    Object.assign(seen, answered(seen.line, said, ''));
  } else if (number !== undefined) {
    seen.result = /^E[A-Z0-9]+$/.test(number) || COUNTED.has(operation) ? number : '0';
    if (operation === 'look') seen.extra = more.replace('cksum=', '');
    if (operation === 'dedupe' && seen.result === '0') seen.extra = number;
  }
  const state = /^ {2}\[(.*)\]$/.exec(text)?.[1];
  if (state !== undefined && operation !== 'tree') seen.states.push(state);
  seen.extra = /^ {2}extents:(.*)$/.exec(text)?.[1] ?? seen.extra;
}

function byShell(command: string[], dir: string, script: readonly string[]): Seen[] {
  const scratch = mkdtempSync(join(tmpdir(), 'rmapfs-sh-'));
  try {
    const file = join(scratch, 'repro.sh');
    writeFileSync(file, shellScript(script, 'made by a test'));
    const [program, ...args] = [...command, 'sh', file, dir];
    const env = { ...process.env, RMAPFS_AGENT: AGENT_PROGRAM };
    const done = spawnSync(program, args, { encoding: 'utf8', env, maxBuffer: 2 ** 26 });
    expect(done.stderr).toMatch(/^.*: the files are in \S+\n$/);
    expect(done.status).toBe(0);
    const seen: Seen[] = [];
    for (const text of done.stdout.trimEnd().split('\n')) {
      const last = seen.at(-1);
      if (text.startsWith(' ') && last !== undefined) take(last, text);
      else seen.push({ line: text, result: '0', states: [], extra: '' });
    }
    return seen;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** Special files are left out: another filesystem may not be asked to open whatever device they stand for. */
const isDevice = (line: string): boolean => /^mknod \S+ [26]0/.test(line);

const SCRIPTS: readonly (readonly [string, readonly string[]])[] = [
  ['whole blocks', dataScript(SEED, 'exact', OPERATIONS, false)],
  ['any offsets', dataScript(SEED, 'odd', OPERATIONS, false)],
  ['names', nameScript(SEED, OPERATIONS, false).filter((line) => !isDevice(line))],
];

async function compared(command: string[], dir: string, script: readonly string[]): Promise<void> {
  const agent = await byAgent(command, dir, script);
  expect(byShell(command, dir, script)).toEqual(agent);
}

describe(`random operations of seed ${SEED}`, () => {
  it.each(SCRIPTS)('%s, on tmpfs', async (_what, script) => {
    const dir = mkdtempSync('/dev/shm/rmapfs-sh-');
    try {
      await compared([], dir, script);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it.each(SCRIPTS)('%s, on rmapfs', (_what, script) =>
    withMount({}, (m) => compared([EXEC_PROGRAM], m.dir, script)),
  );
});
