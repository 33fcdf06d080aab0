// Writes cache lines back to the medium and orders that before all later stores (a fence). This is what
// makes stores durable on memory that is mapped directly (DAX), without a system call.
#include <cerrno>
#include <cstdint>

#include "args.h"
#include "concerns.h"
#include "errors.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace rmapfs {

namespace {

// How this CPU writes lines back. `flush` is null where no such instruction is at hand.
struct LineFlush {
  const char* kind;
  size_t line_bytes;
  void (*flush)(uintptr_t first, uintptr_t end, size_t line_bytes);
};

#if defined(__x86_64__)

// clwb keeps the line in the cache and is not ordered with other flushes: the fence follows once.
__attribute__((target("clwb"))) void FlushClwb(uintptr_t first, uintptr_t end, size_t line) {
  for (uintptr_t at = first; at < end; at += line) _mm_clwb(reinterpret_cast<void*>(at));
  _mm_sfence();
}

__attribute__((target("clflushopt"))) void FlushClflushopt(uintptr_t first, uintptr_t end, size_t line) {
  for (uintptr_t at = first; at < end; at += line) _mm_clflushopt(reinterpret_cast<void*>(at));
  _mm_sfence();
}

void FlushClflush(uintptr_t first, uintptr_t end, size_t line) {
  for (uintptr_t at = first; at < end; at += line) _mm_clflush(reinterpret_cast<void*>(at));
  _mm_sfence();
}

LineFlush Detect() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  // Leaf 1: EDX bit 19 is clflush, EBX bits 15..8 the line size in units of 8 bytes.
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (edx & (1u << 19)) == 0) return {"none", 0, nullptr};
  const size_t line = ((ebx >> 8) & 0xff) * 8;
  if (line == 0) return {"none", 0, nullptr};
  // Leaf 7: EBX bit 24 is clwb, bit 23 clflushopt.
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
    if ((ebx & (1u << 24)) != 0) return {"clwb", line, FlushClwb};
    if ((ebx & (1u << 23)) != 0) return {"clflushopt", line, FlushClflushopt};
  }
  return {"clflush", line, FlushClflush};
}

#elif defined(__aarch64__)

// dc cvap cleans to the point of persistence. Where the CPU lacks it, the point of coherency (dc cvac) may
// be short of the medium, so that case is refused rather than promised.
void FlushDcCvap(uintptr_t first, uintptr_t end, size_t line) {
  // Written as the raw system instruction: assemblers refuse "dc cvap" below -march=armv8.2-a.
  for (uintptr_t at = first; at < end; at += line) asm volatile("sys #3, c7, c12, #1, %0" ::"r"(at) : "memory");
  asm volatile("dsb sy" ::: "memory");
}

LineFlush Detect() {
  if ((getauxval(AT_HWCAP) & HWCAP_DCPOP) == 0) return {"none", 0, nullptr};
  uint64_t ctr = 0;
  asm("mrs %0, ctr_el0" : "=r"(ctr));
  // CTR_EL0.DminLine (bits 19..16): log2 of the smallest line, in 4-byte words.
  return {"dc cvap", size_t{4} << ((ctr >> 16) & 0xf), FlushDcCvap};
}

#else

LineFlush Detect() { return {"none", 0, nullptr}; }

#endif

const LineFlush& TheFlush() {
  static const LineFlush flush = Detect();
  return flush;
}

// flushCacheLines(buffer, offset, length): every line that the range touches. A range of no bytes does nothing.
void FlushCacheLines(const Napi::CallbackInfo& info) {
  const char* name = "flushCacheLines";
  const ByteView range = RangeArg(info, 1, BytesArg(info, 0, name), name);
  const LineFlush& how = TheFlush();
  if (how.flush == nullptr) {
    throw CodedError(info.Env(), ENOTSUP, name, "this CPU has no instruction that writes cache lines back");
  }
  if (range.length == 0) return;
  const uintptr_t start = reinterpret_cast<uintptr_t>(range.data);
  how.flush(start - start % how.line_bytes, start + range.length, how.line_bytes);
}

// cacheFlushKind(): "clwb", "clflushopt", "clflush", "dc cvap" or "none".
Napi::Value CacheFlushKind(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), TheFlush().kind);
}

}  // namespace

void RegisterCacheFlush(Napi::Env env, Napi::Object exports) {
  exports.Set("flushCacheLines", Napi::Function::New(env, FlushCacheLines, "flushCacheLines"));
  exports.Set("cacheFlushKind", Napi::Function::New(env, CacheFlushKind, "cacheFlushKind"));
}

}  // namespace rmapfs
