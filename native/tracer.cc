// The sequence, with the kernel's rules that it rests on (ptrace(2), kernel/ptrace.c, kernel/signal.c):
//
//   PTRACE_SEIZE   attaches without stopping the thread.
//   seized()       brings it to a signal-delivery-stop for SIGBUS; it makes one even where SIGBUS is ignored: a traced
//                  thread's ignored signals are reported.
//   wait           for that stop. Other stops on the way are passed on: a signal with its own siginfo, a
//                  group-stop by PTRACE_CONT (SIGBUS is then taken before the thread gets back to user
//                  space, and PTRACE_DETACH puts the group-stop back).
//   PTRACE_SETSIGINFO replaces what the handler will see; PTRACE_DETACH with SIGBUS delivers it.
//
// Every wait uses WNOWAIT. It leaves the stop's signal in the thread, so that it is delivered even if we die
// there, and it leaves an exit status to the real parent (which may be this very process).
//
// PTRACE_SEIZE waits for an execve(2) in the target's process (cred_guard_mutex), which waits for the end of its other
// threads, and one of them may wait for an answer of ours. No signal gets the call out of that (ERESTARTNOINTR), so a
// tracer that has not seized in time is left behind: it ends with the execve, and does nothing any more.
#include "tracer.h"

#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "proc_status.h"
#include "thread_wake.h"

namespace rmapfs {

namespace {

// An interrupt that falls between the tracer's check of the time and its wait is lost: it is repeated.
constexpr std::chrono::milliseconds kInterruptEvery{2};
// A thread that only waits for a CPU stops when it gets one: on a loaded machine it is given this long beyond wait_ms.
constexpr int kRunnableWaitMs = 10000;
// The same for the tracer itself, until it has seized the thread.
constexpr int kSeizeWaitMs = 2000;
constexpr int kLookEveryMs = 20;
constexpr int kSeizeTries = 10;
constexpr std::chrono::microseconds kSeizeAgain{200};

struct Claims {
  std::mutex mutex;
  std::condition_variable released;
  std::set<pid_t> tids;
};

// Never destroyed: a tracer that was left behind may outlive the end of main().
Claims& AllClaims() {
  static Claims* const claims = new Claims;
  return *claims;
}

TraceOutcome Failed(int err, const char* syscall) { return {TraceResult::kFailed, err, syscall}; }

// What the tracer and whoever waits for it have in common. It lives as long as either of them.
struct Shared {
  explicit Shared(TraceTask the_task) : task(std::move(the_task)) {}

  const TraceTask task;
  std::atomic<bool> expired{false};
  std::mutex mutex;
  std::condition_variable changed;
  // Below: under the mutex.
  bool seized = false;
  bool abandoned = false;
  bool finished = false;
  pid_t tracer_tid = 0;
  TraceOutcome outcome = Failed(EAGAIN, "clone");
};

bool IsSameProcess(const TraceTask& task) {
  return task.start_ticks == 0 || ReadStartTicks(task.pid) == task.start_ticks;
}

// The tracer: lives in a thread of its own, and everything it does to the target ends with that thread.
class Tracer {
 public:
  explicit Tracer(Shared& shared) : shared_(shared), task_(shared.task) {}

  TraceOutcome Run() {
    int err = Seize();
    // The tracer before this one lets go of its claim just before it detaches.
    for (int tries = 0; err == EPERM && tries < kSeizeTries; tries++) {
      std::this_thread::sleep_for(kSeizeAgain);
      err = Seize();
    }
    if (err != 0) {
      return Failed(err == EPERM && HasEnded(ReadThreadStatus(task_.pid, task_.tid)) ? ESRCH : err, "ptrace");
    }
    {
      const std::lock_guard<std::mutex> lock(shared_.mutex);
      if (shared_.abandoned) return Failed(EAGAIN, "ptrace");
      shared_.seized = true;
    }
    // From here on the pid cannot be reused, because a traced thread is not reaped without us.
    if (!IsSameProcess(task_)) return Failed(ESRCH, "ptrace");
    const int sent = task_.seized();
    if (sent != 0) return Failed(sent, "tgkill");
    return AwaitStop();
  }

 private:
  int Seize() { return ptrace(PTRACE_SEIZE, task_.tid, nullptr, nullptr) == 0 ? 0 : errno; }

