import { INODE, INODE_FIRST_UNUSED, INODE_FLAGS, INODE_WORDS } from '../engine/layout.js';
import { isDevice, isDirectory, isRegular, isSymlink, isValidMode } from '../engine/mode.js';
import { MAX_FILE_SIZE, MAX_INO } from '../types.js';
import type { ReadCursor } from './subject.js';

const NSEC_MAX = 999_999_999;
const TIMES = [INODE.atime, INODE.mtime, INODE.ctime, INODE.btime] as const;
/** Seconds lie within 2^53 of 1970: the high word is a signed number of at most 21 bits. */
const SECONDS_HIGH_MAX = 2 ** 21;
/** What is wrong with an inode record by itself. `record` stands on it. */
export function inodeProblems(record: ReadCursor): string[] {
  const found: string[] = [];
  const ino = record.key(0);
  const word = (i: number): number => record.value(i);
  const mode = word(INODE.mode);
  const add = (text: string): void => void found.push(`inode ${ino} ${text}`);
  if (ino === 0 || ino > MAX_INO) add('has a number out of range');
  if (!isValidMode(mode)) add(`has mode 0${mode.toString(8)}`);
  for (const time of TIMES) {
    if (word(time + 2) > NSEC_MAX) add('has a time with too many nanoseconds');
    const high = word(time + 1) | 0;
    if (high < -SECONDS_HIGH_MAX || high >= SECONDS_HIGH_MAX) add('has a time that is out of range');
  }
  const size = word(INODE.sizeHi) * 2 ** 32 + word(INODE.sizeLo);
  const hasSize = isRegular(mode) || isSymlink(mode);
  if (size > (hasSize ? MAX_FILE_SIZE : 0)) add(`has a size of ${size} bytes`);
  if (word(INODE.rdev) !== 0 && !isDevice(mode)) {
    add(`has device number ${word(INODE.rdev)} and is no device`);
  }
  const unknown = word(INODE.flags) & ~INODE_FLAGS;
  if (unknown !== 0) add(`has unknown flags 0x${(unknown >>> 0).toString(16)}`);
  if (!isDirectory(mode) && (word(INODE.entries) !== 0 || word(INODE.version) !== 0)) {
    add(`counts ${word(INODE.entries)} entries (${word(INODE.version)} ever) and is no directory`);
  }
  for (let i = INODE_FIRST_UNUSED; i < INODE_WORDS; i++) {
    if (word(i) !== 0) add(`has ${word(i)} in the unused word ${i}`);
  }
  return found;
}
