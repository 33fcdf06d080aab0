/* SPDX-License-Identifier: MIT */
/* What the parts of rmapfs-agent share. */
#ifndef RMAPFS_AGENT_H
#define RMAPFS_AGENT_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define BLOCK 4096
#define WORDS_MAX 10
/* Largest length of one operation's data. */
#define LENGTH_MAX (32u << 20)
#define HANDLES 16

/* One line of the script. Unused words are NULL. */
struct call {
	const char *word[WORDS_MAX];
	int count;
	FILE *more; /* fields of the answer behind ret and errno */
};

/*
 * Makes the system call that the line asks for. Returns what it returned, -1 with errno set. `touches` has a
 * letter for each argument: f a file, n a name in a directory (both "@N" for a handle), '.' anything else.
 */
struct operation {
	const char *name;
	int arguments_min;
	const char *touches;
	long long (*run)(struct call *call);
};

extern const struct operation data_operations[], share_operations[], name_operations[], xattr_operations[],
	look_operations[], view_operations[], handle_operations[];

/* parse.c: end the program with status 2 for what is no number. */
_Noreturn void usage(const char *what);
long long number(const char *text);
unsigned long mode_of(const char *text);

/* files.c */
int file_open(const char *name, int flags);
void file_close(const char *name, int fd);
/* The handle's descriptor of "@N", -1 (EBADF) when it is closed; -2 for a path. */
int handle_of(const char *name);
void handles_reset(void);

/* pattern.c: the bytes of `seed` for the file range; 0 is zeros, 100 and above repeat in every block. */
void pattern_fill(uint8_t *bytes, uint64_t offset, size_t length, uint64_t seed);
/* Adds the blocks to a hash; blocks of zeros do not count, so that holes need not be read. */
uint64_t hash_add(uint64_t hash, uint64_t offset, const uint8_t *bytes, size_t length);
uint64_t hash_text(const void *bytes, size_t length);
/* A buffer that O_DIRECT takes. The caller's until the next call. */
uint8_t *buffer_of(size_t length);

/* look.c */
long long look_hash(int fd, const char *how, uint64_t *hash);

/*
 * The length of a store through a mapping that leaves out the bytes between the end of the file and the end of its
 * block, unless it begins there or beyond: FUSE's page cache may keep them, and show them when the file grows.
 */
size_t within_file(int fd, uint64_t offset, size_t length);

/* views.c */
void views_reset(void);
extern sigjmp_buf bus_return;
extern volatile sig_atomic_t bus_expected;
void signals_prepare(void);

/* state.c: what the touched inodes are like, before and after. */
void state_before(const struct call *call, const char *touches);
void state_after(const struct call *call);

/* rounds.c: a directory of its own for each script. Return 0 or -errno. */
int round_prepare(const char *root);
extern const struct operation round_operations[], full_operations[];

#endif
