// A descriptor over a Unix socket (unix(7), SCM_RIGHTS): how fusermount3 hands over /dev/fuse.
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

// socketPair(): two connected stream sockets, both close-on-exec.
Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    throw CodedError(info.Env(), errno, "socketpair");
  }
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  for (uint32_t i = 0; i < 2; i++) result.Set(i, Napi::Number::New(info.Env(), pair[i]));
  return result;
}

// The descriptor in the control part of a received message, or -1. The room was for one: the kernel closed others.
int DescriptorOf(msghdr* message) {
  const cmsghdr* header = CMSG_FIRSTHDR(message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return -1;
  if (header->cmsg_len != CMSG_LEN(sizeof(int))) return -1;
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  return fd;
}

// receiveFd(socket): the descriptor that came with the next byte, close-on-exec. Does not wait.
Napi::Value ReceiveFd(const Napi::CallbackInfo& info) {
  const int socket = IntArg(info, 0, "socket", 0, INT_MAX, "recvmsg");
  char byte;
  iovec data = {&byte, sizeof(byte)};
  // CMSG_SPACE() is rounded up and would hold two descriptors, hence the length below.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_LEN(sizeof(int));
  ssize_t received;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  if (received < 0) throw CodedError(info.Env(), errno, "recvmsg");
  const int fd = DescriptorOf(&message);
  const bool truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  if (fd >= 0 && !truncated) return Napi::Number::New(info.Env(), fd);
  if (fd >= 0) close(fd);
  if (received == 0) throw CodedError(info.Env(), EPIPE, "recvmsg", "the other end closed without a descriptor");
  throw CodedError(info.Env(), EPROTO, "recvmsg",
                   truncated ? "the message carries more than one descriptor" : "the message carries no descriptor");
}

}  // namespace

void RegisterFdPassing(Napi::Env env, Napi::Object exports) {
  exports.Set("socketPair", Napi::Function::New(env, SocketPair, "socketPair"));
  exports.Set("receiveFd", Napi::Function::New(env, ReceiveFd, "receiveFd"));
}

}  // namespace rmapfs
