import { DIRENT_ALIGN, fuse_dirent, fuse_entry_out } from './abi.js';
import { putEntry, type ReplyAttr } from './reply.js';
import { putI64 } from './words.js';

const AT = fuse_dirent.at;

/** Fills a reply's body with directory entries, up to the number of bytes that the reader has asked for. */
export class DirentWriter {
  readonly #body: Buffer;
  readonly #words: Uint32Array;
  #limit = 0;
  #used = 0;

  constructor(body: Buffer, words: Uint32Array) {
    this.#body = body;
    this.#words = words;
  }

  /** Begins anew. `limit` is in bytes. */
  begin(limit: number): void {
    this.#limit = Math.min(limit, this.#body.length);
    this.#used = 0;
  }

  /** Bytes filled so far. */
  get used(): number {
    return this.#used;
  }

  /** Whether an entry with this name has room. `plus`: with its attributes. */
  fits(nameBytes: number, plus: boolean): boolean {
    return this.#used + this.#recordBytes(nameBytes, plus) <= this.#limit;
  }

  #recordBytes(nameBytes: number, plus: boolean): number {
    const bare = fuse_dirent.size + nameBytes;
    return Math.ceil(bare / DIRENT_ALIGN) * DIRENT_ALIGN + (plus ? fuse_entry_out.size : 0);
  }

  /** A struct fuse_dirent. The caller has asked fits(). `type` is a DT_* value, `next` the next offset. */
  add(name: Uint8Array, ino: number, type: number, next: number): void {
    const start = this.#used;
    const end = start + this.#recordBytes(name.length, false);
    const w = start >> 2;
    putI64(this.#words, w + (AT.ino >> 2), ino);
    putI64(this.#words, w + (AT.off >> 2), next);
    this.#words[w + (AT.namelen >> 2)] = name.length;
    this.#words[w + (AT.type >> 2)] = type;
    this.#body.set(name, start + fuse_dirent.size);
    this.#body.fill(0, start + fuse_dirent.size + name.length, end);
    this.#used = end;
  }

  /**
   * A struct fuse_direntplus. Without attributes its nodeid is 0: the kernel takes the name only and looks
   * it up when it needs more (fuse_direntplus_link in fs/fuse/readdir.c).
   */
  addPlus(name: Uint8Array, ino: number, type: number, next: number, attr: ReplyAttr | null): void {
    if (attr === null) {
      this.#words.fill(0, this.#used >> 2, (this.#used + fuse_entry_out.size) >> 2);
    } else {
      putEntry(this.#words, this.#used, attr);
    }
    this.#used += fuse_entry_out.size;
    this.add(name, ino, type, next);
  }
}
