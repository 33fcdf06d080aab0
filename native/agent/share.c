/* SPDX-License-Identifier: MIT */
/* Operations on ranges of two files. Each is SRC SRC_OFFSET DST DST_OFFSET LENGTH. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct pair {
	int src;
	int dst;
};

static bool open_pair(struct pair *pair, const char *src, const char *dst)
{
	pair->dst = -1;
	pair->src = file_open(src, O_RDONLY);
	if (pair->src < 0 && *src != '@')
		return false;
	pair->dst = file_open(dst, O_RDWR);
	return pair->dst >= 0 || *dst == '@';
}

static void close_pair(const struct pair *pair, const char *src, const char *dst)
{
	file_close(dst, pair->dst);
	file_close(src, pair->src);
}

/* Offsets and lengths may be any 64 bits: -4096 is 2^64 - 4096. */
static long long do_clone(struct call *call)
{
	struct file_clone_range range;
	struct pair pair;
	long long result = -1;

	if (open_pair(&pair, call->word[1], call->word[3])) {
		range = (struct file_clone_range){
			.src_fd = pair.src,
			.src_offset = (uint64_t)number(call->word[2]),
			.src_length = (uint64_t)number(call->word[5]),
			.dest_offset = (uint64_t)number(call->word[4]),
		};
		result = ioctl(pair.dst, FICLONERANGE, &range);
	}
	close_pair(&pair, call->word[1], call->word[3]);
	return result;
}

/* SRC DST: the whole file (FICLONE) */
static long long do_clone_all(struct call *call)
{
	struct pair pair;
	long long result = -1;

	if (open_pair(&pair, call->word[1], call->word[2]))
		result = ioctl(pair.dst, FICLONE, pair.src);
	close_pair(&pair, call->word[1], call->word[2]);
	return result;
}

/* The request goes through the source's descriptor; [RESERVED] is for the field that must be 0. */
static long long do_dedupe(struct call *call)
{
	_Alignas(8) char space[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)] = { 0 };
	struct file_dedupe_range *range = (void *)space;
	struct pair pair;
	long long result = -1;

	if (open_pair(&pair, call->word[1], call->word[3])) {
		range->src_offset = (uint64_t)number(call->word[2]);
		range->src_length = (uint64_t)number(call->word[5]);
		range->dest_count = 1;
		range->reserved1 = call->word[6] != NULL ? (uint16_t)number(call->word[6]) : 0;
		range->info[0].dest_fd = pair.dst;
		range->info[0].dest_offset = (uint64_t)number(call->word[4]);
		result = ioctl(pair.src, FIDEDUPERANGE, range);
	}
	if (result >= 0)
		fprintf(call->more, " status=%s bytes=%llu",
			range->info[0].status < 0    ? strerrorname_np(-range->info[0].status) :
			range->info[0].status == 0 ? "same" :
							"differs",
			(unsigned long long)range->info[0].bytes_deduped);
	close_pair(&pair, call->word[1], call->word[3]);
	return result;
}

/* copy_file_range(2) until nothing is left, for either filesystem may answer with less; [FLAGS] must be 0 */
static long long do_copy(struct call *call)
{
	loff_t from = number(call->word[2]), to = number(call->word[4]);
	unsigned flags = call->word[6] != NULL ? (unsigned)number(call->word[6]) : 0;
	long long left = number(call->word[5]), done = 0, result = -1;
	struct pair pair;

	if (open_pair(&pair, call->word[1], call->word[3]))
		do {
			result = copy_file_range(pair.src, &from, pair.dst, &to, (size_t)left, flags);
			if (result > 0) {
				done += result;
				left -= result;
			}
		} while (result > 0 && left > 0);
	close_pair(&pair, call->word[1], call->word[3]);
	return done > 0 ? done : result;
}

const struct operation share_operations[] = {
	{ "clone", 5, "f.f", do_clone },
	{ "cloneall", 2, "ff", do_clone_all },
	{ "dedupe", 5, "f.f", do_dedupe },
	{ "copy", 5, "f.f", do_copy },
	{ NULL, 0, NULL, NULL },
};
