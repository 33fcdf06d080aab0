import { assert } from '../errors.js';
import { CONTROL, newControl, tableOf } from '../exchange.js';
import { FUSE_REPLY_BODY_MAX_BYTES } from '../limits.js';
import { BLOCK_SIZE, type Time } from '../types.js';
import {
  fuse_attr,
  fuse_attr_out,
  fuse_entry_out,
  fuse_ioctl_out,
  fuse_kstatfs,
  fuse_open_out,
  fuse_out_header,
  fuse_statx,
  fuse_statx_out,
} from './abi.js';
import type { Request } from './request.js';
import { putI64 } from './words.js';

/** The attributes that a reply carries; the engine's InodeAttr is one. */
export interface ReplyAttr {
  readonly ino: number;
  readonly generation: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** As new_encode_dev() has it. */
  readonly rdev: number;
  readonly size: number;
  /** Blocks of 4096 bytes. */
  readonly blocks: number;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
  readonly btime: Time;
}

/** What statfs(2) tells; blocks of 4096 bytes. */
export interface ReplyStatfs {
  blocks: number;
  free: number;
  available: number;
  files: number;
  filesFree: number;
  nameMax: number;
}

const HEADER_BYTES = fuse_out_header.size;
const OUT = fuse_out_header.at;
const ATTR = fuse_attr.at;
const ENTRY = fuse_entry_out.at;
const SX = fuse_statx.at;
const SECTORS_PER_BLOCK = BLOCK_SIZE / 512;

/** STATX_BASIC_STATS | STATX_BTIME of <linux/stat.h>. */
const STATX_FILLED = 0x7ff | 0x800;

/** How long attributes and entries may be cached: only this daemon changes them, and it tells the kernel. */
const CACHE_SECONDS = 10 * 365 * 86400;

/** Stores a struct fuse_attr at byte `at` of `words`. */
function putAttr(words: Uint32Array, at: number, a: ReplyAttr): void {
  const w = at >> 2;
  putI64(words, w + (ATTR.ino >> 2), a.ino);
  putI64(words, w + (ATTR.size >> 2), a.size);
  putI64(words, w + (ATTR.blocks >> 2), a.blocks * SECTORS_PER_BLOCK);
  putI64(words, w + (ATTR.atime >> 2), a.atime.sec);
  putI64(words, w + (ATTR.mtime >> 2), a.mtime.sec);
  putI64(words, w + (ATTR.ctime >> 2), a.ctime.sec);
  words[w + (ATTR.atimensec >> 2)] = a.atime.nsec;
  words[w + (ATTR.mtimensec >> 2)] = a.mtime.nsec;
  words[w + (ATTR.ctimensec >> 2)] = a.ctime.nsec;
  words[w + (ATTR.mode >> 2)] = a.mode;
  words[w + (ATTR.nlink >> 2)] = a.nlink;
  words[w + (ATTR.uid >> 2)] = a.uid;
  words[w + (ATTR.gid >> 2)] = a.gid;
  words[w + (ATTR.rdev >> 2)] = a.rdev;
  words[w + (ATTR.blksize >> 2)] = BLOCK_SIZE;
  words[w + (ATTR.flags >> 2)] = 0;
}

/** How long the kernel may answer from attributes that can change without a request: not at all. */
export const FLEETING = 0;

/** Stores a struct fuse_entry_out at byte `at`. `seconds`: how long the attributes may be cached. */
export function putEntry(words: Uint32Array, at: number, a: ReplyAttr, seconds = CACHE_SECONDS): void {
  const w = at >> 2;
  putI64(words, w + (ENTRY.nodeid >> 2), a.ino);
  putI64(words, w + (ENTRY.generation >> 2), a.generation);
  putI64(words, w + (ENTRY.entry_valid >> 2), CACHE_SECONDS);
  putI64(words, w + (ENTRY.attr_valid >> 2), seconds);
  words[w + (ENTRY.entry_valid_nsec >> 2)] = 0;
  words[w + (ENTRY.attr_valid_nsec >> 2)] = 0;
  putAttr(words, at + ENTRY.attr, a);
}

/**
 * Builds the one answer to a request. All buffers are allocated once. A finished answer stands in `control` until
 * the channel has sent it. `body*` offsets are bytes from the end of the header.
 */
