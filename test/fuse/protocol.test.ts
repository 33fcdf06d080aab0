import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FsError } from '../../src/errors.js';
import {
  fuse_dirent,
  fuse_entry_out,
  fuse_in_header,
  fuse_init_in,
  fuse_init_out,
  INIT_FLAG,
  INIT_FLAG2,
  OPCODE,
} from '../../src/fuse/abi.js';
import { DirentWriter } from '../../src/fuse/dirents.js';
import { type Connection, negotiate } from '../../src/fuse/negotiate.js';
import { invalEntry, invalInode } from '../../src/fuse/notify.js';
import { Reply } from '../../src/fuse/reply.js';
import { Request } from '../../src/fuse/request.js';
import { getI64, getU64, putI64 } from '../../src/fuse/words.js';
import { takeAnswer } from '../support/answer.js';
import { type Answer, fill, parseAnswer } from '../support/fuse-harness.js';

function requestOf(body: Buffer, opcode: number = OPCODE.LOOKUP): Request {
  const header = fill(fuse_in_header, { len: fuse_in_header.size + body.length, opcode, nodeid: 1 });
  header.writeBigUInt64LE(0x1234_5678_9abc_def0n, fuse_in_header.at.unique);
  const request = new Request();
  const message = Buffer.concat([header, body]);
  message.copy(request.buffer);
  expect(request.accept(message.length)).toBe(true);
  return request;
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof FsError) return error.code;
    throw error;
  }
  return 'none';
}

describe('64-bit words', () => {
  test('every safe integer goes through unchanged, as BigInt sees it', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (n) => {
        const bytes = Buffer.alloc(8);
        const words = new Uint32Array(bytes.buffer, bytes.byteOffset, 2);
        putI64(words, 0, n);
        expect(bytes.readBigInt64LE(0)).toBe(BigInt(n));
        expect(getI64(words, 0)).toBe(n);
      }),
    );
  });

  test('a value above 2^53 never looks smaller', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }), (n) => {
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64LE(n);
        expect(getU64(new Uint32Array(bytes.buffer, bytes.byteOffset, 2), 0)).toBeGreaterThanOrEqual(2 ** 53);
      }),
    );
  });
});

describe('request', () => {
  test('a length that is not what was read is refused', () => {
    const request = requestOf(Buffer.from('a\0'));
    expect(request.accept(41)).toBe(false);
    expect(request.accept(39)).toBe(false);
    expect(request.unique).toBe(0x1234_5678_9abc_def0n);
  });

  test.each([
    ['', 'EINVAL'],
    ['.', 'EINVAL'],
    ['..', 'EINVAL'],
    ['a/b', 'EINVAL'],
    ['x'.repeat(256), 'ENAMETOOLONG'],
    ['...', 'none'],
    ['x'.repeat(255), 'none'],
  ])('name %j: %s', (name, code) => {
    expect(codeOf(() => requestOf(Buffer.from(`${name}\0`)).name(0))).toBe(code);
  });

  test('a name without a NUL inside the record is refused, whatever follows in the buffer', () => {
    expect(codeOf(() => requestOf(Buffer.from('abc')).name(0))).toBe('EINVAL');
    expect(codeOf(() => requestOf(Buffer.alloc(0)).name(0))).toBe('EINVAL');
  });

  test('bytes beyond the record are refused', () => {
    const request = requestOf(Buffer.alloc(16));
    expect(codeOf(() => request.need(16))).toBe('none');
    expect(codeOf(() => request.need(17))).toBe('EINVAL');
    expect(codeOf(() => request.bytes(8, 9))).toBe('EINVAL');
  });
});

function answerOf(reply: Reply, sources: readonly Buffer[] = []): Answer {
  const message = takeAnswer(reply, sources);
  if (message === null) throw new Error('there is no answer');
  return parseAnswer(message);
}

describe('reply', () => {
  test('the answer to a read is its header and the segments, in order', () => {
    const reply = new Reply();
    const sources = [Buffer.from('region'), Buffer.from('zeros')];
    reply.begin(requestOf(Buffer.alloc(0)));
    reply.table.set([1, 0, 2, 0, 3, 3]);
    reply.data(2, 5);
    expect(answerOf(reply, sources).body.toString()).toBe('zeion');
    expect(takeAnswer(reply)).toBeNull();
    reply.begin(requestOf(Buffer.alloc(0)));
    reply.empty();
    expect(answerOf(reply, sources).body.length).toBe(0);
  });

  test('a second answer to one request is an error of ours', () => {
    const reply = new Reply();
    reply.begin(requestOf(Buffer.alloc(0)));
    reply.empty();
    expect(() => reply.empty()).toThrow('answered once');
  });
});

