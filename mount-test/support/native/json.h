/* What the helper programs share: one JSON object a line on standard output. */
#ifndef RMAPFS_TEST_JSON_H
#define RMAPFS_TEST_JSON_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "EIO", or "0" for no error; a number the C library does not know is printed as it is. */
static inline const char *errno_name(int error) {
  static char unknown[16];
  const char *name = strerrorname_np(error);
  if (name) return name;
  snprintf(unknown, sizeof unknown, "%d", error);
  return unknown;
}

/* Bytes as a JSON string of hexadecimal digits. */
static inline void print_hex(const unsigned char *bytes, size_t length) {
  putchar('"');
  for (size_t i = 0; i < length; i++) printf("%02x", bytes[i]);
  putchar('"');
}

static inline void usage_error(const char *what) {
  fprintf(stderr, "bad argument: %s\n", what);
  exit(2);
}

/* A decimal, octal (0...) or hexadecimal (0x...) number. */
static inline long long number(const char *text) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 0);
  if (errno || *end || end == text) usage_error(text);
  return value;
}

#endif
