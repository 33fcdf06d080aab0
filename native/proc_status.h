// The little that is needed of /proc/PID.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace rmapfs {

struct ThreadStatus {
  bool exists;
  char state;              // as in /proc/PID/task/TID/status: R, S, D, T, t, Z, X
  uint64_t blocked;        // SigBlk: bit n - 1 is signal n
};

ThreadStatus ReadThreadStatus(pid_t pid, pid_t tid);

// Whether the thread has ended, reaped or not.
bool HasEnded(const ThreadStatus& status);

// Whether the thread runs (or waits for a CPU), or waits in the kernel but not in a system call: in a page fault.
bool IsRunningOrInFault(pid_t pid, pid_t tid);

// Field 22 of /proc/PID/stat: the start time in clock ticks since boot; 0 when there is no such process.
uint64_t ReadStartTicks(pid_t pid);

}  // namespace rmapfs
