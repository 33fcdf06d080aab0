// fallocate(2): gives a file its blocks, or takes some away.
#include <fcntl.h>
#include <linux/falloc.h>

#include <cerrno>
#include <climits>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

// fallocate(fd, mode, offset, length).
void Fallocate(const Napi::CallbackInfo& info) {
  const int fd = IntArg(info, 0, "fd", 0, INT_MAX, "fallocate");
  const int mode = IntArg(info, 1, "mode", 0, INT_MAX, "fallocate");
  const uint64_t offset = SizeArg(info, 2, "offset", "fallocate");
  const uint64_t length = SizeArg(info, 3, "length", "fallocate");
  int result;
  do {
    result = fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (result != 0 && errno == EINTR);
  if (result != 0) throw CodedError(info.Env(), errno, "fallocate");
}

}  // namespace

void RegisterFallocate(Napi::Env env, Napi::Object exports) {
  exports.Set("fallocate", Napi::Function::New(env, Fallocate, "fallocate"));
  SetConstant(exports, "FALLOC_FL_KEEP_SIZE", FALLOC_FL_KEEP_SIZE);
  SetConstant(exports, "FALLOC_FL_PUNCH_HOLE", FALLOC_FL_PUNCH_HOLE);
}

}  // namespace rmapfs
