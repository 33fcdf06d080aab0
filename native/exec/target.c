/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Linux 6.9: a descriptor of one thread, which may have a descriptor table of its own. */
#define PIDFD_OF_THREAD O_EXCL
/* Some thousand groups have room in it. */
#define STATUS_BYTES_MAX (32 << 10)

/* The number after `key` in the text of /proc/PID/status; `skip` numbers before it are passed over. */
static int status_number(const char *text, const char *key, int skip, unsigned *out)
{
	const char *at = strstr(text, key);
	char *end;

	if (at == NULL)
		return -ESRCH;
	at += strlen(key);
	for (;; skip--) {
		unsigned long value = strtoul(at, &end, 10);

		if (end == at)
			return -ESRCH;
		if (skip == 0) {
			*out = (unsigned)value;
			return 0;
		}
		at = end;
	}
}

static int read_status(pid_t tid, char *text, size_t size)
{
	char path[64];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, text, size - 1);
	close(fd);
	if (length < 0)
		return -EIO;
	text[length] = '\0';
	return 0;
}

int target_groups(const struct target *target, gid_t *groups, size_t max)
{
	char text[STATUS_BYTES_MAX];
	const char *at;
	char *end;
	size_t count = 0;
	int error = read_status(target->tid, text, sizeof(text));

	if (error != 0)
		return error;
	at = strstr(text, "\nGroups:");
	if (at == NULL || !target_valid(target))
		return -ESRCH;
	/* A number that is followed by nothing may be cut; one that is left out is a right that is not used. */
	for (at += strlen("\nGroups:"); count < max; at = end) {
		while (*at == ' ' || *at == '\t')
			at++;
		groups[count] = (gid_t)strtoul(at, &end, 10);
		if (*at == '\n' || end == at || *end == '\0')
			break;
		count++;
	}
	return (int)count;
}

int target_open(struct target *target, const struct call *call)
{
	pid_t tid = (pid_t)call->request.pid;
	char text[STATUS_BYTES_MAX];
	unsigned tgid, uid, gid;
	int error = read_status(tid, text, sizeof(text));

	if (error == 0)
		error = status_number(text, "\nTgid:", 0, &tgid);
	if (error == 0)
		error = status_number(text, "\nUid:", 3, &uid);
	if (error == 0)
		error = status_number(text, "\nGid:", 3, &gid);
	if (error != 0)
		return error;
	*target = (struct target){
		.listener = call->listener,
		.id = call->request.id,
		.mount = call->mount,
		.tid = tid,
		.tgid = (pid_t)tgid,
	};
	target->fsuid = uid;
	target->fsgid = gid;
	target->pidfd = (int)syscall(SYS_pidfd_open, tid, PIDFD_OF_THREAD);
	if (target->pidfd < 0)
		target->pidfd = (int)syscall(SYS_pidfd_open, target->tgid, 0);
	if (target->pidfd < 0)
		return -errno;
	/* The thread waits still, so the ids and the pidfd are its own and not those of a later one. */
	if (!target_valid(target)) {
		target_close(target);
		return -ESRCH;
	}
	return 0;
}

void target_close(struct target *target)
{
	close(target->pidfd);
	target->pidfd = -1;
}

bool target_valid(const struct target *target)
{
	uint64_t id = target->id;

	return ioctl(target->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

int target_fd(const struct target *target, int number)
{
	int fd = (int)syscall(SYS_pidfd_getfd, target->pidfd, number, 0);

	return fd < 0 ? -errno : fd;
}

int target_read(const struct target *target, uint64_t address, void *into, size_t length)
{
	struct iovec local = { .iov_base = into, .iov_len = length };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)address, .iov_len = length };

	if (process_vm_readv(target->tid, &local, 1, &remote, 1, 0) != (ssize_t)length)
		return -EFAULT;
	return target_valid(target) ? 0 : -ESRCH;
}

int target_write(const struct target *target, uint64_t address, const void *from, size_t length)
{
	struct iovec local = { .iov_base = (void *)(uintptr_t)from, .iov_len = length };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)address, .iov_len = length };

	if (!target_valid(target))
		return -ESRCH;
	return process_vm_writev(target->tid, &local, 1, &remote, 1, 0) == (ssize_t)length ? 0 : -EFAULT;
}
