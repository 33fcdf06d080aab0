// Errors that JavaScript sees: Error with `code`, `errno` (negative) and `syscall`, as node:fs throws them.
#pragma once

#include <string>

#include <napi.h>

namespace rmapfs {

// Builds the error for `err` (a positive errno) of `syscall`. `detail` says what was asked and found; when it
// is empty, strerror's text stands in.
Napi::Error CodedError(Napi::Env env, int err, const char* syscall, const std::string& detail = {});

// The name of a positive errno ("EINVAL"), or "UNKNOWN".
const char* ErrnoName(int err);

}  // namespace rmapfs
