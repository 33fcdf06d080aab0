import { IOV_MAX } from './limits.js';

/**
 * The control record of an exchange with /dev/fuse: an Int32Array that the channel and the addon share, so that one
 * turn of the loop needs no arguments (native/fuse_exchange.cc has the same numbers). After the words named here
 * comes the table of the answer's segments: triples of source, byte offset and byte length.
 */
export const CONTROL = {
  /** In: bytes of the answer's buffer to send. 0: there is no answer. */
  answerBytes: 0,
  /** In: entries of the table to send after them. */
  segments: 1,
  /** In: 1 = wait for the next request, 0 = only send. */
  wait: 2,
  /** Out: bytes of the request, or the negative errno of the read. */
  received: 3,
  /** Out: the positive errno of the write, or 0. */
  writeErrno: 4,
} as const;

/** First word of the table. */
const CONTROL_TABLE = 5;
/** Words of an entry of the table. */
export const SEGMENT_WORDS = 3;
/** Entries that fit: the answer's buffer is one of the parts. */
export const SEGMENTS_MAX = IOV_MAX - 1;

export const newControl = (): Int32Array => new Int32Array(CONTROL_TABLE + SEGMENTS_MAX * SEGMENT_WORDS);

/** The table of a control record. */
export const tableOf = (control: Int32Array): Int32Array => control.subarray(CONTROL_TABLE);
