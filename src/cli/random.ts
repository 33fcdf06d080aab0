import { randomInt } from 'node:crypto';
import { InvalidArgumentError } from 'commander';

/** Seeds are u32. */
const SEEDS = 2 ** 32;

export const newSeed = (): number => randomInt(SEEDS);

export function parseSeed(text: string): number {
  const seed = Number(text);
  if (!/^[0-9]{1,10}$/.test(text) || seed >= SEEDS) {
    throw new InvalidArgumentError('It must be a number from 0 to 4294967295.');
  }
  return seed;
}

/**
 * A seeded generator (mulberry32): the same seed gives the same numbers on every machine and with every version,
 * which is why it is written here. Returns numbers from 0 to below `limit` (at most 2^53).
 */
export function seededRandom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  return (limit) => {
    const fraction = ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
    return Math.floor(fraction * limit);
  };
}

/** `count` different numbers below `limit`, in rising order (Floyd's algorithm: as many draws as numbers). */
export function sample(count: number, limit: number, seed: number): number[] {
  const random = seededRandom(seed);
  const chosen = new Set<number>();
  for (let last = limit - count; last < limit; last++) {
    const drawn = random(last + 1);
    chosen.add(chosen.has(drawn) ? last : drawn);
  }
  return [...chosen].sort((a, b) => a - b);
}
