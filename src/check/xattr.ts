import { readU32 } from '../engine/bytes.js';
import type { NameHash } from '../engine/hash.js';
import { INODE } from '../engine/layout.js';
import { isSymlink } from '../engine/mode.js';
import { recordFault } from '../engine/record-fault.js';
import { CHUNKS, chunksFor, TARGET_HASH, TARGET_SEQ, XATTR_HEADER_BYTES } from '../engine/xattr.js';
import type { Problems } from './problem.js';
import { areWhole, type CheckSubject, type ReadCursor, seekExact } from './subject.js';

/** What was seen of one value: its first chunk's promise and the chunks so far. */
interface ValueSeen {
  hash: number;
  seq: number;
  nameBytes: number;
  /** Bytes that the first chunk promises. */
  length: number;
  chunks: number;
  bytes: number;
}

/** The part of checkNamespace() for attributes and targets of symbolic links. */
export class XattrCheck {
  readonly #subject: CheckSubject;
  readonly #problems: Problems;
  readonly #hash: NameHash;
  readonly #cursor: ReadCursor;
  readonly #inode: ReadCursor;

  constructor(subject: CheckSubject, problems: Problems, hash: NameHash) {
    this.#subject = subject;
    this.#problems = problems;
    this.#hash = hash;
    this.#cursor = subject.trees.xattr.cursor();
    this.#inode = subject.trees.inode.cursor();
  }

  /** Compares the inode that `record` stands on with what is stored for it. */
  checkInode(record: ReadCursor): void {
    if (!areWhole(this.#subject, 'xattr')) return;
    const ino = record.key(0);
    const seen = this.#collect(ino, record.value(INODE.nlink) === 0);
    const target = seen.find(isTarget);
    const count = seen.length - (target === undefined ? 0 : 1);
    const counted = record.value(INODE.xattrs);
    if (counted !== count) this.#problem(ino, `inode ${ino} counts ${counted} attributes but has ${count}`);
    if (!isSymlink(record.value(INODE.mode))) {
      if (target !== undefined) this.#problem(ino, `inode ${ino} has a target but is no symbolic link`);
      return;
    }
    if (target === undefined && record.value(INODE.nlink) === 0) return;
    const size = record.value(INODE.sizeHi) * 2 ** 32 + record.value(INODE.sizeLo);
    if (target?.length !== size) {
      const text = `symbolic link ${ino} of size ${size} has a target of ${target?.length ?? 0} bytes`;
      this.#problem(ino, text);
    }
  }

  /** Attributes of inodes that do not exist. */
  checkOwners(): void {
    let last = -1;
    for (let more = this.#cursor.seek(0, 0, 0, 0); more; more = this.#cursor.next()) {
      const ino = this.#cursor.key(0);
      if (ino === last) continue;
      last = ino;
      if (areWhole(this.#subject, 'inode') && !seekExact(this.#inode, [ino])) {
        this.#problem(ino, `there are attributes of inode ${ino}, which does not exist`);
      }
    }
  }

  /** An orphan's last value may lack its last chunks: orphans are freed from the end, in steps. */
  #collect(ino: number, isOrphan: boolean): ValueSeen[] {
    const cursor = this.#cursor;
    const values: ValueSeen[] = [];
    let more = cursor.seek(ino, 0, 0, 0);
    for (; more && cursor.key(0) === ino; more = cursor.next()) {
      const last = values.at(-1);
      const fault = recordFault('xattr', cursor, this.#subject.media.blocks);
      if (fault !== null) {
        this.#problem(ino, `inode ${ino}, attribute ${cursor.key(1)}/${cursor.key(2)}: ${fault}`);
      } else if (cursor.key(2) % CHUNKS === 0) values.push(this.#first(ino));
      else if (last !== undefined && isNextOf(last, cursor)) {
        last.chunks++;
        last.bytes += cursor.payload().length;
      } else {
        this.#problem(ino, `inode ${ino}: chunk ${cursor.key(1)}/${cursor.key(2)} belongs to no attribute`);
      }
    }
    for (const value of values) {
      if (isOrphan && value === values.at(-1)) continue;
      if (value.bytes !== value.length || value.chunks !== chunksFor(value.nameBytes, value.length)) {
        this.#problem(
          ino,
          `inode ${ino}, attribute ${value.hash}/${value.seq}: ${value.bytes} of ${value.length} bytes`,
        );
      }
    }
    return values;
  }

  #problem(ino: number, text: string): void {
    this.#problems.add('xattr', text, { ino });
  }

  /** Checks the first chunk of a value, which the cursor stands on. */
  #first(ino: number): ValueSeen {
    const hash = this.#cursor.key(1);
    const seq = Math.floor(this.#cursor.key(2) / CHUNKS);
    const where = `inode ${ino}, attribute ${hash}/${seq}`;
    const payload = this.#cursor.payload();
    const nameBytes = payload[4];
    const start = XATTR_HEADER_BYTES + nameBytes;
    const length = readU32(payload);
    const value = { hash, seq, nameBytes, length, chunks: 1, bytes: payload.length - start };
    if (isTarget(value)) return value;
    if (this.#hash(payload.subarray(XATTR_HEADER_BYTES, start)) !== hash) {
      this.#problem(ino, `${where}: the name has another hash`);
    }
    return value;
  }
}

const isTarget = (value: ValueSeen): boolean => value.hash === TARGET_HASH && value.seq === TARGET_SEQ;

/** Whether the cursor stands on the chunk that follows those seen. */
const isNextOf = (value: ValueSeen, cursor: ReadCursor): boolean =>
  cursor.key(1) === value.hash && cursor.key(2) === value.seq * CHUNKS + value.chunks;
