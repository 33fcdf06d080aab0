/*
 * System calls that Node has no function for, one a run:
 *
 *   sys SUBCOMMAND ARGUMENT...
 *
 * prints {"ret": N, "errno": "0"|"ENOENT"|..., ...} and exits 0 whatever the call answered; 2 for wrong
 * arguments; 3 where the preparation (opening a file) failed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "json.h"

#define PAGE 4096

static void result(long long ret) {
  printf("{\"ret\":%lld,\"errno\":\"%s\"", ret, errno_name(ret < 0 ? errno : 0));
}

static void finish(void) { printf("}\n"); }

static int simple(long long ret) {
  result(ret);
  finish();
  return 0;
}

static int open_or_exit(const char *path, int flags) {
  int fd = open(path, flags, 0644);
  if (fd < 0) {
    fprintf(stderr, "open %s: %s\n", path, errno_name(errno));
    exit(3);
  }
  return fd;
}

static void *buffer_or_exit(size_t length) {
  void *buffer;
  if (length > (1u << 28) || posix_memalign(&buffer, PAGE, length + PAGE)) usage_error("length");
  return buffer;
}

/* SRC SRC_OFFSET DST DST_OFFSET LENGTH */
static int do_copy_file_range(char **a) {
  int in = open_or_exit(a[0], O_RDONLY), out = open_or_exit(a[2], O_RDWR | O_CREAT);
  off_t from = number(a[1]), to = number(a[3]);
  return simple(copy_file_range(in, &from, out, &to, number(a[4]), 0));
}

/* PATH MODE OFFSET LENGTH */
static int do_fallocate(char **a) {
  int fd = open_or_exit(a[0], O_RDWR);
  return simple(fallocate(fd, number(a[1]), number(a[2]), number(a[3])));
}

/* PATH data|hole OFFSET */
static int do_seek(char **a) {
  int fd = open_or_exit(a[0], O_RDONLY);
  return simple(lseek(fd, number(a[2]), strcmp(a[1], "data") ? SEEK_HOLE : SEEK_DATA));
}

/* PATH: every data segment as [start, end) */
static int do_segments(char **a) {
  int fd = open_or_exit(a[0], O_RDONLY);
  off_t at = 0;
  printf("{\"ret\":0,\"segments\":[");
  for (int i = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0; i++) {
    off_t end = lseek(fd, at, SEEK_HOLE);
    printf("%s[%lld,%lld]", i ? "," : "", (long long)at, (long long)end);
    if (end <= at) break;
    at = end;
  }
  printf("],\"errno\":\"%s\"", errno_name(errno));
  finish();
  return 0;
}

static void print_time(const char *name, struct statx_timestamp t) {
  printf(",\"%s\":[%lld,%u]", name, (long long)t.tv_sec, t.tv_nsec);
}

/* PATH */
static int do_statx(char **a) {
  struct statx s;
  memset(&s, 0, sizeof s);
  int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC;
  int ret = statx(AT_FDCWD, a[0], flags, STATX_BASIC_STATS | STATX_BTIME, &s);
  result(ret);
  printf(",\"mask\":%u,\"mode\":%u,\"nlink\":%u,\"uid\":%u,\"gid\":%u,\"ino\":%llu", s.stx_mask, s.stx_mode,
         s.stx_nlink, s.stx_uid, s.stx_gid, (unsigned long long)s.stx_ino);
  printf(",\"size\":%llu,\"blocks\":%llu,\"blksize\":%u", (unsigned long long)s.stx_size,
         (unsigned long long)s.stx_blocks, s.stx_blksize);
  printf(",\"rdev\":[%u,%u]", s.stx_rdev_major, s.stx_rdev_minor);
  print_time("atime", s.stx_atime);
  print_time("mtime", s.stx_mtime);
  print_time("ctime", s.stx_ctime);
  print_time("btime", s.stx_btime);
  finish();
  return 0;
}

