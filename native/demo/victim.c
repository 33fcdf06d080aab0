/* SPDX-License-Identifier: MIT */
/*
 * An ordinary program that maps a file, touches every page of it, and says what SIGBUS told it.
 *
 *   victim map FILE    maps FILE and reads a byte of each page
 *   victim open FILE   only opens FILE
 *
 * It prints "ready PID ADDRESS" once (ADDRESS is 0 when nothing is mapped), then for each SIGBUS
 * "sigbus CODE ADDRESS LSB", CODE being si_code as a number, and goes on living. It ends when its standard input does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	char line[128];
	int saved = errno;
	int length;

	(void)number;
	(void)context;
	/* Formatting is no async-signal-safe function, but nothing else is formatted once "ready" is printed. */
	length = snprintf(line, sizeof(line), "sigbus %d 0x%lx %d\n", info->si_code,
			  (unsigned long)info->si_addr, (int)info->si_addr_lsb);
	if (length > 0 && write(STDOUT_FILENO, line, (size_t)length) != length)
		_exit(3);
	errno = saved;
}

static int fail(const char *what)
{
	fprintf(stderr, "victim: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Maps the whole file and reads a byte of each page, so that every page is present in the page table. */
static const unsigned char *map_and_touch(int fd)
{
	static volatile unsigned char sum;
	const unsigned char *map;
	struct stat st;
	off_t at;

	if (fstat(fd, &st) != 0)
		return MAP_FAILED;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return MAP_FAILED;
	for (at = 0; at < st.st_size; at += 4096)
		sum = (unsigned char)(sum + map[at]);
	return map;
}

int main(int argc, char **argv)
{
	struct sigaction action;
	const unsigned char *map = NULL;
	char byte;
	int fd;

	if (argc != 3 || (strcmp(argv[1], "map") != 0 && strcmp(argv[1], "open") != 0)) {
		fprintf(stderr, "usage: victim map|open FILE\n");
		return 2;
	}
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_sigbus;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	if (sigaction(SIGBUS, &action, NULL) != 0)
		return fail("sigaction");
	fd = open(argv[2], O_RDONLY);
	if (fd < 0)
		return fail(argv[2]);
	if (strcmp(argv[1], "map") == 0) {
		map = map_and_touch(fd);
		if (map == MAP_FAILED)
			return fail("mmap");
	}
	if (printf("ready %d 0x%lx\n", (int)getpid(), (unsigned long)map) < 0 || fflush(stdout) != 0)
		return fail("stdout");
	for (;;) {
		ssize_t got = read(STDIN_FILENO, &byte, 1);

		if (got == 0)
			return 0;
		if (got < 0 && errno != EINTR)
			return fail("stdin");
	}
}
