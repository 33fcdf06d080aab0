/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../rmapfs.h"

/* f_type of every FUSE filesystem. */
#define FUSE_MAGIC 0x65735546
/* The daemon counts in doubles. */
#define OFFSET_MAX (1ULL << 53)

/*
 * What is known without a question to the filesystem, by a path: closing a copy of the descriptor would write the file
 * back.
 */
static int stat_cached(const struct target *target, int number, struct stat *stat)
{
	struct statx statx_of;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)target->tid, number);
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MODE | STATX_UID | STATX_GID, &statx_of) != 0)
		return -EBADF;
	*stat = (struct stat){
		.st_dev = makedev(statx_of.stx_dev_major, statx_of.stx_dev_minor),
		.st_mode = statx_of.stx_mode,
		.st_uid = statx_of.stx_uid,
		.st_gid = statx_of.stx_gid,
	};
	return 0;
}

int file_open(const struct target *target, int number, struct file *file)
{
	struct descriptor descriptor;

	if (descriptor_look(target->tid, number, &descriptor) != 0 || (descriptor.flags & O_PATH) != 0)
		return -EBADF;
	*file = (struct file){ .fd = -1, .flags = descriptor.flags };
	if (descriptor.mount != target->mount) {
		/* The same filesystem may be mounted a second time, where no list shows it. */
		if (stat_cached(target, number, &file->stat) != 0)
			return -EBADF;
		file->is_foreign = descriptor.mount == NOT_FUSE || file->stat.st_dev != target->device;
		if (file->is_foreign)
			return 0;
	}
	file->fd = target_fd(target, number);
	if (file->fd < 0)
		return file->fd;
	if (fstat(file->fd, &file->stat) == 0)
		return 0;
	file_close(file);
	return -EBADF;
}

void file_close(struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

bool file_readable(const struct file *file)
{
	int mode = file->flags & O_ACCMODE;

	return mode == O_RDONLY || mode == O_RDWR;
}

bool file_writable(const struct file *file)
{
	int mode = file->flags & O_ACCMODE;

	return mode == O_WRONLY || mode == O_RDWR;
}

/*
 * Device numbers of unmounted filesystems are used again, so nothing is remembered. The list of bad blocks is
 * what anybody may ask of any file or directory; behind the end of the region it is empty.
 */
bool file_on_rmapfs(const struct file *file)
{
	struct rmapfs_badblocks probe = { .cursor = OFFSET_MAX - 1, .count = 1 };
	struct statfs fs;

	if (!S_ISREG(file->stat.st_mode) && !S_ISDIR(file->stat.st_mode))
		return false;
	if (fstatfs(file->fd, &fs) != 0 || fs.f_type != FUSE_MAGIC)
		return false;
	return ioctl(file->fd, RMAPFS_IOC_BADBLOCKS, &probe) == 0 && probe.count == 0 && probe.last == 1;
}

/*
 * close(2) of any descriptor writes a FUSE file's pages back, waits for the daemon's answers and says whether they
 * failed (fuse_flush in fs/fuse/file.c). sync_file_range(2) does not wait for the answers before Linux 6.16.
 */
int file_write_back(const struct file *file)
{
	int copy = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return -errno;
	return close(copy) != 0 ? -errno : 0;
}

uint64_t file_blocks(const struct file *file, uint64_t length)
{
	uint64_t bytes = (uint64_t)file->stat.st_blocks * 512;

	return bytes < length ? bytes : length;
}

void file_refresh(const struct file *file)
{
	struct stat stat;

	/* The daemon has answered; that the kernel could not ask it again is no failure of what was done. */
	(void)fstat(file->fd, &stat);
}

uint64_t clamp_offset(uint64_t offset)
{
	return offset < OFFSET_MAX / 2 ? offset : OFFSET_MAX / 2 + offset % 4096;
}
