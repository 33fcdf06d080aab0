#pragma once

#include <sys/types.h>

namespace rmapfs {

// Installs, once for the process, a handler for SIGURG that does nothing and carries no SA_RESTART: a
// blocking system call of the thread that takes the signal fails with EINTR. Returns 0 or an errno.
int EnsureWakeHandler();

// Sends SIGURG to a thread of this process. Returns 0 or an errno (ESRCH: no such thread of ours).
int WakeThread(pid_t tid);

pid_t CurrentTid();

}  // namespace rmapfs
