/* SPDX-License-Identifier: MIT */
/*
 * The control interface of rmapfs: ioctls on any regular file or directory of a mount.
 *
 * Little-endian machines only. Sizes and offsets are bytes. A field that is only answered may hold anything
 * in the request. A FUSE ioctl carries exactly sizeof(struct) bytes and no pointers: long answers come in
 * pages. docs/CONTROL.md tells what each one does, who may, and its errors.
 */
#ifndef RMAPFS_H
#define RMAPFS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RMAPFS_IOC_TYPE 'R'
#define RMAPFS_TOKEN_BYTES 16
/* Bytes of a paged record. FUSE refuses ioctls of 16 KiB and more. */
#define RMAPFS_PAGE_BYTES 16128

/* Taken on the source's descriptor, shown on the destination's: the right to share the source's blocks. */
struct rmapfs_clone_token {
	__u8 token[RMAPFS_TOKEN_BYTES];
};

struct rmapfs_clone {
	__u8 token[RMAPFS_TOKEN_BYTES];
	__u64 src_offset;
	__u64 dst_offset;
	__u64 length; /* 0: to the source's end */
};

struct rmapfs_dedupe {
	__u8 token[RMAPFS_TOKEN_BYTES];
	__u64 src_offset;
	__u64 dst_offset;
	__u64 length;
	__u64 bytes_deduped; /* out */
	__s32 status;        /* out: 0 same, 1 differs, or a negative errno */
	__u32 pad;
};

#define RMAPFS_EXTENT_SHARED 1
#define RMAPFS_EXTENT_UNWRITTEN 2
#define RMAPFS_EXTENT_BAD 4
#define RMAPFS_EXTENT_LAST 8

struct rmapfs_extent {
	__u64 file_offset;
	__u64 physical;
	__u64 length;
	__u32 flags;
	__u32 pad;
};

#define RMAPFS_EXTENTS_MAX ((RMAPFS_PAGE_BYTES - 16) / sizeof(struct rmapfs_extent))

/* Extents of the open file. Start with cursor 0, go on with file_offset + length of the last record. */
struct rmapfs_extents {
	__u64 cursor; /* in: file offset to start at */
	__u32 count;  /* out */
	__u32 last;   /* out: 1 when nothing comes after these records */
	struct rmapfs_extent records[RMAPFS_EXTENTS_MAX];
	__u8 unused[RMAPFS_PAGE_BYTES - 16 - RMAPFS_EXTENTS_MAX * sizeof(struct rmapfs_extent)];
};

/* Owners that are no inode. */
#define RMAPFS_OWNER_SUPERBLOCK 0xffffffffu
#define RMAPFS_OWNER_METADATA 0xfffffffeu
#define RMAPFS_OWNER_UNKNOWN 0xfffffffdu
#define RMAPFS_OWNER_FREE 0xfffffffcu

#define RMAPFS_FSMAP_SHARED 1
#define RMAPFS_FSMAP_UNWRITTEN 2
#define RMAPFS_FSMAP_BAD 4
#define RMAPFS_FSMAP_ATTR_FORK 8

struct rmapfs_fsmap_record {
	__u64 physical;
	__u64 length;
	__u64 owner; /* inode number or RMAPFS_OWNER_* */
	__u64 file_offset;
	__u32 flags;
	__u32 detail; /* metadata: the tree's id, 0 for none; files: the share count */
};

#define RMAPFS_FSMAP_MAX ((RMAPFS_PAGE_BYTES - 32) / sizeof(struct rmapfs_fsmap_record))

/* The whole region in physical order, a shared extent once an owner. Start with zeros, go on with the three
 * fields of the last record. */
struct rmapfs_fsmap {
	__u64 physical;    /* in */
	__u64 owner;       /* in */
	__u64 file_offset; /* in */
	__u32 count;       /* out */
	__u32 last;        /* out */
	struct rmapfs_fsmap_record records[RMAPFS_FSMAP_MAX];
	__u8 unused[RMAPFS_PAGE_BYTES - 32 - RMAPFS_FSMAP_MAX * sizeof(struct rmapfs_fsmap_record)];
};

struct rmapfs_bad_range {
	__u64 physical;
	__u64 length;
	__u64 since;  /* seconds since 1970 */
	__u32 latent; /* 1: nobody has met it yet */
	__u32 pad;
};

#define RMAPFS_BADBLOCKS_MAX ((RMAPFS_PAGE_BYTES - 16) / sizeof(struct rmapfs_bad_range))

struct rmapfs_badblocks {
	__u64 cursor; /* in: physical offset to start at */
	__u32 count;  /* out */
	__u32 last;   /* out */
	struct rmapfs_bad_range records[RMAPFS_BADBLOCKS_MAX];
	__u8 unused[RMAPFS_PAGE_BYTES - 16 - RMAPFS_BADBLOCKS_MAX * sizeof(struct rmapfs_bad_range)];
};

#define RMAPFS_POISON_LATENT 1
#define RMAPFS_POISON_FILE 2 /* offset is an offset in the open file */

#define RMAPFS_POLICY_DEFAULT 0 /* as mounted */
#define RMAPFS_POLICY_EARLY 1
#define RMAPFS_POLICY_LATE 2
#define RMAPFS_POLICY_KILL 3
#define RMAPFS_POLICY_NOTIFY 4

/* Offset 0 with length 2^64-1 means the whole device. */
struct rmapfs_poison {
	__u64 offset;
	__u64 length;
	__u32 flags;
	__u32 policy;
	__u64 report;  /* out: id for RMAPFS_IOC_REPORT */
	__u32 owners;  /* out */
	__u32 victims; /* out */
};

