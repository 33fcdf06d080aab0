/* SPDX-License-Identifier: MIT */
/* Numbers, the bytes that are written, and their hash. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* From here on a seed's bytes are the same in every block, so that different ranges can be equal. */
#define SEED_PERIODIC 100
#define LINE_BYTES 16

_Noreturn void usage(const char *what)
{
	fprintf(stderr, "rmapfs-agent: bad argument: %s\n", what);
	exit(2);
}

long long number(const char *text)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	/* The errno of a call before stays: it is what will be answered. */
	int error = errno;
	long long value;
	char *end;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text)
		usage(text);
	errno = error;
	if (*end != '\0') {
		suffix = strchr(suffixes, *end);
		if (suffix == NULL || end[1] != '\0')
			usage(text);
		value <<= 10 * (suffix - suffixes + 1);
	}
	return value;
}

unsigned long mode_of(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 8);

	if (end == text || *end != '\0')
		usage(text);
	return value;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* "a00000000000042\n": what seq -f 'a%014.0f' prints, so that a shell script can make the same bytes. */
static void fill_line(char *line, uint64_t index, uint64_t seed)
{
	line[0] = (char)(seed >= SEED_PERIODIC ? 'A' + (seed - SEED_PERIODIC) % 26 : 'a' + seed % 26);
	for (int i = LINE_BYTES - 2; i > 0; i--, index /= 10)
		line[i] = (char)('0' + index % 10);
	line[LINE_BYTES - 1] = '\n';
}

void pattern_fill(uint8_t *bytes, uint64_t offset, size_t length, uint64_t seed)
{
	char line[LINE_BYTES] = { 0 };

	if (seed == 0) {
		memset(bytes, 0, length);
		return;
	}
	for (size_t i = 0; i < length; i++) {
		uint64_t at = seed >= SEED_PERIODIC ? (offset + i) % BLOCK : offset + i;

		if (i == 0 || at % LINE_BYTES == 0)
			fill_line(line, at / LINE_BYTES, seed);
		bytes[i] = (uint8_t)line[at % LINE_BYTES];
	}
}

uint64_t hash_text(const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint64_t hash = length;

	while (length >= 8) {
		uint64_t word;

		memcpy(&word, bytes, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
		bytes += 8;
		length -= 8;
	}
	while (length-- > 0)
		hash = mix(hash ^ *bytes++);
	return mix(hash);
}

uint64_t hash_add(uint64_t hash, uint64_t offset, const uint8_t *bytes, size_t length)
{
	static const uint8_t zeros[BLOCK];

	while (length > 0) {
		uint64_t block = offset / BLOCK, within = offset % BLOCK;
		size_t part = BLOCK - within < length ? BLOCK - within : length;

		if (memcmp(bytes, zeros, part) != 0) {
			/* A short last block is hashed as a whole one. */
			uint8_t whole[BLOCK] = { 0 };

			memcpy(whole + within, bytes, part);
			hash += mix(hash_text(whole, BLOCK) ^ block * 0x9e3779b97f4a7c15ULL);
		}
		bytes += part;
		offset += part;
		length -= part;
	}
	return hash;
}

uint8_t *buffer_of(size_t length)
{
	static uint8_t *buffer;
	static size_t size;

	if (length > LENGTH_MAX)
		usage("length");
	if (length + BLOCK > size) {
		void *bigger;

		if (posix_memalign(&bigger, BLOCK, (length + 2 * BLOCK) / BLOCK * BLOCK) != 0)
			usage("memory");
		free(buffer);
		buffer = bigger;
		size = (length + 2 * BLOCK) / BLOCK * BLOCK;
	}
	return buffer;
}
