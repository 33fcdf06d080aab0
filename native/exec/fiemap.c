/* SPDX-License-Identifier: MIT */
/* FS_IOC_FIEMAP: ioctl_fiemap() and fiemap_prep() of fs/ioctl.c, iomap_fiemap() of fs/iomap/fiemap.c. */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../rmapfs.h"

#define BLOCK 4096ULL
/* s_maxbytes of a FUSE filesystem. */
#define FILE_BYTES_MAX ((uint64_t)INT64_MAX)
/* Extended attributes lie in a tree of the filesystem: there is no attribute fork to map (EBADR, as from btrfs). */
#define FLAGS_KNOWN FIEMAP_FLAG_SYNC
#define COUNT_MAX (UINT32_MAX / sizeof(struct fiemap_extent))
struct answer {
	struct array extents;
	uint32_t room;
	uint32_t mapped;
};

/* fiemap_fill_next_extent(). Returns 1 when there is room for no more. */
static int emit(struct answer *answer, const struct rmapfs_extent *extent, bool last)
{
	struct fiemap_extent out;
	int error;

	if (answer->room == 0) {
		answer->mapped++;
		return 0;
	}
	if (answer->mapped >= answer->room)
		return 1;
	out = (struct fiemap_extent){
		.fe_logical = extent->file_offset,
		.fe_physical = extent->physical,
		.fe_length = extent->length,
		.fe_flags = ((extent->flags & RMAPFS_EXTENT_SHARED) != 0 ? FIEMAP_EXTENT_SHARED : 0) |
			    ((extent->flags & RMAPFS_EXTENT_UNWRITTEN) != 0 ? FIEMAP_EXTENT_UNWRITTEN : 0) |
			    (last ? FIEMAP_EXTENT_LAST : 0),
	};
	error = array_add(&answer->extents, &out, sizeof(out));
	if (error != 0)
		return error;
	answer->mapped++;
	return answer->mapped == answer->room ? 1 : 0;
}

/* Cuts an extent to whole blocks of [start, end). Returns whether anything is left. */
static bool clip(struct rmapfs_extent *extent, uint64_t start, uint64_t end)
{
	uint64_t from = start / BLOCK * BLOCK;
	uint64_t to = end > FILE_BYTES_MAX - BLOCK ? end : (end + BLOCK - 1) / BLOCK * BLOCK;

	if (extent->file_offset >= to || extent->file_offset + extent->length <= from)
		return false;
	if (extent->file_offset < from) {
		uint64_t cut = from - extent->file_offset;

		extent->file_offset += cut;
		extent->physical += cut;
		extent->length -= cut;
	}
	if (extent->file_offset + extent->length > to)
		extent->length = to - extent->file_offset;
	return true;
}

/* The mount splits extents where a block is bad, which FIEMAP does not tell. */
static bool continues(const struct rmapfs_extent *a, const struct rmapfs_extent *b)
{
	const uint32_t told = RMAPFS_EXTENT_SHARED | RMAPFS_EXTENT_UNWRITTEN;

	return a->file_offset + a->length == b->file_offset && a->physical + a->length == b->physical &&
	       (a->flags & told) == (b->flags & told);
}

/* One extent is kept back, because the last one of the range carries a flag. */
static int walk(const struct file *file, uint64_t start, uint64_t end, struct answer *answer)
{
	struct rmapfs_extents page = { .cursor = clamp_offset(start) };
	struct rmapfs_extent kept = { .length = 0 };
	int stop = 0;

	do {
		if (ioctl(file->fd, RMAPFS_IOC_EXTENTS, &page) != 0)
			return -errno;
		if (page.count > RMAPFS_EXTENTS_MAX || (page.count == 0 && !page.last))
			return -EIO;
		for (uint32_t i = 0; i < page.count && stop == 0; i++) {
			struct rmapfs_extent extent = page.records[i];

			page.cursor = extent.file_offset + extent.length;
			if (extent.file_offset >= end)
				page.last = 1;
			if (!clip(&extent, start, end))
				continue;
			if (kept.length > 0 && continues(&kept, &extent)) {
				kept.length += extent.length;
				continue;
			}
			if (kept.length > 0)
				stop = emit(answer, &kept, false);
			kept = extent;
		}
	} while (!page.last && stop == 0);
	if (stop == 0 && kept.length > 0)
		stop = emit(answer, &kept, true);
	return stop < 0 ? stop : array_flush(&answer->extents);
}

int serve_fiemap(const struct target *target, const struct file *file, uint64_t argument)
{
	struct answer answer = { .extents = { .target = target, .address = argument + sizeof(struct fiemap) } };
	struct fiemap request;
	uint32_t unknown;
	int error, written;

	/* Directories have no extents of their own. */
	if (!S_ISREG(file->stat.st_mode))
		return LET_PASS;
	error = target_read(target, argument, &request, sizeof(request));
	if (error != 0)
		return error;
	if (request.fm_extent_count > COUNT_MAX || request.fm_length == 0)
		return -EINVAL;
	if (request.fm_start > FILE_BYTES_MAX)
		return -EFBIG;
	if (request.fm_length > FILE_BYTES_MAX - request.fm_start)
		request.fm_length = FILE_BYTES_MAX - request.fm_start;
	answer.room = request.fm_extent_count;
	unknown = request.fm_flags & ~(uint32_t)FLAGS_KNOWN;
	if (unknown != 0) {
		request.fm_flags = unknown;
		error = -EBADR;
	} else if ((request.fm_flags & FIEMAP_FLAG_SYNC) != 0) {
		error = file_write_back(file);
	}
	if (error == 0)
		error = walk(file, request.fm_start, request.fm_start + request.fm_length, &answer);
	request.fm_mapped_extents = answer.mapped;
	written = target_write(target, argument, &request, sizeof(request));
	return written != 0 ? written : error;
}
