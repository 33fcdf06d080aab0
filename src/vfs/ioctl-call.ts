import type { Handle } from './handles.js';

/** One ioctl, its size checked against its number. */
export interface IoctlCall {
  readonly unique: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The third argument of ioctl(2): for a request with a record its address in the caller. */
  readonly argument: number;
  readonly handle: Handle;
  /** Root or the owner of the mount. */
  readonly privileged: boolean;
  /** The record that came in; empty for one that only reads. Valid during the call. */
  readonly input: Buffer;
  /**
   * The record that goes out, in the reply; empty for one that only writes. It begins as a copy of the input
   * where there is one, and zero elsewhere.
   */
  readonly output: Buffer;
}

/** 'later': the answer comes from elsewhere, through the job that was handed out. */
export type IoctlResult = 'done' | 'later';
