/*
 * The two ends of a memory failure, with the time of CLOCK_MONOTONIC in nanoseconds:
 *
 *   failure poison FILE OFFSET    makes the block at OFFSET of FILE fail and reads the report; prints when it began,
 *                                 when the ioctl was answered, when the report was read, and the counts of owners and
 *                                 victims; then takes the poison away
 *   failure victim FILE OFFSET    maps and reads the block, prints "ready", and when SIGBUS comes, the time
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../native/rmapfs.h"

#define BLOCK 4096

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static long long read_report(int fd, __u64 id) {
  static struct rmapfs_report page;
  memset(&page, 0, sizeof page);
  page.kind = RMAPFS_REPORT_POISON;
  page.id = id;
  do {
    if (ioctl(fd, RMAPFS_IOC_REPORT, &page)) fail("report");
    page.offset += page.count;
  } while (page.offset < page.total);
  return page.total;
}

static int poison(int fd, __u64 offset) {
  struct rmapfs_poison failed = {.offset = offset, .length = BLOCK, .flags = RMAPFS_POISON_FILE};
  struct rmapfs_unpoison healed = {.offset = offset, .length = BLOCK, .flags = RMAPFS_POISON_FILE};
  long long began = now();
  if (ioctl(fd, RMAPFS_IOC_POISON, &failed)) fail("poison");
  long long answered = now();
  long long bytes = read_report(fd, failed.report);
  printf("%lld %lld %lld %u %u %lld\n", began, answered, now(), failed.owners, failed.victims, bytes);
  if (ioctl(fd, RMAPFS_IOC_UNPOISON, &healed)) fail("unpoison");
  return 0;
}

static void on_sigbus(int signal) {
  (void)signal;
  char line[32];
  int length = snprintf(line, sizeof line, "%lld\n", now());
  _exit(write(STDOUT_FILENO, line, length) == length ? 0 : 1);
}

static int wait_for_sigbus(int fd, off_t offset) {
  signal(SIGBUS, on_sigbus);
  volatile unsigned char *page = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, offset);
  if (page == MAP_FAILED) fail("mmap");
  (void)*page;
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
  for (;;) pause();
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int fd = open(argv[2], O_RDONLY);
  if (fd < 0) fail(argv[2]);
  long long offset = atoll(argv[3]);
  return strcmp(argv[1], "poison") == 0 ? poison(fd, offset) : wait_for_sigbus(fd, offset);
}
