import { constants } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { INODE_FLAG_APPEND, INODE_FLAG_IMMUTABLE } from '../../src/engine/layout.js';
import { CorruptionError, errnoOf, FsError, InvariantError } from '../../src/errors.js';
import {
  FATTR,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_READ_LOCKOWNER,
  FUSE_WRITE_CACHE,
  FUSE_WRITE_KILL_SUIDGID,
  fuse_attr,
  fuse_attr_out,
  fuse_batch_forget_in,
  fuse_copy_file_range_in,
  fuse_create_in,
  fuse_dirent,
  fuse_entry_out,
  fuse_fallocate_in,
  fuse_forget_in,
  fuse_forget_one,
  fuse_getattr_in,
  fuse_getxattr_in,
  fuse_ioctl_in,
  fuse_link_in,
  fuse_lseek_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_open_in,
  fuse_read_in,
  fuse_release_in,
  fuse_rename_in,
  fuse_rename2_in,
  fuse_setattr_in,
  fuse_setxattr_in,
  fuse_statx,
  fuse_statx_in,
  fuse_statx_out,
  fuse_write_in,
  OPCODE,
} from '../../src/fuse/abi.js';
import { asIno, MAX_FILE_SIZE } from '../../src/types.js';
import { FS_IOC } from '../../src/vfs/file-flags.js';
import { FakeEngine } from '../support/fake-engine.js';
import { type Answer, type Caller, cstring, FuseHarness, fill, StepClock } from '../support/fuse-harness.js';

const { O_RDONLY, O_RDWR, O_WRONLY, O_TRUNC, O_APPEND, O_NOATIME } = constants;
const no = (name: Parameters<typeof errnoOf>[0]): number => -errnoOf(name);
const cat = (...parts: Buffer[]): Buffer => Buffer.concat(parts);

let clock: StepClock;
let engine: FakeEngine;
let fuse: FuseHarness;

beforeEach(() => {
  clock = new StepClock();
  engine = new FakeEngine(clock);
  fuse = new FuseHarness(engine, clock);
});

/** The words of an answer that hold a struct fuse_attr at byte `at`. */
const attrAt = (body: Buffer, at: number) => ({
  ino: body.readUInt32LE(at + fuse_attr.at.ino),
  size: Number(body.readBigUInt64LE(at + fuse_attr.at.size)),
  mode: body.readUInt32LE(at + fuse_attr.at.mode),
  nlink: body.readUInt32LE(at + fuse_attr.at.nlink),
  uid: body.readUInt32LE(at + fuse_attr.at.uid),
  gid: body.readUInt32LE(at + fuse_attr.at.gid),
  rdev: body.readUInt32LE(at + fuse_attr.at.rdev),
  atime: Number(body.readBigInt64LE(at + fuse_attr.at.atime)),
  mtime: Number(body.readBigInt64LE(at + fuse_attr.at.mtime)),
});
const entryOf = (answer: Answer) => {
  expect(answer.error).toBe(0);
  return attrAt(answer.body, fuse_entry_out.at.attr);
};

function createFile(name: string, flags = O_RDWR, mode = 0o644, caller: Caller = {}, dir = 1) {
  const body = cat(fill(fuse_create_in, { flags, mode: mode | 0o100000 }), cstring(name));
  const answer = fuse.call(OPCODE.CREATE, dir, body, caller);
  expect(answer.error).toBe(0);
  const { ino } = entryOf(answer);
  return { ino, fh: Number(answer.body.readBigUInt64LE(fuse_entry_out.size)) };
}
function mkdir(name: string, mode = 0o755, caller: Caller = {}, dir = 1): number {
  return entryOf(fuse.call(OPCODE.MKDIR, dir, cat(fill(fuse_mkdir_in, { mode }), cstring(name)), caller)).ino;
}
const lookup = (dir: number, name: string): Answer => fuse.call(OPCODE.LOOKUP, dir, cstring(name));
const getattr = (ino: number) => {
  const answer = fuse.call(OPCODE.GETATTR, ino, fill(fuse_getattr_in, {}));
  return attrAt(answer.body, fuse_attr_out.at.attr);
};
const open = (ino: number, flags: number, openFlags = 0): Answer =>
  fuse.call(OPCODE.OPEN, ino, fill(fuse_open_in, { flags, open_flags: openFlags }));
const openFh = (ino: number, flags: number): number => Number(open(ino, flags).body.readBigUInt64LE());
const release = (ino: number, fh: number): Answer =>
  fuse.call(OPCODE.RELEASE, ino, fill(fuse_release_in, { fh }));
