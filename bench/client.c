/*
 * The client of the benchmark: the same calls on any mount.
 *
 *   client getattr FILE COUNT    statx(AT_STATX_FORCE_SYNC) of the open file: a GETATTR or STATX each
 *   client read FILE COUNT       pread of 4096 bytes with O_DIRECT, at changing places: a READ each
 *   client clone SOURCE TARGET   one copy_file_range of the whole source into a new file
 *
 * prints nanoseconds: per call for the first two, of the whole for the third.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static int open_or_die(const char *path, int flags) {
  int fd = open(path, flags, 0644);
  if (fd < 0) die(path);
  return fd;
}

static double getattr(const char *path, long count) {
  int fd = open_or_die(path, O_RDONLY);
  struct statx s;
  double start = now();
  for (long i = 0; i < count; i++)
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &s)) die("statx");
  return (now() - start) / count;
}

static double read_pages(const char *path, long count) {
  int fd = open_or_die(path, O_RDONLY | O_DIRECT);
  long pages = lseek(fd, 0, SEEK_END) / PAGE;
  void *buffer;
  if (pages == 0 || posix_memalign(&buffer, PAGE, PAGE)) die("read");
  double start = now();
  for (long i = 0; i < count; i++)
    if (pread(fd, buffer, PAGE, i * 7919 % pages * PAGE) != PAGE) die("pread");
  return (now() - start) / count;
}

static double clone_file(const char *from, const char *to) {
  int in = open_or_die(from, O_RDONLY), out = open_or_die(to, O_WRONLY | O_CREAT | O_EXCL);
  off_t left = lseek(in, 0, SEEK_END), at = 0, to_at = 0;
  double start = now();
  while (left > 0) {
    ssize_t done = copy_file_range(in, &at, out, &to_at, left, 0);
    if (done <= 0) die("copy_file_range");
    left -= done;
  }
  return now() - start;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: client getattr|read FILE COUNT, client clone SOURCE TARGET\n");
    return 2;
  }
  if (!strcmp(argv[1], "getattr")) printf("%.0f\n", getattr(argv[2], atol(argv[3])));
  else if (!strcmp(argv[1], "read")) printf("%.0f\n", read_pages(argv[2], atol(argv[3])));
  else if (!strcmp(argv[1], "clone")) printf("%.0f\n", clone_file(argv[2], argv[3]));
  else return 2;
  return 0;
}