/* DIR NAME TEXT: writes TEXT to a file without a name, then links it; NAME "" leaves it without one */
static int do_tmpfile(char **a) {
  int fd = open(a[0], O_TMPFILE | O_RDWR, 0640);
  if (fd < 0) return simple(fd);
  char proc[64];
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  ssize_t wrote = write(fd, a[2], strlen(a[2]));
  struct stat before, after;
  fstat(fd, &before);
  int ret = *a[1] ? linkat(AT_FDCWD, proc, AT_FDCWD, a[1], AT_SYMLINK_FOLLOW) : 0;
  result(ret);
  fstat(fd, &after);
  printf(",\"wrote\":%zd,\"nlinkBefore\":%u,\"nlinkAfter\":%u", wrote, (unsigned)before.st_nlink,
         (unsigned)after.st_nlink);
  finish();
  return 0;
}

/* OLD NEW FLAGS */
static int do_renameat2(char **a) { return simple(renameat2(AT_FDCWD, a[0], AT_FDCWD, a[1], number(a[2]))); }

/* PATH shared|private OFFSET TEXT msync|nosync: stores TEXT through a mapping, reads it back with read(2) */
static int do_mmap_write(char **a) {
  int fd = open_or_exit(a[0], O_RDWR);
  off_t offset = number(a[2]), page = offset / PAGE * PAGE;
  size_t length = strlen(a[3]), span = offset - page + length;
  int kind = strcmp(a[1], "shared") ? MAP_PRIVATE : MAP_SHARED;
  char *map = mmap(NULL, span, PROT_READ | PROT_WRITE, kind, fd, page);
  if (map == MAP_FAILED) return simple(-1);
  memcpy(map + (offset - page), a[3], length);
  int ret = strcmp(a[4], "msync") ? 0 : msync(map, span, MS_SYNC);
  result(ret);
  unsigned char *back = buffer_or_exit(length);
  ssize_t got = pread(fd, back, length, offset);
  printf(",\"read\":");
  print_hex(back, got < 0 ? 0 : got);
  finish();
  return 0;
}

/* PATH OFFSET LENGTH: bytes through a shared mapping */
static int do_mmap_read(char **a) {
  int fd = open_or_exit(a[0], O_RDONLY);
  off_t offset = number(a[1]), page = offset / PAGE * PAGE;
  size_t length = number(a[2]), span = offset - page + length;
  unsigned char *map = mmap(NULL, span, PROT_READ, MAP_SHARED, fd, page);
  if (map == MAP_FAILED) return simple(-1);
  result(length);
  printf(",\"bytes\":");
  print_hex(map + (offset - page), length);
  finish();
  return 0;
}

/* PATH OFFSET LENGTH [open flags]: pread; the first 64 bytes are printed */
static int do_pread(char **a, int flags) {
  int fd = open_or_exit(a[0], O_RDONLY | flags);
  size_t length = number(a[2]);
  unsigned char *buffer = buffer_or_exit(length);
  ssize_t got = pread(fd, buffer, length, number(a[1]));
  result(got);
  printf(",\"bytes\":");
  print_hex(buffer, got < 0 ? 0 : got > 64 ? 64 : got);
  finish();
  return 0;
}

static int do_read(char **a) { return do_pread(a, 0); }
static int do_direct_read(char **a) { return do_pread(a, O_DIRECT); }

/* PATH OFFSET LENGTH BYTE */
static int do_pwrite(char **a, int flags) {
  int fd = open_or_exit(a[0], O_WRONLY | flags);
  size_t length = number(a[2]);
  unsigned char *buffer = buffer_or_exit(length);
  memset(buffer, number(a[3]), length);
  return simple(pwrite(fd, buffer, length, number(a[1])));
}

static int do_write(char **a) { return do_pwrite(a, 0); }
static int do_direct_write(char **a) { return do_pwrite(a, O_DIRECT); }
static int do_append(char **a) { return do_pwrite(a, O_APPEND); }

/* PATH PROCESSES COUNT: each process appends COUNT records of 16 bytes, all of them its own letter */
static int do_append_many(char **a) {
  long processes = number(a[1]), count = number(a[2]);
  for (long i = 0; i < processes; i++) {
    if (fork()) continue;
    int fd = open_or_exit(a[0], O_WRONLY | O_APPEND);
    char record[16];
    memset(record, 'a' + i, sizeof record);
    for (long n = 0; n < count; n++)
      if (write(fd, record, sizeof record) != sizeof record) _exit(1);
    _exit(0);
  }
  long failed = 0;
  for (int status; wait(&status) > 0;) failed += status != 0;
  return simple(failed ? -1 : processes * count);
}

