/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../rmapfs.h"

#define BLOCK 4096

/* The size that the file would get, or 0 where it does not grow or the daemon will refuse the call. */
static uint64_t grown_size(const struct file *file, uint32_t mode, uint64_t offset, uint64_t length)
{
	uint64_t size = (uint64_t)file->stat.st_size;

	if (mode == FALLOC_FL_INSERT_RANGE)
		return offset % BLOCK == 0 && length % BLOCK == 0 && offset < size ? size + length : 0;
	return mode == FALLOC_FL_UNSHARE_RANGE && offset + length > size ? offset + length : 0;
}

/* inode_newsize_ok(): RLIMIT_FSIZE of the caller, which the daemon does not know. */
static int check_limit(const struct target *target, uint64_t size)
{
	struct rlimit limit;

	if (size == 0 || prlimit(target->tgid, RLIMIT_FSIZE, NULL, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	    size <= limit.rlim_cur)
		return 0;
	(void)syscall(SYS_tgkill, target->tgid, target->tid, SIGXFSZ);
	return -EFBIG;
}

/* What vfs_fallocate() refuses before it asks a filesystem is left to the kernel. */
int serve_fallocate(const struct target *target, const struct file *file, uint32_t mode, int64_t offset,
		    int64_t length)
{
	struct rmapfs_fallocate request = { .mode = mode };
	int error;

	switch (mode) {
	case FALLOC_FL_COLLAPSE_RANGE:
	case FALLOC_FL_INSERT_RANGE:
	case FALLOC_FL_UNSHARE_RANGE:
	case FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE:
		break;
	default:
		return LET_PASS;
	}
	if (offset < 0 || length <= 0 || !file_writable(file) || offset > INT64_MAX - length)
		return LET_PASS;
	error = check_limit(target, grown_size(file, mode, (uint64_t)offset, (uint64_t)length));
	if (error != 0)
		return error;
	request.offset = clamp_offset((uint64_t)offset);
	request.length = clamp_offset((uint64_t)length);
	error = target_ioctl(target, file->fd, RMAPFS_IOC_FALLOCATE, &request, sizeof(request),
			     mode == FALLOC_FL_COLLAPSE_RANGE || mode == FALLOC_FL_INSERT_RANGE
				     ? file_blocks(file, UINT64_MAX)
				     : (uint64_t)length);
	file_refresh(file);
	return error;
}
