import { fuse_ioctl_out, fuse_out_header } from './abi.js';

const NOTHING = new Uint8Array(0);

/** A whole reply to an IOCTL: success, with the record that goes back to the caller, or with none. */
export function ioctlReply(unique: bigint, record: Uint8Array = NOTHING): Buffer {
  const body = fuse_out_header.size + fuse_ioctl_out.size;
  const message = newMessage(body + record.length, unique, 0);
  message.set(record, body);
  return message;
}

/** A whole reply to any request: an error. `errno` is positive. */
export const errorReply = (unique: bigint, errno: number): Buffer =>
  newMessage(fuse_out_header.size, unique, -errno);

function newMessage(length: number, unique: bigint, error: number): Buffer {
  const { at } = fuse_out_header;
  const message = Buffer.alloc(length);
  message.writeUInt32LE(length, at.len);
  message.writeInt32LE(error, at.error);
  message.writeBigUInt64LE(unique, at.unique);
  return message;
}