/* What a program with one file open in three ways can see. */
struct views {
  int cached, direct;
  volatile unsigned char *map;
  unsigned char *block;
};

/* Whether the first byte of the second page is `byte` in every view. */
static int agrees(struct views *v, unsigned char byte) {
  unsigned char c;
  if (pread(v->direct, v->block, PAGE, PAGE) != PAGE || v->block[0] != byte) return 0;
  return pread(v->cached, &c, 1, PAGE) == 1 && c == byte && v->map[PAGE] == byte;
}

/* PATH: changes two pages by write, O_DIRECT, a mapping and punch; "step" is the last one all views agreed on */
static int do_coherent(char **a) {
  struct views v = {.cached = open_or_exit(a[0], O_RDWR | O_CREAT)};
  v.direct = open_or_exit(a[0], O_RDWR | O_DIRECT);
  v.block = buffer_or_exit(PAGE);
  if (ftruncate(v.cached, 2 * PAGE)) usage_error("ftruncate");
  v.map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, v.cached, 0);
  if (v.map == MAP_FAILED) return simple(-1);
  int step = 0, good = agrees(&v, 0);
  for (int round = 0; good && round < 20; round++, step++) {
    unsigned char byte = round + 1;
    memset(v.block, byte, PAGE);
    if (round % 4 == 0) good = pwrite(v.cached, v.block, 1, PAGE) == 1;
    if (round % 4 == 1) good = pwrite(v.direct, v.block, PAGE, PAGE) == PAGE;
    if (round % 4 == 2) v.map[PAGE] = byte;
    if (round % 4 == 3) good = fallocate(v.cached, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE) == 0;
    good = good && agrees(&v, round % 4 == 3 ? 0 : byte);
  }
  result(good ? 0 : -1);
  printf(",\"step\":%d", step);
  finish();
  return 0;
}

/* PATH FLAGS MODE */
static int do_open(char **a) { return simple(open(a[0], number(a[1]), number(a[2]))); }

/* PATH NAME VALUE FLAGS */
static int do_setxattr(char **a) {
  return simple(lsetxattr(a[0], a[1], a[2], strlen(a[2]), number(a[3])));
}

/* PATH NAME LENGTH: a value of LENGTH bytes 'v' */
static int do_setxattr_long(char **a) {
  size_t length = number(a[2]);
  char *value = buffer_or_exit(length);
  memset(value, 'v', length);
  return simple(lsetxattr(a[0], a[1], value, length, 0));
}

/* PATH NAME SIZE: SIZE is the buffer's, 0 asks for the length */
static int do_getxattr(char **a) {
  size_t size = number(a[2]);
  unsigned char *value = buffer_or_exit(size);
  ssize_t got = lgetxattr(a[0], a[1], value, size);
  result(got);
  printf(",\"bytes\":");
  print_hex(value, got < 0 || size == 0 ? 0 : got);
  finish();
  return 0;
}

/* PATH SIZE */
static int do_listxattr(char **a) {
  size_t size = number(a[1]);
  unsigned char *names = buffer_or_exit(size);
  ssize_t got = llistxattr(a[0], (char *)names, size);
  result(got);
  printf(",\"bytes\":");
  print_hex(names, got < 0 || size == 0 ? 0 : got);
  finish();
  return 0;
}

/* PATH NAME */
static int do_removexattr(char **a) { return simple(lremovexattr(a[0], a[1])); }

/* PATH MODE MAJOR MINOR */
static int do_mknod(char **a) {
  return simple(mknod(a[0], number(a[1]), makedev(number(a[2]), number(a[3]))));
}