test('directory entries stay within the limit and can be parsed back', () => {
  const body = Buffer.alloc(4096);
  const writer = new DirentWriter(body, new Uint32Array(body.buffer, body.byteOffset, body.length / 4));
  const names = fc.array(fc.string({ minLength: 1, maxLength: 255, unit: 'binary-ascii' }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(names, fc.integer({ min: 0, max: 4096 }), fc.boolean(), (list, limit, plus) => {
      body.fill(0xff);
      writer.begin(limit);
      const taken = list.filter((name, i) => {
        if (!writer.fits(name.length, plus)) return false;
        const bytes = Buffer.from(name, 'latin1');
        if (plus) writer.addPlus(bytes, i + 1, 8, i + 10, null);
        else writer.add(bytes, i + 1, 8, i + 10);
        return true;
      });
      expect(writer.used).toBeLessThanOrEqual(limit);
      const parsed: string[] = [];
      const skip = plus ? fuse_entry_out.size : 0;
      for (let at = skip; at < writer.used; ) {
        const length = body.readUInt32LE(at + fuse_dirent.at.namelen);
        parsed.push(body.toString('latin1', at + fuse_dirent.size, at + fuse_dirent.size + length));
        at += Math.ceil((fuse_dirent.size + length) / 8) * 8 + skip;
      }
      expect(parsed).toEqual(taken);
    }),
  );
});

describe('negotiation', () => {
  const ALL = 0x7fff_ffff;

  function init(
    fields: Partial<Record<'major' | 'minor' | 'flags' | 'flags2' | 'max_readahead', number>>,
    bytes = fuse_init_in.size,
  ): { error: number; out: Buffer; connection: Connection | string } {
    const reply = new Reply();
    const record = fill(fuse_init_in, { major: 7, minor: 45, flags: ALL, flags2: 0xffff, ...fields });
    const request = requestOf(record.subarray(0, bytes), OPCODE.INIT);
    reply.begin(request);
    let connection: Connection | string;
    try {
      connection = negotiate(request, reply);
    } catch (error) {
      connection = (error as Error).message;
    }
    const answer = answerOf(reply);
    return { error: answer.error, out: answer.body, connection };
  }

  test('takes what it wants and nothing that would break the promises', () => {
    const { error, out } = init({ max_readahead: 131072 });
    expect(error).toBe(0);
    const flags = out.readUInt32LE(fuse_init_out.at.flags);
    const never =
      INIT_FLAG.WRITEBACK_CACHE |
      INIT_FLAG.NO_OPEN_SUPPORT |
      INIT_FLAG.NO_OPENDIR_SUPPORT |
      INIT_FLAG.AUTO_INVAL_DATA |
      INIT_FLAG.HANDLE_KILLPRIV;
    expect(flags & never).toBe(0);
    const always = INIT_FLAG.HAS_IOCTL_DIR | INIT_FLAG.POSIX_ACL | INIT_FLAG.DONT_MASK;
    expect(flags & always).toBe(always);
    expect(out.readUInt32LE(fuse_init_out.at.flags2)).toBe(
      INIT_FLAG2.DIRECT_IO_ALLOW_MMAP | INIT_FLAG2.ALLOW_IDMAP,
    );
    expect(out.readUInt32LE(fuse_init_out.at.max_write)).toBe(1 << 20);
    expect(out.readUInt16LE(fuse_init_out.at.max_pages)).toBe(256);
    expect(out.readUInt32LE(fuse_init_out.at.time_gran)).toBe(1);
    expect(out.readUInt32LE(fuse_init_out.at.max_readahead)).toBe(131072);
  });

  test('an unextended record has no second word of flags', () => {
    const { error, connection } = init({ minor: 31, flags: ALL & ~INIT_FLAG.INIT_EXT }, 16);
    expect(error).toBe(0);
    expect(connection).toMatchObject({ minor: 31, flags2: 0 });
  });

  test('a newer kernel is answered with the version that is known here', () => {
    expect(init({ minor: 99 }).connection).toMatchObject({ minor: 45 });
  });

  test.each([
    [{ minor: 30 }, 'rmapfs needs 7.31'],
    [{ major: 8, minor: 0 }, 'speaks FUSE 8.0'],
    [{ flags: ALL & ~INIT_FLAG.MAX_PAGES }, 'lacks FUSE_INIT flags 0x400000'],
  ])('%j is refused', (fields, text) => {
    const { error, connection } = init(fields);
    expect(error).toBe(-71);
    expect(connection).toContain(text);
  });
});

test('notifications', () => {
  const inode = invalInode(5, -1, 0);
  expect(inode.length).toBe(40);
  expect(inode.readInt32LE(4)).toBe(2);
  expect(inode.readBigUInt64LE(8)).toBe(0n);
  expect(inode.readBigInt64LE(24)).toBe(-1n);
  const entry = invalEntry(1, Buffer.from('name'));
  expect(entry.readUInt32LE(0)).toBe(entry.length);
  expect(entry.readInt32LE(4)).toBe(3);
  expect(entry.readUInt32LE(24)).toBe(4);
  expect(entry.subarray(32).toString('latin1')).toBe('name\0');
});
