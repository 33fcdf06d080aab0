/* SPDX-License-Identifier: MIT */
/* What a file holds and where, without anything that is each filesystem's own. */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PIECE (256u << 10)
/* Larger files are read where SEEK_DATA says that there is something. */
#define WHOLE_MAX (16ll << 20)
#define EXTENTS_MAX 512

static int hash_range(int fd, off_t from, off_t to, uint64_t *hash)
{
	uint8_t *bytes = buffer_of(PIECE);

	while (from < to) {
		size_t wanted = to - from < (off_t)PIECE ? (size_t)(to - from) : PIECE;
		ssize_t got = pread(fd, bytes, (wanted + BLOCK - 1) / BLOCK * BLOCK, from);

		if (got <= 0)
			return got < 0 ? -1 : 0;
		if ((size_t)got > wanted)
			got = (ssize_t)wanted;
		*hash = hash_add(*hash, (uint64_t)from, bytes, (size_t)got);
		from += got;
	}
	return 0;
}

static int hash_data(int fd, off_t size, uint64_t *hash)
{
	off_t at = 0;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && at < size) {
		off_t end = lseek(fd, at, SEEK_HOLE);

		if (end <= at || hash_range(fd, at / BLOCK * BLOCK, end, hash) != 0)
			return -1;
		at = end;
	}
	return at >= 0 || errno == ENXIO ? 0 : -1;
}

static int hash_mapping(int fd, off_t size, uint64_t *hash)
{
	void *map = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
	volatile int result = -1;

	if (size == 0)
		return 0;
	if (map == MAP_FAILED)
		return -1;
	bus_expected = 1;
	if (sigsetjmp(bus_return, 1) == 0) {
		*hash = hash_add(0, 0, map, (size_t)size);
		result = 0;
	} else {
		errno = EFAULT;
	}
	bus_expected = 0;
	munmap(map, (size_t)size);
	return result;
}

long long look_hash(int fd, const char *how, uint64_t *hash)
{
	struct stat stat;
	int result;

	*hash = 0;
	if (fstat(fd, &stat) != 0)
		return -1;
	if (!S_ISREG(stat.st_mode)) {
		errno = EISDIR;
		return -1;
	}
	if (stat.st_size > WHOLE_MAX)
		result = hash_data(fd, stat.st_size, hash);
	else if (strcmp(how, "map") == 0)
		result = hash_mapping(fd, stat.st_size, hash);
	else
		result = hash_range(fd, 0, stat.st_size, hash);
	return result == 0 ? (long long)stat.st_size : -1;
}

size_t within_file(int fd, uint64_t offset, size_t length)
{
	struct stat stat;
	uint64_t size, whole;

	if (fstat(fd, &stat) != 0)
		return length;
	size = (uint64_t)stat.st_size;
	whole = (size + BLOCK - 1) / BLOCK * BLOCK;
	/* What reaches the next block is left as it is: it ends with SIGBUS there, and must begin where it does. */
	if (offset >= whole || offset + length <= size)
		return length;
	return offset < size ? (size_t)(size - offset) : 0;
}

/* FILE [read|direct|map] */
static long long do_look(struct call *call)
{
	const char *how = call->word[2] != NULL ? call->word[2] : "read";
	int fd = file_open(call->word[1], O_RDONLY | (strcmp(how, "direct") == 0 ? O_DIRECT : 0));
	uint64_t hash = 0;
	long long size = fd < 0 ? -1 : look_hash(fd, how, &hash);

	if (size >= 0)
		fprintf(call->more, " hash=%llx", (unsigned long long)hash);
	file_close(call->word[1], fd);
	return size;
}

/* Data as SEEK_DATA and SEEK_HOLE tell it: " data=0-4096,8192-12288". */
static void print_segments(FILE *out, int fd)
{
	off_t at = 0;

	fprintf(out, " data=");
	for (const char *gap = ""; (at = lseek(fd, at, SEEK_DATA)) >= 0; gap = ",") {
		off_t end = lseek(fd, at, SEEK_HOLE);

		fprintf(out, "%s%lld-%lld", gap, (long long)at, (long long)end);
		if (end <= at)
			break;
		at = end;
	}
}

struct run {
	uint64_t start;
	uint64_t end;
	uint32_t flags;
};

static void print_run(FILE *out, const struct run *run, uint64_t size)
{
	uint64_t limit = (size + BLOCK - 1) / BLOCK * BLOCK;
	uint64_t end = run->end < limit ? run->end : limit;

	if (run->start < end)
		fprintf(out, " %llu-%llu%s%s", (unsigned long long)run->start, (unsigned long long)end,
			run->flags & FIEMAP_EXTENT_UNWRITTEN ? "u" : "", run->flags & FIEMAP_EXTENT_SHARED ? "s" : "");
}

/* Blocks as FIEMAP tells them, up to the end of the file; u unwritten, s shared. Returns their bytes, or -1. */
static long long print_extents(FILE *out, int fd, uint64_t size)
{
	static _Alignas(struct fiemap) char space[sizeof(struct fiemap) + EXTENTS_MAX * sizeof(struct fiemap_extent)];
	struct fiemap *const map = (void *)space;
	const uint32_t told = FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_SHARED;
	struct run run = { .end = 0 };
	long long total = 0;
	uint64_t from = 0;

	fprintf(out, " extents:");
	do {
		*map = (struct fiemap){ .fm_start = from, .fm_length = UINT64_MAX, .fm_extent_count = EXTENTS_MAX };
		if (ioctl(fd, FS_IOC_FIEMAP, map) != 0)
			return -1;
		for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *extent = &map->fm_extents[i];

			from = extent->fe_logical + extent->fe_length;
			total += (long long)extent->fe_length;
			if (run.end == extent->fe_logical && run.flags == (extent->fe_flags & told) && run.end > 0) {
				run.end = from;
				continue;
			}
			print_run(out, &run, size);
			run = (struct run){ extent->fe_logical, from, extent->fe_flags & told };
		}
	} while (map->fm_mapped_extents == EXTENTS_MAX);
	print_run(out, &run, size);
	return total;
}

