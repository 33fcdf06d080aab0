/* SPDX-License-Identifier: MIT */
/* Operations on the contents of one file. FILE is a path, or "@N" for a handle. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static long long write_with(struct call *call, int flags)
{
	off_t offset = number(call->word[2]);
	size_t length = (size_t)number(call->word[3]);
	uint8_t *bytes = buffer_of(length);
	int fd = file_open(call->word[1], O_WRONLY | flags);
	long long result = -1;

	pattern_fill(bytes, (uint64_t)offset, length, (uint64_t)number(call->word[4]));
	if (fd >= 0)
		result = pwrite(fd, bytes, length, offset);
	file_close(call->word[1], fd);
	return result;
}

/* FILE OFFSET LENGTH SEED */
static long long do_write(struct call *call)
{
	return write_with(call, 0);
}

/* The same with O_DIRECT. */
static long long do_direct_write(struct call *call)
{
	return write_with(call, O_DIRECT);
}

/* The same with O_APPEND: OFFSET says only which bytes of the pattern. */
static long long do_append(struct call *call)
{
	return write_with(call, O_APPEND);
}

/* The same with O_SYNC. */
static long long do_sync_write(struct call *call)
{
	return write_with(call, O_SYNC);
}

static long long read_with(struct call *call, int flags)
{
	off_t offset = number(call->word[2]);
	size_t length = (size_t)number(call->word[3]);
	uint8_t *bytes = buffer_of(length);
	int fd = file_open(call->word[1], O_RDONLY | flags);
	long long result = -1;

	if (fd >= 0)
		result = pread(fd, bytes, length, offset);
	if (result >= 0)
		fprintf(call->more, " hash=%llx", (unsigned long long)hash_text(bytes, (size_t)result));
	file_close(call->word[1], fd);
	return result;
}

/* FILE OFFSET LENGTH */
static long long do_read(struct call *call)
{
	return read_with(call, 0);
}

static long long do_direct_read(struct call *call)
{
	return read_with(call, O_DIRECT);
}

/* FILE OFFSET LENGTH SEED: stores through a shared mapping, beyond the end of the file: SIGBUS, told as EFAULT */
static long long do_map_store(struct call *call)
{
	off_t offset = number(call->word[2]);
	size_t length = (size_t)number(call->word[3]), skip = (size_t)(offset % BLOCK);
	int fd = file_open(call->word[1], O_RDWR);
	volatile long long result = -1;
	uint8_t *volatile map;

	if (fd < 0)
		return -1;
	length = within_file(fd, (uint64_t)offset, length);
	if (length == 0) {
		file_close(call->word[1], fd);
		return 0;
	}
	map = mmap(NULL, length + skip, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset - (off_t)skip);
	if (map != MAP_FAILED) {
		bus_expected = 1;
		if (sigsetjmp(bus_return, 1) == 0) {
			pattern_fill(map + skip, (uint64_t)offset, length, (uint64_t)number(call->word[4]));
			result = 0;
		}
		bus_expected = 0;
		munmap(map, length + skip);
		errno = EFAULT;
	}
	file_close(call->word[1], fd);
	return result;
}

/* FILE SIZE */
static long long do_truncate(struct call *call)
{
	int fd = handle_of(call->word[1]);
	off_t size = number(call->word[2]);

	return fd == -2 ? truncate(call->word[1], size) : ftruncate(fd, size);
}

static long long allocate(struct call *call, int mode, int at)
{
	int fd = file_open(call->word[1], O_RDWR);
	long long result = -1;

	if (fd >= 0)
		result = fallocate(fd, mode, number(call->word[at]), number(call->word[at + 1]));
	file_close(call->word[1], fd);
	return result;
}

/* FILE OFFSET LENGTH, each of them */
static long long do_allocate(struct call *call)
{
	return allocate(call, 0, 2);
}
static long long do_keep(struct call *call)
{
	return allocate(call, FALLOC_FL_KEEP_SIZE, 2);
}
static long long do_punch(struct call *call)
{
	return allocate(call, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2);
}
static long long do_zero(struct call *call)
{
	return allocate(call, FALLOC_FL_ZERO_RANGE, 2);
}
static long long do_zero_keep(struct call *call)
{
	return allocate(call, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 2);
}
static long long do_collapse(struct call *call)
{
	return allocate(call, FALLOC_FL_COLLAPSE_RANGE, 2);
}
static long long do_insert(struct call *call)
{
	return allocate(call, FALLOC_FL_INSERT_RANGE, 2);
}
static long long do_unshare(struct call *call)
{
	return allocate(call, FALLOC_FL_UNSHARE_RANGE, 2);
}
/* FILE MODE OFFSET LENGTH: any mode, as a number */
static long long do_fallocate(struct call *call)
{
	return allocate(call, (int)number(call->word[2]), 3);
}

static long long sync_with(struct call *call, int (*sync)(int), bool drop)
{
	int fd = file_open(call->word[1], O_RDONLY);
	long long result = fd < 0 ? -1 : sync(fd);

	if (result == 0 && drop)
		result = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	file_close(call->word[1], fd);
	return result;
}

/* FILE */
static long long do_fsync(struct call *call)
{
	return sync_with(call, fsync, false);
}
static long long do_fdatasync(struct call *call)
{
	return sync_with(call, fdatasync, false);
}
/* FILE: writes back and forgets its cached pages */
static long long do_drop(struct call *call)
{
	return sync_with(call, fsync, true);
}

/* FILE data|hole OFFSET, after write-back and without clean pages, which XFS may show as data */
static long long do_seek(struct call *call)
{
	int whence = strcmp(call->word[2], "data") == 0 ? SEEK_DATA : SEEK_HOLE;
	int fd = file_open(call->word[1], O_RDONLY);
	long long result = -1;

	if (fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0)
		result = lseek(fd, number(call->word[3]), whence);
	file_close(call->word[1], fd);
	return result;
}

/* FILE LETTERS: i immutable, a append-only, - none (chattr(1)) */
static long long do_flags(struct call *call)
{
	int fd = file_open(call->word[1], O_RDONLY);
	int flags = (strchr(call->word[2], 'i') != NULL ? FS_IMMUTABLE_FL : 0) |
		    (strchr(call->word[2], 'a') != NULL ? FS_APPEND_FL : 0);
	long long result = fd < 0 ? -1 : ioctl(fd, FS_IOC_SETFLAGS, &flags);

	file_close(call->word[1], fd);
	return result;
}

const struct operation data_operations[] = {
	{ "write", 4, "f", do_write },	       { "dwrite", 4, "f", do_direct_write }, { "append", 4, "f", do_append },
	{ "swrite", 4, "f", do_sync_write },   { "read", 3, "f", do_read },	      { "dread", 3, "f", do_direct_read },
	{ "mstore", 4, "f", do_map_store },    { "truncate", 2, "f", do_truncate },   { "allocate", 3, "f", do_allocate },
	{ "keep", 3, "f", do_keep },	       { "punch", 3, "f", do_punch },	      { "zero", 3, "f", do_zero },
	{ "zerokeep", 3, "f", do_zero_keep },  { "collapse", 3, "f", do_collapse },   { "insert", 3, "f", do_insert },
	{ "unshare", 3, "f", do_unshare },     { "fallocate", 4, "f", do_fallocate }, { "fsync", 1, "f", do_fsync },
	{ "fdatasync", 1, "f", do_fdatasync }, { "drop", 1, "f", do_drop },	      { "seek", 3, "f", do_seek },
	{ "flags", 2, "f", do_flags },	       { NULL, 0, NULL, NULL },
};
