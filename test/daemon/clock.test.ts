import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FineClock, systemClock } from '../../src/daemon/clock.js';

/** A clock over two sources that the test moves, in milliseconds. */
function stage(wall: number) {
  const at = { wall, monotonic: 5000.25 };
  const clock = new FineClock(
    () => Math.floor(at.wall),
    () => at.monotonic,
  );
  const pass = (ms: number): void => {
    at.wall += ms;
    at.monotonic += ms;
  };
  const nanoseconds = (): bigint => {
    const time = { sec: 0, nsec: 0 };
    clock.now(time);
    expect(time.nsec).toBeGreaterThanOrEqual(0);
    expect(time.nsec).toBeLessThan(1_000_000_000);
    return BigInt(time.sec) * 1_000_000_000n + BigInt(time.nsec);
  };
  return { at, pass, nanoseconds };
}

test('two looks within a millisecond differ by what has passed', () => {
  const { pass, nanoseconds } = stage(1_700_000_000_000);
  const first = nanoseconds();
  pass(0.125);
  expect(nanoseconds() - first).toBe(125_000n);
});

test('a step of the clock is followed at once, in both directions', () => {
  const { at, nanoseconds } = stage(1_700_000_000_000);
  nanoseconds();
  for (const wall of [1_800_000_000_500, 1_600_000_000_250, 7]) {
    at.wall = wall;
    expect(nanoseconds() / 1_000_000n).toBe(BigInt(wall));
  }
});

test('never off by a millisecond, never backwards while the clock goes on, however the two drift', () => {
  const step = fc.tuple(
    fc.double({ min: 0, max: 40, noNaN: true }),
    fc.double({ min: 0.9, max: 1.1, noNaN: true }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { at, nanoseconds } = stage(1_700_000_000_000.4);
      let last = nanoseconds();
      for (const [ms, rate] of steps) {
        at.wall += ms;
        at.monotonic += ms * rate;
        const now = nanoseconds();
        expect(now).toBeGreaterThanOrEqual(last);
        expect(now / 1_000_000n).toBe(BigInt(Math.floor(at.wall)));
        last = now;
      }
    }),
  );
});

test('the system clock', () => {
  const time = { sec: 0, nsec: 0 };
  const fractions = new Set<number>();
  for (let i = 0; i < 1000; i++) {
    systemClock.now(time);
    fractions.add(time.nsec % 1_000_000);
  }
  expect(Math.abs(time.sec - Date.now() / 1000)).toBeLessThan(60);
  expect(fractions.size).toBeGreaterThan(10);
});
