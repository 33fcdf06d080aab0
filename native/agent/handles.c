/* SPDX-License-Identifier: MIT */
/* Descriptors that stay open from one line to the next, and who the caller is. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int handles[HANDLES] = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 };

static int *slot(const char *name)
{
	long long index = number(name + (*name == '@'));

	if (index < 0 || index >= HANDLES)
		usage(name);
	return &handles[index];
}

int handle_of(const char *name)
{
	if (*name != '@')
		return -2;
	errno = EBADF;
	return *slot(name);
}

int file_open(const char *name, int flags)
{
	return *name == '@' ? handle_of(name) : open(name, flags | O_CLOEXEC | O_NONBLOCK);
}

void file_close(const char *name, int fd)
{
	int error = errno;

	if (*name != '@' && fd >= 0)
		close(fd);
	errno = error;
}

static void put(const char *name, int fd)
{
	int *handle = slot(name);

	if (*handle >= 0)
		close(*handle);
	*handle = fd;
}

static int flags_of(const char *letters)
{
	static const struct {
		char letter;
		int flag;
	} known[] = {
		{ 'r', O_RDONLY }, { 'w', O_WRONLY }, { 'u', O_RDWR },	  { 'c', O_CREAT },    { 'x', O_EXCL },
		{ 't', O_TRUNC },  { 'a', O_APPEND }, { 'd', O_DIRECT },  { 'p', O_PATH },     { 'D', O_DIRECTORY },
		{ 's', O_SYNC },   { 'T', O_TMPFILE }, { 'f', O_NOFOLLOW },
	};
	int flags = O_CLOEXEC | O_NONBLOCK;

	for (; *letters != '\0'; letters++) {
		size_t i = 0;

		while (i < sizeof(known) / sizeof(known[0]) && known[i].letter != *letters)
			i++;
		if (i == sizeof(known) / sizeof(known[0]))
			usage(letters);
		flags |= known[i].flag;
	}
	return flags;
}

/* HANDLE PATH FLAGS [MODE]. A handle is always a new one, so that its number is no part of the answer. */
static long long do_open(struct call *call)
{
	mode_t mode = call->word[4] != NULL ? (mode_t)mode_of(call->word[4]) : 0644;
	int fd = open(call->word[2], flags_of(call->word[3]), mode);

	if (fd >= 0)
		put(call->word[1], fd);
	return fd < 0 ? -1 : 0;
}

/* HANDLE */
static long long do_close(struct call *call)
{
	int *handle = slot(call->word[1]);
	int result;

	if (*handle < 0) {
		errno = EBADF;
		return -1;
	}
	result = close(*handle);
	*handle = -1;
	return result;
}

/* HANDLE r|w: one end of a pipe; the other is closed when this one is opened again */
static long long do_pipe(struct call *call)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	put(call->word[1], ends[*call->word[2] == 'w']);
	close(ends[*call->word[2] != 'w']);
	return 0;
}

/* HANDLE SIZE: a file of another filesystem */
static long long do_memfd(struct call *call)
{
	int fd = memfd_create("other", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, number(call->word[2])) != 0)
		return -1;
	put(call->word[1], fd);
	return 0;
}

static int become(uid_t id)
{
	if (seteuid(0) != 0 || setegid(id) != 0)
		return -1;
	return seteuid(id);
}

/* UID: this user and group, without capabilities unless it is 0 */
static long long do_user(struct call *call)
{
	return become((uid_t)number(call->word[1]));
}

static int limit_to(rlim_t bytes)
{
	const struct rlimit limit = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };

	return setrlimit(RLIMIT_FSIZE, &limit);
}

/* BYTES|none: RLIMIT_FSIZE */
static long long do_limit(struct call *call)
{
	bool none = strcmp(call->word[1], "none") == 0;

	return limit_to(none ? RLIM_INFINITY : (rlim_t)number(call->word[1]));
}

/* MODE */
static long long do_umask(struct call *call)
{
	return (long long)umask((mode_t)mode_of(call->word[1]));
}

/* Until the kernel's coarse clock, which atime has, has moved on. */
static long long do_pause(struct call *call)
{
	const struct timespec time = { .tv_nsec = 30000000 };

	(void)call;
	return nanosleep(&time, NULL);
}

void handles_reset(void)
{
	for (int i = 0; i < HANDLES; i++) {
		if (handles[i] >= 0)
			close(handles[i]);
		handles[i] = -1;
	}
	(void)become(0);
	(void)limit_to(RLIM_INFINITY);
	umask(022);
}

const struct operation handle_operations[] = {
	{ "open", 3, ".n", do_open },	{ "close", 1, "", do_close }, { "pipe", 2, "", do_pipe },
	{ "memfd", 2, "", do_memfd },	{ "user", 1, "", do_user },   { "limit", 1, "", do_limit },
	{ "umask", 1, "", do_umask },	{ "pause", 0, "", do_pause }, { NULL, 0, NULL, NULL },
};
