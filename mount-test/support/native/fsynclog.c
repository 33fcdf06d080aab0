/*
 * fsynclog DIR: makes durable records without end and says which were acknowledged, so that a test can end
 * the filesystem at any moment and look for all of them afterwards.
 *
 * For n = 1, 2, ...: appends the 64-byte record "record N ....\n" to DIR/log and fsyncs it; each tenth n also
 * creates DIR/file.N through a temporary name, fsyncs it, renames it and fsyncs DIR. Then it prints N. It
 * ends with status 0 and the errno's name on the last line ("end EIO") when a call fails.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "json.h"

#define RECORD 64

static void end(const char *what) {
  printf("end %s %s\n", errno_name(errno), what);
  exit(0);
}

static void fill(char *record, long n) {
  char text[RECORD + 1];
  snprintf(text, sizeof text, "record %010ld ", n);
  memset(record, '.', RECORD);
  memcpy(record, text, strlen(text));
  record[RECORD - 1] = '\n';
}

static void publish(int dir, long n, const char *record) {
  char name[32];
  snprintf(name, sizeof name, "file.%ld", n);
  int fd = openat(dir, "temporary", O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (fd < 0) end("create");
  if (write(fd, record, RECORD) != RECORD || fsync(fd)) end("write file");
  close(fd);
  if (renameat(dir, "temporary", dir, name)) end("rename");
  if (fsync(dir)) end("fsync directory");
}

int main(int argc, char **argv) {
  if (argc != 2) usage_error("expected a directory");
  setvbuf(stdout, NULL, _IOLBF, 0);
  int dir = open(argv[1], O_RDONLY | O_DIRECTORY);
  if (dir < 0) end("open directory");
  int log = openat(dir, "log", O_CREAT | O_WRONLY | O_APPEND, 0644);
  if (log < 0) end("open log");
  if (fsync(dir)) end("fsync directory");
  for (long n = 1;; n++) {
    char record[RECORD];
    fill(record, n);
    if (write(log, record, RECORD) != RECORD) end("write log");
    if (fsync(log)) end("fsync log");
    if (n % 10 == 0) publish(dir, n, record);
    printf("%ld\n", n);
  }
}
