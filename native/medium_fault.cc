#include "medium_fault.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <new>

#include "args.h"
#include "concerns.h"
#include "errors.h"

namespace rmapfs {

namespace {

// What a mapping can be made of: a smaller piece of one that is made of larger pages cannot be replaced (devdax).
constexpr uintptr_t kPageSizes[] = {uintptr_t{1} << 12, uintptr_t{1} << 21, uintptr_t{1} << 30};

std::mutex mutex;
std::atomic<GuardedRange*> ranges{nullptr};
std::atomic<uint32_t> faults{0};
struct sigaction before;
bool installed = false;

GuardedRange* RangeOf(uintptr_t address) {
  for (GuardedRange* range = ranges.load(); range != nullptr; range = range->next) {
    const uintptr_t begin = range->begin.load();
    if (begin != 0 && address >= begin && address - begin < range->length.load()) return range;
  }
  return nullptr;
}

// Only what may be called in a signal handler: system calls and atomics.
bool Cover(const GuardedRange* range, uintptr_t address) {
  const uintptr_t begin = range->begin.load();
  const uintptr_t end = begin + range->length.load();
  for (const uintptr_t size : kPageSizes) {
    const uintptr_t first = address & ~(size - 1);
    if (first < begin || end - first < size) continue;
    const long laid = syscall(SYS_mmap, first, size, PROT_READ | PROT_WRITE,
                              MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (laid == static_cast<long>(first)) return true;
  }
  return false;
}

bool TakeMediumFault(const siginfo_t* info) {
  // Zero or less: sent by a process, and si_addr is no address.
  if (info->si_code <= 0) return false;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  GuardedRange* range = RangeOf(address);
  if (range == nullptr || !Cover(range, address)) return false;
  int64_t none = -1;
  range->first_fault.compare_exchange_strong(none, static_cast<int64_t>(address - range->begin.load()));
  faults.fetch_add(1);
  return true;
}

// The action from before. The default one ends the process when the access is repeated, or the signal sent again.
void PassOn(int signal, siginfo_t* info, void* context) {
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler == SIG_DFL) {
    sigaction(signal, &before, nullptr);
    if (info->si_code <= 0) raise(signal);
  } else if (before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  }
}

void OnSigbus(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  if (!TakeMediumFault(info)) PassOn(signal, info, context);
  errno = saved;
}

bool Install() {
  if (installed) return true;
  struct sigaction action = {};
  action.sa_sigaction = OnSigbus;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  // `before` is there before the first signal can ask for it.
  if (sigaction(SIGBUS, nullptr, &before) != 0 || sigaction(SIGBUS, &action, nullptr) != 0) return false;
  installed = true;
  return true;
}

GuardedRange* UnusedRange() {
  for (GuardedRange* range = ranges.load(); range != nullptr; range = range->next) {
    if (range->begin.load() == 0) return range;
  }
  auto* made = new (std::nothrow) GuardedRange;
  if (made == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  made->next = ranges.load();
  ranges.store(made);
  return made;
}

// mediumFaults(): asked for each request, so by the C interface, which is the cheaper one.
napi_value MediumFaultsJs(napi_env env, napi_callback_info) {
  napi_value count = nullptr;
  napi_create_uint32(env, MediumFaults(), &count);
  return count;
}

}  // namespace

GuardedRange* GuardMapping(void* address, size_t length) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (!Install()) return nullptr;
  GuardedRange* range = UnusedRange();
  if (range == nullptr) return nullptr;
  range->first_fault.store(-1);
  range->length.store(length);
  range->begin.store(reinterpret_cast<uintptr_t>(address));
  return range;
}

void UnguardMapping(GuardedRange* range) { range->begin.store(0); }

uint32_t MediumFaults() { return faults.load(); }

void TouchPages(const void* address, size_t length) {
  const auto* bytes = static_cast<const volatile uint8_t*>(address);
  for (size_t at = 0; at < length; at += kPageSizes[0]) (void)bytes[at];
  if (length != 0) (void)bytes[length - 1];
}

void RegisterMediumFault(Napi::Env env, Napi::Object exports) {
  napi_value function = nullptr;
  if (napi_create_function(env, "mediumFaults", NAPI_AUTO_LENGTH, MediumFaultsJs, nullptr, &function) != napi_ok) {
    throw CodedError(env, ENOMEM, "mediumFaults");
  }
  exports.Set("mediumFaults", Napi::Value(env, function));
}

}  // namespace rmapfs