struct rmapfs_unpoison {
	__u64 offset;
	__u64 length;
	__u32 flags; /* RMAPFS_POISON_FILE or 0 */
	__u32 pad;
	__u64 cleared; /* out: bytes that were bad and are not any more */
};

#define RMAPFS_REPORT_INFO 1
#define RMAPFS_REPORT_OWNERS 2 /* a: offset, b: length */
#define RMAPFS_REPORT_STATS 3
#define RMAPFS_REPORT_EVENTS 4
#define RMAPFS_REPORT_POISON 5 /* only by the id that RMAPFS_IOC_POISON answered */
#define RMAPFS_REPORT_FILE 6   /* a: inode number */

/* JSON documents. id 0 makes a new one and answers its first page; go on with its id and offset += count. */
struct rmapfs_report {
	__u64 kind;
	__u64 a;
	__u64 b;
	__u64 id;     /* in and out */
	__u64 offset; /* in */
	__u64 total;  /* out */
	__u32 count;  /* out: bytes in data */
	__u32 pad;
	char data[RMAPFS_PAGE_BYTES - 56];
};

/* FALLOC_FL_COLLAPSE_RANGE, INSERT_RANGE, UNSHARE_RANGE (also with KEEP_SIZE): FUSE has none of them. */
struct rmapfs_fallocate {
	__u32 mode;
	__u32 pad;
	__u64 offset;
	__u64 length;
};

#define RMAPFS_MCE_KILL_LATE 0
#define RMAPFS_MCE_KILL_EARLY 1
#define RMAPFS_MCE_KILL_DEFAULT 2

/* When the calling process wants to be told of failed memory: prctl(2) PR_MCE_KILL, which nobody can read. */
struct rmapfs_mce_kill {
	__u32 policy; /* RMAPFS_MCE_KILL_* */
	__u32 pad;
};

/* Failure events after the cursor, one JSON document a line. Start with 0; wait_ms 0 answers at once. */
struct rmapfs_events {
	__u64 cursor;  /* in and out */
	__u64 lost;    /* out: events after the old cursor that are not kept any more */
	__u32 wait_ms; /* in: how long to wait for the first one */
	__u32 count;   /* out: events */
	__u32 bytes;   /* out: bytes in data */
	__u32 pad;
	char data[RMAPFS_PAGE_BYTES - 32];
};

#define RMAPFS_SCRUB_RESTART 1 /* from the start of the region */

/* One step of a scrub. Where it goes on is the mount's; at region_size it is done. */
struct rmapfs_scrub {
	__u64 max_bytes; /* in: to read at most */
	__u32 flags;     /* in */
	__u32 pad;
	__u64 from;        /* out: the range that was read, up to position */
	__u64 position;    /* out */
	__u64 region_size; /* out */
	__u64 report;      /* out: id for RMAPFS_IOC_REPORT of a latent error that was found, or 0 */
	__u64 damaged;     /* out: id of a list of damaged metadata, or 0 */
};

/* Owners of a physical range, one JSON document a line. Start with a place of zeros, go on with the one that was
 * answered, until last is 1. Offset 0 with length 2^64-1 means the whole device. */
struct rmapfs_owners {
	__u64 offset;
	__u64 length;
	__u64 place[5]; /* in and out */
	__u64 report;   /* out: id for RMAPFS_IOC_REPORT of an owner too long for data, or 0 */
	__u32 count;    /* out: owners in data */
	__u32 bytes;    /* out: bytes in data */
	__u32 last;     /* out: 1 when nothing comes after these owners */
	__u32 pad;
	char data[RMAPFS_PAGE_BYTES - 80];
};

#define RMAPFS_IOC_CLONE_TOKEN _IOR(RMAPFS_IOC_TYPE, 1, struct rmapfs_clone_token)
#define RMAPFS_IOC_CLONE _IOW(RMAPFS_IOC_TYPE, 2, struct rmapfs_clone)
#define RMAPFS_IOC_DEDUPE _IOWR(RMAPFS_IOC_TYPE, 3, struct rmapfs_dedupe)
#define RMAPFS_IOC_EXTENTS _IOWR(RMAPFS_IOC_TYPE, 4, struct rmapfs_extents)
#define RMAPFS_IOC_FSMAP _IOWR(RMAPFS_IOC_TYPE, 5, struct rmapfs_fsmap)
#define RMAPFS_IOC_BADBLOCKS _IOWR(RMAPFS_IOC_TYPE, 6, struct rmapfs_badblocks)
#define RMAPFS_IOC_POISON _IOWR(RMAPFS_IOC_TYPE, 7, struct rmapfs_poison)
#define RMAPFS_IOC_UNPOISON _IOWR(RMAPFS_IOC_TYPE, 8, struct rmapfs_unpoison)
#define RMAPFS_IOC_REPORT _IOWR(RMAPFS_IOC_TYPE, 9, struct rmapfs_report)
#define RMAPFS_IOC_FALLOCATE _IOW(RMAPFS_IOC_TYPE, 10, struct rmapfs_fallocate)
#define RMAPFS_IOC_MCE_KILL _IOW(RMAPFS_IOC_TYPE, 24, struct rmapfs_mce_kill)
#define RMAPFS_IOC_SCRUB _IOWR(RMAPFS_IOC_TYPE, 16, struct rmapfs_scrub)
#define RMAPFS_IOC_EVENTS _IOWR(RMAPFS_IOC_TYPE, 17, struct rmapfs_events)
#define RMAPFS_IOC_OWNERS _IOWR(RMAPFS_IOC_TYPE, 18, struct rmapfs_owners)

#endif
