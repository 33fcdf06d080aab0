/* SPDX-License-Identifier: MIT */
/* Which mount a descriptor is on, found without a question to the mount: it may never answer. */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What is read of an fdinfo: the fields come first that every descriptor has. */
#define FDINFO_BYTES 256
/* Set in the number of a mount that no list shows: what comes with it is the id of the mount. */
#define UNLISTED (1ULL << 63)

/* Space, tab, newline and backslash are three octal digits in mountinfo. */
static void decode(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; to++) {
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

bool mountinfo_parse(char *line, struct mountinfo *out)
{
	unsigned major_number, minor_number;
	char *rest = strstr(line, " - "), *save;

	if (rest == NULL || sscanf(line, "%d %*d %u:%u", &out->id, &major_number, &minor_number) != 3)
		return false;
	out->device = makedev(major_number, minor_number);
	out->type = strtok_r(rest + 3, " ", &save);
	out->source = strtok_r(NULL, " ", &save);
	if (out->type == NULL || out->source == NULL)
		return false;
	decode(out->source);
	return true;
}

/* Returns whether the list has the mount; *number is then as in struct descriptor. */
static bool look_up(const char *list, int id, uint64_t *number)
{
	FILE *mounts = fopen(list, "re");
	struct mountinfo mount;
	char *line = NULL;
	bool found = false;
	size_t size = 0;

	while (mounts != NULL && !found && getline(&line, &size, mounts) > 0)
		if (mountinfo_parse(line, &mount) && mount.id == id) {
			found = true;
			*number = strncmp(mount.type, "fuse", 4) == 0 ? mount.device : NOT_FUSE;
		}
	free(line);
	if (mounts != NULL)
		fclose(mounts);
	return found;
}

static int read_fdinfo(pid_t tid, int descriptor, char *text)
{
	char path[64];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)tid, descriptor);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, text, FDINFO_BYTES - 1);
	close(fd);
	if (length < 0)
		return -EBADF;
	text[length] = '\0';
	return 0;
}

int descriptor_look(pid_t tid, int number, struct descriptor *descriptor)
{
	char text[FDINFO_BYTES], path[64];
	const char *flags, *mount;
	unsigned bits;
	int id;
	int error = read_fdinfo(tid, number, text);

	if (error != 0)
		return error;
	flags = strstr(text, "\nflags:");
	mount = strstr(text, "\nmnt_id:");
	if (flags == NULL || mount == NULL || sscanf(flags, "\nflags: %o", &bits) != 1 ||
	    sscanf(mount, "\nmnt_id: %d", &id) != 1)
		return -EBADF;
	descriptor->flags = (int)bits;
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)tid);
	/* One that was unmounted lazily, or lies outside of the caller's root, is in neither. */
	if (!look_up(path, id, &descriptor->mount) && !look_up("/proc/self/mountinfo", id, &descriptor->mount))
		descriptor->mount = UNLISTED | (unsigned)id;
	return 0;
}
