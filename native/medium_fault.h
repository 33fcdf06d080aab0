// Faults of the medium below a mapping: a page that the file has no more (it shrank, its filesystem is full, its
// device is gone) or whose memory failed. The kernel tells by SIGBUS in the middle of a load or store.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace rmapfs {

// A mapping whose faults are taken. Never freed: a signal handler walks the list of them at any time.
struct GuardedRange {
  std::atomic<uintptr_t> begin{0};
  std::atomic<size_t> length{0};
  // Offset of the first page that failed, or -1.
  std::atomic<int64_t> first_fault{-1};
  GuardedRange* next = nullptr;
};

// Takes the faults of a mapping from now on: a page of zeros is laid over the one that failed, MediumFaults() rises and
// the access goes on. Faults elsewhere, and SIGBUS from processes, have the action that was there before. Returns null
// with errno set. The first call of a process installs the handler.
GuardedRange* GuardMapping(void* address, size_t length);

// Before munmap(2), and by the thread that uses the mapping: a fault under way would cover what is mapped there next.
void UnguardMapping(GuardedRange* range);

// How many faults this process has taken, in all mappings.
uint32_t MediumFaults();

// Reads a byte of each page, which is how a failed page is found out that the kernel met in a system call (EFAULT).
void TouchPages(const void* address, size_t length);

}  // namespace rmapfs
