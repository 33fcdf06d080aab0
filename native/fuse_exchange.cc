// One call for a server's loop over /dev/fuse: send the answer to the last request, take the next one. All of its
// memory is bound beforehand, so that a call has no arguments to take apart: what changes from call to call stands
// in a control record. It uses the C interface of Node-API: it is the one function that each request costs.
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <memory>
#include <vector>

#include "args.h"
#include "concerns.h"
#include "errors.h"
#include "medium_fault.h"

namespace rmapfs {

namespace {

// Parts of one answer besides its head: IOV_MAX counts the head as well.
constexpr int32_t kSegmentsMax = 1023;

// The words of the control record; src/exchange.ts has the same numbers.
enum Control : size_t { kAnswerBytes, kSegments, kWait, kReceived, kWriteErrno, kTable };
constexpr size_t kTripleWords = 3;

struct Exchange {
  int fd;
  ByteView answer;
  ByteView request;
  int32_t* control;
  int32_t segments_max;
  std::vector<ByteView> sources;
  // Keeps the memory alive.
  std::vector<Napi::ObjectReference> kept;
  struct iovec vector[1 + kSegmentsMax];
};

bool Within(int32_t offset, int32_t length, size_t size) {
  return offset >= 0 && length >= 0 && static_cast<size_t>(offset) + static_cast<size_t>(length) <= size;
}

// Fills the vector from the control record. Returns the number of parts, or -1 for a record that points outside.
int Gather(Exchange* e) {
  const int32_t bytes = e->control[kAnswerBytes];
  const int32_t segments = e->control[kSegments];
  if (!Within(0, bytes, e->answer.length) || segments < 0 || segments > e->segments_max) return -1;
  e->vector[0] = {e->answer.data, static_cast<size_t>(bytes)};
  const int32_t* triple = e->control + kTable;
  for (int32_t i = 1; i <= segments; i++, triple += kTripleWords) {
    if (triple[0] < 0 || static_cast<size_t>(triple[0]) >= e->sources.size()) return -1;
    const ByteView& source = e->sources[static_cast<size_t>(triple[0])];
    if (!Within(triple[1], triple[2], source.length)) return -1;
    e->vector[i] = {source.data + triple[1], static_cast<size_t>(triple[2])};
  }
  return segments + 1;
}

// By syscall(2): the C library's functions are cancellation points, which costs as much as the rest of this file.
long Send(const Exchange* e, int parts) {
  if (parts == 1) return syscall(SYS_write, e->fd, e->vector[0].iov_base, e->vector[0].iov_len);
  return syscall(SYS_writev, e->fd, e->vector, parts);
}

void TouchParts(const Exchange* e, int parts) {
  for (int i = 1; i < parts; i++) TouchPages(e->vector[i].iov_base, e->vector[i].iov_len);
}

napi_value Turn(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* const e = static_cast<Exchange*>(data);
  e->control[kWriteErrno] = 0;
  if (e->control[kAnswerBytes] != 0) {
    const int parts = Gather(e);
    if (parts < 0) {
      napi_throw(env, CodedError(Napi::Env(env), EINVAL, "exchange", "the answer lies outside of its memory").Value());
      return nullptr;
    }
    if (Send(e, parts) < 0) e->control[kWriteErrno] = errno;
    // The kernel met a page of the region that is gone, and has answered EIO to the request itself.
    if (e->control[kWriteErrno] == EFAULT) TouchParts(e, parts);
  }
  if (e->control[kWait] != 0) {
    const long got = syscall(SYS_read, e->fd, e->request.data, e->request.length);
    e->control[kReceived] = got < 0 ? -errno : static_cast<int32_t>(got);
  }
  return nullptr;
}

ByteView Keep(Exchange* e, const Napi::CallbackInfo& info, size_t index) {
  const ByteView view = BytesArg(info, index, "bindExchange");
  if (view.length > INT_MAX) throw CodedError(info.Env(), EINVAL, "bindExchange", "a Buffer is below 2 GiB");
  e->kept.push_back(Napi::Persistent(info[index].As<Napi::Object>()));
  return view;
}

void BindControl(Exchange* e, const Napi::CallbackInfo& info) {
  const bool is_words = info[3].IsTypedArray() && info[3].As<Napi::TypedArray>().TypedArrayType() == napi_int32_array;
  if (!is_words) throw CodedError(info.Env(), EINVAL, "bindExchange", "the control record must be an Int32Array");
  const auto words = info[3].As<Napi::Int32Array>();
  // V8 moves the memory of small typed arrays.
  if (words.ElementLength() < kTable + kTripleWords * kSegmentsMax) {
    throw CodedError(info.Env(), EINVAL, "bindExchange", "the control record is too short");
  }
  e->control = info[3].As<Napi::Int32Array>().Data();
  e->segments_max = kSegmentsMax;
  e->kept.push_back(Napi::Persistent(info[3].As<Napi::Object>()));
}

void BindSources(Exchange* e, const Napi::CallbackInfo& info) {
  if (!info[4].IsArray()) throw CodedError(info.Env(), EINVAL, "bindExchange", "the sources must be an array");
  const auto sources = info[4].As<Napi::Array>();
  for (uint32_t i = 0; i < sources.Length(); i++) {
    const Napi::Value source = sources[i];
    if (!source.IsBuffer()) throw CodedError(info.Env(), EINVAL, "bindExchange", "each source must be a Buffer");
    const auto buffer = source.As<Napi::Buffer<uint8_t>>();
    e->sources.push_back({buffer.Data(), buffer.Length()});
    e->kept.push_back(Napi::Persistent(source.As<Napi::Object>()));
  }
}

// bindExchange(fd, answer, request, control, sources): a function without arguments; see src/native.ts.
Napi::Value BindExchange(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto e = std::make_unique<Exchange>();
  e->fd = IntArg(info, 0, "fd", 0, INT_MAX, "bindExchange");
  e->answer = Keep(e.get(), info, 1);
  e->request = Keep(e.get(), info, 2);
  BindControl(e.get(), info);
  BindSources(e.get(), info);
  napi_value turn = nullptr;
  if (napi_create_function(env, "exchange", NAPI_AUTO_LENGTH, Turn, e.get(), &turn) != napi_ok) {
    throw CodedError(env, ENOMEM, "bindExchange");
  }
  const Napi::Function function(env, turn);
  function.As<Napi::Object>().AddFinalizer([](Napi::Env, Exchange* gone) { delete gone; }, e.get());
  e.release();
  return function;
}

}  // namespace

void RegisterFuseExchange(Napi::Env env, Napi::Object exports) {
  exports.Set("bindExchange", Napi::Function::New(env, BindExchange, "bindExchange"));
}

}  // namespace rmapfs