/* PATH ATIME_SEC ATIME_NSEC MTIME_SEC MTIME_NSEC: nsec "now" and "omit" as in utimensat(2) */
static int do_utimens(char **a) {
  struct timespec times[2];
  for (int i = 0; i < 2; i++) {
    const char *nsec = a[2 + 2 * i];
    times[i].tv_sec = number(a[1 + 2 * i]);
    times[i].tv_nsec = !strcmp(nsec, "now") ? UTIME_NOW : !strcmp(nsec, "omit") ? UTIME_OMIT : number(nsec);
  }
  return simple(utimensat(AT_FDCWD, a[0], times, AT_SYMLINK_NOFOLLOW));
}

/* PATH */
static int do_statvfs(char **a) {
  struct statvfs s;
  memset(&s, 0, sizeof s);
  result(statvfs(a[0], &s));
  printf(",\"frsize\":%lu,\"blocks\":%llu,\"free\":%llu,\"available\":%llu,\"files\":%llu,\"filesFree\":%llu",
         s.f_frsize, (unsigned long long)s.f_blocks, (unsigned long long)s.f_bfree, (unsigned long long)s.f_bavail,
         (unsigned long long)s.f_files, (unsigned long long)s.f_ffree);
  printf(",\"namemax\":%lu", s.f_namemax);
  finish();
  return 0;
}

/* Reads the whole directory. names may be NULL; cookies[i] is telldir before entry i. */
static long list(DIR *dir, char (*names)[256], long *cookies, long max) {
  long count = 0;
  for (;;) {
    long cookie = telldir(dir);
    errno = 0;
    struct dirent *entry = readdir(dir);
    if (!entry || count == max) return errno ? -1 : count;
    snprintf(names[count], 256, "%s", entry->d_name);
    cookies[count++] = cookie;
  }
}

/* PATH MAX EVERY: lists, then seeks back to each EVERY-th cookie and compares the entry found there */
static int do_telldir(char **a) {
  long max = number(a[1]), every = number(a[2]), wrong = 0, tried = 0;
  DIR *dir = opendir(a[0]);
  if (!dir) return simple(-1);
  char(*names)[256] = calloc(max, 256);
  long *cookies = calloc(max, sizeof *cookies);
  if (!names || !cookies) usage_error(a[1]);
  long count = list(dir, names, cookies, max);
  for (long i = count - 1; i >= 0; i -= every, tried++) {
    seekdir(dir, cookies[i]);
    struct dirent *entry = readdir(dir);
    if (!entry || strcmp(entry->d_name, names[i])) wrong++;
  }
  result(count);
  printf(",\"tried\":%ld,\"wrong\":%ld", tried, wrong);
  finish();
  return 0;
}

/* PATH NTH: the cookie before the NTH entry, and the entry's name */
static int do_cookie(char **a) {
  DIR *dir = opendir(a[0]);
  if (!dir) return simple(-1);
  for (long i = number(a[1]); i > 0; i--) readdir(dir);
  long cookie = telldir(dir);
  struct dirent *entry = readdir(dir);
  result(0);
  printf(",\"cookie\":\"%ld\",\"name\":\"%s\"", cookie, entry ? entry->d_name : "");
  finish();
  return 0;
}

/* PATH COOKIE: the name of the entry after the cookie */
static int do_entry_at(char **a) {
  DIR *dir = opendir(a[0]);
  if (!dir) return simple(-1);
  seekdir(dir, number(a[1]));
  struct dirent *entry = readdir(dir);
  result(0);
  printf(",\"name\":\"%s\"", entry ? entry->d_name : "");
  finish();
  return 0;
}

/* Makes and removes names in a directory until it is killed. */
static void churn(int dir) {
  char name[32];
  for (long i = 0;; i++) {
    snprintf(name, sizeof name, "churn%ld", i % 500);
    if (unlinkat(dir, name, 0)) close(openat(dir, name, O_CREAT | O_WRONLY, 0644));
  }
}

