// Interrupts a thread that sits in a blocking system call. libuv does not repeat a read that EINTR ended
// (uv__fs_work: UV_FS_READ is not retried), so fs.readSync throws EINTR and the thread's JavaScript goes on.
#include "thread_wake.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <mutex>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

void DoNothing(int) {}

}  // namespace

int EnsureWakeHandler() {
  static std::mutex mutex;
  static bool installed = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (installed) return 0;
  struct sigaction action = {};
  action.sa_handler = DoNothing;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGURG, &action, nullptr) != 0) return errno;
  installed = true;
  return 0;
}

int WakeThread(pid_t tid) {
  return syscall(SYS_tgkill, getpid(), tid, SIGURG) == 0 ? 0 : errno;
}

pid_t CurrentTid() { return static_cast<pid_t>(syscall(SYS_gettid)); }

namespace {

Napi::Value CurrentTidJs(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), CurrentTid()); }

void InstallWakeHandlerJs(const Napi::CallbackInfo& info) {
  const int err = EnsureWakeHandler();
  if (err != 0) throw CodedError(info.Env(), err, "sigaction");
}

// wakeThread(tid). The handler is installed first: without one SIGURG is ignored and would wake nobody.
void WakeThreadJs(const Napi::CallbackInfo& info) {
  const pid_t tid = IntArg(info, 0, "tid", 1, INT_MAX, "tgkill");
  InstallWakeHandlerJs(info);
  const int err = WakeThread(tid);
  if (err != 0) throw CodedError(info.Env(), err, "tgkill");
}

// The timer of one thread, which goes with it.
class WakeTimer {
 public:
  WakeTimer() = default;
  WakeTimer(const WakeTimer&) = delete;
  WakeTimer& operator=(const WakeTimer&) = delete;
  ~WakeTimer() {
    if (made_) timer_delete(timer_);
  }

  // Returns 0, or an errno with the name of the call in `syscall`.
  int Set(int first_ms, int every_ms, const char** syscall) {
    *syscall = "timer_create";
    if (!made_) {
      sigevent event = {};
      event.sigev_notify = SIGEV_THREAD_ID;
      event.sigev_signo = SIGURG;
      // glibc names the field sigev_notify_thread_id from 2.39 on only.
      event._sigev_un._tid = CurrentTid();
      if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) return errno;
      made_ = true;
    }
    *syscall = "timer_settime";
    const itimerspec when = {Interval(every_ms), Interval(first_ms)};
    return timer_settime(timer_, 0, &when, nullptr) == 0 ? 0 : errno;
  }

 private:
  static timespec Interval(int ms) { return {ms / 1000, (ms % 1000) * 1000000L}; }

  timer_t timer_ = {};
  bool made_ = false;
};

// setWakeTimer(firstMs, everyMs); both 0: off. Of the calling thread.
void SetWakeTimerJs(const Napi::CallbackInfo& info) {
  static thread_local WakeTimer timer;
  const int first_ms = IntArg(info, 0, "firstMs", 0, INT_MAX, "timer_settime");
  const int every_ms = IntArg(info, 1, "everyMs", 0, INT_MAX, "timer_settime");
  InstallWakeHandlerJs(info);
  const char* syscall = nullptr;
  const int err = timer.Set(first_ms, every_ms, &syscall);
  if (err != 0) throw CodedError(info.Env(), err, syscall);
}

}  // namespace

void RegisterThreadWake(Napi::Env env, Napi::Object exports) {
  exports.Set("currentTid", Napi::Function::New(env, CurrentTidJs, "currentTid"));
  exports.Set("installWakeHandler", Napi::Function::New(env, InstallWakeHandlerJs, "installWakeHandler"));
  exports.Set("setWakeTimer", Napi::Function::New(env, SetWakeTimerJs, "setWakeTimer"));
  exports.Set("wakeThread", Napi::Function::New(env, WakeThreadJs, "wakeThread"));
}

}  // namespace rmapfs
