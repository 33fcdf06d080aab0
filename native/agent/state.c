/* SPDX-License-Identifier: MIT */
/* Which inodes a line touches, and what it changed of them. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Two names, each with its directory. */
#define TOUCHED_MAX 4

struct touched {
	char name[512];
	bool exists;
	struct stat stat;
};

static struct touched before[TOUCHED_MAX];
static int touched_count;

static void examine(struct touched *touched)
{
	int fd = handle_of(touched->name);

	if (fd == -2)
		touched->exists = fstatat(AT_FDCWD, touched->name, &touched->stat, AT_SYMLINK_NOFOLLOW) == 0;
	else
		touched->exists = fd >= 0 && fstat(fd, &touched->stat) == 0;
}

static void touch(const char *name)
{
	struct touched *touched;

	/* Another filesystem's file, or one that is there already. */
	if (*name == '/' || strlen(name) >= sizeof(touched->name) || touched_count == TOUCHED_MAX)
		return;
	for (int i = 0; i < touched_count; i++)
		if (strcmp(before[i].name, name) == 0)
			return;
	touched = &before[touched_count++];
	strcpy(touched->name, name);
	examine(touched);
}

static void touch_parent(const char *name)
{
	char parent[512];
	const char *slash = strrchr(name, '/');
	size_t length = slash == NULL ? 1 : (size_t)(slash - name);

	if (*name == '@' || *name == '/' || length >= sizeof(parent))
		return;
	memcpy(parent, slash == NULL ? "." : name, length);
	parent[length] = '\0';
	touch(parent);
}

void state_before(const struct call *call, const char *touches)
{
	touched_count = 0;
	for (int i = 0; touches[i] != '\0'; i++) {
		const char *name = call->word[i + 1];

		if (touches[i] == '.' || name == NULL)
			continue;
		touch(name);
		if (touches[i] == 'n')
			touch_parent(name);
	}
}

/* The same inode as it was before, under whatever name. */
static const struct touched *same_inode(const struct stat *stat)
{
	for (int i = 0; i < touched_count; i++)
		if (before[i].exists && before[i].stat.st_ino == stat->st_ino && before[i].stat.st_dev == stat->st_dev)
			return &before[i];
	return NULL;
}

static bool moved(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec;
}

static const char *times_of(const struct stat *now)
{
	const struct touched *was = same_inode(now);
	bool mtime, ctime;

	if (was == NULL)
		return "new";
	mtime = moved(&was->stat.st_mtim, &now->st_mtim);
	ctime = moved(&was->stat.st_ctim, &now->st_ctim);
	if (mtime)
		return ctime ? "mc" : "m";
	return ctime ? "c" : "-";
}

void state_after(const struct call *call)
{
	for (int i = 0; i < touched_count; i++) {
		struct touched now = before[i];

		examine(&now);
		if (!now.exists) {
			fprintf(call->more, " [%s none]", now.name);
			continue;
		}
		fprintf(call->more, " [%s %o %lu", now.name, now.stat.st_mode, (unsigned long)now.stat.st_nlink);
		/* The size of a directory is each filesystem's own. */
		fprintf(call->more, " %u %u %lld %s]", now.stat.st_uid, now.stat.st_gid,
			S_ISDIR(now.stat.st_mode) ? 0ll : (long long)now.stat.st_size, times_of(&now.stat));
	}
}
