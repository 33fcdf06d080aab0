// Memory mappings of files as Buffers, with mmap-io's interface and these differences: offsets and sizes are
// exact up to 2^53, every argument is checked, unmap exists, and errors carry code, errno and syscall.
//
// Life of a mapping: map() makes the Buffer over external memory; unmap() takes the pages away at once and
// detaches the ArrayBuffer, so that every view of it becomes empty; otherwise the finalizer unmaps, when the
// Buffer is collected or its environment (a worker) ends. Each environment keeps a table of its own mappings.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "args.h"
#include "concerns.h"
#include "errors.h"
#include "medium_fault.h"

namespace rmapfs {

namespace {

// What a Buffer of Node 20 can hold (buffer.constants.MAX_LENGTH).
constexpr uint64_t kMaxBufferBytes = uint64_t{1} << 32;

constexpr int kProtections = PROT_READ | PROT_WRITE | PROT_EXEC;
// MAP_FIXED is left out on purpose (it replaces what is there), and so is MAP_ANONYMOUS (use Buffer.alloc).
constexpr int kFlags = MAP_SHARED | MAP_PRIVATE | MAP_SHARED_VALIDATE | MAP_SYNC | MAP_NONBLOCK | MAP_POPULATE |
                       MAP_NORESERVE;

struct Mapping;

// The live mappings of one environment by address. Shared with the mappings, whose finalizers may run after
// the environment's own data are gone.
using Table = std::map<uint8_t*, Mapping*>;

struct EnvData {
  std::shared_ptr<Table> table = std::make_shared<Table>();
};

struct Mapping {
  uint8_t* address;
  size_t length;
  std::shared_ptr<Table> table;
  GuardedRange* guard;

