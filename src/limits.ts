import { BLOCK_SIZE } from './types.js';

/** Every upper limit of the program, in one place. Units are in the names. */

/** Smallest region: two superblocks, one metadata chunk, the metadata reserve and a few files. */
export const REGION_MIN_BYTES = 1024 * 1024;
/** Block numbers are u32. */
export const REGION_MAX_BYTES = 2 ** 32 * BLOCK_SIZE;
/** The region is mapped in windows of this size; no block straddles two. */
export const WINDOW_BYTES = 2 ** 30;

export const NAME_MAX_BYTES = 255;
export const PATH_MAX_BYTES = 4096;
/** PATH_MAX without the final NUL, as the kernel's own filesystems have it. */
export const SYMLINK_MAX_BYTES = 4095;
export const XATTR_NAME_MAX_BYTES = 255;
export const XATTR_VALUE_MAX_BYTES = 65536;
export const XATTR_LIST_MAX_BYTES = 65536;
/** Entries of one ACL: the kernel moves ACLs of FUSE through one page (fs/fuse/acl.c). */
export const ACL_ENTRIES_MAX = 511;
/** Hard links to one inode, as in XFS. */
export const LINK_MAX = 2 ** 31 - 1;
export const LABEL_MAX_BYTES = 64;
/** What the superblock keeps of the reason of a shutdown: words 36 to 63. */
export const SHUTDOWN_REASON_MAX_BYTES = 112;

/** Longest run of blocks in one extent record (the high bits of the word are kept free). */
export const EXTENT_MAX_BLOCKS = 2 ** 28 - 1;
/** Most owners of one block; beyond it a clone answers EMLINK (XFS: MAXREFCOUNT). */
export const REFCOUNT_MAX = 0xffff_fffe;

/** A B+tree of 4 KiB nodes over 2^32 blocks is never higher; a higher one is damage. */
export const TREE_HEIGHT_MAX = 8;
/** Dirty metadata nodes in one transaction before it commits by itself. */
export const TRX_DIRTY_NODES_MAX = 8192;
/** Freed runs that wait for one commit before it happens by itself. */
export const TRX_PENDING_RUNS_MAX = 4096;
/** Record changes that one step of a long operation may make between two reservations. */
export const RECORDS_PER_STEP = 64;
/** Entries with one and the same hash in one directory (or one inode's xattrs). */
export const HASH_COLLISIONS_MAX = 255;

/** Largest FUSE_WRITE and FUSE_READ payload: 256 pages, the kernel's own default maximum. */
export const FUSE_MAX_PAGES = 256;
export const FUSE_MAX_WRITE_BYTES = FUSE_MAX_PAGES * BLOCK_SIZE;
/** Largest body of a reply that is built in the reply buffer: an xattr value or list, a page of entries. */
export const FUSE_REPLY_BODY_MAX_BYTES = 128 * 1024;
/** Largest page of directory entries: some 500 with attributes; a larger one only delays other requests. */
export const FUSE_READDIR_MAX_BYTES = 64 * 1024;
/**
 * Background requests (readahead, write-back, asynchronous direct I/O) that the kernel keeps with the daemon.
 * One thread serves them, so more would only lengthen the queue before foreground ones: twice what 1 MiB of
 * readahead in 128 KiB pieces needs, and above the kernel's default of 12 so that one reader cannot starve another.
 */
export const FUSE_MAX_BACKGROUND = 16;
/** iovec entries of one writev(2): UIO_MAXIOV. */
export const IOV_MAX = 1024;
/**
 * Most owners that one failure report lists, and most bytes of JSON for them: the report says how many it leaves out.
 * An owners document of REPORT with more is refused (E2BIG); OWNERS lists any number.
 */
