#include "proc_status.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace rmapfs {

namespace {

// Reads a small /proc file whole, and ends it with a NUL. False when it cannot be read.
bool ReadSmallFile(const char* path, char* into, size_t capacity) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t filled = 0;
  ssize_t got = 0;
  while (filled < capacity - 1) {
    got = read(fd, into + filled, capacity - 1 - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<size_t>(got);
  }
  close(fd);
  into[filled] = '\0';
  return got >= 0 && filled > 0;
}

}  // namespace

ThreadStatus ReadThreadStatus(pid_t pid, pid_t tid) {
  char path[64];
  char text[4096];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
  if (!ReadSmallFile(path, text, sizeof text)) return {false, 'X', 0};
  // The name comes first and has its newlines escaped, so a line start is a line start.
  const char* state = std::strstr(text, "\nState:\t");
  const char* blocked = std::strstr(text, "\nSigBlk:\t");
  if (state == nullptr || blocked == nullptr) return {false, 'X', 0};
  return {true, state[std::strlen("\nState:\t")],
          std::strtoull(blocked + std::strlen("\nSigBlk:\t"), nullptr, 16)};
}

bool HasEnded(const ThreadStatus& status) {
  return !status.exists || status.state == 'Z' || status.state == 'X';
}

bool IsRunningOrInFault(pid_t pid, pid_t tid) {
  char path[64];
  char text[512];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
  // proc_pid_syscall(5)
  return ReadSmallFile(path, text, sizeof text) &&
         (std::strncmp(text, "running", 7) == 0 || std::strncmp(text, "-1 ", 3) == 0);
}

uint64_t ReadStartTicks(pid_t pid) {
  char path[64];
  char text[1024];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  if (!ReadSmallFile(path, text, sizeof text)) return 0;
  // Field 2 is the name in parentheses and may hold anything: count the fields from its last ')'.
  const char* at = std::strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 22; field++) at = std::strchr(at + 1, ' ');
  return at == nullptr ? 0 : std::strtoull(at + 1, nullptr, 10);
}

}  // namespace rmapfs
