/*
 * storer PATH: stores "RECORD nn" into every fourth of the 64 pages of PATH through a shared mapping, says so, and
 * keeps the mapping (but no descriptor) until it is killed. A SIGBUS is survived.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "json.h"

static void ignore(int signal) { (void)signal; }

int main(int argc, char **argv) {
  if (argc != 2) usage_error("count");
  int fd = open(argv[1], O_RDWR);
  char *map = fd < 0 ? MAP_FAILED : mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return 3;
  close(fd);
  signal(SIGBUS, ignore);
  for (int page = 0; page < 64; page += 4) {
    char text[16];
    int length = snprintf(text, sizeof text, "RECORD %02d", page);
    memcpy(map + page * 4096, text, (size_t)length);
  }
  printf("stored\n");
  fflush(stdout);
  for (;;) pause();
}
