/*
 * idmap DIR: binds DIR to DIR/at with a mapping of ids (mount_setattr(2)): 0 and up there look like 100000 and up.
 * Prints who owns a file of user 5 there, whom a file belongs to that user 100005 makes there, seen from below, and the
 * errno of a POISON by that user.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../native/rmapfs.h"
#include "json.h"

static void put(pid_t pid, const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) exit(3);
  close(fd);
}

/* A descriptor of a user namespace with that mapping. */
static int mapping(void) {
  int ready[2];
  char path[64], byte;
  if (pipe(ready)) exit(3);
  pid_t pid = fork();
  if (pid == 0) {
    if (unshare(CLONE_NEWUSER) || write(ready[1], "x", 1) != 1) _exit(3);
    for (;;) pause();
  }
  if (read(ready[0], &byte, 1) != 1) exit(3);
  put(pid, "uid_map", "0 100000 65536");
  put(pid, "gid_map", "0 100000 65536");
  snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
  int fd = open(path, O_RDONLY);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 2 || chdir(argv[1])) usage_error("count");
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)mapping()};
  struct stat seen, made;
  if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return 3;
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr)) {
    printf("{\"errno\":\"%s\"}\n", errno_name(errno));
    return 0;
  }
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, "at", MOVE_MOUNT_F_EMPTY_PATH)) return 3;
  if (stat("at/five", &seen)) return 3;
  pid_t user = fork();
  if (user == 0) {
    struct rmapfs_poison poison = {.length = 4096, .flags = RMAPFS_POISON_FILE};
    if (setgid(100005) || setuid(100005)) _exit(255);
    int fd = open("at/made", O_CREAT | O_RDWR, 0600);
    if (fd < 0) _exit(254);
    _exit(ioctl(fd, RMAPFS_IOC_POISON, &poison) ? errno : 0);
  }
  int status;
  if (waitpid(user, &status, 0) != user || stat("made", &made)) return 3;
  printf("{\"errno\":\"0\",\"seen\":%u,\"made\":%u,", seen.st_uid, made.st_uid);
  printf("\"poison\":\"%s\"}\n", errno_name(WEXITSTATUS(status)));
  return 0;
}
