import { BLOCK_SIZE, blockOf, blocksFor } from '../../src/types.js';

/** A physical block. Files that share it hold the same object. */
export class Cell {
  bytes: Buffer;
  unwritten: boolean;
  bad = false;
  /** With `bad`: nobody knows. */
  latent = false;

  constructor(bytes: Buffer, unwritten: boolean) {
    this.bytes = bytes;
    this.unwritten = unwritten;
  }
}

export interface ModelFile {
  size: number;
  /** File block -> cell; absent = hole. */
  cells: Map<number, Cell>;
}

/** What an operation answers: a number, or the name of an errno. */
export type Answer = number | string;

const blank = (): Buffer => Buffer.alloc(BLOCK_SIZE);

/**
 * The reference model of file data: plain loops over single blocks, and one object a physical block, so that
 * who shares with whom is object identity. Slow and obviously right. It never runs out of space.
 */
export class DataModel {
  readonly files: ModelFile[];

  constructor(files: number) {
    this.files = Array.from({ length: files }, () => ({ size: 0, cells: new Map<number, Cell>() }));
  }

  owners(cell: Cell): number {
    let count = 0;
    for (const file of this.files) for (const other of file.cells.values()) if (other === cell) count++;
    return count;
  }

  /** The bytes from `offset` on as far as they can be read; `null` where the first one cannot. */
  read(f: number, offset: number, length: number): Buffer | null {
    const file = this.files[f];
    const end = Math.min(offset + length, file.size);
    const parts: Buffer[] = [];
    for (let at = offset; at < end; ) {
      const next = Math.min(end, (blockOf(at) + 1) * BLOCK_SIZE);
      const cell = file.cells.get(blockOf(at));
      if (cell?.bad && !cell.unwritten) return parts.length === 0 ? null : Buffer.concat(parts);
      const from = at % BLOCK_SIZE;
      const bytes = cell === undefined || cell.unwritten ? blank() : cell.bytes;
      parts.push(bytes.subarray(from, from + next - at));
      at = next;
    }
    return Buffer.concat(parts);
  }

  write(f: number, offset: number, data: Buffer, fromPageCache: boolean): Answer {
    const file = this.files[f];
    const end = fromPageCache ? Math.min(offset + data.length, file.size) : offset + data.length;
    if (data.length === 0 || end <= offset) return 0;
    if (offset > file.size && !this.#zeroPastEof(file)) return 'EIO';
    let failed = false;
    for (let at = offset; at < end; ) {
      const next = Math.min(end, (blockOf(at) + 1) * BLOCK_SIZE);
      const done = this.#writePart(file, at, data.subarray(at - offset, next - offset), fromPageCache);
      // A write-back goes on behind what it cannot store: nobody asks for the rest again.
      if (!done && !fromPageCache) return at === offset ? 'EIO' : at - offset;
      failed ||= !done;
      if (done) file.size = Math.max(file.size, next);
      at = next;
    }
    return failed ? 'EIO' : end - offset;
  }

  /** A part of one block. Returns false for EIO. */
  #writePart(file: ModelFile, at: number, bytes: Buffer, fromPageCache: boolean): boolean {
    const block = blockOf(at);
    const cell = file.cells.get(block);
    const isWhole = bytes.length === BLOCK_SIZE;
    // A store to memory that nobody knows to be bad: it stays so.
    const isStored = fromPageCache && cell?.latent === true && this.owners(cell) === 1;
    if (cell?.bad && !isStored && (fromPageCache || !isWhole)) return false;
    if (cell === undefined || this.owners(cell) > 1) {
      const fresh = new Cell(cell === undefined ? blank() : Buffer.from(cell.bytes), false);
      bytes.copy(fresh.bytes, at % BLOCK_SIZE);
      file.cells.set(block, fresh);
      return true;
    }
    if (cell.unwritten) cell.bytes = blank();
    cell.unwritten = false;
    if (!isStored) cell.bad = cell.latent = false;
    bytes.copy(cell.bytes, at % BLOCK_SIZE);
    return true;
  }

