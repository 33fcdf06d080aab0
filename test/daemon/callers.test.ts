import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { CurrentCaller, groupsOf, isKilled } from '../../src/daemon/callers.js';
import { INTERRUPT_CHECK_MS } from '../../src/limits.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

describe('a thread, as /proc has it', () => {
  test('its supplementary groups', () => {
    // Node adds the effective group, which /proc may leave out.
    const own = process.getgid?.() ?? 0;
    const known = new Set([...(process.getgroups?.() ?? []), own]);
    expect(new Set([...groupsOf(process.pid), own])).toEqual(known);
    expect(groupsOf(0)).toEqual([]);
  });

  test('is killed only while SIGKILL is pending', async () => {
    expect(isKilled(process.pid)).toBe(false);
    expect(isKilled(0)).toBe(false);
    const child = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] });
    children.push(child);
    await once(child, 'spawn');
    expect(isKilled(child.pid ?? 0)).toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(isKilled(child.pid ?? 0)).toBe(false);
  });
});

test('the current caller is looked at now and then, and nobody is never gone', () => {
  let now = 0;
  const asked: number[] = [];
  const caller = new CurrentCaller(
    (tid) => {
      asked.push(tid);
      return tid === 7;
    },
    () => now,
  );
  expect(caller.isGone()).toBe(false);
  caller.tid = 6;
  expect([caller.isGone(), caller.isGone()]).toEqual([false, false]);
  caller.tid = 7;
  now = INTERRUPT_CHECK_MS - 1;
  expect(caller.isGone()).toBe(false);
  now = INTERRUPT_CHECK_MS;
  expect(caller.isGone()).toBe(true);
  expect(asked).toEqual([6, 7]);
});
