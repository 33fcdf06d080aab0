// The sequence, with the kernel's rules that it rests on (ptrace(2), kernel/ptrace.c, kernel/signal.c):
//
//   PTRACE_SEIZE   attaches without stopping the thread.
//   tgkill SIGBUS  makes it stop at signal delivery, even where SIGBUS is ignored: a traced thread's ignored
//                  signals are reported.
//   wait           for that stop. Other stops on the way are passed on: a signal with its own siginfo, a
//                  group-stop by PTRACE_CONT (SIGBUS is then taken before the thread gets back to user
//                  space, and PTRACE_DETACH puts the group-stop back).
//   PTRACE_SETSIGINFO replaces what the handler will see; PTRACE_DETACH with SIGBUS delivers it.
//
// Every wait uses WNOWAIT. It leaves the stop's signal in the thread, so that it is delivered even if we die
// there, and it leaves an exit status to the real parent (which may be this very process).
#include "sigbus_delivery.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "proc_status.h"
#include "thread_wake.h"

namespace rmapfs {

namespace {

constexpr uint64_t kSigbusBit = uint64_t{1} << (SIGBUS - 1);
// An interrupt that falls between the tracer's check of the time and its wait is lost: it is repeated.
constexpr std::chrono::milliseconds kInterruptEvery{2};
// How long a thread that blocks SIGBUS is watched for its handler's end.
constexpr int kBlockedWaitMs = 20;
// A thread that only waits for a CPU stops when it gets one: on a loaded machine it is given this long beyond wait_ms.
constexpr int kRunnableWaitMs = 10000;
constexpr int kLookEveryMs = 20;

SigbusOutcome Failed(int err, const char* syscall) { return {SigbusResult::kFailed, err, syscall}; }

int SendSigbus(const SigbusRequest& request) {
  return syscall(SYS_tgkill, request.pid, request.tid, SIGBUS) == 0 ? 0 : errno;
}

bool IsSameProcess(const SigbusRequest& request) {
  return request.start_ticks == 0 || ReadStartTicks(request.pid) == request.start_ticks;
}

bool IsGone(const SigbusRequest& request) {
  const ThreadStatus status = ReadThreadStatus(request.pid, request.tid);
  return !status.exists || status.state == 'Z' || status.state == 'X';
}

// Whether the thread can still be expected to stop: not while it waits in the kernel for something else (state D).
bool IsOnItsWay(const SigbusRequest& request) {
  const ThreadStatus status = ReadThreadStatus(request.pid, request.tid);
  return status.exists && status.state != 'D' && (status.blocked & kSigbusBit) == 0;
}

// The tracer: lives in a thread of its own, and everything it does to the target ends with that thread.
class Tracer {
 public:
  Tracer(const SigbusRequest& request, const std::atomic<bool>& expired) : request_(request), expired_(expired) {}

  SigbusOutcome Run() {
    if (ptrace(PTRACE_SEIZE, request_.tid, nullptr, nullptr) != 0) {
      const int err = errno;
      return Failed(err == EPERM && IsGone(request_) ? ESRCH : err, "ptrace");
    }
    // From here on the pid cannot be reused, because a traced thread is not reaped without us.
    if (!IsSameProcess(request_)) return Failed(ESRCH, "ptrace");
    const int err = SendSigbus(request_);
    if (err != 0) return Failed(err, "tgkill");
    return AwaitDelivery();
  }

 private:
  SigbusOutcome AwaitDelivery() {
    for (;;) {
      // Read before the wait, so that a stop that came in the meantime is still looked at once.
      const bool is_last = expired_.load();
      siginfo_t state = {};
      const int options = WSTOPPED | WEXITED | WNOWAIT | __WALL | (is_last ? WNOHANG : 0);
      if (waitid(P_PID, static_cast<id_t>(request_.tid), &state, options) != 0 && errno != EINTR) {
        // ECHILD: another thread's execve(2) ended ours, and the mapping with it.
        return Failed(errno == ECHILD ? ESRCH : errno, "waitid");
      }
      if (state.si_pid != 0 && state.si_code != CLD_TRAPPED && state.si_code != CLD_STOPPED) {
        return Failed(ESRCH, "waitid");
      }
      // Asked even if the wait told nothing: when the target is our own child, libuv's handler of SIGCHLD in
      // another thread may have taken the news of the stop, but not the stop itself.
      siginfo_t stop = {};
      if (ptrace(PTRACE_GETSIGINFO, request_.tid, nullptr, &stop) == 0) {
        if (IsOurs(stop)) return Replace();
        // A group-stop is resumed with no signal, any other signal is given to the thread as it is.
        const int signal = IsGroupStop(stop) ? 0 : stop.si_signo;
        if (ptrace(PTRACE_CONT, request_.tid, nullptr, Word(signal)) != 0) return Failed(errno, "ptrace");
      }
      if (is_last) return {SigbusResult::kNoStop, 0, "waitid"};
    }
  }

