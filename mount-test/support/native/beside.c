/*
 * Calls beside a mount that hangs: beside HUNG HEALTHY TMPFS COUNT
 *
 * opens files in three directories, prints {"ready":true} and waits for a byte. Then COUNT processes insert a block
 * into HUNG/f, each of which is to wait; meanwhile the same calls are made on the other two, and from one to another.
 * Prints their answers, kills all but four of the processes, prints {"killed":n} when they are gone, and
 * {"inserted":n} when the others have ended. 3 where the preparation failed.
 *
 * The processes share their descriptors: the end of one that has its own would wait for the mount.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"

#define COUNT_MAX 64
#define LEFT 4

static int open_in(const char *dir, const char *name) {
  char path[4096], block[8192] = {1};
  snprintf(path, sizeof path, "%s/%s", dir, name);
  int fd = open(path, O_RDWR | O_CREAT, 0644);
  if (fd < 0 || pwrite(fd, block, sizeof block, 0) != sizeof block || fsync(fd)) {
    fprintf(stderr, "%s: %s\n", path, errno_name(errno));
    exit(3);
  }
  return fd;
}

static void say(const char *text) {
  printf("%s\n", text);
  fflush(stdout);
}

static void print_answer(const char *name, int result) {
  printf("\"%s\":\"%s\",", name, errno_name(result < 0 ? errno : 0));
}

static int fiemap(int fd) {
  struct fiemap map = {.fm_length = 1 << 20};
  return ioctl(fd, FS_IOC_FIEMAP, &map);
}

static int insert(int fd) { return fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096); }

static int dedupe(int src, int dst) {
  union {
    struct file_dedupe_range range;
    char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
  } u = {.range = {.src_length = 4096, .dest_count = 1}};
  u.range.info[0].dest_fd = dst;
  if (ioctl(src, FIDEDUPERANGE, &u)) return -1;
  errno = u.range.info[0].status < 0 ? -u.range.info[0].status : 0;
  return errno ? -1 : 0;
}

/* Threads of the supervisor, which is the parent of the command. */
static int threads_of(pid_t pid) {
  char path[64], line[256];
  int threads = -1;
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *status = fopen(path, "r");
  while (status && fgets(line, sizeof line, status)) sscanf(line, "Threads: %d", &threads);
  if (status) fclose(status);
  return threads;
}

static pid_t start_insert(int fd) {
  pid_t pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(insert(fd) ? 1 : 0);
  if (pid < 0) exit(3);
  return pid;
}

/* How many of them ended with status 0. */
static int await(const pid_t *pids, int from, int to) {
  int good = 0, status;
  for (int i = from; i < to; i++)
    if (waitpid(pids[i], &status, 0) == pids[i] && status == 0) good++;
  return good;
}

int main(int argc, char **argv) {
  pid_t pids[COUNT_MAX];
  int count = argc == 5 ? atoi(argv[4]) : 0;
  if (count <= LEFT || count > COUNT_MAX) usage_error("count");
  int hung = open_in(argv[1], "f"), tmpfs = open_in(argv[3], "f");
  int a = open_in(argv[2], "a"), b = open_in(argv[2], "b");
  say("{\"ready\":true}");
  char byte;
  if (read(STDIN_FILENO, &byte, 1) != 1) return 3;
  for (int i = 0; i < count; i++) pids[i] = start_insert(hung);
  /* For them to be received before what follows. */
  usleep(300000);
  printf("{");
  print_answer("tmpfsClone", ioctl(tmpfs, FICLONE, tmpfs));
  print_answer("tmpfsFiemap", fiemap(tmpfs));
  print_answer("tmpfsInsert", insert(tmpfs));
  print_answer("clone", ioctl(b, FICLONE, a));
  print_answer("fiemap", fiemap(a));
  print_answer("insert", insert(a));
  print_answer("cloneFromHung", ioctl(a, FICLONE, hung));
  print_answer("dedupeIntoHung", dedupe(b, hung));
  printf("\"threads\":%d}\n", threads_of(getppid()));
  fflush(stdout);
  for (int i = LEFT; i < count; i++) kill(pids[i], SIGKILL);
  await(pids, LEFT, count);
  printf("{\"killed\":%d}\n", count - LEFT);
  fflush(stdout);
  printf("{\"inserted\":%d}\n", await(pids, 0, LEFT));
  return 0;
}
