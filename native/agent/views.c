/* SPDX-License-Identifier: MIT */
/* Other processes that have a file mapped: what they see, and what they store. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define VIEWS 8

sigjmp_buf bus_return;
volatile sig_atomic_t bus_expected;

struct view {
	pid_t pid;
	int socket;
	int fd;
	size_t length;
};

/* What is asked of a view: to hash its mapping (length 0), or to store. And what it answers. */
struct wish {
	uint64_t offset;
	uint64_t length;
	uint64_t seed;
};
struct sight {
	uint64_t hash;
	uint64_t lost; /* pages that gave SIGBUS */
};

static struct view views[VIEWS];

static void on_bus(int signal)
{
	static const char text[] = "rmapfs-agent: unexpected SIGBUS\n";

	if (bus_expected)
		siglongjmp(bus_return, 1);
	(void)!write(2, text, sizeof(text) - 1);
	_exit(128 + signal);
}

void signals_prepare(void)
{
	struct sigaction action = { .sa_handler = on_bus };

	sigaction(SIGBUS, &action, NULL);
	/* RLIMIT_FSIZE: the errno says it. */
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

static struct sight see(const uint8_t *map, size_t length)
{
	struct sight sight = { .hash = 0 };

	for (volatile size_t at = 0; at < length; at += BLOCK) {
		uint64_t hash = sight.hash;

		if (sigsetjmp(bus_return, 1) == 0)
			sight.hash = hash_add(hash, at, map + at, length - at < BLOCK ? length - at : BLOCK);
		else
			sight.lost++;
	}
	return sight;
}

/* The process of a view: one answer for each wish, until nobody asks any more. */
static _Noreturn void serve(int socket, uint8_t *map, size_t length, bool touched)
{
	struct wish wish;
	struct sight sight = { .hash = 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	bus_expected = 1;
	if (touched)
		sight = see(map, length);
	(void)!write(socket, &sight, sizeof(sight));
	while (read(socket, &wish, sizeof(wish)) == sizeof(wish)) {
		sight = (struct sight){ .hash = 0 };
		if (wish.length == 0)
			sight = see(map, length);
		else if (sigsetjmp(bus_return, 1) == 0)
			pattern_fill(map + wish.offset, wish.offset, wish.length, wish.seed);
		else
			sight.lost = 1;
		if (write(socket, &sight, sizeof(sight)) != sizeof(sight))
			break;
	}
	_exit(0);
}

static struct view *view_of(const char *name)
{
	long long index = number(name);

	if (index < 0 || index >= VIEWS)
		usage(name);
	return &views[index];
}

static void end(struct view *view)
{
	if (view->pid == 0)
		return;
	close(view->socket);
	close(view->fd);
	kill(view->pid, SIGKILL);
	waitpid(view->pid, NULL, 0);
	view->pid = 0;
}

void views_reset(void)
{
	for (int i = 0; i < VIEWS; i++)
		end(&views[i]);
}

static long long sight_of(struct call *call, const struct view *view)
{
	struct sight sight;

	if (read(view->socket, &sight, sizeof(sight)) != sizeof(sight)) {
		errno = ESRCH;
		return -1;
	}
	fprintf(call->more, " hash=%llx lost=%llu", (unsigned long long)sight.hash, (unsigned long long)sight.lost);
	return 0;
}

static int protection_of(const char *kind)
{
	return strcmp(kind, "shared") == 0 ? PROT_READ : PROT_READ | PROT_WRITE;
}

static int sharing_of(const char *kind)
{
	return strcmp(kind, "shared") == 0 || strcmp(kind, "write") == 0 ? MAP_SHARED : MAP_PRIVATE;
}

/*
 * VIEW FILE LENGTH shared|write|private|lazy: a process maps the start of FILE. shared: for reading, write: for
 * storing too, private: MAP_PRIVATE; their pages are all read at once. lazy: MAP_PRIVATE, no page is touched.
 */
static long long do_view(struct call *call)
{
	struct view *view = view_of(call->word[1]);
	const char *kind = call->word[4];
	int pair[2], fd;
	void *map;

	end(view);
	view->length = (size_t)number(call->word[3]);
	fd = file_open(call->word[2], O_RDWR);
	if (fd < 0)
		return -1;
	map = mmap(NULL, view->length, protection_of(kind), sharing_of(kind), fd, 0);
	view->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	file_close(call->word[2], fd);
	if (map == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	view->pid = fork();
	if (view->pid == 0) {
		close(pair[0]);
		serve(pair[1], map, view->length, strcmp(kind, "lazy") != 0);
	}
	munmap(map, view->length);
	close(pair[1]);
	view->socket = pair[0];
	return view->pid < 0 ? -1 : sight_of(call, view);
}

static long long ask(struct call *call, const struct wish *wish)
{
	const struct view *view = view_of(call->word[1]);

	errno = ESRCH;
	if (view->pid == 0 || wish->offset + wish->length > view->length)
		return -1;
	if (write(view->socket, wish, sizeof(*wish)) != sizeof(*wish))
		return -1;
	return sight_of(call, view);
}

/* VIEW: what it sees now */
static long long do_peek(struct call *call)
{
	return ask(call, &(struct wish){ .length = 0 });
}

/* VIEW OFFSET LENGTH SEED: it stores */
static long long do_poke(struct call *call)
{
	const struct view *view = view_of(call->word[1]);
	struct wish wish = {
		.offset = (uint64_t)number(call->word[2]),
		.length = (uint64_t)number(call->word[3]),
		.seed = (uint64_t)number(call->word[4]),
	};

	if (view->pid != 0) {
		wish.length = within_file(view->fd, wish.offset, wish.length);
		if (wish.length == 0)
			return 0;
	}
	return ask(call, &wish);
}

/* VIEW: it ends */
static long long do_unview(struct call *call)
{
	end(view_of(call->word[1]));
	return 0;
}

const struct operation view_operations[] = {
	{ "view", 4, ".f", do_view }, { "peek", 1, "", do_peek },	 { "poke", 4, "", do_poke },
	{ "unview", 1, "", do_unview }, { NULL, 0, NULL, NULL },
};
