/* SPDX-License-Identifier: MIT */
/*
 * A filesystem without space. How much fits is each filesystem's own, so the answers tell kinds of outcome only: the
 * errno that ended it, and whether what write(2) has acknowledged is there.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 64
#define CHUNK (1u << 20)
/* What is left to writes after the rest was preallocated: the more, the longer it takes. */
#define LEFT (12ll << 20)
#define WAITS_MAX 1000
#define REFUSALS 3

/* Bytes of each file that were acknowledged; the first file is preallocated and has none. */
static long long lengths[FILES_MAX];
static int files;
static long long available_before;

static long long available(void)
{
	struct statvfs space;

	return statvfs(".", &space) == 0 ? (long long)space.f_bavail * (long long)space.f_frsize : -1;
}

static int open_nth(const char *prefix, int n, int flags)
{
	char name[512];

	snprintf(name, sizeof(name), "%s%d", prefix, n);
	return open(name, flags | O_CLOEXEC, 0644);
}

/*
 * Until not even a block fits, several times: what was set aside for the writes before, and what was freed a moment
 * ago, comes back when all is written out.
 */
static int fill_file(int fd, long long seed, long long *length)
{
	uint8_t *bytes = buffer_of(CHUNK);
	size_t size = CHUNK;

	for (int refused = 0; refused < REFUSALS;) {
		ssize_t done;

		if (*length >= 4ll * CHUNK)
			return 0;
		pattern_fill(bytes, (uint64_t)*length, size, (uint64_t)seed);
		done = pwrite(fd, bytes, size, *length);
		if (done > 0)
			*length += done;
		else if (errno != ENOSPC)
			return -1;
		if (done == (ssize_t)size) {
			refused = 0;
			continue;
		}
		if (fsync(fd) != 0 || syncfs(fd) != 0)
			return -1;
		if (done <= 0 && size == BLOCK)
			refused++;
		else if (done <= 0)
			size /= 2;
	}
	errno = ENOSPC;
	return -1;
}

/* PREFIX SEED: fills the filesystem with files; the errno that ended it */
static long long do_fill(struct call *call)
{
	long long seed = number(call->word[2]);
	int result = 0;
	int fd = open_nth(call->word[1], 0, O_CREAT | O_EXCL | O_RDWR);

	available_before = available();
	if (fd < 0)
		return -1;
	if (available_before > LEFT && fallocate(fd, 0, 0, available_before - LEFT) != 0)
		result = -1;
	close(fd);
	lengths[0] = 0;
	for (files = 1; result == 0 && files < FILES_MAX; files++) {
		fd = open_nth(call->word[1], files, O_CREAT | O_EXCL | O_RDWR);
		if (fd < 0)
			return -1;
		lengths[files] = 0;
		result = fill_file(fd, seed, &lengths[files]);
		file_close("", fd);
	}
	return result;
}

static bool is_kept(int fd, long long length, long long seed)
{
	uint8_t *bytes = buffer_of(2 * CHUNK);

	for (long long at = 0; at < length; at += CHUNK) {
		size_t size = length - at < CHUNK ? (size_t)(length - at) : CHUNK;

		pattern_fill(bytes + CHUNK, (uint64_t)at, size, (uint64_t)seed);
		if (pread(fd, bytes, size, at) != (ssize_t)size || memcmp(bytes, bytes + CHUNK, size) != 0)
			return false;
	}
	return true;
}

/* PREFIX SEED: how many of the files do not hold what was acknowledged, read from the filesystem itself */
static long long do_kept(struct call *call)
{
	long long seed = number(call->word[2]), lost = 0;

	for (int n = 0; n < files; n++) {
		int fd = open_nth(call->word[1], n, O_RDONLY);

		if (fd < 0 || fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0 ||
		    !is_kept(fd, lengths[n], seed))
			lost++;
		file_close("", fd);
	}
	return lost;
}

/* PREFIX: removes the files; 1 when the space has come back, which XFS does a little later */
static long long do_drain(struct call *call)
{
	const struct timespec pause = { .tv_nsec = 30000000 };

	for (int n = 0; n < files; n++) {
		char name[512];

		snprintf(name, sizeof(name), "%s%d", call->word[1], n);
		if (unlink(name) != 0)
			return -1;
	}
	files = 0;
	for (int waits = 0; waits < WAITS_MAX; waits++) {
		if (available() > available_before / 10 * 9)
			return 1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

const struct operation full_operations[] = {
	{ "fill", 2, "", do_fill }, { "kept", 2, "", do_kept }, { "drain", 1, "", do_drain }, { NULL, 0, NULL, NULL },
};
