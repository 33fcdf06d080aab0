// The addon's entry point. Each concern registers its own functions; nothing is kept in process-wide state
// that a second environment (a worker thread) could trip over.
#include <napi.h>

#include "concerns.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  rmapfs::RegisterMapping(env, exports);
  rmapfs::RegisterCacheFlush(env, exports);
  rmapfs::RegisterFallocate(env, exports);
  rmapfs::RegisterFdPassing(env, exports);
  rmapfs::RegisterFlock(env, exports);
  rmapfs::RegisterThreadWake(env, exports);
  rmapfs::RegisterFuseExchange(env, exports);
  rmapfs::RegisterMediumFault(env, exports);
  rmapfs::RegisterReadProc(env, exports);
  rmapfs::RegisterSigbus(env, exports);
  rmapfs::RegisterWriteBack(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(rmapfs, Init)
