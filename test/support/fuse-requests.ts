import fc from 'fast-check';
import { IOC } from '../../src/control/protocol.js';
import * as abi from '../../src/fuse/abi.js';
import { fill } from './fuse-harness.js';

/** Random FUSE requests of the right shape: each opcode with its record and names, the values anything. */

type AnyLayout = abi.Layout<string>;
const { OPCODE } = abi;

/** Small numbers: likely to be a node, a handle, an offset within a file. */
const small = fc.integer({ min: 0, max: 8 });
const wide = fc.oneof(
  { weight: 12, arbitrary: small },
  { weight: 3, arbitrary: fc.constantFrom(4096, 8192, 12288, 65536, 1 << 20) },
  { weight: 1, arbitrary: fc.maxSafeInteger().map(Math.abs) },
);
const narrow = fc.oneof(
  { weight: 8, arbitrary: small },
  { weight: 3, arbitrary: fc.constantFrom(0o100644, 0o040755, 0o100600, 4096, 65536, 0x7fff) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
);
const name = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.constantFrom('a', 'b', 'd', 'e', 'user.x', 'trusted.y', 'security.capability'),
  },
  { weight: 1, arbitrary: fc.constantFrom('', '.', '..', 'x/y', 'x'.repeat(255), 'x'.repeat(256)) },
);

/** A record with random fields; `fixed` ones are taken as they are. */
function record(layout: AnyLayout, fixed: Record<string, number> = {}): fc.Arbitrary<Buffer> {
  const fields: Record<string, fc.Arbitrary<number>> = {};
  for (const [field, bytes] of Object.entries(layout.width)) {
    if (bytes === 8) fields[field] = wide;
    else if (bytes === 4) fields[field] = narrow;
  }
  return fc.record(fields).map((values) => fill(layout, { ...values, ...fixed }));
}

const names = (count: number): fc.Arbitrary<Buffer> =>
  fc
    .array(name, { minLength: count, maxLength: count })
    .map((list) => Buffer.from(list.map((text) => `${text}\0`).join(''), 'latin1'));

const joined = (...parts: fc.Arbitrary<Buffer>[]): fc.Arbitrary<Buffer> =>
  fc.tuple(...parts).map((list) => Buffer.concat(list));

/** Opcodes with their record and the number of names behind it. */
const SHAPES: readonly (readonly [opcode: number, layout: AnyLayout | null, names: number])[] = [
  [OPCODE.LOOKUP, null, 1],
  [OPCODE.FORGET, abi.fuse_forget_in, 0],
  [OPCODE.GETATTR, abi.fuse_getattr_in, 0],
  [OPCODE.SETATTR, abi.fuse_setattr_in, 0],
  [OPCODE.READLINK, null, 0],
  [OPCODE.SYMLINK, null, 2],
  [OPCODE.MKNOD, abi.fuse_mknod_in, 1],
  [OPCODE.MKDIR, abi.fuse_mkdir_in, 1],
  [OPCODE.UNLINK, null, 1],
  [OPCODE.RMDIR, null, 1],
  [OPCODE.RENAME, abi.fuse_rename_in, 2],
  [OPCODE.RENAME2, abi.fuse_rename2_in, 2],
  [OPCODE.LINK, abi.fuse_link_in, 1],
  [OPCODE.OPEN, abi.fuse_open_in, 0],
  [OPCODE.READ, abi.fuse_read_in, 0],
  [OPCODE.STATFS, null, 0],
  [OPCODE.RELEASE, abi.fuse_release_in, 0],
  [OPCODE.FSYNC, abi.fuse_fsync_in, 0],
  [OPCODE.GETXATTR, abi.fuse_getxattr_in, 1],
  [OPCODE.LISTXATTR, abi.fuse_getxattr_in, 0],
  [OPCODE.REMOVEXATTR, null, 1],
  [OPCODE.OPENDIR, abi.fuse_open_in, 0],
  [OPCODE.READDIR, abi.fuse_read_in, 0],
  [OPCODE.READDIRPLUS, abi.fuse_read_in, 0],
  [OPCODE.RELEASEDIR, abi.fuse_release_in, 0],
  [OPCODE.FSYNCDIR, abi.fuse_fsync_in, 0],
  [OPCODE.CREATE, abi.fuse_create_in, 1],
  [OPCODE.TMPFILE, abi.fuse_create_in, 1],
  [OPCODE.FALLOCATE, abi.fuse_fallocate_in, 0],
  [OPCODE.LSEEK, abi.fuse_lseek_in, 0],
  [OPCODE.COPY_FILE_RANGE, abi.fuse_copy_file_range_in, 0],
  [OPCODE.COPY_FILE_RANGE_64, abi.fuse_copy_file_range_in, 0],
  [OPCODE.STATX, abi.fuse_statx_in, 0],
  [OPCODE.SYNCFS, abi.fuse_syncfs_in, 0],
];

