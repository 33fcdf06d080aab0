/* SPDX-License-Identifier: MIT */
/* Answers of many records: an array in the target's memory, written some records at a time. */
#define _GNU_SOURCE
#include "exec.h"

#include <string.h>

int array_flush(struct array *array)
{
	uint32_t held = array->held;
	uint64_t at = array->address;

	if (held == 0)
		return 0;
	array->address += held;
	array->held = 0;
	array->last = NULL;
	return target_write(array->target, at, array->batch, held);
}

int array_add(struct array *array, const void *record, uint32_t size)
{
	int error = array->held + size > sizeof(array->batch) ? array_flush(array) : 0;

	if (error != 0)
		return error;
	array->last = memcpy(array->batch + array->held, record, size);
	array->held += size;
	return 0;
}
