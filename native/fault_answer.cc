#include "fault_answer.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "proc_status.h"
#include "thread_wake.h"
#include "tracer.h"

namespace rmapfs {

namespace {

constexpr int kFaultsMax = 64;

std::atomic<int> faults_in_flight{0};

// One fault from here to the end of its tracing, with a descriptor of its own: the daemon may close /dev/fuse
// meanwhile, and the number could belong to another file by then.
class Fault {
 public:
  static std::shared_ptr<Fault> Take(const FaultAnswer& fault) {
    ThreadClaim claim = ClaimThread(fault.tid, 0);
    if (claim == nullptr) return nullptr;
    const int fd = fcntl(fault.fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return nullptr;
    return std::shared_ptr<Fault>(new Fault(fault, fd, std::move(claim)));
  }

  ~Fault() {
    close(fd_);
    faults_in_flight.fetch_sub(1);
  }

  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;

  // Once. ENOENT: the request was aborted, and nobody waits for it. ENODEV: the mount is gone, with its requests.
  void Answer() {
    if (answered_.exchange(true)) return;
    while (write(fd_, fault_.answer.data(), fault_.answer.size()) < 0 && errno == EINTR) {
    }
  }

  TraceTask TaskFor(const std::shared_ptr<Fault>& self) const {
    TraceTask task = {};
    task.pid = fault_.pid;
    task.tid = fault_.tid;
    task.wait_ms = fault_.wait_ms;
    task.claim = claim_;
    task.seized = [self] {
      self->Answer();
      return 0;
    };
    task.replace = [lsb = fault_.lsb](siginfo_t* info) {
      if (info->si_code != BUS_ADRERR) return false;
      info->si_code = BUS_MCEERR_AR;
      info->si_addr_lsb = static_cast<short>(lsb);
      return true;
    };
    // The kernel asks once more before it gives up. A fault that ended well brings no signal.
    task.is_on_its_way = [pid = fault_.pid, tid = fault_.tid] { return IsRunningOrInFault(pid, tid); };
    return task;
  }

 private:
  Fault(const FaultAnswer& fault, int fd, ThreadClaim claim) : fault_(fault), fd_(fd), claim_(std::move(claim)) {
    faults_in_flight.fetch_add(1);
  }

  const FaultAnswer fault_;
  const int fd_;
  const ThreadClaim claim_;
  std::atomic<bool> answered_{false};
};

}  // namespace

bool TakeFault(const FaultAnswer& request) {
  if (EnsureWakeHandler() != 0 || faults_in_flight.load() >= kFaultsMax) return false;
  const std::shared_ptr<Fault> fault = Fault::Take(request);
  if (fault == nullptr) return false;
  try {
    std::thread([fault] {
      BlockAllButWake();
      TraceInThread(fault->TaskFor(fault));
      fault->Answer();
    }).detach();
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

}  // namespace rmapfs
