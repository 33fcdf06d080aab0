/*
 * A target for deliverSigbus: `sigbus-victim MODE...`. Prints "ready TID" (of the thread that is meant), then one
 * line for each signal it gets, and ends when its standard input does.
 *
 *   handle    SIGBUS prints "sigbus CODE ADDRESS LSB ERRNO SENDER-FIELDS-ARE-OURS"
 *   ignore, block, default      what becomes of SIGBUS
 *   thread    the thread that is meant is a second one
 *   busy      it computes instead of sleeping
 *   other     SIGUSR1 and SIGILL print "other SIGNAL CODE VALUE"
 *   queue=PID queues SIGILL with the value 4242 to the main thread of process PID
 *   trace=PID traces process PID until its own input ends (prints "ready" once it does)
 *   vfork     it waits, deaf to signals, for a child that ends after a byte on standard input
 *   fault=P   a second thread, which is meant, touches a page past the end of a file after each byte from the FIFO P;
 *             a byte "n": it touches nothing
 *   await     the thread that is meant is a second one; it takes SIGBUS by sigwaitinfo(2), again and again, and prints
 *             "taken CODE" each time
 *   exec      on SIGUSR2 executes itself again with the mode "handle"
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t ended, faulting;
static sigjmp_buf resume;

static void say(const char *text, int length)
{
	if (write(1, text, (size_t)length) != length)
		_exit(3);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	char line[128];
	int n = snprintf(line, sizeof line, "sigbus %d 0x%lx %d %d %ld\n", info->si_code,
			 (unsigned long)(uintptr_t)info->si_addr, info->si_addr_lsb, info->si_errno,
			 syscall(SYS_gettid));
	say(line, n);
	if (faulting && info->si_code > 0)
		siglongjmp(resume, 1);
	(void)sig;
	(void)context;
}

static void on_other(int sig, siginfo_t *info, void *context)
{
	char line[128];
	int n = snprintf(line, sizeof line, "other %d %d %d\n", sig, info->si_code, info->si_value.sival_int);
	say(line, n);
	(void)context;
}

static void on_usr2(int sig)
{
	char *argv[] = { "sigbus-victim", "handle", NULL };

	execv("/proc/self/exe", argv);
	_exit(4);
	(void)sig;
}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_sigaction = handler;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	sigaction(sig, &action, NULL);
}

static void block_sigbus(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(how, &set, NULL);
}

static void ready(void)
{
	char line[64];

	say(line, snprintf(line, sizeof line, "ready %ld\n", syscall(SYS_gettid)));
}

static void *be_busy(void *unused)
{
	ready();
	while (!ended)
		continue;
	return unused;
}

static void *sleep_on(void *unused)
{
	ready();
	while (!ended)
		usleep(1000);
	return unused;
}

static void *fault_on_answer(void *path)
{
	char byte;
	int fifo = open(path, O_RDONLY | O_CLOEXEC);
	int file = memfd_create("empty", MFD_CLOEXEC);
	volatile char *past_end = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);

	ready();
	while (read(fifo, &byte, 1) == 1) {
		if (byte == 'n')
			continue;
		faulting = 1;
		if (sigsetjmp(resume, 1) == 0)
			(void)past_end[123];
		faulting = 0;
	}
	return NULL;
}

/* Waits for the end of standard input; a byte on it unblocks SIGBUS. */
static void await_end(void)
{
	char byte;
	ssize_t got;

	while ((got = read(0, &byte, 1)) == 1)
		block_sigbus(SIG_UNBLOCK);
	ended = 1;
}

/* To the thread, not the process: only so does it come before a SIGBUS that was sent to the thread. */
static int queue_value(pid_t pid)
{
	siginfo_t info;

	memset(&info, 0, sizeof info);
	info.si_signo = SIGILL;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_value.sival_int = 4242;
	return (int)syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGILL, &info);
}

/* In vfork(2) only a fatal signal ends the parent's wait. */
static void wait_deaf(void)
{
	char byte;

	if (vfork() == 0)
		_exit(read(0, &byte, 1) == 1 ? 0 : 5);
}

static void *take_on(void *unused)
{
	char line[64];
	sigset_t set;
	siginfo_t info;

	(void)unused;
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	ready();
	while (sigwaitinfo(&set, &info) == SIGBUS)
		say(line, snprintf(line, sizeof line, "taken %d\n", info.si_code));
	return NULL;
}

int main(int argc, char **argv)
{
	void *(*body)(void *) = NULL;
	void *argument = NULL;
	pthread_t thread;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "handle"))
			handle(SIGBUS, on_sigbus);
		else if (!strcmp(argv[i], "ignore"))
			signal(SIGBUS, SIG_IGN);
		else if (!strcmp(argv[i], "block"))
			block_sigbus(SIG_BLOCK);
		else if (!strcmp(argv[i], "thread"))
			body = sleep_on;
		else if (!strcmp(argv[i], "busy"))
			body = be_busy;
		else if (!strcmp(argv[i], "await"))
			block_sigbus(SIG_BLOCK), body = take_on;
		else if (!strcmp(argv[i], "other"))
			handle(SIGUSR1, on_other), handle(SIGILL, on_other);
		else if (!strcmp(argv[i], "exec"))
			signal(SIGUSR2, on_usr2);
		else if (!strncmp(argv[i], "fault=", 6))
			body = fault_on_answer, argument = argv[i] + 6;
		else if (!strncmp(argv[i], "trace=", 6) && ptrace(PTRACE_SEIZE, atoi(argv[i] + 6), 0, 0) != 0)
			return 2;
		else if (!strncmp(argv[i], "queue=", 6) && queue_value(atoi(argv[i] + 6)) != 0)
			return 3;
	}
	if (argc > 2 && !strcmp(argv[2], "vfork")) {
		ready();
		wait_deaf();
	} else if (body != NULL)
		pthread_create(&thread, NULL, body, argument);
	else
		ready();
	await_end();
	return 0;
}
