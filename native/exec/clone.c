/* SPDX-License-Identifier: MIT */
/* FICLONE, FICLONERANGE, FIDEDUPERANGE: the checks have the order of fs/ioctl.c and fs/remap_range.c. */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../rmapfs.h"

#define BLOCK 4096
/* What one FIDEDUPERANGE does at most, as in the kernel. */
#define DEDUPE_BYTES_MAX (1ULL << 30)

/* A range of `from` that shall become one of `to`. */
struct ranges {
	const struct file *from;
	const struct file *to;
	uint64_t src_offset;
	uint64_t dst_offset;
	uint64_t length;
};

static bool is_negative(uint64_t value)
{
	return (value >> 63) != 0;
}

/* remap_verify_area() */
static int check_area(uint64_t offset, uint64_t length)
{
	return is_negative(offset) || is_negative(length) || is_negative(offset + length) ? -EINVAL : 0;
}

static bool is_immutable(const struct file *file)
{
	int flags = 0;

	return ioctl(file->fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_IMMUTABLE_FL) != 0;
}

/*
 * generic_write_check_limits(): cuts the length of a range at RLIMIT_FSIZE of the caller, which the daemon does not
 * know. A file that must not be changed at all comes first.
 */
static int limit_length(const struct target *target, const struct file *to, uint64_t offset, uint64_t *length)
{
	struct rlimit limit;

	if (prlimit(target->tgid, RLIMIT_FSIZE, NULL, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return 0;
	if (offset < limit.rlim_cur && *length <= limit.rlim_cur - offset)
		return 0;
	if (is_immutable(to))
		return -EPERM;
	if (offset < limit.rlim_cur) {
		*length = limit.rlim_cur - offset;
		return 0;
	}
	(void)syscall(SYS_tgkill, target->tgid, target->tid, SIGXFSZ);
	return -EFBIG;
}

/* A clone may not be cut. Ranges that are wrong in themselves are left to the daemon. */
static int check_limit(const struct target *target, const struct ranges *ranges)
{
	uint64_t size = (uint64_t)ranges->from->stat.st_size;
	uint64_t length, allowed;
	int error;

	if (ranges->src_offset >= size || ranges->src_offset % BLOCK != 0 || ranges->dst_offset % BLOCK != 0)
		return 0;
	length = ranges->length == 0 ? size - ranges->src_offset : ranges->length;
	if (length > size - ranges->src_offset)
		return 0;
	allowed = length;
	error = limit_length(target, ranges->to, ranges->dst_offset, &allowed);
	if (error != 0)
		return error;
	return allowed < length ? -EINVAL : 0;
}

/* Dirty pages of both reach the daemon before it shares blocks; and the right to share those of `from`. */
static int prepare(const struct file *from, const struct file *to, struct rmapfs_clone_token *token)
{
	int error = file_write_back(from);

	if (error == 0)
		error = file_write_back(to);
	if (error != 0)
		return error;
	return ioctl(from->fd, RMAPFS_IOC_CLONE_TOKEN, token) != 0 ? -errno : 0;
}

/* do_clone_file_range() */
static int clone(const struct target *target, const struct ranges *ranges)
{
	const struct file *from = ranges->from, *to = ranges->to;
	struct rmapfs_clone_token token;
	struct rmapfs_clone request;
	int error;

	if (from->is_foreign)
		return -EXDEV;
	if (S_ISDIR(from->stat.st_mode) || S_ISDIR(to->stat.st_mode))
		return -EISDIR;
	if (!S_ISREG(from->stat.st_mode) || !S_ISREG(to->stat.st_mode))
		return -EINVAL;
	if (!file_readable(from) || !file_writable(to) || (to->flags & O_APPEND) != 0)
		return -EBADF;
	error = check_area(ranges->src_offset, ranges->length);
	if (error == 0)
		error = check_area(ranges->dst_offset, ranges->length);
	if (error == 0)
		error = check_limit(target, ranges);
	if (error == 0)
		error = prepare(from, to, &token);
	if (error != 0)
		return error;
	request = (struct rmapfs_clone){
		.src_offset = clamp_offset(ranges->src_offset),
		.dst_offset = clamp_offset(ranges->dst_offset),
		.length = clamp_offset(ranges->length),
	};
	memcpy(request.token, token.token, sizeof(request.token));
	error = target_ioctl(target, to->fd, RMAPFS_IOC_CLONE, &request, sizeof(request),
			     file_blocks(from, ranges->length == 0 ? UINT64_MAX : ranges->length));
	file_refresh(to);
	return error;
}

static int clone_from(const struct target *target, const struct file *to, int source, struct ranges *ranges)
{
	struct file from;
	int error = file_open(target, source, &from);

	if (error != 0)
		return error;
	ranges->from = &from;
	ranges->to = to;
	error = clone(target, ranges);
	file_close(&from);
	return error;
}

int serve_clone(const struct target *target, const struct file *to, int source)
{
	struct ranges whole = { .length = 0 };

	return clone_from(target, to, source, &whole);
}

int serve_clone_range(const struct target *target, const struct file *to, uint64_t argument)
{
	struct file_clone_range range;
	struct ranges ranges;
	int error = target_read(target, argument, &range, sizeof(range));

	if (error != 0)
		return error;
	ranges = (struct ranges){
		.src_offset = range.src_offset,
		.dst_offset = range.dest_offset,
		.length = range.src_length,
	};
	return clone_from(target, to, (int)range.src_fd, &ranges);
}

static bool is_read_only(const struct file *file)
{
	struct statvfs fs;

	return fstatvfs(file->fd, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0;
}

static bool may_dedupe(const struct target *target, const struct file *to)
{
	return file_writable(to) || target->fsuid == 0 || to->stat.st_uid == target->fsuid;
}

/*
 * may_dedupe_file(): root, a descriptor open for writing, the owner, or who may write to the file. Answers
 * the descriptor to do it by: the file's own, or one that is open for writing; or -EPERM.
 */
static int dedupe_descriptor(const struct target *target, const struct file *to)
{
	char path[64];
	int fd;

	if (may_dedupe(target, to))
		return to->fd;
	if (!S_ISREG(to->stat.st_mode))
		return -EPERM;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to->fd);
	/* To append: an append-only file may be written to as well, for this right. */
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	return fd < 0 ? -EPERM : fd;
}

/* A dedupe is cut, and answered as if it had not been. As check_limit(). */
static int limit_dedupe(const struct target *target, const struct ranges *ranges, uint64_t *length)
{
	uint64_t size = (uint64_t)ranges->to->stat.st_size;

	if (ranges->src_offset % BLOCK != 0 || ranges->dst_offset % BLOCK != 0 || *length == 0)
		return 0;
	if (ranges->dst_offset >= size || *length > size - ranges->dst_offset)
		return 0;
	return limit_length(target, ranges->to, ranges->dst_offset, length);
}

/* The rest of vfs_dedupe_file_range_one(), through `fd`. */
static int dedupe_by(const struct target *target, int fd, const struct ranges *ranges)
{
	const struct file *to = ranges->to;
	struct rmapfs_clone_token token;
	uint64_t length = ranges->length;
	int error;
	struct rmapfs_dedupe request = {
		.src_offset = ranges->src_offset,
		.dst_offset = clamp_offset(ranges->dst_offset),
	};

	if (S_ISDIR(to->stat.st_mode))
		return -EISDIR;
	if (!S_ISREG(to->stat.st_mode))
		return -EINVAL;
	error = limit_dedupe(target, ranges, &length);
	if (error != 0)
		return error;
	error = prepare(ranges->from, to, &token);
	if (error != 0)
		return error;
	request.length = length;
	memcpy(request.token, token.token, sizeof(request.token));
	error = target_ioctl(target, fd, RMAPFS_IOC_DEDUPE, &request, sizeof(request),
			     file_blocks(ranges->from, length));
	return error != 0 ? error : request.status;
}

/* vfs_dedupe_file_range_one(). Returns the status: 0, FILE_DEDUPE_RANGE_DIFFERS or a negative errno. */
static int dedupe_one(const struct target *target, const struct ranges *ranges)
{
	const struct file *to = ranges->to;
	int status = check_area(ranges->dst_offset, ranges->length);
	int fd;

	if (status != 0)
		return status;
	/* Whether the caller may write to it is not asked there: others may, or nobody. */
	if (to->is_foreign)
		return may_dedupe(target, to) || (to->stat.st_mode & S_IWOTH) != 0 ? -EXDEV : -EPERM;
	/* A descriptor that is open for writing is on no mount that is read-only. */
	if (!file_writable(to) && is_read_only(to))
		return -EROFS;
	fd = dedupe_descriptor(target, to);
	if (fd < 0)
		return fd;
	status = dedupe_by(target, fd, ranges);
	if (fd != to->fd)
		close(fd);
	return status;
}

static void dedupe_into(const struct target *target, struct ranges *ranges, struct file_dedupe_range_info *info)
{
	struct file to;
	int error = file_open(target, (int)info->dest_fd, &to);

	if (error != 0) {
		info->status = error;
		return;
	}
	ranges->to = &to;
	ranges->dst_offset = info->dest_offset;
	info->status = info->reserved != 0 ? -EINVAL : dedupe_one(target, ranges);
	if (info->status == FILE_DEDUPE_RANGE_SAME)
		info->bytes_deduped = ranges->length;
	file_close(&to);
}

/* vfs_dedupe_file_range() up to its loop. */
static int check_dedupe(const struct file *from, const struct file_dedupe_range *request)
{
	int error;

	if (!file_readable(from))
		return -EINVAL;
	if (request->reserved1 != 0 || request->reserved2 != 0)
		return -EINVAL;
	if (S_ISDIR(from->stat.st_mode))
		return -EISDIR;
	if (!S_ISREG(from->stat.st_mode))
		return -EINVAL;
	error = check_area(request->src_offset, request->src_length);
	if (error != 0)
		return error;
	if (request->src_offset + request->src_length > (uint64_t)from->stat.st_size)
		return -EINVAL;
	return 0;
}

int serve_dedupe(const struct target *target, const struct file *from, uint64_t argument)
{
	/* The kernel takes a page at most (ENOMEM). */
	union {
		struct file_dedupe_range request;
		char bytes[BLOCK];
	} u;
	struct ranges ranges = { .from = from };
	size_t size;
	int error = target_read(target, argument, &u, sizeof(u.request));

	if (error != 0)
		return error;
	size = sizeof(u.request) + u.request.dest_count * sizeof(u.request.info[0]);
	if (size > sizeof(u))
		return -ENOMEM;
	error = target_read(target, argument, &u, size);
	if (error != 0)
		return error;
	/* The target may have changed it between the two. */
	if (sizeof(u.request) + u.request.dest_count * sizeof(u.request.info[0]) != size)
		return -EINVAL;
	error = check_dedupe(from, &u.request);
	if (error != 0)
		return error;
	ranges.src_offset = u.request.src_offset;
	ranges.length = u.request.src_length < DEDUPE_BYTES_MAX ? u.request.src_length : DEDUPE_BYTES_MAX;
	for (unsigned i = 0; i < u.request.dest_count; i++) {
		u.request.info[i].bytes_deduped = 0;
		u.request.info[i].status = FILE_DEDUPE_RANGE_SAME;
	}
	for (unsigned i = 0; i < u.request.dest_count && target_valid(target); i++)
		dedupe_into(target, &ranges, &u.request.info[i]);
	return target_write(target, argument, &u, size);
}
