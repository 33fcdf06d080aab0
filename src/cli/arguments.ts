import { InvalidArgumentError, Option } from 'commander';
import { WHOLE_DEVICE } from '../control/codec.js';
import { POLICIES, type Policy } from '../control/protocol.js';
import { BLOCK_SIZE } from '../types.js';
import { failure } from './errors.js';

const SUFFIXES = ['', 'K', 'M', 'G', 'T'];
const U64_MAX = 2n ** 64n - 1n;

/** A number of bytes: decimal digits and an optional suffix K, M, G or T (powers of 1024). */
export function parseSize(text: string): number {
  return Number(parseExact(text));
}

/** As parseSize; 2^64-1 means the whole device. */
export function parseLength(text: string): number {
  const bytes = parseExact(text);
  return bytes === U64_MAX ? WHOLE_DEVICE : Number(bytes);
}

function parseExact(text: string): bigint {
  const match = /^([0-9]{1,20})([KMGT]?)$/i.exec(text);
  if (match === null) {
    throw new InvalidArgumentError('It must be a number of bytes, such as 4096, 64K, 16M or 2G.');
  }
  const bytes = BigInt(match[1]) * 1024n ** BigInt(SUFFIXES.indexOf(match[2].toUpperCase()));
  if (bytes > U64_MAX) throw new InvalidArgumentError('It must be below 2^64.');
  return bytes;
}

/** A count with units for messages: "4096 bytes", "the whole device". */
export function bytesText(bytes: number): string {
  if (bytes === WHOLE_DEVICE) return 'the whole device';
  return bytes === 1 ? '1 byte' : `${bytes} bytes`;
}

/** Refuses a range that does not consist of whole blocks. */
export function requireWholeBlocks(asked: string, offset: number, length: number): void {
  const aligned = offset % BLOCK_SIZE === 0 && (length === WHOLE_DEVICE || length % BLOCK_SIZE === 0);
  if (!aligned || length === 0) {
    const advice = `give an offset and a length that are multiples of ${BLOCK_SIZE}, and a length above 0`;
    throw failure(asked, `memory fails in whole blocks of ${BLOCK_SIZE} bytes; ${advice}`);
  }
  if (length === WHOLE_DEVICE && offset !== 0) {
    throw failure(asked, 'the length 2^64-1 means the whole device; give the offset 0 with it');
  }
}

export const POLICY_NAMES = POLICIES.slice(1) as Policy[];

export const jsonOption = (): Option => new Option('--json', 'print one JSON document');

export const offsetOption = (what: string): Option =>
  new Option('--offset <n>', what).argParser(parseSize).makeOptionMandatory();

export const lengthOption = (what: string): Option =>
  new Option('--length <n>', what).argParser(parseLength).makeOptionMandatory();
