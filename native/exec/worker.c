/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is made within some hundredths of a second, however it is shared: one block an extent. */
#define SHORT_BYTES (16 << 20)

#define ANSWER_BYTES_MAX 256

struct answer {
	int error;
	unsigned char record[ANSWER_BYTES_MAX];
};

static int call(int fd, unsigned long request, void *record)
{
	return ioctl(fd, request, record) != 0 ? -errno : 0;
}

/*
 * fork(2) with the descriptors shared: a worker with copies of its own would write the files of all mounts back when it
 * ends, and wait for those that hang. No signal tells of its end: only who started it buries it.
 */
static pid_t fork_sharing(int *pidfd)
{
	return (pid_t)syscall(SYS_clone, (unsigned long)(CLONE_FILES | CLONE_PIDFD), 0UL, pidfd, 0UL, 0UL);
}

/* Until the worker or the target has ended, the worker at the latest when it is killed for that. */
static void await(const struct target *target, pid_t worker, int pidfd)
{
	struct pollfd fds[2] = {
		{ .fd = pidfd, .events = POLLIN },
		{ .fd = target->pidfd, .events = POLLIN },
	};

	while (poll(fds, 2, -1) < 0)
		continue;
	if (fds[0].revents == 0)
		kill(worker, SIGKILL);
	while (waitpid(worker, NULL, __WCLONE) < 0 && errno == EINTR)
		continue;
	close(pidfd);
}

/* Memory that a worker shares, or NULL. */
static struct answer *make_answer(const void *record, size_t size)
{
	struct answer *answer;

	if (size > ANSWER_BYTES_MAX)
		return NULL;
	answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (answer == MAP_FAILED)
		return NULL;
	answer->error = -EINTR;
	memcpy(answer->record, record, size);
	return answer;
}

int target_ioctl(const struct target *target, int fd, unsigned long request, void *record, size_t size, uint64_t bytes)
{
	struct answer *answer = bytes > SHORT_BYTES ? make_answer(record, size) : NULL;
	pid_t worker = -1;
	int error, pidfd;

	if (answer != NULL)
		worker = fork_sharing(&pidfd);
	if (worker == 0) {
		answer->error = call(fd, request, answer->record);
		_exit(0);
	}
	if (worker > 0) {
		await(target, worker, pidfd);
		memcpy(record, answer->record, size);
		error = answer->error;
	} else {
		error = call(fd, request, record);
	}
	if (answer != NULL)
		munmap(answer, sizeof(*answer));
	return error;
}