export const REPORT_OWNERS_MAX = 262_144;
export const REPORT_OWNERS_MAX_BYTES = 64 * 1024 * 1024;
/** Extents of a file range that one POISON or UNPOISON takes; of more it is refused (E2BIG). */
export const POISON_EXTENTS_MAX = 262_144;
/** Most paths listed for one owner. */
export const OWNER_PATHS_MAX = 16;
/** FUSE refuses ioctls of 16 KiB and more (_IOC_SIZEBITS = 14). */
export const IOCTL_PAGE_BYTES = 16 * 1024 - 256;
/** Reports kept for readers that page through them; the oldest is dropped. */
export const REPORTS_KEPT_MAX = 64;
/** Bytes of all of them; the newest one is kept however long it is. */
export const REPORTS_KEPT_MAX_BYTES = 128 * 1024 * 1024;
/** Longest JSON document of the control interface that the client assembles (V8 strings end at 512 MiB). */
export const REPORT_BYTES_MAX = 256 * 1024 * 1024;
/** Files whose paths `rmapfs map` remembers. */
export const NAMES_CACHED_MAX = 65_536;
/** Failure events that the daemon keeps; the oldest goes first, and each reader is told how many it lost. */
export const EVENT_RING_MAX = 4096;
/** JSON of one event: at least one fits into a page of the EVENTS ioctl. */
export const EVENT_BYTES_MAX = 8192;
/** Owners of one failure that get an event of their own; the media-error event counts all. */
export const EVENT_OWNERS_MAX = 256;
/** Events that no reader has seen, looked at from the newest on for one that a new event continues. */
export const EVENT_MERGE_DEPTH = 8;
/** Paths of a file in an event. */
export const EVENT_PATHS_MAX = 4;
/** Longest time that one EVENTS ioctl waits. */
export const EVENT_WAIT_MAX_MS = 60_000;
/** EVENTS ioctls that may wait at a time. */
export const EVENT_READERS_MAX = 1024;
/** How long `rmapfs events --follow` waits in one ioctl: between two it notices that its reader has gone. */
export const EVENT_FOLLOW_WAIT_MS = 1000;
/** Blocks that one `rmapfs poison` by choice (--random, --every-nth, --owner) makes fail. */
export const FAULT_BLOCKS_MAX = 65_536;
/** How often `rmapfs scenario` looks whether a condition holds, and how long at most when the step does not say. */
export const SCENARIO_POLL_MS = 20;
export const SCENARIO_WAIT_MS = 60_000;
/** Pages of processes that are remembered as mapped although they were dropped for a latent error. */
export const LATENT_MAPPERS_MAX = 65_536;
/** Most bytes that one step of a scrub reads: the core serves nobody meanwhile. */
export const SCRUB_STEP_MAX_BYTES = 16 * 1024 * 1024;
/** A daemon log longer than this is put aside (.old) by the next mount. */
export const LOG_FILE_MAX_BYTES = 4 * 1024 * 1024;
/** How long `rmapfs mount` waits for the daemon to report, and `rmapfs umount` for it to end. */
export const DAEMON_WAIT_MS = 60_000;
/** How long a daemon may take to end before other mount namespaces are looked at for what keeps it, and how often. */
export const KEEPERS_LOOK_MS = 300;
/** How often is looked whether the last daemon of a region has ended. */
export const DAEMON_POLL_MS = 20;
/** Operations that wait for others to let go of pages: one more gets EAGAIN. */
export const LAYOUT_WAITING_MAX = 4096;
/** How often pages are dropped one by one that others ask for again meanwhile, before a remap is given up (EAGAIN). */
export const LAYOUT_ROUNDS_MAX = 1000;
/** Pages that are asked for while a remap begins and must be dropped one by one: with more it is given up (EAGAIN). */
export const PAGES_TOUCHED_MAX = 262_144;
/** Bytes of the requests that wait for a remap: with more it is given up (EAGAIN). */
export const PARKED_BYTES_MAX = 64 * 1024 * 1024;
/** Clone-source tokens of one open file handle. */
export const CLONE_TOKENS_PER_HANDLE_MAX = 16;

/**
 * How long delivery waits for a traced thread to stop before it falls back to a plain signal. One that is not stuck in
 * the kernel is given longer (kRunnableWaitMs in native/tracer.cc).
 */
export const PTRACE_STOP_WAIT_MS = 200;
/** Longest time that changed metadata stay uncommitted. */
export const COMMIT_INTERVAL_MS = 5000;

/** Largest /proc/PID/maps that is read: vm.max_map_count lines of a usual length. */
export const PROC_MAPS_MAX_BYTES = 64 * 1024 * 1024;
/** Pages of one process whose pagemap entries are read at a time. */
export const PAGEMAP_BATCH_PAGES = 4096;
/** Victims listed and signalled for one failure; the report says how many more there were. */
export const VICTIMS_PER_FAILURE_MAX = 16384;
/** Processes that have registered a choice by MCE_KILL; those that have ended are forgotten first. */
export const MCE_KILL_PROCESSES_MAX = 4096;
/** Longest wait for a process to return from its SIGBUS handler, before it is told of its next page. */
export const SIGBUS_HANDLER_WAIT_MS = 1000;
/** Longest wait for the first answer of a new mount. */
export const MOUNT_READY_TIMEOUT_MS = 30_000;
/** How often the core is woken until it has read its messages. */
export const CORE_WAKE_INTERVAL_MS = 1;

/** Runs that the engine remembers as unshared in the running transaction before it assumes all to be. */
export const UNSHARED_RUNS_MAX = 256;
/** Bytes that one copyRange() copies (shared ranges are not counted); longer copies are answered short. */
/** Blocks that dedupe compares between two looks at whether its caller was killed. */
export const COMPARE_BLOCKS_AT_A_TIME = 4096;
/** Milliseconds between two looks at whether the caller of a long operation was killed. */
export const INTERRUPT_CHECK_MS = 20;
export const COPY_BYTES_PER_CALL_MAX = 64 * 1024 * 1024;
/** Blocks of a file that copy-on-write keeps together, as XFS (XFS_DEFAULT_COWEXTSZ_HINT). */
export const COPY_WINDOW_BLOCKS = 32;
/** Blocks that one step of an unshare copies: 16 MiB. */
export const UNSHARE_BLOCKS_PER_STEP = 4096;

/** Problems that one part of a check lists before it stops listing. */
export const CHECK_PROBLEMS_MAX = 1000;
