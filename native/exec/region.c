/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <stdio.h>
#include <stdlib.h>

dev_t region_device(dev_t device)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	struct mountinfo mount;
	dev_t found = device;
	char *line = NULL;
	size_t size = 0;

	while (mounts != NULL && found == device && getline(&line, &size, mounts) > 0) {
		struct stat stat_of;

		if (mountinfo_parse(line, &mount) && mount.device == device && stat(mount.source, &stat_of) == 0 &&
		    S_ISBLK(stat_of.st_mode))
			found = stat_of.st_rdev;
	}
	free(line);
	if (mounts != NULL)
		fclose(mounts);
	return found;
}
