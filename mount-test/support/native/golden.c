/*
 * The calls of mount-test/golden/clone-dedupe-copy.json:
 *
 *   golden DIRECTORY OTHER
 *
 * makes each of them on fresh files in DIRECTORY (OTHER: a directory of another filesystem) and prints one
 * line a case: {"id": N, "ret": N, "errno": NAME, "status": N, "bytes_deduped": N}.
 *
 * A file is written as letters and a size: f file, t file of the other filesystem, d directory, p pipe,
 * n /dev/null, x no descriptor, s the source itself; r w a o opened read-only, write-only, to append, as a
 * path; y other bytes, h a hole, u unwritten, l unlinked, i immutable, m set-user-ID.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"

enum kind { CLONE, RANGE, STRANGER, DEDUPE, NOTHING, RESERVED, COPY, FLAGS };

struct call {
  int id;
  enum kind kind;
  const char *src, *dst;
  uint64_t from, to, length;
};

#define K 1024ull
#define B 4096ull
#define P63 (1ull << 63)

static const struct call calls[] = {
    {0, CLONE, "f65536", "f0", 0, 0, 0},
    {1, RANGE, "f65536", "f65536", 4 * B, 4 * B, 4 * B},
    {2, RANGE, "f65536", "f65536", 1, 0, B},
    {3, RANGE, "f65536", "f65536", 512, 0, B},
    {4, RANGE, "f65536", "f65536", 0, 1, B},
    {5, RANGE, "f65536", "f65536", 0, 512, B},
    {6, RANGE, "f65536", "f65536", 0, 0, 100},
    {7, RANGE, "f65536", "f65536", 0, 0, 6144},
    {8, RANGE, "f65536", "f65536", 0, 0, 1},
    {9, RANGE, "f65436", "f0", 0, 0, 65436},
    {11, RANGE, "f65436", "f131072", 0, 73728, 65436},
    {12, RANGE, "f65436", "f65436", 0, 0, 65436},
    {13, RANGE, "f65536", "f65536", 0, 0, 0},
    {14, RANGE, "f65536", "f65536", 4 * B, 4 * B, 0},
    {17, RANGE, "f65536", "f131072", 64 * K, 0, 0},
    {19, RANGE, "f65536", "f131072", 128 * K, 0, B},
    {21, RANGE, "f65536", "f131072", 60 * K, 0, 2 * B},
    {22, RANGE, "f65536", "f131072", 0, 200704, 64 * K},
    {23, RANGE, "f65536", "f5000", 0, 32768, B},
    {24, RANGE, "f65536", "s", 0, B, 2 * B},
    {25, RANGE, "f65536", "s", 0, 0, B},
    {26, RANGE, "f65536", "s", 0, B, B},
    {27, RANGE, "f65536", "s", 0, 128 * K, 4 * B},
    {29, RANGE, "f65536", "t0", 0, 0, B},
    {30, RANGE, "t65536", "f36864", 0, 0, B},
    {31, RANGE, "f65536", "fr266240", 0, 0, B},
    {32, RANGE, "f65536", "fw266240", 0, 0, B},
    {33, RANGE, "f65536", "fa266240", 0, 0, B},
    {34, RANGE, "f65536", "fo266240", 0, 0, B},
    {35, RANGE, "fw65536", "f36864", 0, 0, B},
    {36, RANGE, "fr65536", "f36864", 0, 0, B},
    {37, RANGE, "fa65536", "f36864", 0, 0, B},
    {38, RANGE, "d", "f36864", 0, 0, B},
    {39, RANGE, "f65536", "d", 0, 0, B},
    {40, RANGE, "p", "f36864", 0, 0, B},
    {41, RANGE, "f65536", "p", 0, 0, B},
    {42, RANGE, "n", "f36864", 0, 0, B},
    {43, RANGE, "f65536", "n", 0, 0, B},
    {44, RANGE, "x", "f36864", 0, 0, B},
    {45, RANGE, "f65536", "f36864", P63 - B, 0, 2 * B},
    {46, RANGE, "f65536", "f36864", -B, 0, B},
    {48, RANGE, "f65536", "f36864", 0, P63 - 2 * B, B},
    {49, RANGE, "f65536", "f36864", 0, P63 / 2, B},
    {52, RANGE, "f65536", "fi16384", 0, 0, B},
    {53, RANGE, "fi65536", "f36864", 0, 0, B},
    {55, RANGE, "fh65536", "f65536", 0, 0, 64 * K},
    {56, RANGE, "fu65536", "f65536", 0, 0, 64 * K},
    {57, RANGE, "fl65536", "f16384", 0, 0, 4 * B},
    {58, RANGE, "f65536", "fl65536", 0, 0, 4 * B},
    {59, RANGE, "f65536", "fm16384", 0, 0, 4 * B},
    {61, DEDUPE, "f65536", "f65536", 0, 0, 64 * K},
    {62, DEDUPE, "f65536", "fy65536", 0, 0, 64 * K},
    {64, DEDUPE, "f65536", "f65536", 1, 0, B},
    {65, DEDUPE, "f65536", "f65536", 0, 1, B},
    {66, DEDUPE, "f65536", "f65536", 0, 0, 100},
    {68, DEDUPE, "f65536", "f65536", 0, 0, 0},
    {69, DEDUPE, "f65536", "f131072", 64 * K, 0, B},
    {71, DEDUPE, "f65536", "f4096", 0, 0, 2 * B},
    {73, DEDUPE, "f65536", "s", 0, B, 2 * B},
    {74, DEDUPE, "f65536", "s", 0, 0, B},
    {75, DEDUPE, "f65536", "s", 0, 4 * B, 4 * B},
    {76, DEDUPE, "f65536", "t65536", 0, 0, B},
    {77, DEDUPE, "f65536", "fr65536", 0, 0, B},
    {78, DEDUPE, "f65536", "d", 0, 0, B},
    {79, DEDUPE, "d", "f65536", 0, 0, B},
    {80, DEDUPE, "f65536", "x", 0, 0, B},
    {81, DEDUPE, "f65536", "fa65536", 0, 0, B},
    {83, DEDUPE, "f65436", "f65436", 0, 0, 65436},
    {85, NOTHING, "f65536", "f65536", 0, 0, B},
    {86, RESERVED, "f65536", "f65536", 0, 0, B},
    {89, DEDUPE, "f20971520", "f20971520", 0, 0, 20 * K *K},
    {91, STRANGER, "f65536", "fr65536", 0, 0, B},
    {92, COPY, "f65536", "f0", 0, 0, 64 * K},
    {94, COPY, "f65536", "f0", 0, 0, 0},
    {95, COPY, "f65536", "f0", 128 * K, 0, B},
    {97, COPY, "f65536", "s", 0, B, 2 * B},
    {98, COPY, "f65536", "s", 0, B, B},
    {100, COPY, "f65536", "fr65536", 0, 0, B},
    {101, COPY, "d", "f65536", 0, 0, B},
    {102, COPY, "f65536", "d", 0, 0, B},
    {103, COPY, "f65536", "t0", 0, 0, B},
    {105, COPY, "f65536", "f0", 0, 0, 0},
    {106, FLAGS, "f65536", "f0", 0, 0, B},
};

static int must(int result, const char *what) {
  if (result >= 0) return result;
  fprintf(stderr, "%s: %s\n", what, errno_name(errno));
  exit(3);
}

static int is(const char *spec, char letter) { return strchr(spec, letter) != NULL; }

static void set_immutable(int fd, int on) {
  int flags = on ? FS_IMMUTABLE_FL : 0;
  must(ioctl(fd, FS_IOC_SETFLAGS, &flags), "FS_IOC_SETFLAGS");
}

static void fill(int fd, const char *spec, long size) {
  static char bytes[1 << 16];
  memset(bytes, is(spec, 'y') ? 'b' : 'a', sizeof bytes);
  if (is(spec, 'h')) must(ftruncate(fd, size), "ftruncate");
  else if (is(spec, 'u')) must(fallocate(fd, 0, 0, size), "fallocate");
  else
    for (long at = 0; at < size; at += (long)sizeof bytes) {
      long part = size - at < (long)sizeof bytes ? size - at : (long)sizeof bytes;
      must(pwrite(fd, bytes, part, at) == part ? 0 : -1, "pwrite");
    }
}

static int open_flags(const char *spec) {
  if (is(spec, 'r')) return O_RDONLY;
  if (is(spec, 'w')) return O_WRONLY;
  if (is(spec, 'a')) return O_RDWR | O_APPEND;
  return is(spec, 'o') ? O_PATH : O_RDWR;
}

static int make(const char *spec, const char *name, const char *other) {
  int ends[2], fd;
  char path[4096];
  if (*spec == 'x') return -1;
  if (*spec == 'd') return must(open(".", O_RDONLY), "open");
  if (*spec == 'n') return must(open("/dev/null", O_RDWR), "open");
  if (*spec == 'p') {
    must(pipe(ends), "pipe");
    return ends[is(name, 'd')];
  }
  snprintf(path, sizeof path, "%s/%s", *spec == 't' ? other : ".", name);
  unlink(path);
  fd = must(open(path, O_RDWR | O_CREAT, 0644), path);
  fill(fd, spec, strtol(spec + strcspn(spec, "0123456789"), NULL, 10));
  if (is(spec, 'm')) must(fchmod(fd, 04755), "fchmod");
  close(fd);
  fd = must(open(path, open_flags(spec)), path);
  if (is(spec, 'l')) must(unlink(path), "unlink");
  if (is(spec, 'i')) set_immutable(fd, 1);
  return fd;
}

static int dedupe(int src, int dst, const struct call *call, struct file_dedupe_range *range) {
  range->src_offset = call->from;
  range->src_length = call->length;
  range->dest_count = call->kind != NOTHING;
  range->reserved1 = call->kind == RESERVED;
  range->info[0].dest_fd = dst;
  range->info[0].dest_offset = call->to;
  return ioctl(src, FIDEDUPERANGE, range);
}

static long long clone(int src, int dst, const struct call *call) {
  struct file_clone_range range = {src, call->from, call->length, call->to};
  return call->kind == CLONE ? ioctl(dst, FICLONE, src) : ioctl(dst, FICLONERANGE, &range);
}

static void run(const struct call *call, const char *other) {
  _Alignas(8) char space[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)] = {0};
  struct file_dedupe_range *range = (void *)space;
  int src = make(call->src, "src", other);
  int dst = *call->dst == 's' ? src : make(call->dst, "dst", other);
  off_t from = call->from, to = call->to;
  long long ret;
  if (call->kind == STRANGER) must(setresuid(-1, 65534, -1), "setresuid");
  errno = 0;
  if (call->kind <= STRANGER) ret = clone(src, dst, call);
  else if (call->kind < COPY) ret = dedupe(src, dst, call, range);
  else ret = copy_file_range(src, &from, dst, &to, call->length, call->kind == FLAGS);
  unsigned long long deduped = range->info[0].bytes_deduped;
  printf("{\"id\":%d,\"ret\":%lld,\"errno\":\"%s\",\"status\":%d,\"bytes_deduped\":%llu}\n", call->id, ret,
         errno_name(ret < 0 ? errno : 0), range->info[0].status, deduped);
  if (call->kind == STRANGER) must(setresuid(-1, 0, -1), "setresuid");
  if (is(call->src, 'i')) set_immutable(src, 0);
  if (is(call->dst, 'i')) set_immutable(dst, 0);
  if (src >= 0) close(src);
  if (dst >= 0 && dst != src) close(dst);
}

int main(int argc, char **argv) {
  if (argc != 3) usage_error("count");
  must(chdir(argv[1]), argv[1]);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) run(&calls[i], argv[2]);
  return 0;
}