export class Reply {
  readonly #buffer = Buffer.alloc(HEADER_BYTES + FUSE_REPLY_BODY_MAX_BYTES);
  readonly #words = new Uint32Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.length / 4);
  #done = true;
  #errno = 0;

  /** The answer's body, to be filled in place before sendBody(). */
  readonly body = this.#buffer.subarray(HEADER_BYTES);
  /** The same as words. */
  readonly bodyWords = this.#words.subarray(HEADER_BYTES / 4);

  /** What of the answer is to be sent. */
  readonly control = newControl();
  /** The segments of the answer to a READ, to be filled in before data(). */
  readonly table = tableOf(this.control);

  /** Header and body. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Begins the answer to `request`. */
  begin(request: Request): void {
    this.#words[OUT.unique >> 2] = request.uniqueLo;
    this.#words[(OUT.unique >> 2) + 1] = request.uniqueHi;
    this.#words[OUT.error >> 2] = 0;
    this.#done = false;
    this.#errno = 0;
  }

  /** Whether the request was answered, needs no answer, or was handed to somebody who answers it. */
  get done(): boolean {
    return this.#done;
  }
  /** The errno that was answered; 0 for success. */
  get errno(): number {
    return this.#errno;
  }

  /** Says that this request gets no answer from here: FORGET and the like, or one answered by main. */
  leave(): void {
    assert(!this.#done, 'a request is answered once');
    this.#done = true;
  }

  #send(bodyBytes: number): void {
    assert(!this.#done, 'a request is answered once');
    assert(bodyBytes <= FUSE_REPLY_BODY_MAX_BYTES, 'the answer fits its buffer');
    this.#done = true;
    this.#words[OUT.len >> 2] = HEADER_BYTES + bodyBytes;
    this.control[CONTROL.answerBytes] = HEADER_BYTES + bodyBytes;
    this.control[CONTROL.segments] = 0;
  }

  /** A failure. `errno` is positive. */
  error(errno: number): void {
    assert(errno > 0 && errno < 4096, 'an errno is positive and small');
    this.#words[OUT.error >> 2] = -errno;
    this.#errno = errno;
    this.#send(0);
  }

  /** A failure in the place of an answer that is finished and could not be sent. */
  replace(errno: number): void {
    assert(this.#done, 'only a finished answer is replaced');
    this.#done = false;
    this.error(errno);
  }

  /** Success without a body. */
  empty(): void {
    this.#send(0);
  }

  /** Success with the first `bytes` bytes of `body`. */
  sendBody(bytes: number): void {
    this.#send(bytes);
  }

  /** Success with a copy of `bytes` as the body. */
  bytes(bytes: Uint8Array): void {
    assert(bytes.length <= FUSE_REPLY_BODY_MAX_BYTES, 'the answer fits its buffer');
    this.body.set(bytes);
    this.#send(bytes.length);
  }

  /** An entry: answer to LOOKUP, MKNOD, MKDIR, SYMLINK, LINK. */
  entry(attr: ReplyAttr, seconds?: number): void {
    putEntry(this.bodyWords, 0, attr, seconds);
    this.#send(fuse_entry_out.size);
  }

  /** "There is no such entry, and you may remember it." */
  negativeEntry(): void {
    this.bodyWords.fill(0, 0, fuse_entry_out.size / 4);
    putI64(this.bodyWords, ENTRY.entry_valid >> 2, CACHE_SECONDS);
    this.#send(fuse_entry_out.size);
  }

  attr(attr: ReplyAttr, seconds = CACHE_SECONDS): void {
    const at = fuse_attr_out.at;
    putI64(this.bodyWords, at.attr_valid >> 2, seconds);
    this.bodyWords[at.attr_valid_nsec >> 2] = 0;
    this.bodyWords[at.dummy >> 2] = 0;
    putAttr(this.bodyWords, at.attr, attr);
    this.#send(fuse_attr_out.size);
  }

  #putOpen(at: number, fh: number, openFlags: number): void {
    const w = at >> 2;
    putI64(this.bodyWords, w + (fuse_open_out.at.fh >> 2), fh);
    this.bodyWords[w + (fuse_open_out.at.open_flags >> 2)] = openFlags;
    this.bodyWords[w + (fuse_open_out.at.padding >> 2)] = 0;
  }

  open(fh: number, openFlags: number): void {
    this.#putOpen(0, fh, openFlags);
    this.#send(fuse_open_out.size);
  }

  /** Answer to CREATE and TMPFILE. */
  created(attr: ReplyAttr, fh: number, openFlags: number, seconds?: number): void {
    putEntry(this.bodyWords, 0, attr, seconds);
    this.#putOpen(fuse_entry_out.size, fh, openFlags);
    this.#send(fuse_entry_out.size + fuse_open_out.size);
  }

  /** One u32 and four bytes of padding: fuse_write_out, fuse_getxattr_out. */
  count(value: number): void {
    this.bodyWords[0] = value;
    this.bodyWords[1] = 0;
    this.#send(8);
  }

  /** One u64: fuse_lseek_out, fuse_copy_file_range_out. */
  offset(value: number): void {
    putI64(this.bodyWords, 0, value);
    this.#send(8);
  }

  statfs(s: ReplyStatfs): void {
    const at = fuse_kstatfs.at;
    const w = this.bodyWords;
    w.fill(0, 0, fuse_kstatfs.size / 4);
    putI64(w, at.blocks >> 2, s.blocks);
    putI64(w, at.bfree >> 2, s.free);
    putI64(w, at.bavail >> 2, s.available);
    putI64(w, at.files >> 2, s.files);
    putI64(w, at.ffree >> 2, s.filesFree);
    w[at.bsize >> 2] = BLOCK_SIZE;
    w[at.frsize >> 2] = BLOCK_SIZE;
    w[at.namelen >> 2] = s.nameMax;
    this.#send(fuse_kstatfs.size);
  }

  #putSxTime(at: number, t: Time): void {
    putI64(this.bodyWords, at >> 2, t.sec);
    this.bodyWords[(at >> 2) + 2] = t.nsec;
    this.bodyWords[(at >> 2) + 3] = 0;
  }

