// sync_file_range(2): has the dirty pages of a file written without its inode's lock, which whoever asks for the map of
// the file may hold.
#include <fcntl.h>

#include <cerrno>
#include <climits>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

// writeBack(fd): writes all dirty pages of the file and waits. They stay in the page cache, and mapped.
void WriteBack(const Napi::CallbackInfo& info) {
  const int fd = IntArg(info, 0, "fd", 0, INT_MAX, "sync_file_range");
  const unsigned flags =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if (sync_file_range(fd, 0, 0, flags) != 0) throw CodedError(info.Env(), errno, "sync_file_range");
}

}  // namespace

void RegisterWriteBack(Napi::Env env, Napi::Object exports) {
  exports.Set("writeBack", Napi::Function::New(env, WriteBack, "writeBack"));
}

}  // namespace rmapfs
