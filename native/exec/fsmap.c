/* SPDX-License-Identifier: MIT */
/* FS_IOC_GETFSMAP: ioctl_getfsmap(2), with the owner codes of XFS. */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <linux/fsmap.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "../rmapfs.h"

/* Owners as XFS numbers them (xfs_fs.h). */
#define OWNER_STATIC FMR_OWNER('X', 1)
#define OWNER_TREES FMR_OWNER('X', 3)
#define OWNER_INODE_TREE FMR_OWNER('X', 4)
#define OWNER_REFCOUNT FMR_OWNER('X', 6)

/* Ids of trees (docs/FORMAT.md). */
#define TREE_INODE 1
#define TREE_REFCOUNT 7

struct answer {
	struct array records;
	uint32_t device;
	uint32_t room;
	uint32_t entries;
};

static uint64_t special_owner(const struct rmapfs_fsmap_record *record)
{
	switch (record->owner) {
	case RMAPFS_OWNER_SUPERBLOCK:
		return OWNER_STATIC;
	case RMAPFS_OWNER_FREE:
		return FMR_OWN_FREE;
	case RMAPFS_OWNER_METADATA:
		if (record->detail == TREE_INODE)
			return OWNER_INODE_TREE;
		return record->detail == TREE_REFCOUNT ? OWNER_REFCOUNT : OWNER_TREES;
	default:
		return FMR_OWN_UNKNOWN;
	}
}

/* The owner that the mount knows a record of ours by. */
static uint64_t mount_owner(const struct fsmap *key)
{
	if ((key->fmr_flags & FMR_OF_SPECIAL_OWNER) == 0)
		return key->fmr_owner;
	switch (key->fmr_owner) {
	case OWNER_STATIC:
		return RMAPFS_OWNER_SUPERBLOCK;
	case FMR_OWN_FREE:
		return RMAPFS_OWNER_FREE;
	case FMR_OWN_UNKNOWN:
		return RMAPFS_OWNER_UNKNOWN;
	default:
		return RMAPFS_OWNER_METADATA;
	}
}

static void convert(const struct answer *answer, const struct rmapfs_fsmap_record *record, struct fsmap *out)
{
	bool special = record->owner >= RMAPFS_OWNER_FREE;

	*out = (struct fsmap){
		.fmr_device = answer->device,
		.fmr_physical = record->physical,
		.fmr_owner = special ? special_owner(record) : record->owner,
		.fmr_offset = record->file_offset,
		.fmr_length = record->length,
		.fmr_flags = (special ? FMR_OF_SPECIAL_OWNER : 0) |
			     ((record->flags & RMAPFS_FSMAP_SHARED) != 0 ? FMR_OF_SHARED : 0) |
			     ((record->flags & RMAPFS_FSMAP_UNWRITTEN) != 0 ? FMR_OF_PREALLOC : 0) |
			     ((record->flags & RMAPFS_FSMAP_ATTR_FORK) != 0 ? FMR_OF_ATTR_FORK : 0),
	};
}

/* Returns 1 when there is room for no more. */
static int emit(struct answer *answer, const struct rmapfs_fsmap_record *record)
{
	struct fsmap out;

	if (answer->room > 0 && answer->entries == answer->room)
		return 1;
	answer->entries++;
	if (answer->room == 0)
		return 0;
	convert(answer, record, &out);
	return array_add(&answer->records, &out, sizeof(out));
}

static int walk(const struct file *file, const struct fsmap *keys, struct answer *answer)
{
	struct rmapfs_fsmap page = { .physical = 0 };
	struct fsmap *last;
	int stop = 0;

	/* A low key with a length is the last record of the page before. */
	if (keys[0].fmr_length > 0) {
		page.physical = keys[0].fmr_physical;
		page.owner = mount_owner(&keys[0]);
		page.file_offset = keys[0].fmr_offset;
	}
	do {
		if (ioctl(file->fd, RMAPFS_IOC_FSMAP, &page) != 0)
			return -errno;
		if (page.count > RMAPFS_FSMAP_MAX || (page.count == 0 && !page.last))
			return -EIO;
		for (uint32_t i = 0; i < page.count && stop == 0; i++) {
			const struct rmapfs_fsmap_record *record = &page.records[i];

			page.physical = record->physical;
			page.owner = record->owner;
			page.file_offset = record->file_offset;
			if (record->physical > keys[1].fmr_physical)
				page.last = 1;
			else if (record->physical + record->length > keys[0].fmr_physical)
				stop = emit(answer, record);
		}
	} while (!page.last && stop == 0);
	if (stop < 0)
		return stop;
	last = answer->records.last;
	if (stop == 0 && last != NULL)
		last->fmr_flags |= FMR_OF_LAST;
	return array_flush(&answer->records);
}

static bool is_zero(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < length; i++)
		if (at[i] != 0)
			return false;
	return true;
}

static bool is_device(const struct fsmap *key, uint32_t device)
{
	return key->fmr_device == 0 || key->fmr_device == UINT32_MAX || key->fmr_device == device;
}

/* As the kernel encodes a dev_t in a u32. */
static uint32_t encode(dev_t device)
{
	return (uint32_t)((minor(device) & 0xff) | (major(device) << 8) | ((minor(device) & ~0xffU) << 12));
}

/* A device that is named by the number that stat(2) gives for the mount's files. */
static void rename_device(struct fsmap *key, const struct file *file, uint32_t device)
{
	if (key->fmr_device == encode(file->stat.st_dev))
		key->fmr_device = device;
}

static int check(const struct fsmap_head *head, uint32_t device)
{
	const struct fsmap *low = &head->fmh_keys[0], *high = &head->fmh_keys[1];

	if (!is_zero(head->fmh_reserved, sizeof(head->fmh_reserved)) ||
	    !is_zero(low->fmr_reserved, sizeof(low->fmr_reserved)) ||
	    !is_zero(high->fmr_reserved, sizeof(high->fmr_reserved)))
		return -EINVAL;
	if ((head->fmh_iflags & ~(uint32_t)FMH_IF_VALID) != 0)
		return -EINVAL;
	if (!is_device(low, device) || !is_device(high, device))
		return -EINVAL;
	return low->fmr_device > high->fmr_device || low->fmr_physical > high->fmr_physical ? -EINVAL : 0;
}

int serve_fsmap(const struct target *target, const struct file *file, uint64_t argument)
{
	struct answer answer = { .records = { .target = target, .address = argument + sizeof(struct fsmap_head) } };
	struct fsmap_head head;
	int error = target_read(target, argument, &head, sizeof(head));

	if (error != 0)
		return error;
	answer.device = encode(region_device(file->stat.st_dev));
	rename_device(&head.fmh_keys[0], file, answer.device);
	rename_device(&head.fmh_keys[1], file, answer.device);
	answer.room = head.fmh_count;
	error = check(&head, answer.device);
	/* A high key below the only device there is: nothing. */
	if (error == 0 && head.fmh_keys[1].fmr_device >= answer.device)
		error = walk(file, head.fmh_keys, &answer);
	if (error != 0)
		return error;
	head.fmh_oflags = FMH_OF_DEV_T;
	head.fmh_entries = answer.entries;
	return target_write(target, argument, &head, sizeof(head));
}
