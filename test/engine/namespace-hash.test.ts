import { describe, expect, it } from 'vitest';
import { NAME_HASH_SEED, nameHash } from '../../src/engine/hash.js';
import { bytes } from '../support/namespace.js';

/** MurmurHash3_x86_32 again, in BigInt and straight from its definition. */
function reference(name: Uint8Array, seed: number): number {
  const mask = 0xffff_ffffn;
  const rotl = (x: bigint, r: bigint): bigint => ((x << r) | (x >> (32n - r))) & mask;
  const mix = (k: bigint): bigint => (rotl((k * 0xcc9e2d51n) & mask, 15n) * 0x1b873593n) & mask;
  let h = BigInt(seed);
  const blocks = Math.floor(name.length / 4);
  for (let i = 0; i < blocks; i++) {
    const word = name.slice(i * 4, i * 4 + 4).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    h = (rotl(h ^ mix(word), 13n) * 5n + 0xe6546b64n) & mask;
  }
  const tail = name.slice(blocks * 4).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  if (name.length % 4 !== 0) h ^= mix(tail);
  h ^= BigInt(name.length);
  h = ((h ^ (h >> 16n)) * 0x85ebca6bn) & mask;
  h = ((h ^ (h >> 13n)) * 0xc2b2ae35n) & mask;
  return Number(h ^ (h >> 16n));
}

describe('nameHash', () => {
  it('the reference gives the published values', () => {
    expect(reference(bytes(''), 1)).toBe(0x514e28b7);
    expect(reference(bytes('hello'), 0)).toBe(0x248bfa47);
  });

  it('is MurmurHash3_x86_32, bytes above 127 and every tail length included', () => {
    for (let length = 0; length <= 255; length++) {
      const name = Uint8Array.from({ length }, (_, i) => (i * 151 + length) % 256);
      expect(nameHash(name)).toBe(reference(name, NAME_HASH_SEED));
    }
  });

  it('is part of the format', () => {
    expect(['a', 'README.md', 'x'.repeat(255)].map((name) => nameHash(bytes(name)))).toEqual([
      4_120_226_850, 2_569_960_152, 3_087_894_411,
    ]);
  });

  it('spreads names that differ in a number: about as many collisions as chance gives', () => {
    const seen = new Set<number>();
    const names = 200_000;
    for (let i = 0; i < names; i++) seen.add(nameHash(bytes(`file${i}.txt`)));
    // Chance gives n^2 / 2^33 = 4.7.
    expect(names - seen.size).toBeLessThan(20);
    const buckets = new Uint32Array(256);
    for (const hash of seen) buckets[hash >>> 24]++;
    expect(Math.max(...buckets) / Math.min(...buckets)).toBeLessThan(1.4);
  });
});
