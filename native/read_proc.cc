// Reading /proc for the scan of all processes, for which everybody waits when memory has failed: readFileInto is one
// crossing where node:fs makes three, and processesMapping is one for the whole machine.
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

constexpr size_t kChunkBytes = 64 * 1024;
constexpr size_t kNeedleMaxBytes = 64;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

// read(2), or pread(2) from a position, that goes on after a signal.
ssize_t ReadSome(int fd, uint8_t* into, size_t length, uint64_t position) {
  ssize_t got;
  do {
    got = pread(fd, into, length, static_cast<off_t>(position));
  } while (got < 0 && errno == EINTR);
  return got;
}

// readFileInto(path, into, position) -> bytes read, less than into.length only at the end of the file
Napi::Value ReadFileInto(const Napi::CallbackInfo& info) {
  const char* name = "readFileInto";
  const std::string path = TextArg(info, 0, "path", name);
  const ByteView into = BytesArg(info, 1, name);
  const uint64_t position = SizeArg(info, 2, "position", name);
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw CodedError(info.Env(), errno, "open", path);
  size_t filled = 0;
  while (filled < into.length) {
    const ssize_t got = ReadSome(file.get(), into.data + filled, into.length - filled, position + filled);
    if (got < 0) throw CodedError(info.Env(), errno, "pread", path);
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(filled));
}

// Whether a file has the bytes in it. -1 with errno when it cannot be read.
int FileContains(int dir, const char* path, ByteView needle) {
  const Descriptor file(openat(dir, path, O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return -1;
  static thread_local uint8_t buffer[kNeedleMaxBytes + kChunkBytes];
  // The bytes before `kept` are the last ones of the chunk before: a hit may begin there.
  size_t kept = 0;
  for (uint64_t position = 0;;) {
    const ssize_t got = ReadSome(file.get(), buffer + kept, kChunkBytes, position);
    if (got <= 0) return static_cast<int>(got);
    const size_t length = kept + static_cast<size_t>(got);
    if (memmem(buffer, length, needle.data, needle.length) != nullptr) return 1;
    position += static_cast<uint64_t>(got);
    kept = length < needle.length ? length : needle.length - 1;
    memmove(buffer, buffer + length - kept, kept);
  }
}

// processesMapping(root, needle, except) -> [processes, ended, unreadable, pid ...]
Napi::Value ProcessesMapping(const Napi::CallbackInfo& info) {
  const char* name = "processesMapping";
  const std::string root = TextArg(info, 0, "root", name);
  const ByteView needle = BytesArg(info, 1, name);
  const uint64_t except = SizeArg(info, 2, "except", name);
  if (needle.length == 0 || needle.length > kNeedleMaxBytes) {
    throw CodedError(info.Env(), EINVAL, name, "needle is empty or too long");
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(root.c_str()), closedir);
  if (dir == nullptr) throw CodedError(info.Env(), errno, "opendir", root);
  uint32_t processes = 0, ended = 0, unreadable = 0, found = 0;
  Napi::Array result = Napi::Array::New(info.Env());
  errno = 0;
  for (const dirent* entry; (entry = readdir(dir.get())) != nullptr; errno = 0) {
    char* end = nullptr;
    const unsigned long pid = strtoul(entry->d_name, &end, 10);
    if (end == entry->d_name || *end != '\0' || pid == except) continue;
    const int hit = FileContains(dirfd(dir.get()), (std::string(entry->d_name) + "/maps").c_str(), needle);
    if (hit >= 0) {
      processes++;
    } else if (errno == ENOENT || errno == ESRCH) {
      ended++;
    } else {
      unreadable++;
    }
    if (hit > 0) result.Set(3 + found++, Napi::Number::New(info.Env(), static_cast<double>(pid)));
  }
  if (errno != 0) throw CodedError(info.Env(), errno, "readdir", root);
  result.Set(0u, Napi::Number::New(info.Env(), processes));
  result.Set(1u, Napi::Number::New(info.Env(), ended));
  result.Set(2u, Napi::Number::New(info.Env(), unreadable));
  return result;
}

}  // namespace

void RegisterReadProc(Napi::Env env, Napi::Object exports) {
  exports.Set("readFileInto", Napi::Function::New(env, ReadFileInto, "readFileInto"));
  exports.Set("processesMapping", Napi::Function::New(env, ProcessesMapping, "processesMapping"));
}

}  // namespace rmapfs