/* struct xfs_fs_eofblocks and XFS_IOC_FREE_EOFBLOCKS of <xfs/xfs_fs.h>, which few machines have. */
struct garbage {
	uint32_t version;
	uint32_t flags;
	uint8_t zero[120];
};
#define COLLECT_GARBAGE _IOR('X', 58, struct garbage)
#define GARBAGE_WAIT 1

/*
 * Everything of the filesystem is written back, for a block is shared until a write to the other file is; and XFS
 * frees what it would free later (removed files, blocks set aside). rmapfs does not know the request.
 */
static int settle(int fd)
{
	const struct garbage all = { .version = 1, .flags = GARBAGE_WAIT };

	if (fsync(fd) != 0 || syncfs(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
		return -1;
	if (geteuid() == 0)
		(void)ioctl(fd, COLLECT_GARBAGE, &all);
	return 0;
}

/* FILE: data and holes, blocks, and whether st_blocks is the sum of the blocks; after write-back */
static long long do_map(struct call *call)
{
	int fd = file_open(call->word[1], O_RDONLY);
	long long total = -1;
	struct stat stat;

	if (fd >= 0 && settle(fd) == 0 && fstat(fd, &stat) == 0) {
		print_segments(call->more, fd);
		total = print_extents(call->more, fd, (uint64_t)stat.st_size);
	}
	if (total >= 0) {
		long long told = (long long)stat.st_blocks * 512;

		fprintf(call->more, " blocks=%s", told == total ? "all" : told > total ? "more" : "fewer");
	}
	file_close(call->word[1], fd);
	return total < 0 ? -1 : 0;
}

/* FILE: st_blocks after write-back */
static long long do_blocks(struct call *call)
{
	int fd = file_open(call->word[1], O_RDONLY);
	long long blocks = -1;
	struct stat stat;

	if (fd >= 0 && settle(fd) == 0 && fstat(fd, &stat) == 0)
		blocks = (long long)stat.st_blocks;
	file_close(call->word[1], fd);
	return blocks;
}

/* FILE: reads a byte that is not cached; answers whether atime moved */
static long long do_atime(struct call *call)
{
	int fd = file_open(call->word[1], O_RDONLY);
	struct statx before, after;
	long long result = -1;
	char byte;

	if (fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 &&
	    statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_ATIME, &before) == 0 && pread(fd, &byte, 1, 0) >= 0 &&
	    statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_ATIME, &after) == 0)
		result = memcmp(&before.stx_atime, &after.stx_atime, sizeof(after.stx_atime)) != 0;
	file_close(call->word[1], fd);
	return result;
}

static uint64_t hash_xattrs(const char *path)
{
	char names[4096], value[65536];
	ssize_t length = llistxattr(path, names, sizeof(names));
	uint64_t hash = 0;

	for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t size = lgetxattr(path, names + at, value, sizeof(value));

		/* A sum: the order of the list is each filesystem's own. */
		if (size >= 0)
			hash += hash_text(names + at, strlen(names + at)) ^ hash_text(value, (size_t)size);
	}
	return hash;
}

static void print_entry(FILE *out, const char *path)
{
	struct stat stat;
	uint64_t hash = 0;
	long long size = 0;

	if (lstat(path, &stat) != 0) {
		fprintf(out, " [%s %s]", path, strerrorname_np(errno));
		return;
	}
	if (S_ISREG(stat.st_mode)) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		size = fd < 0 ? -1 : look_hash(fd, "read", &hash);
		file_close("", fd);
	} else if (S_ISLNK(stat.st_mode)) {
		char target[4096];

		size = readlink(path, target, sizeof(target));
		if (size > 0)
			hash = hash_text(target, (size_t)size);
	}
	fprintf(out, " [%s %o %lu %u %u %lld %llx %llx]", path, stat.st_mode, (unsigned long)stat.st_nlink, stat.st_uid,
		stat.st_gid, size, (unsigned long long)hash, (unsigned long long)hash_xattrs(path));
}

static long long print_tree(FILE *out, const char *directory)
{
	struct dirent **names = NULL;
	int count = scandir(directory, &names, NULL, alphasort);
	long long total = 0;

	for (int i = 0; i < count; i++) {
		char path[4096];

		if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0) {
			snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
			print_entry(out, path);
			total += 1 + (names[i]->d_type == DT_DIR ? print_tree(out, path) : 0);
		}
		free(names[i]);
	}
	free(names);
	return total;
}

/* Everything below the directory of the script. */
static long long do_tree(struct call *call)
{
	return print_tree(call->more, ".");
}

const struct operation look_operations[] = {
	{ "look", 1, "f", do_look },   { "map", 1, "f", do_map }, { "blocks", 1, "f", do_blocks },
	{ "atime", 1, "f", do_atime }, { "tree", 0, "", do_tree }, { NULL, 0, NULL, NULL },
};
