/* SPDX-License-Identifier: MIT */
/* Operations on names and attributes. */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* PATH MODE */
static long long do_create(struct call *call)
{
	int fd = open(call->word[1], O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, (mode_t)mode_of(call->word[2]));

	file_close(call->word[1], fd);
	return fd < 0 ? -1 : 0;
}

/* PATH MODE */
static long long do_mkdir(struct call *call)
{
	return mkdir(call->word[1], (mode_t)mode_of(call->word[2]));
}

/* PATH MODE (with the type) MAJOR MINOR */
static long long do_mknod(struct call *call)
{
	dev_t device = makedev((unsigned)number(call->word[3]), (unsigned)number(call->word[4]));

	return mknod(call->word[1], (mode_t)mode_of(call->word[2]), device);
}

/* OLD NEW; OLD may be a handle (AT_EMPTY_PATH) */
static long long do_link(struct call *call)
{
	int fd = handle_of(call->word[1]);

	if (fd == -2)
		return link(call->word[1], call->word[2]);
	return linkat(fd, "", AT_FDCWD, call->word[2], AT_EMPTY_PATH);
}

/* PATH TARGET */
static long long do_symlink(struct call *call)
{
	return symlink(call->word[2], call->word[1]);
}

/* PATH */
static long long do_readlink(struct call *call)
{
	char target[4096];
	ssize_t length = readlink(call->word[1], target, sizeof(target));

	if (length >= 0)
		fprintf(call->more, " hash=%llx", (unsigned long long)hash_text(target, (size_t)length));
	return length;
}

/* OLD NEW [n no replace, x exchange, w whiteout] */
static long long do_rename(struct call *call)
{
	const char *letters = call->word[3] != NULL ? call->word[3] : "";
	unsigned flags = (strchr(letters, 'n') != NULL ? RENAME_NOREPLACE : 0) |
			 (strchr(letters, 'x') != NULL ? RENAME_EXCHANGE : 0) |
			 (strchr(letters, 'w') != NULL ? RENAME_WHITEOUT : 0);

	return renameat2(AT_FDCWD, call->word[1], AT_FDCWD, call->word[2], flags);
}

static long long do_unlink(struct call *call)
{
	return unlink(call->word[1]);
}

static long long do_rmdir(struct call *call)
{
	return rmdir(call->word[1]);
}

/* PATH MODE */
static long long do_chmod(struct call *call)
{
	int fd = handle_of(call->word[1]);
	mode_t mode = (mode_t)mode_of(call->word[2]);

	return fd == -2 ? chmod(call->word[1], mode) : fchmod(fd, mode);
}

/* PATH UID GID, -1 leaves it; a symbolic link itself */
static long long do_chown(struct call *call)
{
	int fd = handle_of(call->word[1]);
	uid_t uid = (uid_t)number(call->word[2]);
	gid_t gid = (gid_t)number(call->word[3]);

	return fd == -2 ? lchown(call->word[1], uid, gid) : fchown(fd, uid, gid);
}

/* SECONDS[.NANOSECONDS], now, or omit */
static struct timespec time_of(const char *text)
{
	struct timespec time = { .tv_sec = 0 };
	char *end;

	if (strcmp(text, "now") == 0) {
		time.tv_nsec = UTIME_NOW;
	} else if (strcmp(text, "omit") == 0) {
		time.tv_nsec = UTIME_OMIT;
	} else {
		time.tv_sec = strtoll(text, &end, 10);
		if (*end == '.')
			time.tv_nsec = strtol(end + 1, &end, 10);
		if (*end != '\0')
			usage(text);
	}
	return time;
}

static void print_time(FILE *out, const char *name, const char *asked, struct timespec time)
{
	if (*asked != 'n' && *asked != 'o')
		fprintf(out, " %s=%lld.%09ld", name, (long long)time.tv_sec, time.tv_nsec);
}

/* PATH ATIME MTIME; answers what it finds afterwards where a time was given */
static long long do_utimes(struct call *call)
{
	const struct timespec times[2] = { time_of(call->word[2]), time_of(call->word[3]) };
	int result = utimensat(AT_FDCWD, call->word[1], times, AT_SYMLINK_NOFOLLOW);
	int error = errno;
	struct stat stat;

	if (result == 0 && fstatat(AT_FDCWD, call->word[1], &stat, AT_SYMLINK_NOFOLLOW) == 0) {
		print_time(call->more, "atime", call->word[2], stat.st_atim);
		print_time(call->more, "mtime", call->word[3], stat.st_mtim);
	}
	errno = error;
	return result;
}

/* PATH: answers the names, sorted, each with its type */
static long long do_list(struct call *call)
{
	struct dirent **names = NULL;
	int count = scandir(call->word[1], &names, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		fprintf(call->more, "%c%s:%d", i == 0 ? ' ' : ',', names[i]->d_name, names[i]->d_type);
		free(names[i]);
	}
	free(names);
	return count;
}

/* DIRECTORY NAME LENGTH SEED: a file without a name is written, then linked as NAME, which is a path */
static long long do_tmpfile(struct call *call)
{
	size_t length = (size_t)number(call->word[3]);
	uint8_t *bytes = buffer_of(length);
	int fd = open(call->word[1], O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	long long result = -1;

	pattern_fill(bytes, 0, length, (uint64_t)number(call->word[4]));
	if (fd >= 0 && pwrite(fd, bytes, length, 0) == (ssize_t)length)
		result = linkat(fd, "", AT_FDCWD, call->word[2], AT_EMPTY_PATH);
	file_close("", fd);
	return result;
}

/* PATH rwx */
static long long do_access(struct call *call)
{
	int mode = (strchr(call->word[2], 'r') != NULL ? R_OK : 0) | (strchr(call->word[2], 'w') != NULL ? W_OK : 0) |
		   (strchr(call->word[2], 'x') != NULL ? X_OK : 0);

	return faccessat(AT_FDCWD, call->word[1], mode, AT_EACCESS);
}

const struct operation name_operations[] = {
	{ "create", 2, "n", do_create },     { "mkdir", 2, "n", do_mkdir },   { "mknod", 4, "n", do_mknod },
	{ "link", 2, "nn", do_link },	     { "symlink", 2, "n", do_symlink }, { "readlink", 1, "f", do_readlink },
	{ "rename", 2, "nn", do_rename },    { "unlink", 1, "n", do_unlink }, { "rmdir", 1, "n", do_rmdir },
	{ "chmod", 2, "f", do_chmod },	     { "chown", 3, "f", do_chown },   { "utimes", 3, "f", do_utimes },
	{ "list", 1, "f", do_list },	     { "tmpfile", 4, "fn", do_tmpfile }, { "access", 2, "f", do_access },
	{ NULL, 0, NULL, NULL },
};
