// What each .cc file adds to the addon's exports.
#pragma once

#include <napi.h>

namespace rmapfs {

void RegisterMapping(Napi::Env env, Napi::Object exports);
void RegisterCacheFlush(Napi::Env env, Napi::Object exports);
void RegisterFallocate(Napi::Env env, Napi::Object exports);
void RegisterFdPassing(Napi::Env env, Napi::Object exports);
void RegisterFlock(Napi::Env env, Napi::Object exports);
void RegisterThreadWake(Napi::Env env, Napi::Object exports);
void RegisterFuseExchange(Napi::Env env, Napi::Object exports);
void RegisterMediumFault(Napi::Env env, Napi::Object exports);
void RegisterReadProc(Napi::Env env, Napi::Object exports);
void RegisterSigbus(Napi::Env env, Napi::Object exports);
void RegisterWriteBack(Napi::Env env, Napi::Object exports);

// Adds a named integer to the exports.
inline void SetConstant(Napi::Object exports, const char* name, double value) {
  exports.Set(name, Napi::Number::New(exports.Env(), value));
}

}  // namespace rmapfs
