import { FsError } from '../errors.js';
import { ACL_ENTRIES_MAX } from '../limits.js';

/**
 * POSIX ACLs as extended attribute values, and the arithmetic on them that FUSE_POSIX_ACL leaves to the
 * daemon (fs/fuse/acl.c: "Fuse userspace is responsible for updating access permissions in the inode"). The
 * kernel checks who may set one and that it is valid, caches it, and decides every access by it.
 *
 * The bytes are the kernel's own (posix_acl_xattr.h): a u32 version, then entries of tag u16, permissions
 * u16, id u32, in the order of their tags. The functions bear the kernel's names (fs/posix_acl.c).
 */

export const ACL_ACCESS = Buffer.from('system.posix_acl_access');
export const ACL_DEFAULT = Buffer.from('system.posix_acl_default');

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const TAG = { userObj: 1, user: 2, groupObj: 4, group: 8, mask: 16, other: 32 } as const;
const TAGS: readonly number[] = Object.values(TAG);
/** Every ACL has one of each. */
const REQUIRED_TAGS = TAG.userObj | TAG.groupObj | TAG.other;
const PERMISSIONS = 7;
const RWX_ALL = 0o777;

/** Permission bits of st_mode, and whether the ACL says more than they can. */
export interface AclMode {
  bits: number;
  extended: boolean;
}

const tagAt = (acl: Buffer, at: number): number => acl.readUInt16LE(at);
const permissionsAt = (acl: Buffer, at: number): number => acl.readUInt16LE(at + 2) & PERMISSIONS;

/** Calls `visit` with the byte offset of every entry. */
function eachEntry(acl: Buffer, visit: (at: number) => void): void {
  for (let at = HEADER_BYTES; at < acl.length; at += ENTRY_BYTES) visit(at);
}

/** Byte offset of the first entry with this tag, or -1. */
function find(acl: Buffer, tag: number): number {
  for (let at = HEADER_BYTES; at < acl.length; at += ENTRY_BYTES) if (tagAt(acl, at) === tag) return at;
  return -1;
}

/** The entry that the group bits of a mode stand for: the mask where there is one. */
const groupEntry = (acl: Buffer): number => {
  const mask = find(acl, TAG.mask);
  return mask >= 0 ? mask : find(acl, TAG.groupObj);
};

/** Refuses, with EINVAL, what is no ACL; everything below relies on it. */
export function checkAcl(acl: Buffer): void {
  const entries = (acl.length - HEADER_BYTES) / ENTRY_BYTES;
  const sized = Number.isInteger(entries) && entries > 0 && entries <= ACL_ENTRIES_MAX;
  if (!sized || acl.readUInt32LE(0) !== VERSION) {
    throw new FsError('EINVAL', 'setxattr', `${acl.length} bytes that are no ACL of version ${VERSION}`);
  }
  let seen = 0;
  eachEntry(acl, (at) => {
    const tag = tagAt(acl, at);
    const repeats = tag === TAG.user || tag === TAG.group;
    if (!TAGS.includes(tag) || ((seen & tag) !== 0 && !repeats)) {
      throw new FsError('EINVAL', 'setxattr', `an ACL with entry tag ${tag} out of place`);
    }
    seen |= tag;
  });
  const named = (seen & (TAG.user | TAG.group)) !== 0;
  if ((seen & REQUIRED_TAGS) !== REQUIRED_TAGS || (named && (seen & TAG.mask) === 0)) {
    throw new FsError('EINVAL', 'setxattr', 'an ACL without owner, group, others or mask');
  }
}

/** posix_acl_equiv_mode(). */
export function equivMode(acl: Buffer): AclMode {
  const bits =
    (permissionsAt(acl, find(acl, TAG.userObj)) << 6) |
    (permissionsAt(acl, groupEntry(acl)) << 3) |
    permissionsAt(acl, find(acl, TAG.other));
  return { bits, extended: (acl.length - HEADER_BYTES) / ENTRY_BYTES > 3 };
}

/** __posix_acl_chmod_masq(): the access ACL after chmod(2) to `mode`. */
export function chmodMasq(acl: Buffer, mode: number): Buffer {
  const changed = Buffer.from(acl);
  changed.writeUInt16LE((mode >> 6) & PERMISSIONS, find(acl, TAG.userObj) + 2);
  changed.writeUInt16LE((mode >> 3) & PERMISSIONS, groupEntry(acl) + 2);
  changed.writeUInt16LE(mode & PERMISSIONS, find(acl, TAG.other) + 2);
  return changed;
}

/**
 * posix_acl_create_masq(): what a new inode gets from its directory's default ACL. Returns its mode and its
 * access ACL, null where the mode says it all.
 */
export function createMasq(defaultAcl: Buffer, mode: number): { mode: number; access: Buffer | null } {
  const before = equivMode(defaultAcl);
  const bits = before.bits & mode;
  return {
    mode: (mode & ~RWX_ALL) | bits,
    access: before.extended ? chmodMasq(defaultAcl, bits) : null,
  };
}