export interface ShapedRequest {
  opcode: number;
  nodeid: number;
  body: Buffer;
}

/**
 * Puts the handle into the body that belongs to the node in the test's beginnings (handle = node - 1), at the
 * places where the opcode has one. Left to chance they would fit once in a hundred times.
 */
function withHandles(opcode: number, nodeid: number, body: Buffer): Buffer {
  const pinned = Buffer.from(body);
  const layouts: [readonly number[], AnyLayout][] = [
    [[OPCODE.READ, OPCODE.READDIR, OPCODE.READDIRPLUS], abi.fuse_read_in],
    [[OPCODE.WRITE], abi.fuse_write_in],
    [[OPCODE.RELEASE, OPCODE.RELEASEDIR], abi.fuse_release_in],
    [[OPCODE.FSYNC, OPCODE.FSYNCDIR], abi.fuse_fsync_in],
    [[OPCODE.FALLOCATE], abi.fuse_fallocate_in],
    [[OPCODE.LSEEK], abi.fuse_lseek_in],
    [[OPCODE.IOCTL], abi.fuse_ioctl_in],
    [[OPCODE.COPY_FILE_RANGE, OPCODE.COPY_FILE_RANGE_64], abi.fuse_copy_file_range_in],
  ];
  const layout = layouts.find(([opcodes]) => opcodes.includes(opcode))?.[1];
  if (layout === undefined) return pinned;
  const put = (field: string, value: number): void => {
    if (field in layout.at) pinned.writeBigUInt64LE(BigInt(value), layout.at[field]);
  };
  put('fh', Math.max(0, nodeid - 1));
  put('fh_in', Math.max(0, nodeid - 1));
  put('nodeid_out', 4);
  put('fh_out', 3);
  if ('flags' in layout.at && layout.width.flags === 8) put('flags', 0);
  return pinned;
}

const plain = fc.constantFrom(...SHAPES).chain(([opcode, layout, count]) =>
  joined(layout === null ? fc.constant(Buffer.alloc(0)) : record(layout), names(count)).map((body) => ({
    opcode,
    body,
  })),
);

const withData = (opcode: number, layout: AnyLayout, count: number) =>
  fc
    .constantFrom(0, 1, 100, 4096, 5000, 12288)
    .chain((size) => joined(record(layout, { size }), names(count), fc.constant(Buffer.alloc(size, 7))))
    .map((body) => ({ opcode, body }));

const ioctls = fc.constantFrom(...Object.values(IOC)).chain((cmd) => {
  const size = (cmd >>> 16) & 0x3fff;
  const writes = ((cmd >>> 30) & 1) !== 0;
  const reads = ((cmd >>> 30) & 2) !== 0;
  const input = fc.array(wide, { maxLength: 6 }).map((values) => {
    const bytes = Buffer.alloc(writes ? size : 0);
    values.forEach((value, i) => {
      if (i * 8 + 8 <= bytes.length) bytes.writeBigUInt64LE(BigInt(value), i * 8);
    });
    return bytes;
  });
  const header = record(abi.fuse_ioctl_in, { cmd, in_size: writes ? size : 0, out_size: reads ? size : 0 });
  return joined(header, input).map((body) => ({ opcode: OPCODE.IOCTL as number, body }));
});

const nodeid = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: 1, max: 5 }) },
  { weight: 1, arbitrary: fc.maxSafeInteger().map(Math.abs) },
);
const shaped = fc.oneof(
  { weight: 30, arbitrary: plain },
  { weight: 4, arbitrary: withData(OPCODE.WRITE, abi.fuse_write_in, 0) },
  { weight: 2, arbitrary: withData(OPCODE.SETXATTR, abi.fuse_setxattr_in, 1) },
  { weight: 4, arbitrary: ioctls },
);

/** Requests as a kernel might send them, were it out of its mind. Most have a handle that fits their node. */
export const shapedRequest: fc.Arbitrary<ShapedRequest> = fc
  .tuple(shaped, nodeid, fc.integer({ min: 0, max: 9 }))
  .map(([{ opcode, body }, node, chance]) => ({
    opcode,
    nodeid: node,
    body: chance > 0 && node <= 5 ? withHandles(opcode, node, body) : body,
  }));
