import { FsError } from '../errors.js';
import { FUSE_MAX_WRITE_BYTES, NAME_MAX_BYTES, PATH_MAX_BYTES } from '../limits.js';
import { fuse_in_header, fuse_write_in } from './abi.js';
import { getI64, getU64 } from './words.js';

const HEADER = fuse_in_header.at;
const HEADER_BYTES = fuse_in_header.size;
const DOT = 0x2e;
const SLASH = 0x2f;

/**
 * Bytes of the buffer that one request is read into. The kernel refuses a read (EINVAL) with less than
 * max_write plus the headers of a write; a block more keeps the size a multiple of one.
 */
export const REQUEST_BUFFER_BYTES = FUSE_MAX_WRITE_BYTES + 4096;

/**
 * A view over the buffer that requests are read into, used again for each one: nothing is allocated for a
 * request except the views of its names. Offsets named `at` are bytes from the end of the header; they come
 * from abi.ts and are multiples of 4.
 *
 * A malformed request is an FsError EINVAL. The kernel does not send such; a fuzz test does.
 */
export class Request {
  readonly buffer: Buffer;
  /** The data of a FUSE_WRITE begin here: one view for all of them. */
  readonly writeData: Buffer;
  readonly #words: Uint32Array;
  #length = 0;

  constructor(buffer: Buffer = Buffer.alloc(REQUEST_BUFFER_BYTES)) {
    this.buffer = buffer;
    this.writeData = buffer.subarray(HEADER_BYTES + fuse_write_in.size);
    this.#words = new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >>> 2);
  }

  /**
   * Takes the `length` bytes that were read as one request. False when they are not one: then there is not
   * even a number to answer to.
   */
  accept(length: number): boolean {
    this.#length = length;
    return length >= HEADER_BYTES && this.#words[HEADER.len >> 2] === length;
  }

  get opcode(): number {
    return this.#words[HEADER.opcode >> 2];
  }
  get uniqueLo(): number {
    return this.#words[HEADER.unique >> 2];
  }
  get uniqueHi(): number {
    return this.#words[(HEADER.unique >> 2) + 1];
  }
  /** The request's number as the main thread needs it to answer by itself. Off the hot path only. */
  get unique(): bigint {
    return (BigInt(this.uniqueHi) << 32n) | BigInt(this.uniqueLo);
  }
  get nodeid(): number {
    return getU64(this.#words, HEADER.nodeid >> 2);
  }
  get uid(): number {
    return this.#words[HEADER.uid >> 2];
  }
  get gid(): number {
    return this.#words[HEADER.gid >> 2];
  }
  get pid(): number {
    return this.#words[HEADER.pid >> 2];
  }

  /** The whole of it, to be kept: accept() of another Request takes it. */
  copy(): Buffer {
    const copy = Buffer.alloc(Math.ceil(this.#length / 8) * 8);
    this.buffer.copy(copy, 0, 0, this.#length);
    return copy.subarray(0, this.#length);
  }

  /** Bytes after the header. */
  get bodyBytes(): number {
    return this.#length - HEADER_BYTES;
  }

  /** Asserts that the body holds at least `bytes`: then u32() and u64() below that need no check. */
  need(bytes: number): void {
    if (this.#length - HEADER_BYTES < bytes) {
      throw new FsError('EINVAL', 'request', `opcode ${this.opcode}: ${this.#length} bytes are too few`);
    }
  }

  u32(at: number): number {
    return this.#words[(HEADER_BYTES + at) >> 2];
  }
  /** Exact below 2^53, rounded above: compare with a limit before use. */
  u64(at: number): number {
    return getU64(this.#words, (HEADER_BYTES + at) >> 2);
  }
  i64(at: number): number {
    return getI64(this.#words, (HEADER_BYTES + at) >> 2);
  }

  /** A view of `length` bytes of the body; valid until the next request. */
  bytes(at: number, length: number): Buffer {
    this.need(at + length);
    return this.buffer.subarray(HEADER_BYTES + at, HEADER_BYTES + at + length);
  }

  /** Bytes of the NUL-terminated string at `at`, without the NUL. */
  #stringBytes(at: number): number {
    this.need(at + 1);
    const start = HEADER_BYTES + at;
    const end = this.buffer.indexOf(0, start);
    if (end < 0 || end >= this.#length) throw new FsError('EINVAL', 'request', 'a name without its end');
    return end - start;
  }

  /**
   * The name of a directory entry at `at`: EINVAL when it is empty, has a slash or is "." or "..",
   * ENAMETOOLONG beyond NAME_MAX_BYTES. Valid until the next request.
   */
  name(at: number): Buffer {
    const name = this.anyName(at);
    if (name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))) {
      throw new FsError('EINVAL', 'request', 'the name is "." or ".."');
    }
    return name;
  }

  /** Like name(), but "." and ".." pass: FUSE_LOOKUP has them for exported mounts. */
  anyName(at: number): Buffer {
    const length = this.#stringBytes(at);
    if (length === 0) throw new FsError('EINVAL', 'request', 'an empty name');
    if (length > NAME_MAX_BYTES) throw new FsError('ENAMETOOLONG', 'request', `a name of ${length} bytes`);
    const start = HEADER_BYTES + at;
    const name = this.buffer.subarray(start, start + length);
    if (name.includes(SLASH)) throw new FsError('EINVAL', 'request', 'a name with a slash');
    return name;
  }

  /** A NUL-terminated string that is no entry's name: a symbolic link's target, an xattr's name. */
  string(at: number): Buffer {
    const length = this.#stringBytes(at);
    if (length >= PATH_MAX_BYTES) throw new FsError('ENAMETOOLONG', 'request', `a string of ${length} bytes`);
    return this.buffer.subarray(HEADER_BYTES + at, HEADER_BYTES + at + length);
  }
}
