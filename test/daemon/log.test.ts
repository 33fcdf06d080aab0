import { expect, test } from 'vitest';
import { withoutFloods } from '../../src/daemon/log.js';

test('a kind of line cannot fill the log, and says how many were left out', () => {
  const lines: string[] = [];
  let now = 0;
  const log = withoutFloods(
    (level, text) => lines.push(`${level} ${text}`),
    () => now,
  );
  for (let i = 0; i < 1000; i++) log('error', `mce-kill of ${i}: no policy 0x${i.toString(16)}`);
  log('error', 'something else');
  expect(lines).toHaveLength(21);
  expect(lines[20]).toBe('error something else');
  now += 60_000;
  log('error', 'mce-kill of 7: no policy 0x7');
  expect(lines.slice(21)).toEqual([
    'error 980 more lines like the next were left out',
    'error mce-kill of 7: no policy 0x7',
  ]);
});

test('many kinds are kept apart, and do not grow without bound', () => {
  const lines: string[] = [];
  const log = withoutFloods(
    (_level, text) => lines.push(text),
    () => 0,
  );
  for (let i = 0; i < 5000; i++) log('info', `kind ${'x'.repeat(i % 190)}`);
  expect(lines.length).toBeLessThanOrEqual(190 * 20);
});
