// deliverSigbus and takeFault for JavaScript: check the arguments, and turn the outcome into a result or a coded error.
#include <signal.h>

#include <cerrno>
#include <climits>

#include "args.h"
#include "concerns.h"
#include "errors.h"
#include "fault_answer.h"
#include "sigbus_delivery.h"

namespace rmapfs {

namespace {

constexpr int kMaxWaitMs = 60000;
constexpr int kMaxLsb = 63;
// A failure has no body.
constexpr size_t kMaxAnswer = 64;

const char* ResultName(SigbusResult result) {
  switch (result) {
    case SigbusResult::kDelivered:
      return "delivered";
    case SigbusResult::kAwaited:
      return "awaited";
    case SigbusResult::kBlocked:
      return "blocked";
    case SigbusResult::kNoStop:
    case SigbusResult::kFailed:
      break;
  }
  return "no-stop";
}

// deliverSigbus(pid, tid, code, address, lsb, waitMs, startTicks) -> "delivered" | "awaited" | "blocked" | "no-stop"
Napi::Value DeliverSigbusJs(const Napi::CallbackInfo& info) {
  const char* name = "deliverSigbus";
  SigbusRequest request;
  request.pid = IntArg(info, 0, "pid", 1, INT_MAX, name);
  request.tid = IntArg(info, 1, "tid", 1, INT_MAX, name);
  request.si_code = IntArg(info, 2, "code", BUS_MCEERR_AR, BUS_MCEERR_AO, name);
  request.address = AddressArg(info, 3, "address", name);
  request.lsb = IntArg(info, 4, "lsb", 0, kMaxLsb, name);
  request.wait_ms = IntArg(info, 5, "waitMs", 1, kMaxWaitMs, name);
  request.start_ticks = SizeArg(info, 6, "startTicks", name);
  const SigbusOutcome outcome = DeliverSigbus(request);
  if (outcome.result == SigbusResult::kFailed) throw CodedError(info.Env(), outcome.err, outcome.syscall);
  return Napi::String::New(info.Env(), ResultName(outcome.result));
}

// takeFault(fd, answer, pid, tid, lsb, waitMs) -> boolean
Napi::Value TakeFaultJs(const Napi::CallbackInfo& info) {
  const char* name = "takeFault";
  FaultAnswer fault;
  fault.fd = IntArg(info, 0, "fd", 0, INT_MAX, name);
  const ByteView answer = BytesArg(info, 1, name);
  if (answer.length > kMaxAnswer) throw CodedError(info.Env(), EINVAL, name, "the answer is too long");
  fault.answer.assign(answer.data, answer.data + answer.length);
  fault.pid = IntArg(info, 2, "pid", 1, INT_MAX, name);
  fault.tid = IntArg(info, 3, "tid", 1, INT_MAX, name);
  fault.lsb = IntArg(info, 4, "lsb", 0, kMaxLsb, name);
  fault.wait_ms = IntArg(info, 5, "waitMs", 1, kMaxWaitMs, name);
  return Napi::Boolean::New(info.Env(), TakeFault(fault));
}

}  // namespace

void RegisterSigbus(Napi::Env env, Napi::Object exports) {
  exports.Set("deliverSigbus", Napi::Function::New(env, DeliverSigbusJs, "deliverSigbus"));
  exports.Set("takeFault", Napi::Function::New(env, TakeFaultJs, "takeFault"));
  SetConstant(exports, "BUS_MCEERR_AR", BUS_MCEERR_AR);
  SetConstant(exports, "BUS_MCEERR_AO", BUS_MCEERR_AO);
}

}  // namespace rmapfs
