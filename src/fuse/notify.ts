import { fuse_notify_inval_entry_out, fuse_notify_inval_inode_out, fuse_out_header, NOTIFY } from './abi.js';
import { putI64 } from './words.js';

const OUT = fuse_out_header;

/** A notification is a reply with unique 0 and its code in the place of the error. */
function notification(code: number, bodyBytes: number): { message: Buffer; words: Uint32Array } {
  const bytes = OUT.size + bodyBytes;
  const message = Buffer.alloc(bytes);
  const words = new Uint32Array(message.buffer, message.byteOffset, bytes >> 2);
  words[OUT.at.len >> 2] = bytes;
  words[OUT.at.error >> 2] = code;
  return { message, words };
}

/**
 * "Drop the cached attributes of the inode, and its pages that meet [offset, offset + length)". A length of
 * 0 or less means to the end of the file; a negative offset drops the attributes only. The kernel writes
 * dirty pages back first and waits for that, so the thread that serves requests must not send it. ENOENT on
 * writing it: the kernel does not have the inode in core.
 */
export function invalInode(ino: number, offset: number, length: number): Buffer {
  const at = fuse_notify_inval_inode_out.at;
  const { message, words } = notification(NOTIFY.INVAL_INODE, fuse_notify_inval_inode_out.size);
  const base = OUT.size >> 2;
  putI64(words, base + (at.ino >> 2), ino);
  putI64(words, base + (at.off >> 2), offset);
  putI64(words, base + (at.len >> 2), length);
  return message;
}

/** "Forget the entry `name` of the directory." ENOENT when it is not cached. */
export function invalEntry(parent: number, name: Uint8Array): Buffer {
  const at = fuse_notify_inval_entry_out.at;
  // The name is sent with its NUL, which namelen does not count.
  const fixed = fuse_notify_inval_entry_out.size;
  const bytes = OUT.size + fixed + name.length + 1;
  const message = Buffer.alloc(bytes);
  message.writeUInt32LE(bytes, OUT.at.len);
  message.writeInt32LE(NOTIFY.INVAL_ENTRY, OUT.at.error);
  message.writeUInt32LE(parent, OUT.size + at.parent);
  message.writeUInt32LE(name.length, OUT.size + at.namelen);
  message.set(name, OUT.size + fixed);
  return message;
}