  truncate(f: number, size: number): Answer {
    const file = this.files[f];
    if (size > file.size && !this.#zeroPastEof(file)) return 'EIO';
    if (size < file.size && size % BLOCK_SIZE !== 0 && this.#isBadAt(file, blockOf(size))) return 'EIO';
    if (size <= file.size) {
      for (const block of [...file.cells.keys()]) if (block >= blocksFor(size)) file.cells.delete(block);
    }
    file.size = size;
    return 0;
  }

  freeData(f: number): void {
    this.files[f].cells.clear();
    this.files[f].size = 0;
  }

  punch(f: number, offset: number, end: number): Answer {
    const file = this.files[f];
    if (!this.#zeroEdges(file, offset, end)) return 'EIO';
    for (let block = blocksFor(offset); block < blockOf(end); block++) file.cells.delete(block);
    return 0;
  }

  zeroRange(f: number, offset: number, end: number, keepSize: boolean): Answer {
    const file = this.files[f];
    const grows = !keepSize && end > file.size;
    if (grows && !this.#zeroPastEof(file)) return 'EIO';
    if (!this.#zeroEdges(file, offset, end)) return 'EIO';
    for (let block = blocksFor(offset); block < blockOf(end); block++) {
      const cell = file.cells.get(block);
      if (cell === undefined) continue;
      if (cell.bad || this.owners(cell) > 1) file.cells.delete(block);
      else cell.unwritten = true;
    }
    this.#fillHoles(file, offset, end);
    if (grows) file.size = end;
    return 0;
  }

  preallocate(f: number, offset: number, end: number, keepSize: boolean): Answer {
    const file = this.files[f];
    const grows = !keepSize && end > file.size;
    if (grows && !this.#zeroPastEof(file)) return 'EIO';
    this.#fillHoles(file, offset, end);
    if (grows) file.size = end;
    return 0;
  }

  unshare(f: number, offset: number, end: number, keepSize: boolean): Answer {
    const file = this.files[f];
    const grows = !keepSize && end > file.size;
    if (grows && !this.#zeroPastEof(file)) return 'EIO';
    for (let block = blockOf(offset); block < blocksFor(end); block++) {
      const cell = file.cells.get(block);
      if (cell === undefined || this.owners(cell) === 1) continue;
      if (cell.bad) return 'EIO';
      file.cells.set(block, new Cell(Buffer.from(cell.bytes), false));
    }
    this.#fillHoles(file, offset, end);
    if (grows) file.size = end;
    return 0;
  }

  collapse(f: number, offset: number, length: number): Answer {
    const file = this.files[f];
    if (offset % BLOCK_SIZE !== 0 || length % BLOCK_SIZE !== 0) return 'EINVAL';
    if (offset + length >= file.size) return 'EINVAL';
    this.#renumber(file, (block) => {
      // Preallocated blocks past the end go, too.
      if (block >= blocksFor(file.size)) return -1;
      if (block < blockOf(offset)) return block;
      return block < blockOf(offset + length) ? -1 : block - blockOf(length);
    });
    file.size -= length;
    return 0;
  }

  insert(f: number, offset: number, length: number): Answer {
    const file = this.files[f];
    if (offset % BLOCK_SIZE !== 0 || length % BLOCK_SIZE !== 0) return 'EINVAL';
    if (offset >= file.size) return 'EINVAL';
    this.#renumber(file, (block) => (block < blockOf(offset) ? block : block + blockOf(length)));
    file.size += length;
    return 0;
  }

  /** Every cell goes to another block; -1: away. */
  #renumber(file: ModelFile, to: (block: number) => number): void {
    const before = [...file.cells];
    file.cells.clear();
    for (const [block, cell] of before) if (to(block) >= 0) file.cells.set(to(block), cell);
  }

  clone(s: number, srcOffset: number, d: number, dstOffset: number, asked: number): Answer {
    const [src, dst] = [this.files[s], this.files[d]];
    if (asked === 0 && srcOffset === src.size) return 0;
    const length = asked === 0 ? src.size - srcOffset : asked;
    if (srcOffset % BLOCK_SIZE !== 0 || dstOffset % BLOCK_SIZE !== 0) return 'EINVAL';
    if (length < 0 || srcOffset + length > src.size) return 'EINVAL';
    const whole = blocksFor(length) * BLOCK_SIZE;
    if (s === d && srcOffset < dstOffset + whole && dstOffset < srcOffset + whole) return 'EINVAL';
    const endsBoth = srcOffset + length === src.size && dstOffset + length >= dst.size;
    if (length % BLOCK_SIZE !== 0 && !endsBoth) return 'EINVAL';
    if (dstOffset > dst.size && !this.#zeroPastEof(dst)) return 'EIO';
    this.#remap(src, blockOf(srcOffset), dst, blockOf(dstOffset), blocksFor(length));
    dst.size = Math.max(dst.size, dstOffset + length);
    return 0;
  }

  /** -1 = the ranges differ. */
  dedupe(s: number, srcOffset: number, d: number, dstOffset: number, asked: number): Answer {
    const [src, dst] = [this.files[s], this.files[d]];
    if (asked === 0) return 0;
    if (srcOffset + asked > src.size || dstOffset + asked > dst.size) return 'EINVAL';
    if (srcOffset % BLOCK_SIZE !== 0 || dstOffset % BLOCK_SIZE !== 0) return 'EINVAL';
    const endsBoth = srcOffset + asked === src.size && dstOffset + asked === dst.size;
    const length = endsBoth ? asked : blockOf(asked) * BLOCK_SIZE;
    const whole = blocksFor(length) * BLOCK_SIZE;
    if (s === d && srcOffset < dstOffset + whole && dstOffset < srcOffset + whole) return 'EINVAL';
    for (let i = 0; i < blocksFor(length); i++) {
      const a = src.cells.get(blockOf(srcOffset) + i);
      const b = dst.cells.get(blockOf(dstOffset) + i);
      if (a !== undefined && a === b) continue;
      if ((a?.bad && !a.unwritten) || (b?.bad && !b.unwritten)) return 'EIO';
      const bytes = Math.min(BLOCK_SIZE, length - i * BLOCK_SIZE);
      const left = a === undefined || a.unwritten ? blank() : a.bytes;
      const right = b === undefined || b.unwritten ? blank() : b.bytes;
      if (!left.subarray(0, bytes).equals(right.subarray(0, bytes))) return -1;
    }
    this.#remap(src, blockOf(srcOffset), dst, blockOf(dstOffset), blocksFor(length));
    return asked;
  }

  seek(f: number, offset: number, wantsData: boolean): Answer {
    const file = this.files[f];
    if (offset >= file.size) return 'ENXIO';
    for (let at = offset; at < file.size; at = (blockOf(at) + 1) * BLOCK_SIZE) {
      const cell = file.cells.get(blockOf(at));
      if ((cell !== undefined && !cell.unwritten) === wantsData) return at;
    }
    return wantsData ? 'ENXIO' : file.size;
  }

  #remap(src: ModelFile, from: number, dst: ModelFile, to: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const cell = src.cells.get(from + i);
      if (cell === undefined || cell.unwritten) dst.cells.delete(to + i);
      else dst.cells.set(to + i, cell);
    }
  }

  #fillHoles(file: ModelFile, offset: number, end: number): void {
    for (let block = blockOf(offset); block < blocksFor(end); block++) {
      if (!file.cells.has(block)) file.cells.set(block, new Cell(blank(), true));
    }
  }

  #isBadAt(file: ModelFile, block: number): boolean {
    const cell = file.cells.get(block);
    return cell?.bad === true && !cell.unwritten;
  }

  #zeroPastEof(file: ModelFile): boolean {
    const end = blocksFor(file.size) * BLOCK_SIZE;
    return end === file.size || this.#zeroPart(file, file.size, end);
  }

