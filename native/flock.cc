// flock(2) and locks of ranges (fcntl(2)): the advisory locks that keep two daemons off one region.
#include <fcntl.h>
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

// lockRange(fd, exclusive, offset, length): length 0 is to the end, however long the file gets. The lock belongs to the
// open file, as that of flock(2). Throws EAGAIN when another open file has a lock in the way.
void LockRange(const Napi::CallbackInfo& info) {
  const int fd = IntArg(info, 0, "fd", 0, INT_MAX, "fcntl");
  struct flock lock = {};
  lock.l_type = BoolArg(info, 1, "exclusive", "fcntl") ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(SizeArg(info, 2, "offset", "fcntl"));
  lock.l_len = static_cast<off_t>(SizeArg(info, 3, "length", "fcntl"));
  if (fcntl(fd, F_OFD_SETLK, &lock) != 0) throw CodedError(info.Env(), errno, "fcntl");
}

}  // namespace

void RegisterFlock(Napi::Env env, Napi::Object exports) {
  exports.Set("flock", Napi::Function::New(env, Flock, "flock"));
  exports.Set("lockRange", Napi::Function::New(env, LockRange, "lockRange"));
  SetConstant(exports, "LOCK_SH", LOCK_SH);
  SetConstant(exports, "LOCK_EX", LOCK_EX);
  SetConstant(exports, "LOCK_NB", LOCK_NB);
  SetConstant(exports, "LOCK_UN", LOCK_UN);
}

}  // namespace rmapfs
