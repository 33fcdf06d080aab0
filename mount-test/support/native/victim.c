/*
 * A process that holds or maps a file and says what happens to it:
 *
 *   victim --file PATH [--map shared|private|none] [--prot r|rw] [--offset N] [--length N]
 *          [--touch read|write|none] [--touch-at N] [--thread] [--fork] [--twice] [--close] [--unlink]
 *          [--sigbus handle|block|ignore|default] [--mce late|early] [--traced]
 *
 * Offsets are the file's. --touch-at is the file offset that is touched at the start (default: --offset).
 * --thread touches from a second thread, --fork makes a child after the touch that never touches, --twice
 * maps and touches the range a second time, --close closes the descriptor and --unlink removes the name after
 * that. --mce asks rmapfs for that policy, for this process. --traced puts a debugger over it: the program started is
 * the debugger then, and the pid of the victim is in "ready".
 *
 * It prints one JSON line an event: ready, signal, touch, fault, call, pending, and takes commands from standard
 * input: "touch N" (load the byte at file offset N), "store N" (store one), "thread-touch N" (load it in a new thread),
 * "kernel-load N" and "kernel-store N" (a system call does it), "pending" (is SIGBUS pending?) and "quit". The end of
 * the input is a quit.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../native/rmapfs.h"
#include "json.h"

static struct {
  const char *file, *map, *prot, *touch, *sigbus, *mce;
  long long offset, length, touch_at;
  bool thread, fork, twice, close, unlink, traced;
} opt = {.map = "shared", .prot = "rw", .touch = "read", .sigbus = "handle", .length = 4096, .touch_at = -1};

static volatile unsigned char *base, *second;
static sigjmp_buf resume;
static volatile sig_atomic_t touching;
static const char *who = "parent";
static pthread_barrier_t touched;

static bool is(const char *value, const char *expected) { return strcmp(value, expected) == 0; }

static const char *code_name(int code) {
  switch (code) {
    case BUS_ADRALN: return "BUS_ADRALN";
    case BUS_ADRERR: return "BUS_ADRERR";
    case BUS_OBJERR: return "BUS_OBJERR";
    case BUS_MCEERR_AR: return "BUS_MCEERR_AR";
    case BUS_MCEERR_AO: return "BUS_MCEERR_AO";
    case SI_USER: return "SI_USER";
    case SI_TKILL: return "SI_TKILL";
    case SI_KERNEL: return "SI_KERNEL";
    default: return "other";
  }
}

/* One write(2), so that it may run in a handler and lines of two processes do not mix. */
static void say(const char *line, int length) {
  if (write(STDOUT_FILENO, line, length) != length) _exit(4);
}

static void on_sigbus(int signal, siginfo_t *info, void *context) {
  (void)context;
  char line[320];
  bool fault = touching && info->si_code != BUS_MCEERR_AO && info->si_code > 0;
  int n = snprintf(line, sizeof line,
                   "{\"event\":\"%s\",\"who\":\"%s\",\"pid\":%d,\"tid\":%d,\"signal\":%d,"
                   "\"code\":\"%s\",\"codeNumber\":%d,"
                   "\"address\":\"0x%llx\",\"lsb\":%d,\"errno\":%d}\n",
                   fault ? "fault" : "signal", who, getpid(), gettid(), signal, code_name(info->si_code),
                   info->si_code, (unsigned long long)(uintptr_t)info->si_addr, info->si_addr_lsb,
                   info->si_errno);
  say(line, n);
  if (fault) siglongjmp(resume, 1);
}

static void access_byte(long long at, bool store) {
  volatile unsigned char *byte = base + (at - opt.offset);
  touching = 1;
  if (sigsetjmp(resume, 1) == 0) {
    if (store) *byte = 0x5a;
    unsigned char value = *byte;
    char line[160];
    say(line, snprintf(line, sizeof line,
                       "{\"event\":\"touch\",\"who\":\"%s\",\"at\":%lld,\"store\":%s,\"value\":%u,"
                       "\"address\":\"0x%llx\"}\n",
                       who, at, store ? "true" : "false", value, (unsigned long long)(uintptr_t)byte));
  }
  touching = 0;
}

static void first_touch(void) {
  if (is(opt.touch, "none") || is(opt.map, "none")) return;
  long long at = opt.touch_at - opt.offset;
  volatile unsigned char *maps[] = {base, second};
  for (int i = 0; i < (opt.twice ? 2 : 1); i++) {
    unsigned char value = maps[i][at];
    if (is(opt.touch, "write")) maps[i][at] = value;
  }
}

static void *touch_thread(void *unused) {
  first_touch();
  pthread_barrier_wait(&touched);
  pause();
  return unused;
}

static void *map_file(int fd) {
  int prot = PROT_READ | (is(opt.prot, "rw") ? PROT_WRITE : 0);
  void *map = mmap(NULL, opt.length, prot, is(opt.map, "private") ? MAP_PRIVATE : MAP_SHARED, fd, opt.offset);
  if (map == MAP_FAILED) {
    fprintf(stderr, "mmap %s: %s\n", opt.file, errno_name(errno));
    exit(3);
  }
  return map;
}

static void set_up_signal(void) {
  struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};
  if (is(opt.sigbus, "ignore")) action = (struct sigaction){.sa_handler = SIG_IGN};
  if (!is(opt.sigbus, "default")) sigaction(SIGBUS, &action, NULL);
  if (is(opt.sigbus, "block")) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    sigprocmask(SIG_BLOCK, &set, NULL);
  }
}

