import { FITRIM, IOC } from '../control/protocol.js';
import { FsError } from '../errors.js';
import { fuse_ioctl_in, fuse_ioctl_out } from '../fuse/abi.js';
import type { Reply } from '../fuse/reply.js';
import type { Request } from '../fuse/request.js';
import { fallocateIoctl } from './allocate.js';
import type { Operation, VfsContext } from './context.js';
import { events } from './events.js';
import { poison, unpoison } from './failure-control.js';
import { FS_IOC, getFlags, getXflags, setFlags, setXflags } from './file-flags.js';
import { GOINGDOWN, goingDown } from './going-down.js';
import type { IoctlCall, IoctlResult } from './ioctl-call.js';
import { mceKill } from './mce-kill.js';
import { owners } from './owners.js';
import { badBlocks, extents, fsmap, report } from './queries.js';
import { callerOf } from './rules.js';
import { scrub } from './scrub.js';
import { clone, cloneToken, dedupe } from './share.js';
import { FSLABEL, getLabel, setLabel, trim } from './volume.js';

interface IoctlSpec {
  /** Bytes each way. */
  readonly input: number;
  readonly output: number;
  /** Only for root and the owner of the mount. */
  readonly privileged: boolean;
  readonly run: (c: VfsContext, call: IoctlCall) => IoctlResult;
}

const sizeOf = (cmd: number): number => (cmd >>> 16) & 0x3fff;
const writes = (cmd: number): boolean => ((cmd >>> 30) & 1) !== 0;
const reads = (cmd: number): boolean => ((cmd >>> 30) & 2) !== 0;

/** An entry whose record sizes are what the number says. */
function own(cmd: number, privileged: boolean, run: IoctlSpec['run']): [number, IoctlSpec] {
  const size = sizeOf(cmd);
  return [cmd, { input: writes(cmd) ? size : 0, output: reads(cmd) ? size : 0, privileged, run }];
}

/** An entry of fs.h, for which the kernel sends its own size (fuse_priv_ioctl in fs/fuse/ioctl.c). */
function linux(cmd: number, size: number, run: IoctlSpec['run']): [number, IoctlSpec] {
  const spec = { input: writes(cmd) ? size : 0, output: reads(cmd) ? size : 0, privileged: false, run };
  return [cmd, spec];
}

const TABLE: ReadonlyMap<number, IoctlSpec> = new Map([
  own(IOC.cloneToken, false, cloneToken),
  own(IOC.clone, false, clone),
  own(IOC.dedupe, false, dedupe),
  own(IOC.extents, false, extents),
  own(IOC.fsmap, true, fsmap),
  own(IOC.badblocks, false, badBlocks),
  own(IOC.poison, true, poison),
  own(IOC.unpoison, true, unpoison),
  own(IOC.report, false, report),
  own(IOC.fallocate, false, fallocateIoctl),
  own(IOC.mceKill, false, mceKill),
  own(IOC.events, true, events),
  own(IOC.scrub, true, scrub),
  own(IOC.owners, true, owners),
  own(GOINGDOWN, true, goingDown),
  own(FITRIM, true, trim),
  own(FSLABEL.get, false, getLabel),
  own(FSLABEL.set, true, setLabel),
  linux(FS_IOC.getFlags, 4, getFlags),
  linux(FS_IOC.setFlags, 4, setFlags),
  linux(FS_IOC.fsGetXattr, sizeOf(FS_IOC.fsGetXattr), getXflags),
  linux(FS_IOC.fsSetXattr, sizeOf(FS_IOC.fsSetXattr), setXflags),
]);

function outputFor(reply: Reply, spec: IoctlSpec, input: Buffer): Buffer {
  const start = fuse_ioctl_out.size;
  const output = reply.body.subarray(start, start + spec.output);
  output.fill(0);
  if (output.length > 0) input.copy(output);
  return output;
}

function callOf(c: VfsContext, request: Request, reply: Reply, spec: IoctlSpec): IoctlCall {
  const at = fuse_ioctl_in.at;
  const [inSize, outSize] = [request.u32(at.in_size), request.u32(at.out_size)];
  if (inSize !== spec.input || outSize !== spec.output) {
    throw new FsError(
      'EINVAL',
      'ioctl',
      `${inSize} and ${outSize} bytes, not ${spec.input} and ${spec.output}`,
    );
  }
  const handle = c.handles.get(request.u64(at.fh), request.nodeid);
  const input = request.bytes(fuse_ioctl_in.size, inSize);
  const { uid, gid, pid } = callerOf(c, request);
  return {
    unique: request.unique,
    uid,
    gid,
    pid,
    argument: request.u64(at.arg),
    handle,
    privileged: uid === 0 || uid === c.ownerUid,
    input,
    output: outputFor(reply, spec, input),
  };
}

/** ENOTTY for what is not ours: the kernel and every program know it as "no such ioctl here". */
export const ioctl: Operation = (c, request, reply) => {
  request.need(fuse_ioctl_in.size);
  const cmd = request.u32(fuse_ioctl_in.at.cmd);
  const spec = TABLE.get(cmd);
  if (spec === undefined) throw new FsError('ENOTTY', 'ioctl', `unknown request 0x${cmd.toString(16)}`);
  const call = callOf(c, request, reply, spec);
  if (spec.privileged && !call.privileged) {
    throw new FsError('EPERM', 'ioctl', `uid ${call.uid} is neither root nor the owner of the mount`);
  }
  if (spec.run(c, call) === 'later') reply.leave();
  else reply.ioctl(spec.output);
};