  TraceOutcome AwaitStop() {
    for (;;) {
      // Read before the wait, so that a stop that came in the meantime is still looked at once.
      const bool is_last = shared_.expired.load();
      siginfo_t state = {};
      const int options = WSTOPPED | WEXITED | WNOWAIT | __WALL | (is_last ? WNOHANG : 0);
      if (waitid(P_PID, static_cast<id_t>(task_.tid), &state, options) != 0 && errno != EINTR) {
        // ECHILD: another thread's execve(2) ended ours, and the mapping with it.
        return Failed(errno == ECHILD ? ESRCH : errno, "waitid");
      }
      if (state.si_pid != 0 && state.si_code != CLD_TRAPPED && state.si_code != CLD_STOPPED) {
        return Failed(ESRCH, "waitid");
      }
      // Asked even if the wait told nothing: when the target is our own child, libuv's handler of SIGCHLD in
      // another thread may have taken the news of the stop, but not the stop itself.
      siginfo_t stop = {};
      if (ptrace(PTRACE_GETSIGINFO, task_.tid, nullptr, &stop) == 0) {
        if (stop.si_signo == SIGBUS && task_.replace(&stop)) return Replace(&stop);
        // A group-stop is resumed with no signal, any other signal is given to the thread as it is.
        const int signal = IsGroupStop(stop) ? 0 : stop.si_signo;
        if (ptrace(PTRACE_CONT, task_.tid, nullptr, Word(signal)) != 0) return Failed(errno, "ptrace");
      }
      if (is_last) return {TraceResult::kNoStop, 0, "waitid"};
    }
  }

  static bool IsGroupStop(const siginfo_t& stop) { return stop.si_code >> 8 == PTRACE_EVENT_STOP; }

  TraceOutcome Replace(siginfo_t* info) {
    const bool set = ptrace(PTRACE_SETSIGINFO, task_.tid, nullptr, info) == 0;
    const int set_err = errno;
    // Before the thread runs: it may touch bad memory again at once, and that fault is answered by a tracer of its own.
    if (task_.claim != nullptr) task_.claim->Release();
    if (ptrace(PTRACE_DETACH, task_.tid, nullptr, Word(SIGBUS)) != 0) return Failed(errno, "ptrace");
    if (!set) return {TraceResult::kNoStop, set_err, "ptrace"};
    return {TraceResult::kDelivered, 0, "ptrace"};
  }

  static void* Word(int value) { return reinterpret_cast<void*>(static_cast<intptr_t>(value)); }

  Shared& shared_;
  const TraceTask& task_;
};

void RunTracer(Shared& shared) {
  BlockAllButWake();
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    shared.tracer_tid = CurrentTid();
  }
  const TraceOutcome result = Tracer(shared).Run();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  shared.outcome = result;
  shared.finished = true;
  shared.changed.notify_one();
}

// Waits for the tracer's end. False when it is left behind.
bool AwaitTracer(Shared& shared) {
  std::unique_lock<std::mutex> lock(shared.mutex);
  const auto is_finished = [&] { return shared.finished; };
  bool in_time = shared.changed.wait_for(lock, std::chrono::milliseconds(shared.task.wait_ms), is_finished);
  const auto goes_on = [&](int more) {
    return shared.seized ? more < kRunnableWaitMs && shared.task.is_on_its_way() : more < kSeizeWaitMs;
  };
  for (int more = 0; !in_time && goes_on(more); more += kLookEveryMs) {
    // The news of a stop may have been taken by another thread: see AwaitStop().
    if (shared.seized) WakeThread(shared.tracer_tid);
    in_time = shared.changed.wait_for(lock, std::chrono::milliseconds(kLookEveryMs), is_finished);
  }
  if (in_time) return true;
  if (!shared.seized) {
    shared.abandoned = true;
    return false;
  }
  shared.expired.store(true);
  do {
    WakeThread(shared.tracer_tid);
  } while (!shared.changed.wait_for(lock, kInterruptEvery, is_finished));
  return true;
}

}  // namespace

ThreadClaim ClaimThread(pid_t tid, int wait_ms) {
  Claims& all = AllClaims();
  std::unique_lock<std::mutex> lock(all.mutex);
  const auto is_free = [&] { return all.tids.count(tid) == 0; };
  if (!all.released.wait_for(lock, std::chrono::milliseconds(wait_ms), is_free)) return nullptr;
  all.tids.insert(tid);
  return std::make_shared<HeldThread>(tid);
}

void HeldThread::Release() {
  if (!held_.exchange(false)) return;
  Claims& claims = AllClaims();
  {
    const std::lock_guard<std::mutex> guard(claims.mutex);
    claims.tids.erase(tid_);
  }
  claims.released.notify_all();
}

void BlockAllButWake() {
  sigset_t blocked;
  sigfillset(&blocked);
  sigdelset(&blocked, SIGURG);
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

TraceOutcome TraceInThread(TraceTask task) {
  const auto shared = std::make_shared<Shared>(std::move(task));
  std::thread tracer;
  try {
    tracer = std::thread([shared] { RunTracer(*shared); });
  } catch (const std::system_error&) {
    return shared->outcome;
  }
  if (!AwaitTracer(*shared)) {
    tracer.detach();
    return Failed(EAGAIN, "ptrace");
  }
  tracer.join();
  return shared->outcome;
}

}  // namespace rmapfs