const write = (ino: number, fh: number, offset: number, data: string, writeFlags = 0): Answer => {
  const bytes = Buffer.from(data);
  const record = fill(fuse_write_in, { fh, offset, size: bytes.length, write_flags: writeFlags });
  return fuse.call(OPCODE.WRITE, ino, cat(record, bytes));
};
const read = (ino: number, fh: number, offset: number, size: number, flags = 0, readFlags = 0): Answer =>
  fuse.call(OPCODE.READ, ino, fill(fuse_read_in, { fh, offset, size, flags, read_flags: readFlags }));
const unlink = (name: string, dir = 1): Answer => fuse.call(OPCODE.UNLINK, dir, cstring(name));
const forget = (ino: number, nlookup: number): void =>
  fuse.quiet(OPCODE.FORGET, ino, fill(fuse_forget_in, { nlookup }));
const setattr = (
  ino: number,
  valid: number,
  fields: Parameters<typeof fill<keyof typeof fuse_setattr_in.at>>[1] = {},
): Answer => fuse.call(OPCODE.SETATTR, ino, fill(fuse_setattr_in, { valid, ...fields }));

describe('inodes and lookups', () => {
  test('a missing name is a negative entry that may be cached', () => {
    const answer = lookup(1, 'nothing');
    expect(answer.error).toBe(0);
    expect(answer.body.readBigUInt64LE(fuse_entry_out.at.nodeid)).toBe(0n);
    expect(answer.body.readBigUInt64LE(fuse_entry_out.at.entry_valid)).toBeGreaterThan(86_400n);
  });

  test('an unlinked file lives until it is forgotten and closed', () => {
    const { ino, fh } = createFile('a');
    unlink('a');
    expect(engine.inactivated).toEqual([]);
    forget(ino, 1);
    expect(engine.inactivated).toEqual([]);
    expect(write(ino, fh, 0, 'x').error).toBe(0);
    release(ino, fh);
    expect(engine.inactivated).toEqual([ino]);
    expect(engine.exists(asIno(ino))).toBe(false);
  });

  test('every lookup counts, and BATCH_FORGET takes several at once', () => {
    const a = createFile('a');
    const b = createFile('b');
    release(a.ino, a.fh);
    release(b.ino, b.fh);
    lookup(1, 'a');
    const one = (nodeid: number, nlookup: number): Buffer => fill(fuse_forget_one, { nodeid, nlookup });
    const body = cat(fill(fuse_batch_forget_in, { count: 2 }), one(a.ino, 1), one(b.ino, 1));
    fuse.quiet(OPCODE.BATCH_FORGET, 0, body);
    expect(engine.inactivated).toEqual([b.ino]);
    forget(a.ino, 1);
    expect(engine.inactivated).toEqual([b.ino, a.ino]);
  });

  test('a node that was forgotten is stale', () => {
    const { ino, fh } = createFile('a');
    release(ino, fh);
    forget(ino, 1);
    expect(fuse.call(OPCODE.GETATTR, ino, fill(fuse_getattr_in, {})).error).toBe(no('ESTALE'));
  });

  test('the root is never forgotten', () => {
    forget(1, 1000);
    expect(getattr(1).ino).toBe(1);
  });

  test('"." and ".." find forgotten directories again for exported handles', () => {
    const dir = mkdir('d');
    forget(dir, 1);
    expect(entryOf(lookup(dir, '.')).ino).toBe(dir);
    expect(entryOf(lookup(dir, '..')).ino).toBe(1);
    expect(lookup(4711, '.').error).toBe(no('ESTALE'));
  });

  test('the end of the mount frees what is unlinked and still held', () => {
    const { ino } = createFile('a');
    unlink('a');
    fuse.vfs.end();
    expect(engine.exists(asIno(ino))).toBe(false);
  });
});

