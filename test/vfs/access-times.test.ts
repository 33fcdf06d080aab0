import { describe, expect, test } from 'vitest';
import {
  FOPEN,
  fuse_create_in,
  fuse_entry_out,
  fuse_mkdir_in,
  fuse_open_in,
  fuse_open_out,
  fuse_read_in,
  OPCODE,
} from '../../src/fuse/abi.js';
import { asIno } from '../../src/types.js';
import { accessTimesOf } from '../../src/vfs/access-times.js';
import { emptyAttr } from '../../src/vfs/context.js';
import { FakeEngine } from '../support/fake-engine.js';
import { cstring, FuseHarness, fill, StepClock } from '../support/fuse-harness.js';

describe('the options of mount(8)', () => {
  test.each([
    ['', 'relatime', 'relatime'],
    ['relatime', 'relatime', 'relatime'],
    ['noatime', 'noatime', 'noatime'],
    ['noatime,atime', 'relatime', 'relatime'],
    ['atime,noatime', 'noatime', 'noatime'],
    ['strictatime', 'strictatime', 'strictatime'],
    ['noatime,strictatime', 'strictatime', 'strictatime'],
    ['strictatime,nostrictatime', 'relatime', 'relatime'],
    ['nodiratime', 'relatime', 'noatime'],
    ['nodiratime,diratime', 'relatime', 'relatime'],
    ['strictatime,nodiratime', 'strictatime', 'noatime'],
  ])('%s', (options, files, directories) => {
    expect(accessTimesOf(options.split(','))).toEqual({ files, directories });
  });
});

/** Seconds of a file's and of a directory's access time after three reads of each, one second apart. */
function afterReads(options: string): { file: boolean[]; directory: boolean[]; openFlags: number } {
  const clock = new StepClock();
  const engine = new FakeEngine(clock);
  const fuse = new FuseHarness(engine, clock, 1000, accessTimesOf(options.split(',')));
  const nodeOf = (body: Buffer): number => Number(body.readBigUInt64LE(fuse_entry_out.at.nodeid));
  const make = (opcode: number, record: Buffer, name: string): number =>
    nodeOf(fuse.call(opcode, 1, Buffer.concat([record, cstring(name)])).body);
  const file = make(OPCODE.CREATE, fill(fuse_create_in, { mode: 0o644 }), 'f');
  const directory = make(OPCODE.MKDIR, fill(fuse_mkdir_in, { mode: 0o755 }), 'd');
  let openFlags = 0;
  const moves = (ino: number, open: number, read: number): boolean => {
    const before = engine.getattr(asIno(ino), emptyAttr()).atime.sec;
    clock.last += 1;
    const { body } = fuse.call(open, ino, fill(fuse_open_in, {}));
    if (open === OPCODE.OPEN) openFlags = body.readUInt32LE(fuse_open_out.at.open_flags);
    const fh = Number(body.readBigUInt64LE(fuse_open_out.at.fh));
    expect(fuse.call(read, ino, fill(fuse_read_in, { fh, size: 4096 })).error).toBe(0);
    return engine.getattr(asIno(ino), emptyAttr()).atime.sec > before;
  };
  const three = (ino: number, open: number, read: number): boolean[] =>
    [1, 2, 3].map(() => moves(ino, open, read));
  return {
    file: three(file, OPCODE.OPEN, OPCODE.READ),
    directory: three(directory, OPCODE.OPENDIR, OPCODE.READDIR),
    openFlags,
  };
}

describe('reads move the access time', () => {
  const [always, never, once] = [
    [true, true, true],
    [false, false, false],
    [true, false, false],
  ];
  test.each([
    ['', once, once],
    ['noatime', never, never],
    ['strictatime', always, always],
    ['nodiratime', once, never],
  ])('%s', (options, file, directory) => {
    expect(afterReads(options)).toMatchObject({ file, directory });
  });

  test('with strictatime no cached page outlives an open', () => {
    expect(afterReads('').openFlags & FOPEN.KEEP_CACHE).not.toBe(0);
    expect(afterReads('strictatime').openFlags & FOPEN.KEEP_CACHE).toBe(0);
  });
});