  // Unmaps, once. Returns 0 or an errno.
  int Release() {
    if (address == nullptr) return 0;
    if (guard != nullptr) UnguardMapping(guard);
    guard = nullptr;
    if (munmap(address, length) != 0) return errno;
    table->erase(address);
    address = nullptr;
    return 0;
  }
};

int64_t AdjustExternal(Napi::Env env, int64_t bytes) {
  int64_t now = 0;
  napi_adjust_external_memory(env, bytes, &now);
  return now;
}

void FinalizeMapping(Napi::Env env, uint8_t*, Mapping* mapping) {
  AdjustExternal(env, static_cast<int64_t>(mapping->length));
  // A failing munmap here has nobody to tell; the pages stay mapped until the process ends.
  mapping->Release();
  delete mapping;
}

const Table& TableOf(Napi::Env env) { return *env.GetInstanceData<EnvData>()->table; }

// The mapping of this environment that holds `view`; throws EINVAL when the Buffer is not one of ours.
Mapping* MappingOf(const Napi::CallbackInfo& info, const ByteView& view, const char* syscall) {
  const Table& table = TableOf(info.Env());
  auto next = table.upper_bound(view.data);
  if (view.length != 0 && next != table.begin()) {
    Mapping* found = std::prev(next)->second;
    const size_t offset = static_cast<size_t>(view.data - found->address);
    if (offset < found->length && view.length <= found->length - offset) return found;
  }
  throw CodedError(info.Env(), EINVAL, syscall, "the buffer is not a mapping of ours, or it was unmapped");
}

uint64_t PageSize() { return static_cast<uint64_t>(sysconf(_SC_PAGESIZE)); }

// Touching a page beyond the end of a regular file is a fault of the medium: refuse it here.
void CheckFileCovers(const Napi::CallbackInfo& info, int fd, uint64_t offset, uint64_t size) {
  struct stat st;
  if (fstat(fd, &st) != 0) throw CodedError(info.Env(), errno, "fstat");
  if (!S_ISREG(st.st_mode)) return;
  const uint64_t file_size = static_cast<uint64_t>(st.st_size);
  if (offset <= file_size && size <= file_size - offset) return;
  throw CodedError(info.Env(), EINVAL, "mmap",
                   "the range of " + std::to_string(size) + " bytes at " + std::to_string(offset) +
                       " ends beyond the file of " + std::to_string(file_size) + " bytes");
}

struct MapRequest {
  size_t size;
  int protection;
  int flags;
  int fd;
  uint64_t offset;
  int advice;
};

bool IsKnownAdvice(int advice) {
  switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
      return true;
    default:
      return false;  // MADV_REMOVE, MADV_HWPOISON and the like destroy data.
  }
}

int AdviceArg(const Napi::CallbackInfo& info, size_t index) {
  const int advice = IntArg(info, index, "advice", 0, INT_MAX, "madvise");
  if (!IsKnownAdvice(advice)) {
    throw CodedError(info.Env(), EINVAL, "madvise", "advice " + std::to_string(advice) + " is not one we give");
  }
  return advice;
}

MapRequest ReadMapRequest(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint64_t size = SizeArg(info, 0, "size", "mmap");
  const int protection = IntArg(info, 1, "protection", 0, INT_MAX, "mmap");
  const int flags = IntArg(info, 2, "flags", 0, INT_MAX, "mmap");
  const int fd = IntArg(info, 3, "fd", 0, INT_MAX, "mmap");
  const uint64_t offset = SizeArg(info, 4, "offset", "mmap");
  const int advice = info[5].IsUndefined() ? MADV_NORMAL : AdviceArg(info, 5);
  if (size == 0 || size > kMaxBufferBytes) {
    throw CodedError(env, EINVAL, "mmap",
                     "a mapping of " + std::to_string(size) + " bytes: must be from 1 to " +
                         std::to_string(kMaxBufferBytes));
  }
  if (offset % PageSize() != 0) {
    throw CodedError(env, EINVAL, "mmap",
                     "offset " + std::to_string(offset) + " is not a multiple of the page size " +
                         std::to_string(PageSize()));
  }
  if ((protection & ~kProtections) != 0 || (protection & PROT_READ) == 0) {
    throw CodedError(env, EINVAL, "mmap", "protection must hold PROT_READ, and may hold PROT_WRITE and PROT_EXEC");
  }
  if ((flags & ~kFlags) != 0) throw CodedError(env, EINVAL, "mmap", "flags holds a flag that is not exported here");
  return {static_cast<size_t>(size), protection, flags, fd, offset, advice};
}

// map(size, protection, flags, fd, offset, advise?) -> Buffer
Napi::Value Map(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const MapRequest want = ReadMapRequest(info);
  CheckFileCovers(info, want.fd, want.offset, want.size);
  void* pages =
      mmap(nullptr, want.size, want.protection, want.flags, want.fd, static_cast<off_t>(want.offset));
  if (pages == MAP_FAILED) throw CodedError(env, errno, "mmap");

  auto owned = std::make_unique<Mapping>(
      Mapping{static_cast<uint8_t*>(pages), want.size, env.GetInstanceData<EnvData>()->table, nullptr});
  if (want.advice != MADV_NORMAL && madvise(pages, want.size, want.advice) != 0) {
    const int err = errno;
    owned->Release();
    throw CodedError(env, err, "madvise");
  }
  owned->guard = GuardMapping(pages, want.size);
  if (owned->guard == nullptr) {
    const int err = errno;
    owned->Release();
    throw CodedError(env, err, "sigaction");
  }
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_buffer(
      env, want.size, pages,
      [](napi_env raw, void* data, void* hint) {
        FinalizeMapping(Napi::Env(raw), static_cast<uint8_t*>(data), static_cast<Mapping*>(hint));
      },
      owned.get(), &buffer);
  if (status != napi_ok) {
    owned->Release();
    throw CodedError(env, ENOMEM, "mmap", "this runtime cannot make a Buffer over external memory");
  }
  Mapping* mapping = owned.release();
  mapping->table->emplace(mapping->address, mapping);
  // V8 takes external memory for garbage that a collection could give back, and collects when much of it
  // appears. Pages of a file are no such garbage: take them off the account, and put them back at the end.
  AdjustExternal(env, -static_cast<int64_t>(want.size));
  return Napi::Value(env, buffer);
}

// unmap(buffer): the Buffer that map() returned, not a part of it.
void Unmap(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const ByteView view = BytesArg(info, 0, "munmap");
  Mapping* mapping = MappingOf(info, view, "munmap");
  if (view.data != mapping->address || view.length != mapping->length) {
    throw CodedError(env, EINVAL, "munmap", "the buffer is a part of a mapping: unmap takes the whole");
  }
  // Detach first: between munmap and detach a view would point at nothing. Detaching may free the backing
  // store at once, but its finalizer runs later, from the event loop, so `mapping` is still alive here.
  const napi_status status = napi_detach_arraybuffer(env, info[0].As<Napi::Uint8Array>().ArrayBuffer());
  if (status != napi_ok) throw CodedError(env, EINVAL, "munmap", "the buffer's memory cannot be detached");
  const int err = mapping->Release();
  if (err != 0) throw CodedError(env, err, "munmap");
}

// faultOf(buffer): the offset of the first page of the mapping that failed, or -1.
Napi::Value FaultOf(const Napi::CallbackInfo& info) {
  const Mapping* mapping = MappingOf(info, BytesArg(info, 0, "faultOf"), "faultOf");
  return Napi::Number::New(info.Env(), static_cast<double>(mapping->guard->first_fault.load()));
}

// The whole pages that hold `range`: msync(2) and madvise(2) want a page-aligned start.
ByteView PagesOf(const ByteView& range) {
  const size_t lead = reinterpret_cast<uintptr_t>(range.data) % PageSize();
  return {range.data - lead, range.length + lead};
}

ByteView MappedRangeArg(const Napi::CallbackInfo& info, const char* syscall) {
  const ByteView view = BytesArg(info, 0, syscall);
  MappingOf(info, view, syscall);
  return RangeArg(info, 1, view, syscall);
}

// sync(buffer, offset, length, blocking, invalidate): msync(2) of the pages that hold the range.
void Sync(const Napi::CallbackInfo& info) {
  const ByteView pages = PagesOf(MappedRangeArg(info, "msync"));
  const bool blocking = BoolArg(info, 3, "blocking", "msync");
  const bool invalidate = BoolArg(info, 4, "invalidate", "msync");
  const int flags = (blocking ? MS_SYNC : MS_ASYNC) | (invalidate ? MS_INVALIDATE : 0);
  if (msync(pages.data, pages.length, flags) != 0) throw CodedError(info.Env(), errno, "msync");
}

// advise(buffer, offset, length, advice): madvise(2) of the pages that hold the range.
void Advise(const Napi::CallbackInfo& info) {
  const ByteView pages = PagesOf(MappedRangeArg(info, "madvise"));
  const int advice = AdviceArg(info, 3);
  if (madvise(pages.data, pages.length, advice) != 0) throw CodedError(info.Env(), errno, "madvise");
}

void SetConstants(Napi::Object exports) {
  SetConstant(exports, "PAGESIZE", static_cast<double>(PageSize()));
  SetConstant(exports, "PROT_READ", PROT_READ);
  SetConstant(exports, "PROT_WRITE", PROT_WRITE);
  SetConstant(exports, "PROT_EXEC", PROT_EXEC);
  SetConstant(exports, "PROT_NONE", PROT_NONE);
  SetConstant(exports, "MAP_SHARED", MAP_SHARED);
  SetConstant(exports, "MAP_PRIVATE", MAP_PRIVATE);
  SetConstant(exports, "MAP_SHARED_VALIDATE", MAP_SHARED_VALIDATE);
  SetConstant(exports, "MAP_SYNC", MAP_SYNC);
  SetConstant(exports, "MAP_NONBLOCK", MAP_NONBLOCK);
  SetConstant(exports, "MAP_POPULATE", MAP_POPULATE);
  SetConstant(exports, "MAP_NORESERVE", MAP_NORESERVE);
  SetConstant(exports, "MADV_NORMAL", MADV_NORMAL);
  SetConstant(exports, "MADV_RANDOM", MADV_RANDOM);
  SetConstant(exports, "MADV_SEQUENTIAL", MADV_SEQUENTIAL);
  SetConstant(exports, "MADV_WILLNEED", MADV_WILLNEED);
  SetConstant(exports, "MADV_DONTNEED", MADV_DONTNEED);
  SetConstant(exports, "MADV_HUGEPAGE", MADV_HUGEPAGE);
  SetConstant(exports, "MADV_NOHUGEPAGE", MADV_NOHUGEPAGE);
  SetConstant(exports, "MADV_DONTDUMP", MADV_DONTDUMP);
  SetConstant(exports, "MADV_DODUMP", MADV_DODUMP);
}

}  // namespace

void RegisterMapping(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new EnvData());
  exports.Set("map", Napi::Function::New(env, Map, "map"));
  exports.Set("unmap", Napi::Function::New(env, Unmap, "unmap"));
  exports.Set("faultOf", Napi::Function::New(env, FaultOf, "faultOf"));
  exports.Set("sync", Napi::Function::New(env, Sync, "sync"));
  exports.Set("advise", Napi::Function::New(env, Advise, "advise"));
  SetConstants(exports);
}

}  // namespace rmapfs
