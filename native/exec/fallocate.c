/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <linux/falloc.h>
#include <sys/ioctl.h>

#include "../rmapfs.h"

/* What vfs_fallocate() refuses before it asks a filesystem is left to the kernel. */
int serve_fallocate(const struct file *file, uint32_t mode, int64_t offset, int64_t length)
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
	request.offset = clamp_offset((uint64_t)offset);
	request.length = clamp_offset((uint64_t)length);
	error = ioctl(file->fd, RMAPFS_IOC_FALLOCATE, &request) != 0 ? -errno : 0;
	file_refresh(file);
	return error;
}