static void ready(void) {
  char line[160];
  unsigned long long address = base ? (uintptr_t)base : 0;
  say(line, snprintf(line, sizeof line,
                     "{\"event\":\"ready\",\"who\":\"%s\",\"pid\":%d,\"address\":\"0x%llx\"}\n", who, getpid(),
                     address));
}

static void *touch_command(void *at) {
  access_byte(*(long long *)at, false);
  return NULL;
}

static void touch_in_thread(long long at) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, touch_command, &at)) exit(3);
  pthread_join(thread, NULL);
}

/* The kernel loads (write(2) to a pipe) or stores (read(2) of zeros) the byte at a file offset. */
static void kernel_access(long long at, bool store) {
  int ends[2];
  if (pipe(ends)) exit(3);
  int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  void *byte = (void *)(base + (at - opt.offset));
  ssize_t done = store ? read(zeros, byte, 1) : write(ends[1], byte, 1);
  char line[120];
  say(line, snprintf(line, sizeof line, "{\"event\":\"call\",\"who\":\"%s\",\"ret\":%zd,\"errno\":\"%s\"}\n",
                     who, done, done < 0 ? errno_name(errno) : "0"));
  close(zeros);
  close(ends[0]);
  close(ends[1]);
}

static void obey(const char *command) {
  long long at;
  if (sscanf(command, "touch %lld", &at) == 1) access_byte(at, false);
  else if (sscanf(command, "store %lld", &at) == 1) access_byte(at, true);
  else if (sscanf(command, "thread-touch %lld", &at) == 1) touch_in_thread(at);
  else if (sscanf(command, "kernel-load %lld", &at) == 1) kernel_access(at, false);
  else if (sscanf(command, "kernel-store %lld", &at) == 1) kernel_access(at, true);
  else if (is(command, "pending\n")) {
    sigset_t set;
    char line[80];
    sigpending(&set);
    say(line, snprintf(line, sizeof line, "{\"event\":\"pending\",\"who\":\"%s\",\"sigbus\":%s}\n", who,
                       sigismember(&set, SIGBUS) == 1 ? "true" : "false"));
  } else usage_error(command);
}

static bool flag(const char *name) {
  if (is(name, "--thread")) return opt.thread = true;
  if (is(name, "--fork")) return opt.fork = true;
  if (is(name, "--twice")) return opt.twice = true;
  if (is(name, "--close")) return opt.close = true;
  if (is(name, "--unlink")) return opt.unlink = true;
  if (is(name, "--traced")) return opt.traced = true;
  return false;
}

static void option(const char *name, const char *value) {
  if (is(name, "--file")) opt.file = value;
  else if (is(name, "--map")) opt.map = value;
  else if (is(name, "--prot")) opt.prot = value;
  else if (is(name, "--touch")) opt.touch = value;
  else if (is(name, "--sigbus")) opt.sigbus = value;
  else if (is(name, "--mce")) opt.mce = value;
  else if (is(name, "--offset")) opt.offset = number(value);
  else if (is(name, "--length")) opt.length = number(value);
  else if (is(name, "--touch-at")) opt.touch_at = number(value);
  else usage_error(name);
}

static void parse(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (flag(argv[i])) continue;
    if (i + 1 >= argc) usage_error(argv[i]);
    option(argv[i], argv[i + 1]);
    i++;
  }
  if (!opt.file) usage_error("--file is missing");
  if (opt.touch_at < 0) opt.touch_at = opt.offset;
}

/*
 * The child takes no commands: it must not touch anything. It says that it lives and waits for its parent's
 * end.
 */
static pid_t fork_bystander(void) {
  pid_t child = fork();
  if (child) return child;
  who = "child";
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  ready();
  for (;;) pause();
}

static void ask_policy(int fd) {
  struct rmapfs_mce_kill ask = {is(opt.mce, "early") ? RMAPFS_MCE_KILL_EARLY : RMAPFS_MCE_KILL_LATE, 0};
  if (ioctl(fd, RMAPFS_IOC_MCE_KILL, &ask) == 0) return;
  fprintf(stderr, "RMAPFS_IOC_MCE_KILL: %s\n", errno_name(errno));
  exit(3);
}

/* What a debugger does: gives its child each signal that it stops for. Returns in the child. */
static void run_below_debugger(void) {
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(3);
    return;
  }
  int status;
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    ptrace(PTRACE_CONT, child, NULL, (void *)(intptr_t)WSTOPSIG(status));
  }
  exit(WIFEXITED(status) ? WEXITSTATUS(status) : 5);
}

int main(int argc, char **argv) {
  parse(argc, argv);
  if (opt.traced) run_below_debugger();
  set_up_signal();
  int fd = open(opt.file, is(opt.prot, "rw") ? O_RDWR : O_RDONLY);
  if (fd < 0) {
    fprintf(stderr, "open %s: %s\n", opt.file, errno_name(errno));
    return 3;
  }
  if (opt.mce) ask_policy(fd);
  if (!is(opt.map, "none")) base = map_file(fd);
  if (opt.twice) second = map_file(fd);
  pthread_t thread;
  if (opt.thread) {
    pthread_barrier_init(&touched, NULL, 2);
    if (pthread_create(&thread, NULL, touch_thread, NULL)) return 3;
    pthread_barrier_wait(&touched);
  } else first_touch();
  if (opt.close) close(fd);
  if (opt.unlink) unlink(opt.file);
  pid_t child = opt.fork ? fork_bystander() : 0;
  ready();
  char command[128];
  while (fgets(command, sizeof command, stdin) && !is(command, "quit\n")) obey(command);
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  return 0;
}
