/*
 * How long others wait: `reader FILE` reads the first block of FILE with O_DIRECT, so that each read reaches the
 * daemon, again and again until standard input ends. Prints the number of reads, and the median, the 99th and the
 * 99.9th percentile and the longest time of one, in microseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define READS_MAX (8 << 20)

static float *times;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static float percentile(long count, double share) { return times[(long)((count - 1) * share)]; }

int main(int argc, char **argv) {
  void *buffer;
  int fd = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECT) : -1;
  times = malloc(READS_MAX * sizeof *times);
  if (fd < 0 || !times || posix_memalign(&buffer, BLOCK, BLOCK)) return 1;
  long count = 0;
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
  do {
    double began = now();
    if (pread(fd, buffer, BLOCK, 0) != BLOCK) return 1;
    times[count++] = (float)(now() - began);
  } while (count < READS_MAX && poll(&input, 1, 0) == 0);
  qsort(times, count, sizeof *times, ascending);
  printf("%ld %.0f %.0f %.0f %.0f\n", count, percentile(count, 0.5), percentile(count, 0.99),
         percentile(count, 0.999), times[count - 1]);
  return 0;
}
