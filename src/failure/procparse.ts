import { constants } from 'node:os';
import { assert, broken } from '../errors.js';
import type { FileMapping } from './procfs.js';

/** Parsers of /proc texts (proc(5)). They run on bytes that others write: nothing is taken on trust. */

const NEWLINE = 0x0a;
/** "START-END PERMS OFFSET MAJOR:MINOR INODE", then spaces and the path. */
const MAPS_LINE = /^([0-9a-f]+)-([0-9a-f]+) [-r][-w][-x][-ps] ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)/;
/** The fixed fields are shorter than this; a path may be 4096 bytes and is not decoded. */
const MAPS_FIELDS_MAX_BYTES = 128;

/**
 * The mappings of one device among the lines of /proc/PID/maps.
 * @param needle " MAJOR:MINOR " as maps has it; where it occurs in a path instead, the line is passed over
 */
export function parseMaps(text: Buffer, needle: Buffer): FileMapping[] {
  const device = needle.toString('latin1').trim();
  const found: FileMapping[] = [];
  for (let hit = text.indexOf(needle); hit >= 0; ) {
    const from = text.lastIndexOf(NEWLINE, hit) + 1;
    const line = text.toString('latin1', from, Math.min(from + MAPS_FIELDS_MAX_BYTES, text.length));
    const fields = MAPS_LINE.exec(line);
    if (fields !== null && fields[4] === device) {
      found.push({
        start: Number.parseInt(fields[1], 16),
        end: Number.parseInt(fields[2], 16),
        fileOffset: Number.parseInt(fields[3], 16),
        ino: Number(fields[5]),
      });
    }
    const end = text.indexOf(NEWLINE, hit);
    if (end < 0) break;
    hit = text.indexOf(needle, end);
  }
  return found;
}

/** Whether a mask line of /proc/PID/status (SigBlk, SigIgn, SigPnd ...) has SIGBUS set. */
export function parseSignalMask(status: string, name: string): boolean {
  const line = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status);
  if (line === null) broken(`/proc/PID/status has a line ${name}`);
  // SIGBUS is below 32: the mask's low word is enough.
  return ((Number.parseInt(line[1].slice(-8), 16) >>> (constants.signals.SIGBUS - 1)) & 1) === 1;
}

/** The process of a thread, from /proc/TID/status. */
export function parseTgid(status: string): number {
  const line = /^Tgid:\s*(\d+)$/m.exec(status);
  assert(line !== null, '/proc/PID/status has a line Tgid');
  return Number(line[1]);
}

/** Field 2 of /proc/PID/stat, in parentheses: the command name, any bytes. */
export const parseComm = (stat: Buffer): string =>
  stat.toString('utf8', stat.indexOf('(') + 1, stat.lastIndexOf(')'));

const STAT_STARTTIME = 22;

/** Field 22 of /proc/PID/stat. The command name (field 2) may hold spaces and parentheses. */
export function parseStartTicks(stat: string): number {
  const afterComm = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(afterComm[STAT_STARTTIME - 3]);
  assert(Number.isSafeInteger(ticks), '/proc/PID/stat has a start time');
  return ticks;
}
