#include "errors.h"

#include <cerrno>
#include <cstring>

namespace rmapfs {

// strerrorname_np(3) would do this, but only glibc 2.32 and later has it. The list holds what the system calls
// of this addon can answer; errno values that are one number under two names appear once.
#define RMAPFS_ERRNOS(X)                                                                                  \
  X(EACCES) X(EAGAIN) X(EBADF) X(EBUSY) X(ECHILD) X(EEXIST) X(EFAULT) X(EFBIG) X(EINTR) X(EINVAL) X(EIO)  \
  X(EISDIR) X(EMFILE) X(ENFILE) X(ENODEV) X(ENOENT) X(ENOLCK) X(ENOMEM) X(ENOSPC) X(ENOSYS) X(ENOTDIR)    \
  X(ENOTSOCK) X(ENOTSUP) X(ENXIO) X(EOVERFLOW) X(EPERM) X(EPIPE) X(EPROTO)     \
  X(ERANGE) X(EROFS) X(ESRCH) X(ETIMEDOUT) X(ETXTBSY)

const char* ErrnoName(int err) {
  switch (err) {
#define RMAPFS_CASE(name) \
  case name:              \
    return #name;
    RMAPFS_ERRNOS(RMAPFS_CASE)
#undef RMAPFS_CASE
    default:
      return "UNKNOWN";
  }
}

Napi::Error CodedError(Napi::Env env, int err, const char* syscall, const std::string& detail) {
  const char* name = ErrnoName(err);
  const std::string text = detail.empty() ? std::string(std::strerror(err)) : detail;
  Napi::Error error = Napi::Error::New(env, std::string(name) + ": " + text + ", " + syscall);
  error.Set("code", Napi::String::New(env, name));
  error.Set("errno", Napi::Number::New(env, -err));
  error.Set("syscall", Napi::String::New(env, syscall));
  return error;
}

}  // namespace rmapfs