describe('names', () => {
  test('mkdir in a set-group-id directory takes its group and the bit, a file the group only', () => {
    const dir = mkdir('d');
    setattr(dir, FATTR.MODE | FATTR.GID, { mode: 0o2775, gid: 42 });
    const sub = getattr(mkdir('sub', 0o755, { uid: 7, gid: 8 }, dir));
    expect([sub.uid, sub.gid, sub.mode & 0o7777]).toEqual([7, 42, 0o2755]);
    const file = getattr(createFile('f', O_RDWR, 0o644, { uid: 7, gid: 8 }, dir).ino);
    expect([file.uid, file.gid, file.mode & 0o7777]).toEqual([7, 42, 0o644]);
  });

  test('mknod makes devices and files, never directories', () => {
    const mknod = (mode: number, rdev: number, name: string): Answer =>
      fuse.call(OPCODE.MKNOD, 1, cat(fill(fuse_mknod_in, { mode, rdev }), cstring(name)));
    const dev = entryOf(mknod(0o020600, 0x1_05, 'c'));
    expect([dev.mode, dev.rdev]).toEqual([0o020600, 0x105]);
    expect(entryOf(mknod(0o600, 0, 'f')).mode).toBe(0o100600);
    expect(mknod(0o040755, 0, 'd').error).toBe(no('EPERM'));
  });

  test('symlink and readlink', () => {
    const link = entryOf(fuse.call(OPCODE.SYMLINK, 1, cat(cstring('s'), cstring('to/there'))));
    expect(fuse.call(OPCODE.READLINK, link.ino, Buffer.alloc(0)).body.toString()).toBe('to/there');
    expect(fuse.call(OPCODE.READLINK, 1, Buffer.alloc(0)).error).toBe(no('EINVAL'));
    expect(fuse.call(OPCODE.SYMLINK, 1, cat(cstring('e'), cstring(''))).error).toBe(no('ENOENT'));
  });

  test('link counts and shows in the attributes', () => {
    const { ino } = createFile('a');
    const body = cat(fill(fuse_link_in, { oldnodeid: ino }), cstring('b'));
    expect(entryOf(fuse.call(OPCODE.LINK, 1, body))).toMatchObject({ ino, nlink: 2 });
    expect(fuse.call(OPCODE.LINK, 1, body).error).toBe(no('EEXIST'));
  });

  test('rename, and its flags', () => {
    const a = createFile('a').ino;
    const b = createFile('b').ino;
    const rename2 = (from: string, to: string, flags: number): number =>
      fuse.call(
        OPCODE.RENAME2,
        1,
        cat(fill(fuse_rename2_in, { newdir: 1, flags }), cstring(from), cstring(to)),
      ).error;
    expect(rename2('a', 'b', 1)).toBe(no('EEXIST'));
    expect(rename2('a', 'b', 2)).toBe(0);
    expect(entryOf(lookup(1, 'a')).ino).toBe(b);
    expect(rename2('a', 'b', 3)).toBe(no('EINVAL'));
    expect(rename2('a', 'b', 8)).toBe(no('EINVAL'));
    const plain = cat(fill(fuse_rename_in, { newdir: 1 }), cstring('a'), cstring('b'));
    expect(fuse.call(OPCODE.RENAME, 1, plain).error).toBe(0);
    expect(entryOf(lookup(1, 'b')).ino).toBe(b);
    expect(engine.nodes.get(a)?.attr.nlink).toBe(0);
  });

  test('create of an existing name opens it, or is EEXIST with O_EXCL', () => {
    const first = createFile('a');
    write(first.ino, first.fh, 0, 'abc');
    const again = createFile('a', O_RDWR | O_TRUNC);
    expect(again.ino).toBe(first.ino);
    expect(getattr(first.ino).size).toBe(0);
    const excl = fill(fuse_create_in, { flags: O_RDWR | constants.O_EXCL, mode: 0o100644 });
    expect(fuse.call(OPCODE.CREATE, 1, cat(excl, cstring('a'))).error).toBe(no('EEXIST'));
    mkdir('d');
    const dir = cat(fill(fuse_create_in, { flags: O_RDWR, mode: 0o100644 }), cstring('d'));
    expect(fuse.call(OPCODE.CREATE, 1, dir).error).toBe(no('EISDIR'));
  });

  test('an unnamed file can be linked, and goes away when it is not', () => {
    const make = (): number => {
      const body = cat(fill(fuse_create_in, { flags: O_RDWR, mode: 0o100600 }), cstring('/'));
      const answer = fuse.call(OPCODE.TMPFILE, 1, body);
      const { ino } = entryOf(answer);
      release(ino, Number(answer.body.readBigUInt64LE(fuse_entry_out.size)));
      return ino;
    };
    const lost = make();
    forget(lost, 1);
    expect(engine.exists(asIno(lost))).toBe(false);
    const kept = make();
    const body = cat(fill(fuse_link_in, { oldnodeid: kept }), cstring('named'));
    expect(entryOf(fuse.call(OPCODE.LINK, 1, body)).nlink).toBe(1);
  });
});