/* PATH COUNT ROUNDS: lists while another process changes the directory; each name keepN must be there once */
static int do_list_churning(char **a) {
  long count = number(a[1]), wrong = 0;
  char name[32];
  int dir = open_or_exit(a[0], O_RDONLY | O_DIRECTORY);
  for (long i = 0; i < count; i++) {
    snprintf(name, sizeof name, "keep%ld", i);
    close(openat(dir, name, O_CREAT | O_WRONLY, 0644));
  }
  pid_t child = fork();
  if (child == 0) churn(dir);
  unsigned char *seen = calloc(count, 1);
  for (long round = number(a[2]); round > 0; round--) {
    DIR *list = opendir(a[0]);
    memset(seen, 0, count);
    for (struct dirent *e; (e = readdir(list));)
      if (!strncmp(e->d_name, "keep", 4)) seen[atol(e->d_name + 4)]++;
    for (long i = 0; i < count; i++) wrong += seen[i] != 1;
    closedir(list);
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return simple(wrong ? -1 : count);
}

/* PATH shared|private: a mapping of its first page with MAP_SYNC, by MAP_SHARED_VALIDATE or by MAP_PRIVATE */
static int do_map_sync(char **a) {
  int fd = open_or_exit(a[0], O_RDWR);
  int type = strcmp(a[1], "private") ? MAP_SHARED_VALIDATE : MAP_PRIVATE;
  void *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, type | MAP_SYNC, fd, 0);
  return simple(map == MAP_FAILED ? -1 : 0);
}

/* PATH: opens, unlinks, writes and reads through the descriptor */
static int do_unlinked_io(char **a) {
  int fd = open_or_exit(a[0], O_RDWR | O_CREAT);
  char back[8] = {0};
  struct stat s;
  int removed = unlink(a[0]);
  ssize_t wrote = pwrite(fd, "unlinked", 8, 0), got = pread(fd, back, 8, 0);
  int stated = fstat(fd, &s);
  result(removed || stated ? -1 : got);
  printf(",\"wrote\":%zd,\"nlink\":%u,\"same\":%s", wrote, (unsigned)s.st_nlink,
         memcmp(back, "unlinked", 8) ? "false" : "true");
  finish();
  return 0;
}

/* PATH PREFIX COUNT: creates COUNT empty files DIR/PREFIXnnnnnn */
static int do_create_many(char **a) {
  int dir = open_or_exit(a[0], O_RDONLY | O_DIRECTORY);
  long count = number(a[2]), made = 0;
  for (; made < count; made++) {
    char name[300];
    snprintf(name, sizeof name, "%s%06ld", a[1], made);
    int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0) break;
    close(fd);
  }
  return simple(made == count ? made : -1);
}

static const struct {
  const char *name;
  int arguments;
  int (*run)(char **);
} commands[] = {
    {"copy_file_range", 5, do_copy_file_range},
    {"fallocate", 4, do_fallocate},
    {"seek", 3, do_seek},
    {"segments", 1, do_segments},
    {"statx", 1, do_statx},
    {"tmpfile", 3, do_tmpfile},
    {"renameat2", 3, do_renameat2},
    {"mmap_write", 5, do_mmap_write},
    {"mmap_read", 3, do_mmap_read},
    {"read", 3, do_read},
    {"direct_read", 3, do_direct_read},
    {"write", 4, do_write},
    {"direct_write", 4, do_direct_write},
    {"append", 4, do_append},
    {"append_many", 3, do_append_many},
    {"coherent", 1, do_coherent},
    {"open", 3, do_open},
    {"setxattr", 4, do_setxattr},
    {"setxattr_long", 3, do_setxattr_long},
    {"getxattr", 3, do_getxattr},
    {"listxattr", 2, do_listxattr},
    {"removexattr", 2, do_removexattr},
    {"mknod", 4, do_mknod},
    {"utimens", 5, do_utimens},
    {"statvfs", 1, do_statvfs},
    {"telldir", 3, do_telldir},
    {"cookie", 2, do_cookie},
    {"entry_at", 2, do_entry_at},
    {"list_churning", 3, do_list_churning},
    {"unlinked_io", 1, do_unlinked_io},
    {"map_sync", 2, do_map_sync},
    {"create_many", 3, do_create_many},
};

int main(int argc, char **argv) {
  for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
    if (!strcmp(argv[1], commands[i].name)) {
      if (argc - 2 != commands[i].arguments) usage_error(argv[1]);
      return commands[i].run(argv + 2);
    }
  usage_error(argc > 1 ? argv[1] : "no subcommand");
}
