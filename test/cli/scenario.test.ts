import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lineOfSyntaxError, linesOfJson } from '../../src/cli/json-lines.js';
import { scenarioJsonSchema } from '../../src/cli/scenario-schema.js';
import { FakeMount } from '../control/fake-mount.js';
import { type CliResult, runFake } from './run.js';

const PUBLISHED = fileURLToPath(new URL('../../docs/scenario.schema.json', import.meta.url));

let fake: FakeMount;
beforeEach(() => {
  fake = new FakeMount();
  fake.poisoned = { physical: 0, length: 4096, latent: false, owners: [], victims: [], shutdown: false };
});
afterEach(() => fake.remove());

async function run(text: string, ...args: string[]): Promise<CliResult> {
  const file = fake.file('scenario.json', text);
  return await runFake(fake.system, 'scenario', 'run', file, fake.directory, ...args);
}

const steps = (...all: object[]): string => JSON.stringify({ seed: 1, steps: all });

describe('the published schema', () => {
  test('is the one that scenarios are checked with', async () => {
    const published: unknown = JSON.parse(fs.readFileSync(PUBLISHED, 'utf8'));
    expect(published).toEqual(scenarioJsonSchema());
    const printed = await runFake(fake.system, 'scenario', 'schema');
    expect(JSON.parse(printed.stdout)).toEqual(published);
  });
});

describe('lines of a JSON text', () => {
  test('by path, a field where its name is', () => {
    const text = '{\n "a": [1,\n  {"b\\"/\\\\": "}", "c": []}\n ],\n "d":\n  -1.5e3\n}';
    expect(() => JSON.parse(text)).not.toThrow();
    expect(Object.fromEntries(linesOfJson(text))).toEqual({
      '': 1,
      a: 2,
      'a/0': 2,
      'a/1': 3,
      'a/1/b"/\\': 3,
      'a/1/c': 3,
      d: 5,
    });
  });

  test.each([
    ['{\n\n"a": ]}', 3],
    ['{"a":\n', 1],
    ['{"a": 1\n"b": 2}', 2],
    ['{}\n}', 2],
    ['[1,\n2,\n]', 3],
    ['', 1],
  ])('of a syntax error: %j', (text, line) => {
    expect(() => JSON.parse(text)).toThrow();
    expect(lineOfSyntaxError(text)).toBe(line);
  });
});

describe('a scenario with an error', () => {
  const GOOD = { do: 'wait', ms: 1 };
  test.each([
    ['a field too many', { ...GOOD, mss: 2 }, /line 4, steps\.1\.mss: there is no such field/],
    [
      'a misspelled field',
      { do: 'poison-random', cuont: 2 },
      /line 4, steps\.1\.cuont: there is no such field/,
    ],
    ['a missing field', { do: 'wait' }, /line 4, steps\.1\.ms: /],
    ['a wrong type', { do: 'wait', ms: 'x' }, /line 4, steps\.1\.ms: .*number/],
    ['an unknown step', { do: 'explode' }, /line 4, steps\.1\.do: /],
    ['an unknown event', { do: 'wait-event', type: 'x' }, /line 4, steps\.1\.type: /],
  ])('%s: line and field, and nothing is done', async (_name, step, message) => {
    const text = `{\n"steps": [\n${JSON.stringify(GOOD)},\n${JSON.stringify(step)}\n]}`;
    const done = await run(text);
    expect(done).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(message) });
    expect(done.stderr).toContain('cannot run the scenario');
    expect(fake.log).toEqual([]);
  });

  test('that is no JSON, or no file', async () => {
    expect((await run('{\n"steps": [,]}')).stderr).toMatch(/line 2 is no JSON/);
    const missing = await runFake(fake.system, 'scenario', 'run', '/nonexistent', fake.directory);
    expect(missing).toMatchObject({ status: 1, stderr: expect.stringMatching(/no such file/) });
  });
});

describe('a scenario', () => {
  test('does its steps in order and says what it did, with seeds', async () => {
    const FREE = { physical: 8192, length: 8192, owner: 20, fileOffset: 0, flags: 0, detail: 1 };
    fake.fsmap = [FREE];
    const text = steps(
      { do: 'poison', offset: 4096, length: 8192, latent: true },
      { do: 'poison-random', count: 1 },
      { do: 'poison-every-nth', n: 2 },
      { do: 'unpoison', offset: 0, length: 4096 },
      { do: 'wait-file', path: 'scenario.json' },
      { do: 'wait', ms: 0 },
    );
    const first = await run(text, '--json');
    expect(first).toMatchObject({ status: 0, stderr: '' });
    const document = JSON.parse(first.stdout);
    expect(document).toMatchObject({
      seed: 1,
      steps: [
        { step: 1, do: 'poison', offset: 4096, report: { length: 4096 } },
        { step: 2, do: 'poison-random', seed: expect.any(Number), candidates: 2 },
        { step: 3, do: 'poison-every-nth', ranges: [{ physical: 12288, length: 4096 }] },
        { step: 4, do: 'unpoison', cleared: 4096 },
        { step: 5, do: 'wait-file' },
        { step: 6, do: 'wait' },
      ],
    });
    const requests = fake.requests('poison');
    fake.log.length = 0;
    expect(JSON.parse((await run(text, '--json')).stdout)).toEqual(document);
    expect(fake.requests('poison')).toEqual(requests);
    expect(JSON.parse((await run(text, '--seed', '2', '--json')).stdout).seed).toBe(2);
  });

  test('waits for events that come after its start, and for as many as it says', async () => {
    const event = (seq: number, count: number): string =>
      JSON.stringify({ seq, time: 1, count, type: 'healed', physical: 0, length: 4096, by: 'write' });
    fake.events = [event(1, 5)];
    const wait = { do: 'wait-event', type: 'healed', count: 3, timeoutMs: 20 };
    expect(await run(steps(wait))).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/step 1 \(wait-event\): it did not happen within 20 ms/),
    });
    const looks = (): number => fake.requests('events').length;
    const before = looks();
    const running = run(steps({ ...wait, timeoutMs: 30_000 }));
    // Its first look says which events were there before it.
    while (looks() === before) await new Promise((resolve) => setImmediate(resolve));
    fake.events.push(event(2, 1), event(3, 2));
    expect((await running).status).toBe(0);
  });

  test('waits for the end of a process', async () => {
    const ended = { do: 'wait-process', pidFile: 'pid', timeoutMs: 20 };
    expect((await run(steps(ended))).stderr).toMatch(/holds no pid/);
    fs.writeFileSync(path.join(fake.directory, 'pid'), '4194305\n');
    expect((await run(steps(ended))).status).toBe(0);
    expect((await run(steps({ do: 'wait-process', pid: process.pid, timeoutMs: 20 }))).stderr).toMatch(
      /did not happen/,
    );
    expect((await run(steps({ do: 'wait-process' }))).stderr).toMatch(/one of pid and pidFile/);
  });
});