describe('directories', () => {
  function list(fh: number, ino: number, offset: number, size: number, plus: boolean) {
    const opcode = plus ? OPCODE.READDIRPLUS : OPCODE.READDIR;
    const { body, error } = fuse.call(opcode, ino, fill(fuse_read_in, { fh, offset, size }));
    expect(error).toBe(0);
    const entries: { name: string; off: number; node: number }[] = [];
    for (let at = 0; at < body.length; ) {
      const node = plus ? body.readUInt32LE(at) : 0;
      if (plus) at += fuse_entry_out.size;
      const length = body.readUInt32LE(at + fuse_dirent.at.namelen);
      const start = at + fuse_dirent.size;
      const off = Number(body.readBigUInt64LE(at + fuse_dirent.at.off));
      entries.push({ name: body.toString('latin1', start, start + length), off, node });
      at += Math.ceil((fuse_dirent.size + length) / 8) * 8;
    }
    return entries;
  }
  const opendir = (ino: number): number =>
    Number(fuse.call(OPCODE.OPENDIR, ino, fill(fuse_open_in, {})).body.readBigUInt64LE());

  test.each([false, true])('pages of any size give every name once (plus: %s)', (plus) => {
    const names = Array.from({ length: 50 }, (_, i) => `file-${i}`);
    for (const name of names) createFile(name);
    for (const size of [200, 333, 4096, 65536]) {
      const fh = opendir(1);
      const seen: string[] = [];
      for (let offset = 0; ; ) {
        const page = list(fh, 1, offset, size, plus);
        if (page.length === 0) break;
        seen.push(...page.map((entry) => entry.name));
        offset = page[page.length - 1].off;
      }
      expect(seen.sort()).toEqual(['.', '..', ...names].sort());
    }
  });

  test('READDIRPLUS counts a lookup for each entry but "." and ".."', () => {
    const { ino, fh } = createFile('a');
    release(ino, fh);
    const entries = list(opendir(1), 1, 0, 4096, true);
    expect(entries.map((entry) => entry.node)).toEqual([0, 0, ino]);
    forget(ino, 1);
    expect(engine.inactivated).toEqual([]);
    forget(ino, 1);
    expect(engine.inactivated).toEqual([ino]);
  });

  test('an entry whose attributes cannot be read is listed without them', () => {
    createFile('a');
    const fh = opendir(1);
    engine.failNext = { method: 'getattr', error: new CorruptionError(9, 'test') };
    expect(list(fh, 1, 2, 4096, true)).toEqual([{ name: 'a', off: 3, node: 0 }]);
  });

  test('a file is no directory', () => {
    const { ino, fh } = createFile('a');
    expect(fuse.call(OPCODE.OPENDIR, ino, fill(fuse_open_in, {})).error).toBe(no('ENOTDIR'));
    expect(fuse.call(OPCODE.READDIR, ino, fill(fuse_read_in, { fh, size: 4096 })).error).toBe(no('ENOTDIR'));
    expect(open(1, O_RDONLY).error).toBe(no('EISDIR'));
  });
});

