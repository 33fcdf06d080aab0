import { fuse_ioctl_out, fuse_out_header } from '../fuse/abi.js';

/** A whole reply to an IOCTL: an error (no record), or success with a record. */
export function ioctlReply(unique: bigint, errno: number, record: Uint8Array | null): Uint8Array {
  const at = fuse_out_header.at;
  const body = record === null ? 0 : fuse_ioctl_out.size + record.length;
  const message = Buffer.alloc(fuse_out_header.size + body);
  message.writeUInt32LE(message.length, at.len);
  message.writeInt32LE(-errno, at.error);
  message.writeBigUInt64LE(unique, at.unique);
  if (record !== null) message.set(record, fuse_out_header.size + fuse_ioctl_out.size);
  return message;
}
