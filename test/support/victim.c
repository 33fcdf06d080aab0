/*
 * A process that maps a file and may be told of memory failures: `victim FILE STEP...`. Does the steps in
 * their order, prints "ready", and waits for signals until its standard input ends. A byte on standard input
 * unblocks SIGBUS.
 *
 *   shared, private, readonly   map the whole file in that way; prints "map ADDRESS"
 *   read=N, write=N, thread=N   touch page N of the last mapping (thread: read it in a second thread)
 *   fork                        a child that does nothing but wait; prints "child PID"
 *   close, unlink               the descriptor, the file
 *   handle, ignore, block       what becomes of SIGBUS; "handle" prints "sigbus CODE ADDRESS LSB" for each
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

static char *map;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	char line[128];
	int n = snprintf(line, sizeof line, "sigbus %d 0x%lx %d\n", info->si_code,
			 (unsigned long)(uintptr_t)info->si_addr, info->si_addr_lsb);

	(void)sig;
	(void)context;
	if (write(1, line, n) != n)
		_exit(2);
	/* Not caused by kill(2) and not "action optional": an access. Returning would repeat it for ever. */
	if (info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR)
		_exit(3);
}

static void touch(unsigned long page, int for_write)
{
	volatile char *p = map + page * PAGE;

	if (for_write)
		*p = 'w';
	else
		(void)*p;
}

static void *touch_in_thread(void *page)
{
	touch((uintptr_t)page, 0);
	for (;;)
		pause();
	return NULL;
}

static void map_file(int fd, const char *how)
{
	struct stat st;
	int prot = strcmp(how, "readonly") == 0 ? PROT_READ : PROT_READ | PROT_WRITE;

	if (fstat(fd, &st) != 0)
		fail("fstat");
	map = mmap(NULL, st.st_size, prot, strcmp(how, "private") == 0 ? MAP_PRIVATE : MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		fail("mmap");
	printf("map 0x%lx\n", (unsigned long)(uintptr_t)map);
}

static void set_sigbus(const char *how, int block)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };
	sigset_t set;

	if (strcmp(how, "handle") == 0)
		action.sa_sigaction = on_sigbus;
	else if (strcmp(how, "ignore") == 0)
		action.sa_handler = SIG_IGN;
	if (block >= 0) {
		sigemptyset(&set);
		sigaddset(&set, SIGBUS);
		sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
	} else if (sigaction(SIGBUS, &action, NULL) != 0) {
		fail("sigaction");
	}
}

static void step(int fd, const char *file, const char *arg)
{
	const char *value = strchr(arg, '=');
	unsigned long n = value ? strtoul(value + 1, NULL, 10) : 0;
	pthread_t thread;

	if (!strcmp(arg, "shared") || !strcmp(arg, "private") || !strcmp(arg, "readonly")) {
		map_file(fd, arg);
	} else if (!strncmp(arg, "read=", 5)) {
		touch(n, 0);
	} else if (!strncmp(arg, "write=", 6)) {
		touch(n, 1);
	} else if (!strncmp(arg, "thread=", 7)) {
		if (pthread_create(&thread, NULL, touch_in_thread, (void *)(uintptr_t)n) != 0)
			fail("pthread_create");
		usleep(100 * 1000);
	} else if (!strcmp(arg, "fork")) {
		pid_t child = fork();

		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		printf("child %d\n", child);
	} else if (!strcmp(arg, "close")) {
		close(fd);
	} else if (!strcmp(arg, "unlink")) {
		if (unlink(file) != 0)
			fail("unlink");
	} else if (!strcmp(arg, "block")) {
		set_sigbus(arg, 1);
	} else if (!strcmp(arg, "handle") || !strcmp(arg, "ignore")) {
		set_sigbus(arg, -1);
	} else {
		fprintf(stderr, "unknown step %s\n", arg);
		exit(64);
	}
}

int main(int argc, char **argv)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	int fd;

	if (argc < 2)
		return 64;
	setvbuf(stdout, NULL, _IOLBF, 0);
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		fail(argv[1]);
	for (int i = 2; i < argc; i++)
		step(fd, argv[1], argv[i]);
	printf("ready\n");
	/* Standard input ends with the test. A byte on it asks to unblock SIGBUS. */
	for (;;) {
		char byte;

		if (poll(&in, 1, -1) < 0)
			continue;
		if (read(0, &byte, 1) <= 0)
			return 0;
		set_sigbus("", 0);
	}
}