describe('contents', () => {
  test('what is written is read back', () => {
    const { ino, fh } = createFile('a');
    expect(write(ino, fh, 3, 'hello').body.readUInt32LE(0)).toBe(5);
    expect(read(ino, fh, 0, 100).body.toString('latin1')).toBe('\0\0\0hello');
    expect(read(ino, fh, 100, 100).body.length).toBe(0);
    expect(read(ino, fh, 2 ** 60, 100).body.length).toBe(0);
  });

  test('a handle is good for its own node only', () => {
    const a = createFile('a');
    const b = createFile('b');
    expect(read(a.ino, b.fh, 0, 1).error).toBe(no('EBADF'));
    expect(release(a.ino, a.fh).error).toBe(0);
    expect(release(a.ino, a.fh).error).toBe(no('EBADF'));
  });

  test('a page-cache read over a bad block is EIO as a whole, a direct one stops before it', () => {
    const { ino, fh } = createFile('a');
    write(ino, fh, 0, 'x'.repeat(12288));
    engine.bad.add(ino * 256 + 1);
    expect(read(ino, fh, 0, 12288).error).toBe(no('EIO'));
    expect(read(ino, fh, 0, 12288, 0, FUSE_READ_LOCKOWNER).body.length).toBe(4096);
    expect(read(ino, fh, 4096, 4096, 0, FUSE_READ_LOCKOWNER).error).toBe(no('EIO'));
    expect(read(ino, fh, 8192, 4096).body.length).toBe(4096);
  });

  test('a page fault on a bad block is answered elsewhere, where it is taken; readahead and calls are not', () => {
    const { ino, fh } = createFile('a');
    write(ino, fh, 0, 'x'.repeat(12288));
    engine.bad.add(ino * 256 + 1);
    fuse.faulting.set(77, 70);
    const body = (size: number): Buffer => fill(fuse_read_in, { fh, offset: 4096, size });
    fuse.quiet(OPCODE.READ, ino, body(4096), { pid: 77 });
    expect(fuse.faults).toMatchObject([{ pid: 70, tid: 77 }]);
    fuse.takesFaults = false;
    expect(fuse.call(OPCODE.READ, ino, body(4096), { pid: 77 }).error).toBe(no('EIO'));
    expect(fuse.faults).toHaveLength(2);
    fuse.takesFaults = true;
    expect(fuse.call(OPCODE.READ, ino, body(8192), { pid: 77 }).error).toBe(no('EIO'));
    expect(fuse.call(OPCODE.READ, ino, body(4096), { pid: 78 }).error).toBe(no('EIO'));
    expect(fuse.faults).toHaveLength(2);
  });

  test('the largest file size is a limit, not a failure of the last byte', () => {
    const { ino, fh } = createFile('a');
    expect(write(ino, fh, MAX_FILE_SIZE, 'x').error).toBe(no('EFBIG'));
    expect(setattr(ino, FATTR.SIZE, { size: MAX_FILE_SIZE + 1 }).error).toBe(no('EFBIG'));
    const range = fill(fuse_fallocate_in, { fh, offset: MAX_FILE_SIZE - 1, length: 2 });
    expect(fuse.call(OPCODE.FALLOCATE, ino, range).error).toBe(no('EFBIG'));
    expect(fuse.call(OPCODE.FALLOCATE, ino, fill(fuse_fallocate_in, { fh })).error).toBe(no('EINVAL'));
  });

  test('a write-back never extends the file', () => {
    const { ino, fh } = createFile('a');
    write(ino, fh, 0, 'abc');
    expect(write(ino, fh, 0, 'x'.repeat(4096), FUSE_WRITE_CACHE).body.readUInt32LE(0)).toBe(4096);
    expect(getattr(ino).size).toBe(3);
  });

  test('copy_file_range in both forms', () => {
    const a = createFile('a');
    const b = createFile('b');
    write(a.ino, a.fh, 0, 'abcdef');
    const body = fill(fuse_copy_file_range_in, {
      fh_in: a.fh,
      off_in: 1,
      nodeid_out: b.ino,
      fh_out: b.fh,
      off_out: 0,
      len: 4,
    });
    expect(fuse.call(OPCODE.COPY_FILE_RANGE, a.ino, body).body.readUInt32LE()).toBe(4);
    const wide = fuse.call(OPCODE.COPY_FILE_RANGE_64, a.ino, body).body;
    expect(wide.readBigUInt64LE()).toBe(4n);
    expect(read(b.ino, b.fh, 0, 10).body.toString()).toBe('bcde');
  });

  test('lseek looks for data and holes, nothing else', () => {
    const { ino, fh } = createFile('a');
    write(ino, fh, 0, 'abc');
    const seek = (offset: number, whence: number): Answer =>
      fuse.call(OPCODE.LSEEK, ino, fill(fuse_lseek_in, { fh, offset, whence }));
    expect(seek(0, 4).body.readBigUInt64LE()).toBe(3n);
    expect(seek(5, 3).error).toBe(no('ENXIO'));
    expect(seek(2 ** 62, 3).error).toBe(no('ENXIO'));
    expect(seek(0, 2).error).toBe(no('EINVAL'));
  });
});

