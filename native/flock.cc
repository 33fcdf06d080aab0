// flock(2): the advisory lock that keeps two daemons off one region.
#include <sys/file.h>

#include <cerrno>
#include <climits>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

// flock(fd, op): op is one of LOCK_SH, LOCK_EX, LOCK_UN, with LOCK_NB added so as not to wait.
// Throws EAGAIN when LOCK_NB was given and the lock is held by someone else.
void Flock(const Napi::CallbackInfo& info) {
  const int fd = IntArg(info, 0, "fd", 0, INT_MAX, "flock");
  const int op = IntArg(info, 1, "op", 0, INT_MAX, "flock");
  int result;
  do {
    result = flock(fd, op);
  } while (result != 0 && errno == EINTR);
  if (result != 0) throw CodedError(info.Env(), errno, "flock");
}

}  // namespace

void RegisterFlock(Napi::Env env, Napi::Object exports) {
  exports.Set("flock", Napi::Function::New(env, Flock, "flock"));
  SetConstant(exports, "LOCK_SH", LOCK_SH);
  SetConstant(exports, "LOCK_EX", LOCK_EX);
  SetConstant(exports, "LOCK_NB", LOCK_NB);
  SetConstant(exports, "LOCK_UN", LOCK_UN);
}

}  // namespace rmapfs
