import { z } from 'zod/v3';
import { CACHE_POLICIES } from '../types.js';

const strict = <T extends z.ZodRawShape>(shape: T) => z.object(shape).strict();

/**
 * What `rmapfs mount` asks of the daemon. It travels as the only argument of src/daemon/main.ts, as JSON, so
 * that it can be read in a process list.
 */
export const DaemonOptions = strict({
  /** Absolute path of the region. */
  region: z.string().startsWith('/'),
  /** Absolute path of the directory to mount on. */
  mountpoint: z.string().startsWith('/'),
  /** What /proc/mounts shows as mounted: the region as the user named it. */
  source: z.string().startsWith('/'),
  /** The type is fuse.rmapfs; without, plain fuse. */
  subtype: z.boolean(),
  readOnly: z.boolean(),
  /** Also a region with the uuid of another mount. */
  nouuid: z.boolean(),
  /** Other users may use the mount, under the kernel's permission checks (which are always on). */
  allowOther: z.boolean(),
  policy: z.enum(['early', 'late', 'kill', 'notify']),
  cache: z.enum(CACHE_POLICIES),
  /** Options of mount(8) to pass on as they are: noatime, nosuid, nodev, noexec ... */
  extraOptions: z.array(z.string().regex(/^[A-Za-z0-9_-]+(=[^,]*)?$/)),
  /** Where standard output and error of the daemon go; null: they stay as inherited. For messages only. */
  logFile: z.string().nullable(),
  /** Stays attached to the terminal: SIGINT ends the mount. */
  foreground: z.boolean(),
});
export type DaemonOptions = z.infer<typeof DaemonOptions>;

/**
 * The one message that the daemon sends on its IPC channel (process.send), when it has one: the mount can be
 * used (and what the user should know of it), or why it cannot (one sentence). In the second case it ends with
 * status 1 by itself. The starter then disconnects; that is no reason for the daemon to end.
 */
export const DaemonMessage = z.union([
  strict({ ready: z.literal(true), notice: z.string().optional() }),
  strict({ error: z.string() }),
]);
export type DaemonMessage = z.infer<typeof DaemonMessage>;