describe('attributes', () => {
  test('times: given, now, before 1970', () => {
    const { ino } = createFile('a');
    setattr(ino, FATTR.ATIME | FATTR.MTIME, { atime: -5, mtime: 2 ** 33, atimensec: 1 });
    expect(getattr(ino)).toMatchObject({ atime: -5, mtime: 2 ** 33 });
    setattr(ino, FATTR.MTIME | FATTR.MTIME_NOW, { mtime: 1 });
    expect(getattr(ino).mtime).toBeGreaterThan(1_000_000);
    expect(setattr(ino, FATTR.ATIME, { atimensec: 1e9 }).error).toBe(no('EINVAL'));
  });

  test('ftruncate to the same size sets mtime, truncate does not', () => {
    const { ino } = createFile('a');
    const before = getattr(ino).mtime;
    setattr(ino, FATTR.SIZE, { size: 0 });
    expect(getattr(ino).mtime).toBe(before);
    setattr(ino, FATTR.SIZE | FATTR.FH, { size: 0 });
    expect(getattr(ino).mtime).toBeGreaterThan(before);
  });

  test('chown drops set-id bits of files, not of directories', () => {
    const { ino } = createFile('a', O_RDWR, 0o6755);
    setattr(ino, FATTR.UID, { uid: 9 });
    expect(getattr(ino)).toMatchObject({ uid: 9, mode: 0o100755 });
    setattr(ino, FATTR.MODE, { mode: 0o102745 });
    setattr(ino, FATTR.GID, { gid: 9 });
    expect(getattr(ino).mode).toBe(0o102745);
    const dir = mkdir('d', 0o2755);
    setattr(dir, FATTR.UID | FATTR.GID, { uid: 9, gid: 9 });
    expect(getattr(dir).mode & 0o7777).toBe(0o2755);
    expect(setattr(ino, FATTR.UID, { uid: 0xffffffff }).error).toBe(no('EINVAL'));
  });

  test('set-id bits and capabilities go when the kernel says so', () => {
    const { ino, fh } = createFile('a', O_RDWR, 0o6755);
    write(ino, fh, 0, 'x');
    expect(getattr(ino).mode & 0o7777).toBe(0o6755);
    write(ino, fh, 0, 'x', FUSE_WRITE_CACHE | FUSE_WRITE_KILL_SUIDGID);
    expect(getattr(ino).mode & 0o7777).toBe(0o6755);
    write(ino, fh, 0, 'x', FUSE_WRITE_KILL_SUIDGID);
    expect(getattr(ino).mode & 0o7777).toBe(0o755);
    const restore = (): Answer => setattr(ino, FATTR.MODE, { mode: 0o4755 });
    restore();
    setattr(ino, FATTR.SIZE | FATTR.KILL_SUIDGID, { size: 0 });
    expect(getattr(ino).mode & 0o7777).toBe(0o755);
    restore();
    open(ino, O_WRONLY | O_TRUNC, FUSE_OPEN_KILL_SUIDGID);
    expect(getattr(ino).mode & 0o7777).toBe(0o755);
    const name = 'security.capability';
    const record = fill(fuse_setxattr_in, { size: 1 });
    expect(fuse.call(OPCODE.SETXATTR, ino, cat(record, cstring(name), Buffer.from('c'))).error).toBe(0);
    write(ino, fh, 0, 'x');
    expect(engine.listxattr(asIno(ino))).toEqual([]);
  });

  test.each([
    ['a member of its group by gid', { uid: 7, gid: 50 }, 0o2644],
    ['a member by its supplementary groups', { uid: 7, gid: 7, pid: 99 }, 0o2644],
    ['no member', { uid: 7, gid: 7, pid: 98 }, 0o644],
    ['a thread that is not known', { uid: 7, gid: 7, pid: 0 }, 0o644],
  ])('set-group-ID without the right to execute stays for %s', (_, caller, mode) => {
    fuse.groups.set(99, [3, 50]).set(98, [3]);
    let count = 0;
    const file = (): { ino: number; fh: number } => {
      const made = createFile(`f${++count}`, O_RDWR, 0o644);
      setattr(made.ino, FATTR.GID, { gid: 50 });
      setattr(made.ino, FATTR.MODE, { mode: 0o6644 });
      return made;
    };
    const modeOf = (ino: number): number => getattr(ino).mode & 0o7777;
    const written = file();
    const record = fill(fuse_write_in, { fh: written.fh, size: 1, write_flags: FUSE_WRITE_KILL_SUIDGID });
    expect(fuse.call(OPCODE.WRITE, written.ino, cat(record, Buffer.from('x')), caller).error).toBe(0);
    expect(modeOf(written.ino)).toBe(mode);
    const allocated = file();
    const range = fill(fuse_fallocate_in, { fh: allocated.fh, length: 4096 });
    expect(fuse.call(OPCODE.FALLOCATE, allocated.ino, range, caller).error).toBe(0);
    expect(modeOf(allocated.ino)).toBe(mode);
    const asked = file();
    expect(fuse.call(OPCODE.SETATTR, asked.ino, fill(fuse_setattr_in, {}), caller).error).toBe(0);
    expect(modeOf(asked.ino)).toBe(mode);
    const cut = file();
    const size = fill(fuse_setattr_in, { valid: FATTR.SIZE | FATTR.KILL_SUIDGID, size: 0 });
    expect(fuse.call(OPCODE.SETATTR, cut.ino, size, caller).error).toBe(0);
    expect(modeOf(cut.ino)).toBe(mode);
  });

  test('statx has the time of birth', () => {
    const { ino } = createFile('a');
    const { body } = fuse.call(OPCODE.STATX, ino, fill(fuse_statx_in, {}));
    const at = fuse_statx_out.at.stat;
    expect(body.length).toBe(fuse_statx_out.size);
    expect(body.readUInt32LE(at + fuse_statx.at.mask)).toBe(0xfff);
    expect(body.readUInt16LE(at + fuse_statx.at.mode)).toBe(0o100644);
    expect(Number(body.readBigInt64LE(at + fuse_statx.at.btime))).toBeGreaterThan(1_000_000);
  });

  test('access times follow relatime', () => {
    const { ino, fh } = createFile('a');
    write(ino, fh, 0, 'abc');
    read(ino, fh, 0, 3, O_NOATIME);
    const before = getattr(ino);
    expect(before.atime).toBeLessThan(before.mtime);
    read(ino, fh, 0, 3);
    const first = getattr(ino).atime;
    expect(first).toBeGreaterThan(before.mtime);
    read(ino, fh, 0, 3);
    expect(getattr(ino).atime).toBe(first);
    clock.last += 86_400;
    read(ino, fh, 0, 3);
    expect(getattr(ino).atime).toBeGreaterThan(first);
  });
});

