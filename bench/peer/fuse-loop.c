/*
 * The measure of the channel: the least that a FUSE server can do, in C.
 *
 *   fuse-loop DIR BYTES
 *
 * mounts a filesystem of one file, DIR/file, of BYTES bytes (a multiple of 4096) on DIR. Its contents are a
 * shared mapping of a deleted file on /dev/shm, as a region's are. One thread reads a request, answers it,
 * and reads the next. Only INIT, LOOKUP, GETATTR, OPEN, READ, FLUSH and RELEASE are answered, all else is
 * ENOSYS; times to cache are 0 so that each call arrives here. It
 * ends when it is unmounted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096u
#define MAX_WRITE (256 * PAGE)
#define FILE_INODE 2

static int fuse;
static unsigned char *contents;
static uint64_t size;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void reply(uint64_t unique, int error, const void *body, size_t length) {
  struct fuse_out_header out = {.len = sizeof out + length, .error = -error, .unique = unique};
  struct iovec parts[] = {{&out, sizeof out}, {(void *)body, length}};
  if (writev(fuse, parts, length ? 2 : 1) < 0 && errno != ENOENT) die("writev");
}

static struct fuse_attr attributes(uint64_t inode) {
  struct fuse_attr a = {.ino = inode, .nlink = 1, .blksize = PAGE, .mode = S_IFREG | 0644};
  if (inode == FUSE_ROOT_ID) a.mode = S_IFDIR | 0755;
  else a.size = size, a.blocks = size / 512;
  return a;
}

static void lookup(const struct fuse_in_header *in, const char *name) {
  if (strcmp(name, "file")) {
    reply(in->unique, ENOENT, NULL, 0);
    return;
  }
  struct fuse_entry_out entry = {.nodeid = FILE_INODE, .generation = 1, .attr = attributes(FILE_INODE)};
  reply(in->unique, 0, &entry, sizeof entry);
}

static void init(const struct fuse_in_header *in, const struct fuse_init_in *request) {
  struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
                              .minor = FUSE_KERNEL_MINOR_VERSION,
                              .max_readahead = request->max_readahead,
                              .flags = request->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES),
                              .max_write = MAX_WRITE,
                              .max_pages = MAX_WRITE / PAGE};
  reply(in->unique, 0, &out, sizeof out);
}

static void read_file(const struct fuse_in_header *in, const struct fuse_read_in *request) {
  uint64_t left = request->offset < size ? size - request->offset : 0;
  reply(in->unique, 0, contents + request->offset, left < request->size ? left : request->size);
}

static void handle(const struct fuse_in_header *in, const void *body) {
  switch (in->opcode) {
    case FUSE_INIT: return init(in, body);
    case FUSE_LOOKUP: return lookup(in, body);
    case FUSE_READ: return read_file(in, body);
    case FUSE_GETATTR: {
      struct fuse_attr_out out = {.attr = attributes(in->nodeid)};
      return reply(in->unique, 0, &out, sizeof out);
    }
    case FUSE_OPEN: {
      struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO};
      return reply(in->unique, 0, &out, sizeof out);
    }
    case FUSE_FLUSH:
    case FUSE_RELEASE: return reply(in->unique, 0, NULL, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET: return;
    default: return reply(in->unique, ENOSYS, NULL, 0);
  }
}

static void map_contents(void) {
  char name[] = "/dev/shm/rmapfs-peer-XXXXXX";
  int fd = mkstemp(name);
  if (fd < 0 || unlink(name) || ftruncate(fd, size)) die("contents");
  contents = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (contents == MAP_FAILED) die("mmap");
  for (uint64_t i = 0; i < size; i++) contents[i] = i * 2654435761u >> 24;
}

static void mount_on(const char *dir) {
  fuse = open("/dev/fuse", O_RDWR);
  if (fuse < 0) die("/dev/fuse");
  char options[96];
  snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=0,group_id=0,default_permissions", fuse);
  if (mount("fuse-loop", dir, "fuse.fuse-loop", MS_NOSUID | MS_NODEV, options)) die("mount");
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: fuse-loop DIR BYTES\n");
    return 2;
  }
  size = strtoull(argv[2], NULL, 10);
  map_contents();
  mount_on(argv[1]);
  static char buffer[MAX_WRITE + PAGE] __attribute__((aligned(PAGE)));
  for (;;) {
    ssize_t got = read(fuse, buffer, sizeof buffer);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
    if (got < 0) return errno == ENODEV ? 0 : 1;
    handle((struct fuse_in_header *)buffer, buffer + sizeof(struct fuse_in_header));
  }
}
