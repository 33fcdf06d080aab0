import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkAcl, chmodMasq, createMasq, equivMode } from '../../src/vfs/acl.js';
import { codeOf } from '../support/namespace.js';

/** Tag, permissions, id: in words of the kernel's header, ACL_USER_OBJ is 1, ACL_USER 2 and so on. */
type Entry = [tag: number, permissions: number, id?: number];

function acl(...entries: Entry[]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  entries.forEach(([tag, permissions, id], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(permissions, 6 + 8 * i);
    bytes.writeUInt32LE(id ?? 0xffff_ffff, 8 + 8 * i);
  });
  return bytes;
}
const minimal = (mode: number): Entry[] => [
  [1, (mode >> 6) & 7],
  [4, (mode >> 3) & 7],
  [32, mode & 7],
];
const extended = (owner: number, group: number, mask: number, other: number): Buffer =>
  acl([1, owner], [2, 7, 1000], [4, group], [8, 5, 50], [16, mask], [32, other]);

describe('what is an ACL', () => {
  test.each([
    ['no bytes', Buffer.alloc(0)],
    ['a header only', acl()],
    ['half an entry', acl(...minimal(0o644)).subarray(0, 26)],
    ['another version', Buffer.concat([Buffer.from([1, 0, 0, 0]), acl(...minimal(0o644)).subarray(4)])],
    ['an unknown tag', acl(...minimal(0o644), [64, 7])],
    ['no others', acl([1, 7], [4, 7])],
    ['two owners', acl([1, 7], ...minimal(0o644))],
    ['a named user without a mask', acl([1, 7], [2, 7, 1000], [4, 7], [32, 7])],
    ['more entries than a page holds', acl(...minimal(0), [16, 7], ...new Array<Entry>(508).fill([2, 7, 9]))],
  ])('%s is none', (_what, bytes) => {
    expect(codeOf(() => checkAcl(bytes))).toBe('EINVAL');
  });

  test('the smallest, and one with everything', () => {
    checkAcl(acl(...minimal(0o644)));
    checkAcl(extended(7, 7, 7, 7));
  });
});

describe('mode and ACL', () => {
  test('three entries are the mode', () => {
    for (let mode = 0; mode <= 0o777; mode++) {
      expect(equivMode(acl(...minimal(mode)))).toEqual({ bits: mode, extended: false });
    }
  });

  test('the mask is the group bits; chmod sets it and leaves the group', () => {
    expect(equivMode(extended(7, 5, 6, 1))).toEqual({ bits: 0o761, extended: true });
    expect(chmodMasq(extended(7, 5, 6, 1), 0o2640)).toEqual(extended(6, 5, 4, 0));
    expect(chmodMasq(acl(...minimal(0o777)), 0o123)).toEqual(acl(...minimal(0o123)));
  });

  test('a new inode: the lesser of what was asked and what the ACL says', () => {
    expect(createMasq(acl(...minimal(0o750)), 0o100666)).toEqual({ mode: 0o100640, access: null });
    const made = createMasq(extended(7, 5, 6, 4), 0o104666);
    expect(made).toEqual({ mode: 0o104664, access: extended(6, 5, 6, 4) });
  });

  test('no bytes make it fail otherwise than by EINVAL', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (tail) => {
        const bytes = Buffer.concat([Buffer.from([2, 0, 0, 0]), tail]);
        if (codeOf(() => checkAcl(bytes)) === 'EINVAL') return;
        expect(equivMode(chmodMasq(bytes, 0o751)).bits).toBe(0o751);
      }),
    );
  });
});
