/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsmap.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#define COMPAT_ARCH AUDIT_ARCH_I386
#define COMPAT_IOCTL 54
#define COMPAT_FALLOCATE 324
/* x32 has the native arch and numbers of its own. */
#define X32_IOCTL (0x40000000 + 514)
#define X32_FALLOCATE (0x40000000 + 285)
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#define COMPAT_ARCH AUDIT_ARCH_ARM
#define COMPAT_IOCTL 54
#define COMPAT_FALLOCATE 352
#else
#error "rmapfs-exec knows x86-64 and arm64 only"
#endif

#ifndef FS_IOC_FIEMAP
#define FS_IOC_FIEMAP _IOWR('f', 11, struct fiemap)
#endif

#define FIELD(name) ((uint32_t)offsetof(struct seccomp_data, name))
/* The low half of an argument: both calls take 32 bits there. Little-endian machines only, as rmapfs.h. */
#define ARGUMENT(n) ((uint32_t)(offsetof(struct seccomp_data, args) + (n) * sizeof(__u64)))

#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (at))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define IF_ANY_BIT(bits, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), (yes), (no))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))

#define FALLOCATE_MODES (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE)

/* Five requests: `then` answers them, ALLOW all others. */
#define IOCTL_BLOCK(then) \
	LOAD(ARGUMENT(1)), IF_EQUAL((uint32_t)FICLONE, 5, 0), IF_EQUAL((uint32_t)FICLONERANGE, 4, 0), \
		IF_EQUAL((uint32_t)FIDEDUPERANGE, 3, 0), IF_EQUAL((uint32_t)FS_IOC_FIEMAP, 2, 0), \
		IF_EQUAL((uint32_t)FS_IOC_GETFSMAP, 1, 0), ANSWER(SECCOMP_RET_ALLOW), ANSWER(then)
#define FALLOCATE_BLOCK(then) \
	LOAD(ARGUMENT(1)), IF_ANY_BIT(FALLOCATE_MODES, 1, 0), ANSWER(SECCOMP_RET_ALLOW), ANSWER(then)
#define IOCTL_LENGTH 8
#define FALLOCATE_LENGTH 4

#define CALLS_LENGTH (1 + IOCTL_LENGTH + 1 + FALLOCATE_LENGTH)
/* What is jumped over where the arch is another one: the load, the native calls, those of x32, the answer. */
#ifdef X32_IOCTL
#define NATIVE_LENGTH (1 + 2 * CALLS_LENGTH + 1)
#else
#define NATIVE_LENGTH (1 + CALLS_LENGTH + 1)
#endif

/* Callers with 32-bit records: refused, because their records look different. */
#define REFUSE (SECCOMP_RET_ERRNO | ENOSYS)

static struct sock_filter program[] = {
	LOAD(FIELD(arch)),
	IF_EQUAL(NATIVE_ARCH, 0, NATIVE_LENGTH),
	LOAD(FIELD(nr)),
	IF_EQUAL(__NR_ioctl, 0, IOCTL_LENGTH),
	IOCTL_BLOCK(SECCOMP_RET_USER_NOTIF),
	IF_EQUAL(__NR_fallocate, 0, FALLOCATE_LENGTH),
	FALLOCATE_BLOCK(SECCOMP_RET_USER_NOTIF),
#ifdef X32_IOCTL
	IF_EQUAL(X32_IOCTL, 0, IOCTL_LENGTH),
	IOCTL_BLOCK(REFUSE),
	IF_EQUAL(X32_FALLOCATE, 0, FALLOCATE_LENGTH),
	FALLOCATE_BLOCK(REFUSE),
#endif
	ANSWER(SECCOMP_RET_ALLOW),
	/* Here the arch is not the native one, and is still loaded. */
	IF_EQUAL(COMPAT_ARCH, 1, 0),
	ANSWER(SECCOMP_RET_ALLOW),
	LOAD(FIELD(nr)),
	IF_EQUAL(COMPAT_IOCTL, 0, IOCTL_LENGTH),
	IOCTL_BLOCK(REFUSE),
	IF_EQUAL(COMPAT_FALLOCATE, 0, FALLOCATE_LENGTH),
	FALLOCATE_BLOCK(REFUSE),
	ANSWER(SECCOMP_RET_ALLOW),
};

/*
 * WAIT_KILLABLE_RECV (Linux 5.19): a call that the supervisor has begun is not interrupted by a signal, only
 * by the caller's death. Otherwise it would be made again afterwards, and a second collapse is another one.
 */
int install_filter(void)
{
	const unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	struct sock_fprog filter = { .len = sizeof(program) / sizeof(program[0]), .filter = program };
	long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);

	if (listener < 0 && errno == EACCES) {
		/* Without CAP_SYS_ADMIN the kernel wants set-user-ID programs to be without effect. */
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
			return -errno;
		listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
	}
	return listener < 0 ? -errno : (int)listener;
}
