/* SPDX-License-Identifier: MIT */
/*
 * rmapfs-exec: runs a command whose FICLONE, FICLONERANGE, FIDEDUPERANGE, FIEMAP, GETFSMAP and fallocate
 * calls on a rmapfs mount are answered, although the kernel asks no FUSE filesystem for them. docs/EXEC.md.
 *
 * Three processes: the front (what the user started: waits, passes signals and the status on), its child the
 * supervisor (answers the calls), and the supervisor's child, which becomes the command.
 */
#ifndef RMAPFS_EXEC_H
#define RMAPFS_EXEC_H

#include <limits.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Exit statuses of our own failures: those of env(1) and of a shell. */
#define STATUS_FAILED 125
#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND 127

/* What a call is answered with beside 0 and negative errnos: the kernel shall go on with it. */
#define LET_PASS INT_MIN

/* Messages of the supervisor to the front. */
struct report {
	/* The last one: nobody is left to serve, so the supervisor ends at once. */
	enum { REPORT_COMMAND, REPORT_STATUS, REPORT_LAST_STATUS } kind;
	int value; /* the command's pid, or its status as wait(2) has it */
};

/*
 * filter.c: puts the filter on this process. Returns the listener's descriptor (close-on-exec), or a negative
 * errno: -EBUSY where a listener of somebody else is there already.
 */
int install_filter(void);

/*
 * supervise.c: starts the command, with the signal mask, and serves it and its descendants until they are
 * gone. Tells `front` what happens to the command (struct report).
 */
_Noreturn void supervise(char **command, const sigset_t *mask, int front);

/* A call as it was received. */
struct call {
	struct call *next;
	int listener;
	uint64_t mount; /* as in struct descriptor: of the descriptor that the call is made on */
	struct seccomp_notif request;
	/* The last member, for the kernel may read more of it than this program was built with. */
	struct seccomp_notif_resp answer;
};

/* serve.c. What a call takes in memory where the kernel's answer has `answer_bytes`. */
size_t call_bytes(size_t answer_bytes);
/* Whether the caller still waits. */
bool call_valid(const struct call *call);
/* Asks the mount. Returns 0, a negative errno or LET_PASS. */
int call_serve(const struct call *call);
void call_answer(struct call *call, int result);

/*
 * pool.c: has the call served and freed by a thread for its mount. Returns false where memory or threads have run out
 * and none will serve it.
 */
bool pool_serve(struct call *call);
/* Whether no call is being served. */
bool pool_is_idle(void);

/* A mount that may be no rmapfs mount is never asked. */
#define NOT_FUSE 0

/* What procfs tells of a descriptor. */
struct descriptor {
	int flags; /* of open(2) */
	uint64_t mount; /* a number for each FUSE filesystem, or NOT_FUSE */
};

/* A line of proc_pid_mountinfo(5). */
struct mountinfo {
	int id;
	dev_t device;
	char *type;
	char *source;
};

/* mount.c. Returns 0 or a negative errno, and never waits for a mount. */
int descriptor_look(pid_t tid, int number, struct descriptor *descriptor);
/* Changes the line, which the strings point into. */
bool mountinfo_parse(char *line, struct mountinfo *out);

/* A thread that waits in one of the calls. */
struct target {
	int listener;
	uint64_t id;
	uint64_t mount; /* that its call is for, as in struct descriptor */
	dev_t device; /* of that mount */
	pid_t tid;
	pid_t tgid;
	uid_t fsuid;
	gid_t fsgid;
	int pidfd;
};

/* target.c. All return 0 (or a descriptor) or a negative errno. */
int target_open(struct target *target, const struct call *call);
/* Fills in the supplementary groups, `max` at most, and returns their count. */
int target_groups(const struct target *target, gid_t *groups, size_t max);
void target_close(struct target *target);
/* Whether the thread still waits: what was read from it before is its own. */
bool target_valid(const struct target *target);
/* A copy of the descriptor `number` of the target. */
int target_fd(const struct target *target, int number);
int target_read(const struct target *target, uint64_t address, void *into, size_t length);
int target_write(const struct target *target, uint64_t address, const void *from, size_t length);

/* An array in the target's memory that is filled from its start, with records of one size. */
struct array {
	const struct target *target;
	uint64_t address; /* of the next record that is written */
	uint32_t held; /* bytes in the batch */
	void *last; /* the last record, which is in the batch; NULL before the first */
	_Alignas(8) unsigned char batch[4096];
};

/* array.c. Both return 0 or a negative errno. The last record is kept back until the array is flushed. */
int array_add(struct array *array, const void *record, uint32_t size);
int array_flush(struct array *array);

/*
 * worker.c: ioctl(2) of `record` (`size` bytes), which changes up to `bytes` of blocks. Where these are many, another
 * process makes it, which is killed when the target is: the daemon ends what a killed process has asked for, and only
 * that. Returns 0 or a negative errno.
 */
int target_ioctl(const struct target *target, int fd, unsigned long request, void *record, size_t size,
		 uint64_t bytes);

/* A descriptor of the target, and what it is. */
struct file {
	int fd; /* a copy; -1 where it is foreign */
	int flags; /* of open(2) */
	bool is_foreign; /* not of the call's filesystem: it may hang, so it is not asked; mode, owner and device are known */
	struct stat stat;
};

/* file.c. Of the target's descriptors, but those of O_PATH: EBADF, as from the kernel. */
int file_open(const struct target *target, int number, struct file *file);
void file_close(struct file *file);
bool file_readable(const struct file *file);
bool file_writable(const struct file *file);
/* Whether it is a regular file or a directory of a rmapfs mount. Asks the mount. */
bool file_on_rmapfs(const struct file *file);
/*
 * Has the kernel's dirty pages of the file written to the daemon, as the kernel does before it shares blocks or lists
 * extents. Nothing is committed. Returns 0 or a negative errno.
 */
int file_write_back(const struct file *file);
/* What `length` bytes of the file have as blocks, at most. */
uint64_t file_blocks(const struct file *file, uint64_t length);
/* Makes the kernel ask for the attributes again: it does not know what the daemon changed. */
void file_refresh(const struct file *file);
/*
 * The daemon takes offsets and lengths below 2^53. A larger one keeps its place within the block and becomes
 * one that is beyond any file, so that the daemon finds the same error in the same order.
 */
uint64_t clamp_offset(uint64_t offset);

/*
 * region.c: the block device that a filesystem's region is, as XFS has it in its records and keys. Where the region is
 * a file, or is not to be seen from here, `device` itself.
 */
dev_t region_device(dev_t device);

/* The calls. `argument`: the record's address in the target. They answer 0, a negative errno or LET_PASS. */
int serve_clone(const struct target *target, const struct file *to, int source);
int serve_clone_range(const struct target *target, const struct file *to, uint64_t argument);
int serve_dedupe(const struct target *target, const struct file *from, uint64_t argument);
int serve_fiemap(const struct target *target, const struct file *file, uint64_t argument);
int serve_fsmap(const struct target *target, const struct file *file, uint64_t argument);
int serve_fallocate(const struct target *target, const struct file *file, uint32_t mode, int64_t offset,
		    int64_t length);

#endif
