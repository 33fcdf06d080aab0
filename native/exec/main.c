/* SPDX-License-Identifier: MIT */
/* The front: what the user started. It ends as the command does. */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_USAGE 2

/* Signals sent to the front and meant for the command. The terminal's reach the command by themselves. */
static const int passed_on[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM };

static int fail(const char *what)
{
	fprintf(stderr, "rmapfs: cannot %s: %s\n", what, strerror(errno));
	return STATUS_FAILED;
}

/*
 * Blocks what is passed on, and SIGCHLD for the supervisor; `before` gets the mask as it was. Returns a
 * descriptor of what is passed on.
 */
static int take_signals(sigset_t *before)
{
	sigset_t passed, blocked;

	sigemptyset(&passed);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(&passed, passed_on[i]);
	blocked = passed;
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, before);
	return signalfd(-1, &passed, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void pass_signal(int signals, pid_t command)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) != sizeof(info) || command <= 0)
		return;
	/* From the kernel: the terminal, whose whole process group has got it. From the command: to its group. */
	if (info.ssi_code > 0 || (pid_t)info.ssi_pid == command)
		return;
	(void)kill(command, (int)info.ssi_signo);
}

/* Passes signals on until the supervisor has told the status. Returns it, or -1. */
static int wait_for_status(int signals, int supervisor, pid_t supervisor_pid)
{
	struct pollfd fds[2] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = supervisor, .events = POLLIN },
	};
	struct report report;
	pid_t command = 0;
	int status;

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if ((fds[0].revents & POLLIN) != 0)
			pass_signal(signals, command);
		if (fds[1].revents == 0)
			continue;
		if (recv(supervisor, &report, sizeof(report), 0) != sizeof(report))
			break;
		if (report.kind == REPORT_LAST_STATUS)
			(void)wait(NULL);
		if (report.kind != REPORT_COMMAND)
			return report.value;
		command = report.value;
	}
	/*
	 * The supervisor was killed: the command is our child, as soon as the supervisor is gone altogether (its socket
	 * goes earlier), and its calls are answered with ENOSYS.
	 */
	(void)waitpid(supervisor_pid, NULL, 0);
	if (command > 0 && waitpid(command, &status, 0) == command)
		return status;
	return -1;
}

/* Ends as the command did. By a signal: the same one, without a core file of our own. */
static int end_like(int status)
{
	const struct rlimit none = { 0, 0 };
	sigset_t mask;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&mask);
	sigaddset(&mask, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	(void)raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	int pair[2], signals, status;
	sigset_t before;
	pid_t supervisor;

	if (argc < 2) {
		fprintf(stderr, "usage: rmapfs-exec COMMAND [ARGUMENT]...\n");
		return STATUS_USAGE;
	}
	signals = take_signals(&before);
	/* Should the supervisor be killed, the command becomes our child. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (signals < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return fail("start the supervisor");
	supervisor = fork();
	if (supervisor < 0)
		return fail("start the supervisor");
	if (supervisor == 0) {
		close(pair[0]);
		supervise(argv + 1, &before, pair[1]);
	}
	close(pair[1]);
	status = wait_for_status(signals, pair[0], supervisor);
	if (status >= 0)
		return end_like(status);
	fprintf(stderr, "rmapfs: the supervisor ended before it started the command\n");
	return STATUS_FAILED;
}
