/* SPDX-License-Identifier: MIT */
/* One call: who makes it, what it is, and its answer. */
#define _GNU_SOURCE
#include "exec.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsmap.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Supplementary groups of a caller that are looked at. */
#define GROUPS_MAX 2048

static int dispatch(const struct target *target, const struct file *file, const struct seccomp_data *call)
{
	const __u64 *args = call->args;

	if (call->nr == __NR_fallocate)
		return serve_fallocate(target, file, (uint32_t)args[1], (int64_t)args[2], (int64_t)args[3]);
	switch ((uint32_t)args[1]) {
	case FICLONE:
		return serve_clone(target, file, (int)args[2]);
	case FICLONERANGE:
		return serve_clone_range(target, file, args[2]);
	case FIDEDUPERANGE:
		return serve_dedupe(target, file, args[2]);
	case FS_IOC_FIEMAP:
		return serve_fiemap(target, file, args[2]);
	case FS_IOC_GETFSMAP:
		return serve_fsmap(target, file, args[2]);
	default:
		return LET_PASS;
	}
}

/* Raw calls: this thread only. */
static int set_groups(const gid_t *groups, int count)
{
	return (int)syscall(SYS_setgroups, (size_t)count, groups);
}

static int dispatch_with_ids(const struct target *target, const struct file *file, const struct seccomp_data *call)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int result = LET_PASS;

	/* They do not tell of a failure: the answer is the id before. */
	(void)syscall(SYS_setfsgid, target->fsgid);
	(void)syscall(SYS_setfsuid, target->fsuid);
	if ((uid_t)syscall(SYS_setfsuid, -1) == target->fsuid && (gid_t)syscall(SYS_setfsgid, -1) == target->fsgid)
		result = dispatch(target, file, call);
	(void)syscall(SYS_setfsuid, uid);
	(void)syscall(SYS_setfsgid, gid);
	return result;
}

/*
 * The mount is asked in the name of the caller, with its groups: su(1) below a supervisor of root is another user, and
 * set-group-ID of a file stays for members of its group.
 */
static int dispatch_as(const struct target *target, const struct file *file, const struct seccomp_data *call)
{
	gid_t own[GROUPS_MAX], groups[GROUPS_MAX];
	int own_count = getgroups(GROUPS_MAX, own);
	int count = target_groups(target, groups, GROUPS_MAX);
	int result;

	if (own_count < 0 || count < 0)
		return LET_PASS;
	if (count == own_count && memcmp(groups, own, (size_t)count * sizeof(own[0])) == 0)
		return dispatch_with_ids(target, file, call);
	if (set_groups(groups, count) != 0)
		return LET_PASS;
	result = dispatch_with_ids(target, file, call);
	(void)set_groups(own, own_count);
	return result;
}

static int serve(struct target *target, int number, const struct seccomp_data *data)
{
	int result = LET_PASS;
	struct file file;

	if (file_open(target, number, &file) != 0)
		return LET_PASS;
	target->device = file.stat.st_dev;
	if (!file.is_foreign && file_on_rmapfs(&file))
		result = dispatch_as(target, &file, data);
	file_close(&file);
	return result;
}

int call_serve(const struct call *call)
{
	struct target target;
	int result;

	if (target_open(&target, call) != 0)
		return LET_PASS;
	result = serve(&target, (int)call->request.data.args[0], &call->request.data);
	target_close(&target);
	return result;
}

size_t call_bytes(size_t answer_bytes)
{
	size_t known = sizeof(struct seccomp_notif_resp);

	return sizeof(struct call) + (answer_bytes > known ? answer_bytes - known : 0);
}

bool call_valid(const struct call *call)
{
	uint64_t id = call->request.id;

	return ioctl(call->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

void call_answer(struct call *call, int result)
{
	call->answer.id = call->request.id;
	if (result == LET_PASS)
		call->answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else
		call->answer.error = result;
	/* ENOENT: the caller was killed meanwhile. */
	(void)ioctl(call->listener, SECCOMP_IOCTL_NOTIF_SEND, &call->answer);
}
