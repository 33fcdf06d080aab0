// Delivers SIGBUS with a siginfo of our choosing to a thread of another process, by ptrace.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace rmapfs {

struct SigbusRequest {
  pid_t pid;             // thread group
  pid_t tid;             // thread of it
  int si_code;           // BUS_MCEERR_AR or BUS_MCEERR_AO
  uint64_t address;      // si_addr
  int lsb;               // si_addr_lsb
  int wait_ms;           // bound of the wait for the thread's signal-delivery-stop
  uint64_t start_ticks;  // field 22 of /proc/PID/stat, or 0 to skip the check for a reused pid
};

enum class SigbusResult {
  kDelivered,  // with the siginfo asked for
  kAwaited,    // the thread waits for SIGBUS (sigwaitinfo(2)) and took it, as a plain signal
  kBlocked,    // SIGBUS is blocked in the thread: it is pending there, as a plain signal
  kNoStop,     // the thread did not come to a stop in time: SIGBUS is pending there, as a plain signal
  kFailed,     // nothing was sent; see err and syscall
};

struct SigbusOutcome {
  SigbusResult result;
  int err;
  const char* syscall;
};

// Blocks the calling thread, at most a little longer than wait_ms while the target can be expected to stop at all.
SigbusOutcome DeliverSigbus(const SigbusRequest& request);

}  // namespace rmapfs
