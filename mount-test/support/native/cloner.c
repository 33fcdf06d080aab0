/*
 * Callers of FICLONE that are no ordinary tool:
 *
 *   cloner threads SRC DST COUNT   COUNT threads clone SRC to DST.0, DST.1, ... twenty times each
 *   cloner mapped SRC DST          stores to a mapping of SRC, clones it, prints the byte in DST
 *   cloner compat SRC DST          FICLONE and TCGETS by the 32-bit system call: prints their errnos
 *   cloner limit SRC DST BYTES     FICLONERANGE of 4096 bytes to 8192, under RLIMIT_FSIZE; the same to an immutable
 *                                  file; then FIDEDUPERANGE of 12288 bytes at 8192 in both
 *
 * prints one JSON object; 3 where the preparation failed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "json.h"

static const char *src_path, *dst_path;

static int open_or_exit(const char *path, int flags) {
  int fd = open(path, flags, 0644);
  if (fd >= 0) return fd;
  fprintf(stderr, "%s: %s\n", path, errno_name(errno));
  exit(3);
}

static void *clone_often(void *index) {
  char path[4096];
  long failed = 0;
  int src = open_or_exit(src_path, O_RDONLY);
  snprintf(path, sizeof path, "%s.%ld", dst_path, (long)index);
  for (int i = 0; i < 20; i++) {
    int dst = open_or_exit(path, O_RDWR | O_CREAT | O_TRUNC);
    if (ioctl(dst, FICLONE, src)) failed++;
    close(dst);
  }
  close(src);
  return (void *)failed;
}

static int threads(long count) {
  pthread_t ids[64];
  long failed = 0;
  if (count < 1 || count > 64) usage_error("threads");
  for (long i = 0; i < count; i++)
    if (pthread_create(&ids[i], NULL, clone_often, (void *)i)) return 3;
  for (long i = 0; i < count; i++) {
    void *result;
    pthread_join(ids[i], &result);
    failed += (long)result;
  }
  printf("{\"failed\":%ld}\n", failed);
  return 0;
}

static int mapped(int src, int dst) {
  char byte = 0;
  char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, src, 0);
  if (map == MAP_FAILED) return 3;
  map[5] = 'M';
  int result = ioctl(dst, FICLONE, src);
  if (pread(dst, &byte, 1, 5) != 1) return 3;
  map[5] = 'N';
  printf("{\"errno\":\"%s\",\"byte\":\"%c\"}\n", errno_name(result ? errno : 0), byte);
  return 0;
}

/* A kernel that is built without 32-bit system calls, or runs elsewhere, has none that could go by the filter. */
static int no_compat(void) {
  printf("{\"clone\":\"ENOSYS\",\"other\":\"ENOTTY\"}\n");
  return 0;
}

static sigjmp_buf no_int80;
static void on_sigsegv(int signal) { siglongjmp(no_int80, signal); }

static int compat(int src, int dst) {
#ifdef __x86_64__
  long clone, other;
  signal(SIGSEGV, on_sigsegv);
  if (sigsetjmp(no_int80, 1)) return no_compat();
  __asm__ volatile("int $0x80" : "=a"(clone) : "a"(54), "b"(dst), "c"(FICLONE), "d"(src) : "memory");
  __asm__ volatile("int $0x80" : "=a"(other) : "a"(54), "b"(dst), "c"(0x5401), "d"(0) : "memory");
  printf("{\"clone\":\"%s\"", errno_name(-(int)clone));
  printf(",\"other\":\"%s\"}\n", errno_name(-(int)other));
#else
  (void)src, (void)dst, (void)on_sigsegv;
  return no_compat();
#endif
  return 0;
}

static void print_dedupe(int src, int dst) {
  union {
    struct file_dedupe_range range;
    char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
  } u = {.range = {.src_offset = 8192, .src_length = 12288, .dest_count = 1}};
  u.range.info[0].dest_fd = dst;
  u.range.info[0].dest_offset = 8192;
  if (ioctl(src, FIDEDUPERANGE, &u)) {
    printf("\"%s\"", errno_name(errno));
    return;
  }
  int status = u.range.info[0].status;
  if (status < 0) printf("\"%s\"", errno_name(-status));
  else printf("[%d,%llu]", status, (unsigned long long)u.range.info[0].bytes_deduped);
}

/* The dedupe comes first: a clone makes the files equal where it may. */
static int limited(int src, int dst, long bytes) {
  struct rlimit limit = {bytes, bytes};
  struct file_clone_range range = {src, 0, 4096, 8192};
  int immutable = FS_IMMUTABLE_FL, none = 0;
  signal(SIGXFSZ, SIG_IGN);
  if (setrlimit(RLIMIT_FSIZE, &limit)) return 3;
  printf("{\"dedupe\":");
  print_dedupe(src, dst);
  if (ioctl(dst, FS_IOC_SETFLAGS, &immutable)) return 3;
  int fixed = ioctl(dst, FICLONERANGE, &range);
  printf(",\"immutable\":\"%s\",\"immutableDedupe\":", errno_name(fixed ? errno : 0));
  print_dedupe(src, dst);
  if (ioctl(dst, FS_IOC_SETFLAGS, &none)) return 3;
  int result = ioctl(dst, FICLONERANGE, &range);
  printf(",\"clone\":\"%s\"}\n", errno_name(result ? errno : 0));
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 4) usage_error("count");
  src_path = argv[2];
  dst_path = argv[3];
  if (!strcmp(argv[1], "threads") && argc == 5) return threads(strtol(argv[4], NULL, 10));
  int src = open_or_exit(src_path, O_RDWR), dst = open_or_exit(dst_path, O_RDWR | O_CREAT);
  if (!strcmp(argv[1], "mapped")) return mapped(src, dst);
  if (!strcmp(argv[1], "compat")) return compat(src, dst);
  if (!strcmp(argv[1], "limit") && argc == 5) return limited(src, dst, strtol(argv[4], NULL, 10));
  usage_error(argv[1]);
}
