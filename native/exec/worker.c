/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
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

static _Noreturn void work(int fd, unsigned long request, const void *record, size_t size, int to)
{
	struct answer answer = { .error = 0 };

	memcpy(answer.record, record, size);
	answer.error = call(fd, request, answer.record);
	_exit(write(to, &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1);
}

/* Until the worker has answered (true) or the target has died. */
static bool await(const struct target *target, int from, struct answer *answer)
{
	struct pollfd fds[2] = {
		{ .fd = from, .events = POLLIN },
		{ .fd = target->pidfd, .events = POLLIN },
	};

	while (poll(fds, 2, -1) < 0)
		continue;
	return fds[0].revents != 0 && read(from, answer, sizeof(*answer)) == sizeof(*answer);
}

int target_ioctl(const struct target *target, int fd, unsigned long request, void *record, size_t size, uint64_t bytes)
{
	struct answer answer = { .error = -EINTR };
	int pair[2];
	pid_t worker;

	if (bytes <= SHORT_BYTES || size > ANSWER_BYTES_MAX || pipe(pair) != 0)
		return call(fd, request, record);
	worker = fork();
	if (worker == 0)
		work(fd, request, record, size, pair[1]);
	close(pair[1]);
	if (worker < 0) {
		close(pair[0]);
		return call(fd, request, record);
	}
	if (await(target, pair[0], &answer))
		memcpy(record, answer.record, size);
	else
		kill(worker, SIGKILL);
	close(pair[0]);
	while (waitpid(worker, NULL, 0) < 0 && errno == EINTR)
		continue;
	return answer.error;
}
