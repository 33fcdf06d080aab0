/* SPDX-License-Identifier: MIT */
/*
 * rmapfs-agent DIRECTORY: runs file operations in DIRECTORY, one a line of standard input, and answers each with
 * one line that holds nothing that may differ between two filesystems that behave the same:
 *
 *   write a 8192 4096 7  ->  4096 0 [a 100644 1 0 0 12288 mc]
 *
 * is the return value, the errno's name, fields of the operation, and for each inode it touched: name, mode, link
 * count, owner, group, size, and which of mtime and ctime moved. Below rmapfs-exec the same program uses a mount of
 * rmapfs. Lines that are empty or begin with '#' are answered with an empty line.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct operation *const tables[] = {
	data_operations, share_operations, name_operations,   xattr_operations,
	look_operations, view_operations,  handle_operations, round_operations, full_operations,
};

static const struct operation *find(const char *name)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct operation *op = tables[i]; op->name != NULL; op++)
			if (strcmp(op->name, name) == 0)
				return op;
	usage(name);
}

static void answer(struct call *call)
{
	const struct operation *op = find(call->word[0]);
	char *text = NULL;
	size_t size = 0;
	long long result;
	int error;

	if (call->count - 1 < op->arguments_min)
		usage(call->word[0]);
	call->more = open_memstream(&text, &size);
	if (call->more == NULL)
		usage("memory");
	state_before(call, op->touches);
	errno = 0;
	result = op->run(call);
	error = errno;
	state_after(call);
	fclose(call->more);
	printf("%lld %s%s\n", result, result < 0 ? strerrorname_np(error) : "0", text);
	free(text);
}

static void run_line(char *line)
{
	struct call call = { .count = 0 };
	char *rest = NULL;

	for (char *word = strtok_r(line, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
		if (call.count == WORDS_MAX)
			usage(word);
		call.word[call.count++] = word;
	}
	if (call.count == 0 || call.word[0][0] == '#')
		printf("\n");
	else
		answer(&call);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	int error;

	if (argc != 2) {
		fprintf(stderr, "usage: rmapfs-agent DIRECTORY < SCRIPT\n");
		return 2;
	}
	signals_prepare();
	error = round_prepare(argv[1]);
	if (error != 0) {
		fprintf(stderr, "rmapfs-agent: %s: %s\n", argv[1], strerror(-error));
		return 1;
	}
	while (getline(&line, &size, stdin) > 0)
		run_line(line);
	free(line);
	views_reset();
	return 0;
}