  #zeroEdges(file: ModelFile, offset: number, end: number): boolean {
    const [wholeFrom, wholeEnd] = [blocksFor(offset) * BLOCK_SIZE, blockOf(end) * BLOCK_SIZE];
    if (wholeFrom > wholeEnd) return this.#zeroPart(file, offset, end);
    if (offset < wholeFrom && this.#isBadAt(file, blockOf(offset))) return false;
    if (wholeEnd < end && this.#isBadAt(file, blockOf(end))) return false;
    if (offset < wholeFrom) this.#zeroPart(file, offset, wholeFrom);
    if (wholeEnd < end) this.#zeroPart(file, wholeEnd, end);
    return true;
  }

  #zeroPart(file: ModelFile, from: number, to: number): boolean {
    const block = blockOf(from);
    const cell = file.cells.get(block);
    if (cell === undefined || cell.unwritten) return true;
    if (cell.bad) return false;
    const start = from - block * BLOCK_SIZE;
    const part = cell.bytes.subarray(start, start + to - from);
    if (part.every((byte) => byte === 0)) return true;
    if (this.owners(cell) === 1) {
      part.fill(0);
      return true;
    }
    const fresh = new Cell(Buffer.from(cell.bytes), false);
    fresh.bytes.fill(0, start, start + to - from);
    file.cells.set(block, fresh);
    return true;
  }
}
