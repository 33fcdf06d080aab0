/* SPDX-License-Identifier: MIT */
/* One call: who makes it, what it is, and its answer. */
#define _GNU_SOURCE
#include "exec.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsmap.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* The mount is asked in the name of the caller: su(1) below a supervisor of root is another user. */
static int dispatch_as(const struct target *target, const struct file *file, const struct seccomp_data *call)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int result;

	if (target->fsuid == uid && target->fsgid == gid)
		return dispatch(target, file, call);
	/* Raw calls: this thread only. They do not tell of a failure: the answer is the id before. */
	(void)syscall(SYS_setfsgid, target->fsgid);
	(void)syscall(SYS_setfsuid, target->fsuid);
	if ((uid_t)syscall(SYS_setfsuid, -1) == target->fsuid)
		result = dispatch(target, file, call);
	else
		result = LET_PASS;
	(void)syscall(SYS_setfsuid, uid);
	(void)syscall(SYS_setfsgid, gid);
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
