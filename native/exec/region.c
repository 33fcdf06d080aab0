/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

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

/* The source in a line of proc_pid_mountinfo(5) that is about `device`; NULL in other lines. */
static char *source_in(char *line, dev_t device)
{
	unsigned major_number, minor_number;
	char *rest, *source;

	if (sscanf(line, "%*u %*u %u:%u", &major_number, &minor_number) != 2 ||
	    makedev(major_number, minor_number) != device)
		return NULL;
	rest = strstr(line, " - ");
	if (rest == NULL || strtok(rest + 3, " ") == NULL)
		return NULL;
	source = strtok(NULL, " ");
	if (source != NULL)
		decode(source);
	return source;
}

dev_t region_device(dev_t device)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	dev_t found = device;
	char *line = NULL;
	size_t size = 0;

	while (mounts != NULL && found == device && getline(&line, &size, mounts) > 0) {
		const char *source = source_in(line, device);
		struct stat stat_of;

		if (source != NULL && stat(source, &stat_of) == 0 && S_ISBLK(stat_of.st_mode))
			found = stat_of.st_rdev;
	}
	free(line);
	if (mounts != NULL)
		fclose(mounts);
	return found;
}
