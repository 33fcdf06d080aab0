// Checked readers of JavaScript arguments. Each throws a coded EINVAL error that names the argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <napi.h>

namespace rmapfs {

// The largest integer that a JavaScript number holds exactly together with all smaller ones.
constexpr double kMaxSafeInteger = 9007199254740991.0;

// A whole number from 0 to 2^53 - 1.
uint64_t SizeArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall);

// A whole number from `low` to `high`.
int IntArg(const Napi::CallbackInfo& info, size_t index, const char* name, int low, int high,
           const char* syscall);

bool BoolArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall);

// A whole number or a bigint from 0 to 2^64 - 1.
uint64_t AddressArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall);

// A string without a NUL in it, as UTF-8.
std::string TextArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall);

// The bytes of a Buffer or Uint8Array.
struct ByteView {
  uint8_t* data;
  size_t length;
};
ByteView BytesArg(const Napi::CallbackInfo& info, size_t index, const char* syscall);

// The part of `view` that the arguments `index` (offset) and `index + 1` (length) name; it must lie within.
ByteView RangeArg(const Napi::CallbackInfo& info, size_t index, ByteView view, const char* syscall);

}  // namespace rmapfs
