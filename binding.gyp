{
  "targets": [
    {
      "target_name": "rmapfs",
      "sources": [
        "native/addon.cc",
        "native/args.cc",
        "native/cache_flush.cc",
        "native/errors.cc",
        "native/fallocate.cc",
        "native/fault_answer.cc",
        "native/fd_passing.cc",
        "native/flock.cc",
        "native/fuse_exchange.cc",
        "native/mapping.cc",
        "native/medium_fault.cc",
        "native/proc_status.cc",
        "native/read_proc.cc",
        "native/sigbus.cc",
        "native/sigbus_delivery.cc",
        "native/thread_wake.cc",
        "native/tracer.cc",
        "native/write_back.cc"
      ],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS", "_FILE_OFFSET_BITS=64"],
      "cflags": ["-Wall", "-Wextra", "-Wpedantic", "-fvisibility=hidden"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++14", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": [
        "-std=c++17",
        "-isystem",
        "<!(node -p \"require('path').relative('build', require('path').dirname(require.resolve('node-addon-api')))\")"
      ],
      "libraries": ["-pthread"]
    },
    {
      "target_name": "rmapfs-exec",
      "type": "executable",
      "sources": [
        "native/exec/array.c",
        "native/exec/clone.c",
        "native/exec/fallocate.c",
        "native/exec/fiemap.c",
        "native/exec/file.c",
        "native/exec/filter.c",
        "native/exec/fsmap.c",
        "native/exec/main.c",
        "native/exec/mount.c",
        "native/exec/pool.c",
        "native/exec/region.c",
        "native/exec/serve.c",
        "native/exec/supervise.c",
        "native/exec/target.c",
        "native/exec/worker.c"
      ],
      "cflags": ["-Wall", "-Wextra", "-Wpedantic", "-pthread"],
      "cflags_c": ["-std=c11"],
      "libraries": ["-pthread"]
    },
    {
      "target_name": "rmapfs-agent",
      "type": "executable",
      "sources": [
        "native/agent/data.c",
        "native/agent/full.c",
        "native/agent/handles.c",
        "native/agent/look.c",
        "native/agent/main.c",
        "native/agent/names.c",
        "native/agent/pattern.c",
        "native/agent/rounds.c",
        "native/agent/share.c",
        "native/agent/state.c",
        "native/agent/views.c",
        "native/agent/xattrs.c"
      ],
      "cflags": ["-Wall", "-Wextra", "-Wpedantic"],
      "cflags_c": ["-std=c11"]
    }
  ]
}