describe('immutable and append-only files', () => {
  const isDir = (ino: number): boolean => (getattr(ino).mode & constants.S_IFMT) === constants.S_IFDIR;
  /** chattr(1). */
  const setFlags = (ino: number, flags: number): void => {
    const { body } = fuse.call(isDir(ino) ? OPCODE.OPENDIR : OPCODE.OPEN, ino, fill(fuse_open_in, {}));
    const record = Buffer.alloc(4);
    record.writeUInt32LE(flags);
    const fh = Number(body.readBigUInt64LE());
    const ioctl = fill(fuse_ioctl_in, { fh, cmd: FS_IOC.setFlags, in_size: record.length });
    expect(fuse.call(OPCODE.IOCTL, ino, cat(ioctl, record)).error).toBe(0);
  };

  test('nothing changes an immutable file', () => {
    const { ino } = createFile('a');
    const before = openFh(ino, O_RDWR);
    setFlags(ino, INODE_FLAG_IMMUTABLE);
    expect(write(ino, before, 0, 'who had it open may write').error).toBe(0);
    const other = createFile('b');
    expect(open(ino, O_RDWR).error).toBe(no('EPERM'));
    expect(open(ino, O_RDONLY).error).toBe(0);
    expect(unlink('a').error).toBe(no('EPERM'));
    expect(setattr(ino, FATTR.MODE, { mode: 0o600 }).error).toBe(no('EPERM'));
    expect(setattr(ino, FATTR.SIZE, { size: 0 }).error).toBe(no('EPERM'));
    expect(setattr(ino, FATTR.SIZE | FATTR.FH, { size: 1 }).error).toBe(0);
    expect(setattr(ino, FATTR.ATIME | FATTR.ATIME_NOW).error).toBe(no('EPERM'));
    const link = cat(fill(fuse_link_in, { oldnodeid: ino }), cstring('l'));
    expect(fuse.call(OPCODE.LINK, 1, link).error).toBe(no('EPERM'));
    const over = cat(fill(fuse_rename_in, { newdir: 1 }), cstring('b'), cstring('a'));
    expect(fuse.call(OPCODE.RENAME, 1, over).error).toBe(no('EPERM'));
    const xattr = cat(fill(fuse_setxattr_in, {}), cstring('user.x'));
    expect(fuse.call(OPCODE.SETXATTR, ino, xattr).error).toBe(no('EPERM'));
    expect(engine.exists(asIno(other.ino))).toBe(true);
  });

  test('an append-only file is for appending', () => {
    const { ino } = createFile('a');
    setFlags(ino, INODE_FLAG_APPEND);
    expect(open(ino, O_WRONLY).error).toBe(no('EPERM'));
    expect(open(ino, O_WRONLY | O_APPEND | O_TRUNC).error).toBe(no('EPERM'));
    const fh = openFh(ino, O_WRONLY | O_APPEND);
    expect(write(ino, fh, 0, 'x').error).toBe(0);
    expect(setattr(ino, FATTR.ATIME | FATTR.ATIME_NOW).error).toBe(0);
    expect(setattr(ino, FATTR.ATIME, { atime: 1 }).error).toBe(no('EPERM'));
    expect(unlink('a').error).toBe(no('EPERM'));
  });

  test('an immutable directory keeps its entries', () => {
    const dir = mkdir('d');
    // Made behind the vfs's back, which remembers flags.
    engine.create(asIno(dir), Buffer.from('f'), { mode: 0o100644, uid: 0, gid: 0 });
    setFlags(dir, INODE_FLAG_IMMUTABLE);
    expect(unlink('f', dir).error).toBe(no('EPERM'));
    expect(fuse.call(OPCODE.MKDIR, dir, cat(fill(fuse_mkdir_in, { mode: 0o755 }), cstring('x'))).error).toBe(
      no('EPERM'),
    );
  });
});

