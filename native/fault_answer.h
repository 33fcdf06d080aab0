// Answers the request of a page fault that met failed memory, so that the thread sees what a machine check gives it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace rmapfs {

struct FaultAnswer {
  int fd;                       // /dev/fuse
  std::vector<uint8_t> answer;  // the failure of the request, written whole
  pid_t pid;                    // process of the thread
  pid_t tid;                    // thread that waits for the answer, in a page fault
  int lsb;                      // si_addr_lsb
  int wait_ms;                  // bound of the wait for the thread's signal-delivery-stop
};

// Takes the answering over and returns at once: the thread is seized, then answered, and the SIGBUS BUS_ADRERR that
// the kernel forces on it becomes BUS_MCEERR_AR with the same address. When it cannot be seized it is answered all the
// same. False: nothing was taken over (too many at a time, the thread is being traced by this process already, no
// thread or descriptor left).
bool TakeFault(const FaultAnswer& fault);

}  // namespace rmapfs
