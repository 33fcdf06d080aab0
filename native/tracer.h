// Traces one thread of another process until a signal-delivery-stop, and changes the siginfo that it will see.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace rmapfs {

// The right to trace a thread, within this process: ptrace(2) has one tracer for each, and two of ours can meet there.
// Released when the last copy goes.
class HeldThread {
 public:
  explicit HeldThread(pid_t tid) : tid_(tid) {}
  HeldThread(const HeldThread&) = delete;
  HeldThread& operator=(const HeldThread&) = delete;
  ~HeldThread() { Release(); }

  // Lets the next one have the thread. Repeated calls do nothing.
  void Release();

 private:
  const pid_t tid_;
  std::atomic<bool> held_{true};
};
using ThreadClaim = std::shared_ptr<HeldThread>;

// Null when somebody else has the thread for `wait_ms` milliseconds more (0: does not wait).
ThreadClaim ClaimThread(pid_t tid, int wait_ms);

struct TraceTask {
  pid_t pid;             // thread group
  pid_t tid;             // thread of it
  uint64_t start_ticks;  // field 22 of /proc/PID/stat, or 0 to skip the check for a reused pid
  int wait_ms;           // bound of the wait for the stop
  ThreadClaim claim;
  // Runs once, when the thread is seized. An errno ends the tracing.
  std::function<int()> seized;
  // Whether this is the stop that is waited for; then `info` becomes what the handler sees.
  std::function<bool(siginfo_t* info)> replace;
  // Whether the stop can still be expected when wait_ms is over.
  std::function<bool()> is_on_its_way;
};

enum class TraceResult {
  kDelivered,  // with the siginfo asked for
  kNoStop,     // seized, but the thread did not come to the stop in time
  kFailed,     // see err and syscall. EAGAIN: it could not be seized in time
};

struct TraceOutcome {
  TraceResult result;
  int err;
  const char* syscall;
};

// Blocks the calling thread; bounded. Whatever happens the target runs on (or stays stopped if job control had stopped
// it): the tracer is a thread of its own, and the kernel detaches what a thread traces when that thread ends.
TraceOutcome TraceInThread(TraceTask task);

// Leaves only the wake-up signal open, so that handlers of the rest of the process never run in this thread.
void BlockAllButWake();

}  // namespace rmapfs
