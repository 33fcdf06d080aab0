/* SPDX-License-Identifier: MIT */
/* A new directory for each script, and its removal. Directories are named from the start of the program's. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX];

int round_prepare(const char *directory)
{
	if (realpath(directory, root) == NULL || chdir(root) != 0)
		return -errno;
	/* The users of a script have no other groups. Others than root may not, and need not, change them. */
	if (geteuid() == 0 && setgroups(0, NULL) != 0)
		return -errno;
	return 0;
}

static void forget(void)
{
	views_reset();
	handles_reset();
}

/* NAME: makes the directory and goes there */
static long long do_begin(struct call *call)
{
	forget();
	if (chdir(root) != 0 || mkdir(call->word[1], 0755) != 0)
		return -1;
	return chdir(call->word[1]);
}

/* Lets go of the mount. */
static long long do_leave(struct call *call)
{
	(void)call;
	forget();
	return chdir("/");
}

/* NAME: goes there again, on a new mount */
static long long do_enter(struct call *call)
{
	return chdir(root) == 0 ? chdir(call->word[1]) : -1;
}

/* Immutable and append-only inodes cannot be removed. */
static void unfix(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int flags = 0;

	if (fd >= 0) {
		(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
		close(fd);
	}
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	(void)stat;
	(void)type;
	(void)where;
	if (remove(path) == 0)
		return 0;
	unfix(path);
	return remove(path);
}

static int unfix_directory(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	(void)stat;
	(void)where;
	if (type == FTW_D || type == FTW_DNR)
		unfix(path);
	return 0;
}

/* NAME: removes the directory with all it holds */
static long long do_end(struct call *call)
{
	forget();
	if (chdir(root) != 0)
		return -1;
	if (nftw(call->word[1], remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0)
		return 0;
	(void)nftw(call->word[1], unfix_directory, 16, FTW_PHYS);
	return nftw(call->word[1], remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const struct operation round_operations[] = {
	{ "begin", 1, "", do_begin }, { "leave", 0, "", do_leave }, { "enter", 1, "", do_enter },
	{ "end", 1, "", do_end },     { NULL, 0, NULL, NULL },
};
