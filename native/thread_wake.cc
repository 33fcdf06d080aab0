// Interrupts a thread that sits in a blocking system call. libuv does not repeat a read that EINTR ended
// (uv__fs_work: UV_FS_READ is not retried), so fs.readSync throws EINTR and the thread's JavaScript goes on.
#include "thread_wake.h"

#include <signal.h>
#include <sys/syscall.h>
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

}  // namespace

void RegisterThreadWake(Napi::Env env, Napi::Object exports) {
  exports.Set("currentTid", Napi::Function::New(env, CurrentTidJs, "currentTid"));
  exports.Set("installWakeHandler", Napi::Function::New(env, InstallWakeHandlerJs, "installWakeHandler"));
  exports.Set("wakeThread", Napi::Function::New(env, WakeThreadJs, "wakeThread"));
}

}  // namespace rmapfs
