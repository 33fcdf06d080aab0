/** The hash of a name as dirent and xattr keys hold it: an unsigned 32-bit number. */
export type NameHash = (name: Uint8Array) => number;

/** Part of the format ("RMAP"): the same on every filesystem, so that a directory can be checked without it. */
export const NAME_HASH_SEED = 0x50414d52;

/**
 * MurmurHash3_x86_32 of the name's bytes with NAME_HASH_SEED. Good distribution for short names that differ
 * in one digit; no defence against names that are chosen to collide: HASH_COLLISIONS_MAX bounds what those
 * can cost.
 */
export function nameHash(name: Uint8Array): number {
  const length = name.length;
  const whole = length - (length % 4);
  let hash = NAME_HASH_SEED | 0;
  for (let i = 0; i < whole; i += 4) {
    const word = name[i] | (name[i + 1] << 8) | (name[i + 2] << 16) | (name[i + 3] << 24);
    hash ^= mixWord(word);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let i = length - 1; i >= whole; i--) tail = (tail << 8) | name[i];
  if (length > whole) hash ^= mixWord(tail);
  return finish(hash ^ length);
}

function mixWord(word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  h ^= h >>> 16;
  return h >>> 0;
}
