/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/* PATH NAME LENGTH SEED [c create, r replace] */
static long long do_set(struct call *call)
{
	size_t length = (size_t)number(call->word[3]);
	uint8_t *bytes = buffer_of(length);
	int flags = 0;

	if (call->word[5] != NULL)
		flags = *call->word[5] == 'c' ? XATTR_CREATE : XATTR_REPLACE;
	pattern_fill(bytes, 0, length, (uint64_t)number(call->word[4]));
	return lsetxattr(call->word[1], call->word[2], bytes, length, flags);
}

/* PATH NAME SIZE, of the buffer; 0 asks for the length */
static long long do_get(struct call *call)
{
	size_t size = (size_t)number(call->word[3]);
	uint8_t *bytes = buffer_of(size);
	ssize_t length = lgetxattr(call->word[1], call->word[2], bytes, size);

	if (length >= 0 && size > 0)
		fprintf(call->more, " hash=%llx", (unsigned long long)hash_text(bytes, (size_t)length));
	return length;
}

/* PATH NAME */
static long long do_remove(struct call *call)
{
	return lremovexattr(call->word[1], call->word[2]);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* PATH: answers the names, sorted */
static long long do_list(struct call *call)
{
	char *text = (char *)buffer_of(65536);
	ssize_t length = llistxattr(call->word[1], text, 65536);
	const char *names[512];
	size_t count = 0;

	for (ssize_t at = 0; at < length && count < sizeof(names) / sizeof(names[0]); at += (ssize_t)strlen(text + at) + 1)
		names[count++] = text + at;
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++)
		fprintf(call->more, "%c%s", i == 0 ? ' ' : ',', names[i]);
	return length;
}

const struct operation xattr_operations[] = {
	{ "setxattr", 4, "f", do_set },	    { "getxattr", 3, "f", do_get },  { "removexattr", 2, "f", do_remove },
	{ "listxattr", 1, "f", do_list }, { NULL, 0, NULL, NULL },
};
