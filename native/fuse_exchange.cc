// One call for a server's loop over /dev/fuse: send the answer to the last request, take the next one. It uses
// the C interface of Node-API: this is the one function of the addon that is called for every request.
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

// Parts of one answer, as IOV_MAX has it.
constexpr uint32_t kPartsMax = 1024;

// Throws EINVAL into JavaScript. Returns null, for the caller to pass on.
napi_value Refuse(napi_env env, const char* what) {
  napi_throw(env, CodedError(Napi::Env(env), EINVAL, "exchange", what).Value());
  return nullptr;
}

bool BufferOf(napi_env env, napi_value value, uint8_t** data, size_t* length) {
  bool is_buffer = false;
  void* bytes = nullptr;
  if (napi_is_buffer(env, value, &is_buffer) != napi_ok || !is_buffer) return false;
  if (napi_get_buffer_info(env, value, &bytes, length) != napi_ok) return false;
  *data = static_cast<uint8_t*>(bytes);
  return true;
}

// The element that takes the errno of the write.
int32_t* ErrorSlot(napi_env env, napi_value value) {
  bool is_typed = false;
  if (napi_is_typedarray(env, value, &is_typed) != napi_ok || !is_typed) return nullptr;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok) return nullptr;
  return type == napi_int32_array && length >= 1 ? static_cast<int32_t*>(data) : nullptr;
}

// Reads the next request. The result is its length or a negative errno.
napi_value Receive(napi_env env, int fd, uint8_t* data, size_t length) {
  const ssize_t got = read(fd, data, length);
  napi_value result = nullptr;
  napi_create_int32(env, got < 0 ? -errno : static_cast<int32_t>(got), &result);
  return result;
}

// exchange(fd, answer, answerLength, request, writeErrno): sends answer[0 .. answerLength) unless that is empty.
napi_value Exchange(napi_env env, napi_callback_info info) {
  napi_value args[5];
  size_t count = 5;
  int32_t fd = -1;
  uint32_t answer_length = 0;
  uint8_t *answer = nullptr, *request = nullptr;
  size_t answer_size = 0, request_size = 0;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count < 5 ||
      napi_get_value_int32(env, args[0], &fd) != napi_ok || fd < 0) {
    return Refuse(env, "fd must be a descriptor");
  }
  if (!BufferOf(env, args[1], &answer, &answer_size) ||
      napi_get_value_uint32(env, args[2], &answer_length) != napi_ok || answer_length > answer_size) {
    return Refuse(env, "the answer must be a Buffer that holds its length");
  }
  if (!BufferOf(env, args[3], &request, &request_size) || request_size > INT_MAX) {
    return Refuse(env, "the request must be a Buffer below 2 GiB");
  }
  int32_t* const write_errno = ErrorSlot(env, args[4]);
  if (write_errno == nullptr) return Refuse(env, "writeErrno must be an Int32Array");
  *write_errno = answer_length > 0 && write(fd, answer, answer_length) < 0 ? errno : 0;
  return Receive(env, fd, request, request_size);
}

// exchangev(fd, parts, request, writeErrno): the same with an answer in several Buffers.
napi_value Exchangev(napi_env env, napi_callback_info info) {
  napi_value args[4];
  size_t count = 4;
  int32_t fd = -1;
  uint32_t parts = 0;
  uint8_t* request = nullptr;
  size_t request_size = 0;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count < 4 ||
      napi_get_value_int32(env, args[0], &fd) != napi_ok || fd < 0) {
    return Refuse(env, "fd must be a descriptor");
  }
  bool is_array = false;
  if (napi_is_array(env, args[1], &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, args[1], &parts) != napi_ok || parts == 0 || parts > kPartsMax) {
    return Refuse(env, "the parts must be an array of 1 to 1024 Buffers");
  }
  struct iovec vector[kPartsMax];
  for (uint32_t i = 0; i < parts; i++) {
    napi_value part = nullptr;
    uint8_t* data = nullptr;
    if (napi_get_element(env, args[1], i, &part) != napi_ok || !BufferOf(env, part, &data, &vector[i].iov_len)) {
      return Refuse(env, "each part must be a Buffer");
    }
    vector[i].iov_base = data;
  }
  if (!BufferOf(env, args[2], &request, &request_size) || request_size > INT_MAX) {
    return Refuse(env, "the request must be a Buffer below 2 GiB");
  }
  int32_t* const write_errno = ErrorSlot(env, args[3]);
  if (write_errno == nullptr) return Refuse(env, "writeErrno must be an Int32Array");
  *write_errno = writev(fd, vector, static_cast<int>(parts)) < 0 ? errno : 0;
  return Receive(env, fd, request, request_size);
}

void SetFunction(Napi::Env env, Napi::Object exports, const char* name, napi_callback function) {
  napi_value value = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) != napi_ok) {
    throw CodedError(env, ENOMEM, name);
  }
  exports.Set(name, value);
}

}  // namespace

void RegisterFuseExchange(Napi::Env env, Napi::Object exports) {
  SetFunction(env, exports, "exchange", Exchange);
  SetFunction(env, exports, "exchangev", Exchangev);
}

}  // namespace rmapfs
