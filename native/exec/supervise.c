/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Set for the command: an rmapfs-exec below another one needs no supervisor of its own. */
#define MARK "RMAPFS_EXEC"

/* The kernel may write more than the structure that this program was built with. */
struct buffers {
	struct seccomp_notif *request;
	size_t request_bytes;
	struct call *call;
	size_t call_bytes;
};

struct supervisor {
	pid_t command;
	int front; /* -1 when the status was told */
	int listener;
	int children; /* a signalfd of SIGCHLD */
	struct buffers buffers;
};

static _Noreturn void fail(const char *what, int error)
{
	fprintf(stderr, "rmapfs: cannot %s: %s\n", what, strerror(error));
	_exit(STATUS_FAILED);
}

static int allocate(struct buffers *buffers)
{
	struct seccomp_notif_sizes sizes;

	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
		return -errno;
	buffers->request_bytes =
		sizes.seccomp_notif > sizeof(struct seccomp_notif) ? sizes.seccomp_notif : sizeof(struct seccomp_notif);
	buffers->call_bytes = call_bytes(sizes.seccomp_notif_resp);
	buffers->request = calloc(1, buffers->request_bytes);
	buffers->call = calloc(1, buffers->call_bytes);
	return buffers->request == NULL || buffers->call == NULL ? -ENOMEM : 0;
}

/* Takes one call, and answers it where no mount is asked. */
static void take_call(struct supervisor *s)
{
	struct buffers *b = &s->buffers;
	struct descriptor descriptor;
	struct call *call;

	memset(b->request, 0, b->request_bytes);
	/* ENOENT: the caller was killed before it was received. */
	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_RECV, b->request) != 0)
		return;
	*b->call = (struct call){ .listener = s->listener, .request = *b->request };
	/* A caller in another pid namespace is not seen; what it asks for is left to the kernel. */
	if (b->request->pid == 0 ||
	    descriptor_look((pid_t)b->request->pid, (int)b->request->data.args[0], &descriptor) != 0 ||
	    descriptor.mount == NOT_FUSE || (descriptor.flags & O_PATH) != 0) {
		call_answer(b->call, LET_PASS);
		return;
	}
	call = malloc(b->call_bytes);
	if (call != NULL) {
		memcpy(call, b->call, b->call_bytes);
		call->mount = descriptor.mount;
	}
	if (call != NULL && pool_serve(call))
		return;
	free(call);
	call_answer(b->call, -ENOMEM);
}

static void tell_front(struct supervisor *s, int kind, int value)
{
	struct report report = { .kind = kind, .value = value };

	/* A front that was killed is told nothing; the command goes on. */
	(void)send(s->front, &report, sizeof(report), MSG_NOSIGNAL);
}

/* Whether the command was the last one that used the filter. */
static bool is_unused(const struct supervisor *s)
{
	struct pollfd listener = { .fd = s->listener, .events = POLLIN };

	return s->listener < 0 || (poll(&listener, 1, 0) == 1 && (listener.revents & POLLHUP) != 0);
}

/* Buries the command and, as the subreaper, everything below it. Returns whether there are children left. */
static bool bury(struct supervisor *s)
{
	struct signalfd_siginfo ignored;
	int status;
	pid_t pid;

	(void)!read(s->children, &ignored, sizeof(ignored));
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != s->command)
			continue;
		/* A thread that a mount holds may keep us here after the end: nobody waits for us then. */
		tell_front(s, is_unused(s) && pool_is_idle() ? REPORT_LAST_STATUS : REPORT_STATUS, status);
		close(s->front);
		s->front = -1;
	}
	return pid == 0;
}

/* Until nobody uses the filter any more (the listener hangs up) and the command is buried. */
static void run(struct supervisor *s)
{
	struct pollfd fds[2] = {
		{ .fd = s->listener, .events = POLLIN },
		{ .fd = s->children, .events = POLLIN },
	};

	while (s->front >= 0 || fds[0].fd >= 0) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if ((fds[1].revents & POLLIN) != 0 && !bury(s) && s->front < 0 && fds[0].fd < 0)
			return;
		if ((fds[0].revents & POLLIN) != 0)
			take_call(s);
		else if ((fds[0].revents & (POLLHUP | POLLERR)) != 0)
			fds[0].fd = -1;
	}
}

static int send_descriptor(int socket, int fd)
{
	char byte = 0;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* -1 when the other side ended without sending one. */
static int receive_descriptor(int socket)
{
	char byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (header == NULL || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/*
 * The child that becomes the command, when the supervisor has closed its end: by then the front knows of it, so that
 * the command lives on whenever the supervisor is killed.
 */
static _Noreturn void become(char **command, const sigset_t *mask, int socket)
{
	char nothing;
	int listener = install_filter();
	int error;

	if (listener == -EBUSY && getenv(MARK) != NULL) {
		/* The supervisor above serves every mount. */
	} else if (listener < 0) {
		fail(listener == -EBUSY ? "watch the command: somebody else does already (seccomp)"
					: "install the seccomp filter (Linux 5.19 or later is needed)",
		     -listener);
	} else {
		error = send_descriptor(socket, listener);
		if (error != 0)
			fail("pass the listener on", -error);
		close(listener);
		(void)recv(socket, &nothing, sizeof(nothing), 0);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (setenv(MARK, "1", 1) != 0)
		fail("set the environment", errno);
	execvp(command[0], command);
	error = errno;
	fprintf(stderr, "rmapfs: cannot run %s: %s\n", command[0], strerror(error));
	_exit(error == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE);
}

/* What ends or stops the command by the terminal must not end or stop who serves it and others. */
static void detach(void)
{
	static const int ignored[] = { SIGINT,	SIGQUIT, SIGHUP,  SIGTERM, SIGTSTP,
				       SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2 };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	/* Whoever reads the command's output waits for its end, not for ours. */
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	/* No mount is kept busy by us. */
	(void)!chdir("/");
}

_Noreturn void supervise(char **command, const sigset_t *mask, int front)
{
	struct supervisor s = { .front = front };
	sigset_t watched;
	int pair[2];

	/* Descendants whose parent ended become our children: an ancestor may look into them (Yama). */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	sigemptyset(&watched);
	sigaddset(&watched, SIGCHLD);
	s.children = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.children < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		fail("start the command", errno);
	if (allocate(&s.buffers) != 0)
		fail("use seccomp notifications", ENOSYS);
	s.command = fork();
	if (s.command < 0)
		fail("start the command", errno);
	if (s.command == 0) {
		close(pair[0]);
		become(command, mask, pair[1]);
	}
	close(pair[1]);
	detach();
	prctl(PR_SET_NAME, "rmapfs-exec-sv", 0, 0, 0);
	tell_front(&s, REPORT_COMMAND, (int)s.command);
	s.listener = receive_descriptor(pair[0]);
	close(pair[0]);
	run(&s);
	_exit(0);
}
