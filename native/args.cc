#include "args.h"

#include <cerrno>
#include <cmath>
#include <string>

#include "errors.h"

namespace rmapfs {

namespace {

Napi::Error BadArg(const Napi::CallbackInfo& info, const char* name, const char* syscall, const std::string& what) {
  return CodedError(info.Env(), EINVAL, syscall, std::string(name) + " must be " + what);
}

// The double of argument `index` if it is a whole number within the bounds.
double WholeArg(const Napi::CallbackInfo& info, size_t index, const char* name, double low, double high,
                const char* syscall) {
  const Napi::Value value = info[index];
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (number >= low && number <= high && std::trunc(number) == number) return number;
  }
  throw BadArg(info, name, syscall,
               "a whole number from " + std::to_string(static_cast<int64_t>(low)) + " to " +
                   std::to_string(static_cast<int64_t>(high)));
}

}  // namespace

uint64_t SizeArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall) {
  return static_cast<uint64_t>(WholeArg(info, index, name, 0, kMaxSafeInteger, syscall));
}

int IntArg(const Napi::CallbackInfo& info, size_t index, const char* name, int low, int high,
           const char* syscall) {
  return static_cast<int>(WholeArg(info, index, name, low, high, syscall));
}

std::string TextArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall) {
  const Napi::Value value = info[index];
  if (!value.IsString()) throw BadArg(info, name, syscall, "a string");
  const std::string text = value.As<Napi::String>();
  if (text.find('\0') != std::string::npos) throw BadArg(info, name, syscall, "a string without a NUL");
  return text;
}

bool BoolArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall) {
  const Napi::Value value = info[index];
  if (!value.IsBoolean()) throw BadArg(info, name, syscall, "true or false");
  return value.As<Napi::Boolean>().Value();
}

uint64_t AddressArg(const Napi::CallbackInfo& info, size_t index, const char* name, const char* syscall) {
  const Napi::Value value = info[index];
  if (value.IsBigInt()) {
    bool lossless = false;
    const uint64_t address = value.As<Napi::BigInt>().Uint64Value(&lossless);
    if (!lossless) throw BadArg(info, name, syscall, "a bigint from 0 to 2^64 - 1");
    return address;
  }
  return SizeArg(info, index, name, syscall);
}

ByteView BytesArg(const Napi::CallbackInfo& info, size_t index, const char* syscall) {
  const Napi::Value value = info[index];
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
    Napi::Uint8Array array = value.As<Napi::Uint8Array>();
    return {array.Data(), array.ByteLength()};
  }
  throw BadArg(info, "buffer", syscall, "a Buffer");
}

ByteView RangeArg(const Napi::CallbackInfo& info, size_t index, ByteView view, const char* syscall) {
  const uint64_t offset = SizeArg(info, index, "offset", syscall);
  const uint64_t length = SizeArg(info, index + 1, "length", syscall);
  if (offset > view.length || length > view.length - offset) {
    throw CodedError(info.Env(), EINVAL, syscall,
                     "the range of " + std::to_string(length) + " bytes at " + std::to_string(offset) +
                         " ends beyond the buffer of " + std::to_string(view.length) + " bytes");
  }
  return {view.data + offset, static_cast<size_t>(length)};
}

}  // namespace rmapfs