describe('extended attributes', () => {
  const set = (ino: number, name: string, value: string, flags = 0): number =>
    fuse.call(
      OPCODE.SETXATTR,
      ino,
      cat(fill(fuse_setxattr_in, { size: value.length, flags }), cstring(name), Buffer.from(value)),
    ).error;
  const get = (ino: number, name: string, size: number): Answer =>
    fuse.call(OPCODE.GETXATTR, ino, cat(fill(fuse_getxattr_in, { size }), cstring(name)));

  test('size first, then the value', () => {
    expect(set(1, 'user.a', 'value')).toBe(0);
    expect(get(1, 'user.a', 0).body.readUInt32LE()).toBe(5);
    expect(get(1, 'user.a', 5).body.toString()).toBe('value');
    expect(get(1, 'user.a', 4).error).toBe(no('ERANGE'));
    expect(get(1, 'user.b', 10).error).toBe(no('ENODATA'));
    expect(set(1, 'user.a', 'x', 1)).toBe(no('EEXIST'));
    expect(set(1, 'user.b', 'x', 2)).toBe(no('ENODATA'));
    expect(fuse.call(OPCODE.REMOVEXATTR, 1, cstring('user.a')).error).toBe(0);
    expect(fuse.call(OPCODE.REMOVEXATTR, 1, cstring('user.a')).error).toBe(no('ENODATA'));
  });

  test('other namespaces are not supported', () => {
    expect(set(1, 'user.', 'x')).toBe(no('EINVAL'));
    for (const name of ['system.posix_acl', 'system.posix_acl_access2', 'what.ever']) {
      expect(set(1, name, 'x')).toBe(no('EOPNOTSUPP'));
      expect(get(1, name, 10).error).toBe(no('EOPNOTSUPP'));
    }
  });

  test('the list hides trusted names from everybody but root', () => {
    set(1, 'user.a', '1');
    set(1, 'trusted.b', '2');
    const list = (uid: number): string =>
      fuse.call(OPCODE.LISTXATTR, 1, fill(fuse_getxattr_in, { size: 1000 }), { uid }).body.toString();
    expect(list(0)).toBe('user.a\0trusted.b\0');
    expect(list(1000)).toBe('user.a\0');
  });

  test('a record of the old size is understood when it was negotiated', () => {
    fuse.vfs.connected({ minor: 31, flags: 0, flags2: 0, maxReadahead: 0 });
    const record = fill(fuse_setxattr_in, { size: 1 }).subarray(0, 8);
    expect(fuse.call(OPCODE.SETXATTR, 1, cat(record, cstring('user.a'), Buffer.from('x'))).error).toBe(0);
  });
});

describe('errors', () => {
  test('an expected error is its errno and is not logged', () => {
    engine.failNext = { method: 'getattr', error: new FsError('ENOSPC', 'test', 'full') };
    expect(fuse.call(OPCODE.GETATTR, 1, fill(fuse_getattr_in, {})).error).toBe(no('ENOSPC'));
    expect(fuse.outbox.logs).toEqual([]);
  });

  test.each([
    ['damage', new CorruptionError(7, 'checksum'), false],
    ['a broken invariant', new InvariantError('test'), true],
    ['a bug', new TypeError('undefined is not a function'), true],
  ])('%s is EIO, logged, and answered', (_what, error, shutdown) => {
    engine.failNext = { method: 'getattr', error };
    expect(fuse.call(OPCODE.GETATTR, 1, fill(fuse_getattr_in, {})).error).toBe(no('EIO'));
    expect(fuse.outbox.logs[0]).toContain('getattr of node 1');
    expect(engine.info.shutdown).toBe(shutdown);
  });

  test('unknown operations are ENOSYS, silent ones silent', () => {
    for (const opcode of [OPCODE.ACCESS, OPCODE.FLUSH, OPCODE.SETLK, OPCODE.POLL, OPCODE.BMAP, 63, 4096]) {
      expect(fuse.call(opcode, 1, Buffer.alloc(64)).error).toBe(no('ENOSYS'));
    }
    fuse.quiet(OPCODE.INTERRUPT, 1, Buffer.alloc(4));
    const interrupted = Buffer.alloc(8);
    interrupted.writeBigUInt64LE(0x1_0000_0006n);
    fuse.quiet(OPCODE.INTERRUPT, 1, interrupted);
    expect(fuse.outbox.interrupted).toEqual([0x1_0000_0006n]);
    expect(fuse.call(OPCODE.STATFS, 1, Buffer.alloc(0)).error).toBe(0);
    expect(fuse.call(OPCODE.SYNCFS, 1, Buffer.alloc(8)).error).toBe(0);
    expect(fuse.call(OPCODE.DESTROY, 1, Buffer.alloc(0)).error).toBe(0);
  });
});
