/**
 * 64-bit values as two u32 words <-> JS numbers. A number holds integers up to 2^53 exactly; the protocol's
 * own values (offsets, handles, inode numbers, seconds) stay below that or are refused by the limit they are
 * compared with: the conversion is monotone, so a larger value never looks like a smaller one.
 */

/** The unsigned 64-bit value at word `i`. Exact below 2^53, rounded above. */
export function getU64(words: Uint32Array, i: number): number {
  return words[i + 1] * 0x1_0000_0000 + words[i];
}

/** The signed 64-bit value at word `i`. Exact within +-2^53. */
export function getI64(words: Uint32Array, i: number): number {
  return (words[i + 1] | 0) * 0x1_0000_0000 + words[i];
}

/** Stores an integer within +-2^53 as a 64-bit value in two's complement. */
export function putI64(words: Uint32Array, i: number, value: number): void {
  // Storing into a Uint32Array takes the value modulo 2^32, for negative and large ones too.
  words[i] = value;
  words[i + 1] = Math.floor(value / 0x1_0000_0000);
}