  /**
   * Answer to STATX: the basic fields and the time of birth. The kernel (fuse_do_statx in fs/fuse/dir.c)
   * takes no attributes and no device numbers from it.
   */
  statx(a: ReplyAttr, seconds = CACHE_SECONDS): void {
    const w = this.bodyWords;
    const base = fuse_statx_out.at.stat;
    w.fill(0, 0, fuse_statx_out.size / 4);
    putI64(w, fuse_statx_out.at.attr_valid >> 2, seconds);
    const word = (field: number): number => (base + field) >> 2;
    w[word(SX.mask)] = STATX_FILLED;
    w[word(SX.blksize)] = BLOCK_SIZE;
    w[word(SX.nlink)] = a.nlink;
    w[word(SX.uid)] = a.uid;
    w[word(SX.gid)] = a.gid;
    // mode is the low half of its word; the spare above it is zero.
    w[word(SX.mode)] = a.mode & 0xffff;
    putI64(w, word(SX.ino), a.ino);
    putI64(w, word(SX.size), a.size);
    putI64(w, word(SX.blocks), a.blocks * SECTORS_PER_BLOCK);
    this.#putSxTime(base + SX.atime, a.atime);
    this.#putSxTime(base + SX.btime, a.btime);
    this.#putSxTime(base + SX.ctime, a.ctime);
    this.#putSxTime(base + SX.mtime, a.mtime);
    // new_encode_dev(): minor 0-7, major 8-19, minor 20-31.
    w[word(SX.rdev_major)] = (a.rdev >>> 8) & 0xfff;
    w[word(SX.rdev_minor)] = (a.rdev & 0xff) | ((a.rdev >>> 12) & 0xfff00);
    this.#send(fuse_statx_out.size);
  }

  /** Answer to IOCTL: `result` 0 and the first `bytes` bytes after the fuse_ioctl_out. */
  ioctl(bytes: number): void {
    this.bodyWords.fill(0, 0, fuse_ioctl_out.size / 4);
    this.#send(fuse_ioctl_out.size + bytes);
  }

  /**
   * Answer to READ: the `bytes` bytes of the first `segments` entries of the table. They go to the kernel from where
   * they are, which is the only copy.
   */
  data(segments: number, bytes: number): void {
    assert(!this.#done, 'a request is answered once');
    this.#done = true;
    this.#words[OUT.len >> 2] = HEADER_BYTES + bytes;
    this.control[CONTROL.answerBytes] = HEADER_BYTES;
    this.control[CONTROL.segments] = segments;
  }
}
