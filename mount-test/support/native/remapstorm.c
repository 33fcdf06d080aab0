/*
 * remapstorm SRC DST ROUNDS: two processes store counters through mappings of DST, page after page, while this one
 * clones SRC, whose pages have the number of the round, onto DST. A clone comes before a store or after it, whichever
 * page it goes to: of what a writer stored, all up to some number are gone after a clone, all from there on are kept.
 * Prints {"rounds", "stale", "lost", "kept"}: pages with an old round after a clone, stores after one that are not
 * there, stores before one that are.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"

enum { PAGE_BYTES = 4096, PAGES = 16, WRITERS = 2, CHECK_EVERY = 20 };

struct page {
  volatile uint64_t round;
  volatile uint64_t slot[WRITERS];
  uint64_t rest[PAGE_BYTES / 8 - 1 - WRITERS];
};

/* What a writer has announced: the number of its last store, and of its last store to each page. */
struct shared {
  volatile int pause, paused[WRITERS];
  volatile uint64_t number[WRITERS], last[WRITERS][PAGES];
};

static struct shared *shared;

static struct page *map(int fd) {
  void *at = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) exit(3);
  return at;
}

static void write_for_ever(int writer, int fd) {
  struct page *pages = map(fd);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (uint64_t n = 1;; n++) {
    int page = (int)(n * 7 % PAGES);
    while (shared->pause) shared->paused[writer] = 1;
    shared->paused[writer] = 0;
    shared->number[writer] = n;
    shared->last[writer][page] = n;
    pages[page].slot[writer] = n;
  }
}

static void fill(int src, uint64_t round) {
  static struct page page;
  page.round = round;
  for (int i = 0; i < PAGES; i++)
    if (pwrite(src, &page, sizeof page, (off_t)i * PAGE_BYTES) != sizeof page) exit(3);
}

static void hold(int on) {
  shared->pause = on;
  for (int w = 0; on && w < WRITERS; w++)
    while (!shared->paused[w]) usleep(10);
}

/* The writers are held. `before` and `after`: their numbers when the last clone began, and when it had ended. */
static void check(struct page *pages, const uint64_t *before, const uint64_t *after, long *lost, long *kept) {
  for (int w = 0; w < WRITERS; w++) {
    uint64_t gone = 0, there = UINT64_MAX;
    for (int i = 0; i < PAGES; i++) {
      uint64_t n = shared->last[w][i], found = pages[i].slot[w];
      if (n == 0) continue;
      if (found != n) {
        if (n > gone) gone = n;
        if (n > after[w] || found != 0) ++*lost;
      } else {
        if (n < there) there = n;
        if (n < before[w]) ++*kept;
      }
    }
    if (gone > there) ++*lost;
  }
}

int main(int argc, char **argv) {
  if (argc != 4) usage_error("count");
  int src = open(argv[1], O_RDWR | O_CREAT, 0644), dst = open(argv[2], O_RDWR | O_CREAT, 0644);
  int direct = open(argv[2], O_RDONLY | O_DIRECT);
  long rounds = strtol(argv[3], NULL, 10), stale = 0, lost = 0, kept = 0;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  struct page *copy = aligned_alloc(PAGE_BYTES, PAGES * PAGE_BYTES);
  if (src < 0 || dst < 0 || direct < 0 || shared == MAP_FAILED || copy == NULL) return 3;
  fill(src, 0);
  fill(dst, 0);
  struct page *pages = map(dst);
  pid_t writers[WRITERS];
  for (int w = 0; w < WRITERS; w++)
    if ((writers[w] = fork()) == 0) write_for_ever(w, dst);
  for (long round = 1; round <= rounds; round++) {
    uint64_t before[WRITERS], after[WRITERS];
    fill(src, (uint64_t)round);
    for (int w = 0; w < WRITERS; w++) before[w] = shared->number[w];
    if (ioctl(dst, FICLONE, src)) return fprintf(stderr, "FICLONE: %s\n", errno_name(errno)), 3;
    for (int w = 0; w < WRITERS; w++) after[w] = shared->number[w];
    for (int i = 0; i < PAGES; i++) stale += pages[i].round != (uint64_t)round;
    if (round % CHECK_EVERY != 0) continue;
    hold(1);
    check(pages, before, after, &lost, &kept);
    if (msync(pages, PAGES * PAGE_BYTES, MS_SYNC)) return 3;
    if (pread(direct, copy, PAGES * PAGE_BYTES, 0) != PAGES * PAGE_BYTES) return 3;
    check(copy, before, after, &lost, &kept);
    for (int i = 0; i < PAGES; i++) stale += copy[i].round != (uint64_t)round;
    hold(0);
  }
  for (int w = 0; w < WRITERS; w++) kill(writers[w], SIGKILL);
  printf("{\"rounds\":%ld,\"stale\":%ld,\"lost\":%ld,\"kept\":%ld}\n", rounds, stale, lost, kept);
  return 0;
}
