#include "sigbus_delivery.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "proc_status.h"
#include "thread_wake.h"
#include "tracer.h"

namespace rmapfs {

namespace {

constexpr uint64_t kSigbusBit = uint64_t{1} << (SIGBUS - 1);
// How long a thread that blocks SIGBUS is watched for its handler's end.
constexpr int kBlockedWaitMs = 20;
// How long the answer to a page fault of the thread (fault_answer.cc) may have it first.
constexpr int kClaimWaitMs = 1000;

SigbusOutcome Failed(int err, const char* syscall) { return {SigbusResult::kFailed, err, syscall}; }

int SendSigbus(const SigbusRequest& request) {
  return syscall(SYS_tgkill, request.pid, request.tid, SIGBUS) == 0 ? 0 : errno;
}

// Whether the thread sits in sigwaitinfo(2) or sigtimedwait(2) for SIGBUS. The kernel unblocks what is waited for while
// the thread sleeps, and the wait takes the signal without a stop: a tracer would wait in vain.
bool AwaitsSigbus(const SigbusRequest& request) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", request.pid, request.tid);
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path, "re"), std::fclose);
  long number = -1;
  unsigned long set_address = 0;
  if (file == nullptr || std::fscanf(file.get(), "%ld %lx", &number, &set_address) != 2) return false;
  if (number != SYS_rt_sigtimedwait) return false;
  uint64_t set = 0;
  const iovec ours = {&set, sizeof set};
  const iovec theirs = {reinterpret_cast<void*>(set_address), sizeof set};
  return process_vm_readv(request.pid, &ours, 1, &theirs, 1, 0) == sizeof set && (set & kSigbusBit) != 0;
}

// Whether the thread can still be expected to stop: not while it waits in the kernel for something else (state D).
bool IsOnItsWay(const SigbusRequest& request) {
  const ThreadStatus status = ReadThreadStatus(request.pid, request.tid);
  return status.exists && status.state != 'D' && (status.blocked & kSigbusBit) == 0;
}

// The SIGBUS that we sent: a real one, from a fault of the thread, is not touched.
bool ReplaceOurs(const SigbusRequest& request, siginfo_t* info) {
  if (info->si_code != SI_TKILL) return false;
  *info = {};
  info->si_signo = SIGBUS;
  info->si_code = request.si_code;
  info->si_addr = reinterpret_cast<void*>(request.address);
  info->si_addr_lsb = static_cast<short>(request.lsb);
  return true;
}

SigbusOutcome Trace(const SigbusRequest& request, int wait_ms) {
  TraceTask task = {};
  task.pid = request.pid;
  task.tid = request.tid;
  task.start_ticks = request.start_ticks;
  task.wait_ms = wait_ms;
  // Without it ptrace(2) says EPERM, as for any other tracer.
  task.claim = ClaimThread(request.tid, kClaimWaitMs);
  task.seized = [request] { return SendSigbus(request); };
  task.replace = [request](siginfo_t* info) { return ReplaceOurs(request, info); };
  task.is_on_its_way = [request] { return IsOnItsWay(request); };
  const TraceOutcome outcome = TraceInThread(std::move(task));
  switch (outcome.result) {
    case TraceResult::kDelivered:
      return {SigbusResult::kDelivered, 0, outcome.syscall};
    case TraceResult::kNoStop:
      return {SigbusResult::kNoStop, outcome.err, outcome.syscall};
    case TraceResult::kFailed:
      break;
  }
  return Failed(outcome.err, outcome.syscall);
}

}  // namespace

SigbusOutcome DeliverSigbus(const SigbusRequest& request) {
  const int err = EnsureWakeHandler();
  if (err != 0) return Failed(err, "sigaction");
  const ThreadStatus status = ReadThreadStatus(request.pid, request.tid);
  if (HasEnded(status)) return Failed(ESRCH, "tgkill");
  if (request.start_ticks != 0 && ReadStartTicks(request.pid) != request.start_ticks) return Failed(ESRCH, "tgkill");
  if (AwaitsSigbus(request)) {
    const int sent = SendSigbus(request);
    return sent == 0 ? SigbusOutcome{SigbusResult::kAwaited, 0, "tgkill"} : Failed(sent, "tgkill");
  }
  if ((status.blocked & kSigbusBit) == 0) return Trace(request, request.wait_ms);
  // A running handler of SIGBUS blocks it too, and ends soon: only a lasting block is answered as such.
  const SigbusOutcome outcome = Trace(request, std::min(request.wait_ms, kBlockedWaitMs));
  return outcome.result == SigbusResult::kNoStop ? SigbusOutcome{SigbusResult::kBlocked, 0, "tgkill"} : outcome;
}

}  // namespace rmapfs