  // Whether this is the SIGBUS that we sent: a real one, from a fault of the thread, is not touched.
  static bool IsOurs(const siginfo_t& stop) { return stop.si_signo == SIGBUS && stop.si_code == SI_TKILL; }

  static bool IsGroupStop(const siginfo_t& stop) { return stop.si_code >> 8 == PTRACE_EVENT_STOP; }

  SigbusOutcome Replace() {
    siginfo_t info = {};
    info.si_signo = SIGBUS;
    info.si_errno = 0;
    info.si_code = request_.si_code;
    info.si_addr = reinterpret_cast<void*>(request_.address);
    info.si_addr_lsb = static_cast<short>(request_.lsb);
    const bool set = ptrace(PTRACE_SETSIGINFO, request_.tid, nullptr, &info) == 0;
    const int set_err = errno;
    if (ptrace(PTRACE_DETACH, request_.tid, nullptr, Word(SIGBUS)) != 0) return Failed(errno, "ptrace");
    if (!set) return {SigbusResult::kNoStop, set_err, "ptrace"};
    return {SigbusResult::kDelivered, 0, "ptrace"};
  }

  static void* Word(int value) { return reinterpret_cast<void*>(static_cast<intptr_t>(value)); }

  const SigbusRequest& request_;
  const std::atomic<bool>& expired_;
};

// Leaves only the wake-up signal open, so that handlers of the rest of the process never run in this thread.
void BlockAllButWake() {
  sigset_t blocked;
  sigfillset(&blocked);
  sigdelset(&blocked, SIGURG);
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

SigbusOutcome TraceInThread(const SigbusRequest& request, int wait_ms) {
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<bool> expired{false};
  bool finished = false;
  pid_t tracer_tid = 0;
  SigbusOutcome outcome = Failed(EAGAIN, "clone");

  std::thread tracer;
  try {
    tracer = std::thread([&] {
      BlockAllButWake();
      {
        const std::lock_guard<std::mutex> lock(mutex);
        tracer_tid = CurrentTid();
      }
      const SigbusOutcome result = Tracer(request, expired).Run();
      const std::lock_guard<std::mutex> lock(mutex);
      outcome = result;
      finished = true;
      changed.notify_one();
    });
  } catch (const std::system_error&) {
    return outcome;
  }
  {
    std::unique_lock<std::mutex> lock(mutex);
    const auto is_finished = [&] { return finished; };
    bool in_time = changed.wait_for(lock, std::chrono::milliseconds(wait_ms), is_finished);
    for (int more = 0; !in_time && more < kRunnableWaitMs && IsOnItsWay(request); more += kLookEveryMs) {
      in_time = changed.wait_for(lock, std::chrono::milliseconds(kLookEveryMs), is_finished);
    }
    if (!in_time) {
      expired.store(true);
      do {
        if (tracer_tid != 0) WakeThread(tracer_tid);
      } while (!changed.wait_for(lock, kInterruptEvery, is_finished));
    }
  }
  tracer.join();
  return outcome;
}

}  // namespace

SigbusOutcome DeliverSigbus(const SigbusRequest& request) {
  const int err = EnsureWakeHandler();
  if (err != 0) return Failed(err, "sigaction");
  const ThreadStatus status = ReadThreadStatus(request.pid, request.tid);
  if (!status.exists || status.state == 'Z' || status.state == 'X') return Failed(ESRCH, "tgkill");
  if (!IsSameProcess(request)) return Failed(ESRCH, "tgkill");
  if ((status.blocked & kSigbusBit) == 0) return TraceInThread(request, request.wait_ms);
  // A running handler of SIGBUS blocks it too, and ends soon: only a lasting block is answered as such.
  const SigbusOutcome outcome = TraceInThread(request, std::min(request.wait_ms, kBlockedWaitMs));
  return outcome.result == SigbusResult::kNoStop ? SigbusOutcome{SigbusResult::kBlocked, 0, "tgkill"} : outcome;
}

}  // namespace rmapfs
