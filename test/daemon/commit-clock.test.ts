import { expect, test } from 'vitest';
import { CommitClock } from '../../src/daemon/commit-clock.js';

function setUp() {
  const world = { now: 1000, timers: [] as [number, number][] };
  const clock = new CommitClock(
    5000,
    () => world.now,
    (first, every) => world.timers.push([first, every]),
  );
  return { world, clock };
}

test('a commit is due an interval after the first change, however many follow', () => {
  const { world, clock } = setUp();
  for (; world.now < 6000; world.now += 100) {
    clock.changed(true);
    expect(clock.due).toBe(false);
  }
  clock.changed(true);
  expect(clock.due).toBe(true);
  expect(world.timers).toEqual([[5000, 20]]);
});

test('no commit is due, and no timer runs, while there is nothing to commit', () => {
  const { world, clock } = setUp();
  clock.changed(false);
  clock.changed(true);
  clock.changed(false);
  world.now += 10_000;
  expect(clock.due).toBe(false);
  expect(world.timers).toEqual([
    [5000, 20],
    [0, 0],
  ]);
});

test('what a commit leaves behind is due an interval later', () => {
  const { world, clock } = setUp();
  clock.changed(true);
  world.now += 5000;
  expect(clock.due).toBe(true);
  clock.done();
  clock.changed(true);
  expect(clock.due).toBe(false);
  world.now += 5000;
  expect(clock.due).toBe(true);
});
