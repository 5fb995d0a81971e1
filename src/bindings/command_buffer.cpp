// SPDX-License-Identifier: MIT
// Command buffers. Whatever may wait, and the destructor, runs without the GIL: handlers written in
// Python need it on the queue's thread.
#include "mpsnn/command_buffer.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;
using BufferClass = py::class_<CommandBuffer>;
using Handler = std::function<void(CommandBuffer&)>;

struct HandlerHint {
  static constexpr auto name =
      py::detail::const_name("collections.abc.Callable[[CommandBuffer], object]");
};
struct ErrorHint {
  static constexpr auto name = py::detail::const_name("BaseException");
};
struct FunctionHint {
  static constexpr auto name = py::detail::const_name("collections.abc.Callable[[], object]");
};
struct AwaitableHint {
  static constexpr auto name = py::detail::const_name("collections.abc.Awaitable[None]");
};

/// A handler gets the command buffer as a new handle, which it may keep.
Handler handler(const Hinted<HandlerHint>& function) {
  auto call = callback<CommandBuffer>(function);
  return [call](CommandBuffer& commands) { call(commands); };
}

void bind_values(py::module_& m) {
  py::class_<CommitThreshold>(m, "CommitThreshold",
                              R"(When `Graph.encode` hands over what was recorded.

As soon as the work recorded since the last piece reaches one of the two. Each piece that a command
buffer commits by itself needs twice the work of the one before. 0: after every operation.

Args:
    flops: Arithmetic, as `Graph.cost` counts it.
    bytes: Read and written.)")
      .def(py::init([](std::uint64_t flops, std::uint64_t bytes) {
             return CommitThreshold{flops, bytes};
           }),
           py::kw_only(), py::arg("flops") = CommitThreshold{}.flops,
           py::arg("bytes") = CommitThreshold{}.bytes)
      .def_readwrite("flops", &CommitThreshold::flops, "Arithmetic.")
      .def_readwrite("bytes", &CommitThreshold::bytes, "Read and written.")
      .def(
          "__eq__", [](const CommitThreshold& a, const CommitThreshold& b) { return a == b; },
          py::is_operator())
      .def("__repr__", [](const CommitThreshold& t) {
        return py::str("CommitThreshold(flops={}, bytes={})").format(t.flops, t.bytes);
      });
  py::class_<CommandBufferTimes>(m, "CommandBufferTimes",
                                 "Seconds of one steady clock (its zero is arbitrary); 0: not yet.")
      .def_readonly("kernel_start", &CommandBufferTimes::kernel_start, "Host: the first commit.")
      .def_readonly("kernel_end", &CommandBufferTimes::kernel_end,
                    "Host: the last piece was handed to the device.")
      .def_readonly("gpu_start", &CommandBufferTimes::gpu_start, "Device: the first kernel began.")
      .def_readonly("gpu_end", &CommandBufferTimes::gpu_end, "Device: the last kernel ended.")
      .def("__repr__", [](const CommandBufferTimes& t) {
        return py::str(
                   "CommandBufferTimes(kernel_start={}, kernel_end={}, gpu_start={}, gpu_end={})")
            .format(t.kernel_start, t.kernel_end, t.gpu_start, t.gpu_end);
      });
}

void bind_making(BufferClass& commands) {
  commands
      .def(py::init<const CommandQueue&, std::string, bool>(), py::arg("queue"),
           py::arg("label") = "", py::arg("auto_commit") = true)
      .def(py::init(&CommandBuffer::wrap), py::arg("command_buffer"))
      .def_static("wrap", &CommandBuffer::wrap, py::arg("command_buffer"),
                  R"(A command buffer that records on another, with a predicate of its own.

What is recorded through it runs only if its predicate and all those below are not 0. The same as
`CommandBuffer(command_buffer)`. Apple: initWithCommandBuffer.

Args:
    command_buffer: The one to record on.

Returns:
    The wrapper.)")
      .def_property_readonly("queue", &CommandBuffer::queue, "Where it is committed.")
      .def_property_readonly("command_buffer", &CommandBuffer::command_buffer,
                             "The one that this one wraps; None where it wraps none.")
      .def_property_readonly("root_command_buffer", &CommandBuffer::root_command_buffer,
                             "The one below all wrappers; this one where it wraps none.")
      .def_property("label", &CommandBuffer::label, &CommandBuffer::set_label,
                    "Name for errors and timelines.")
      .def_property("predicate", &CommandBuffer::predicate, &CommandBuffer::set_predicate,
                    R"(Applies to every kernel recorded from then on; None ends it.

Graphs and host functions included; signals and waits of events are never skipped.)")
      .def_property_readonly("auto_commit", &CommandBuffer::auto_commit,
                             "Whether `Graph.encode` commits pieces by itself.")
      .def_property("commit_threshold", &CommandBuffer::commit_threshold,
                    &CommandBuffer::set_commit_threshold,
                    "When it does so. A copy: assign a new one to change it.")
      .def_property_readonly("piece_count", &CommandBuffer::piece_count,
                             "Pieces handed over so far.")
      .def_property_readonly("times", &CommandBuffer::times, "When it was committed, and ran.");
}

void bind_recording(BufferClass& commands) {
  commands
      .def("prefetch_heap", &CommandBuffer::prefetch_heap, py::arg("size"), ReleaseGil(),
           R"(Makes sure that the heap of temporaries has room, and holds it from now on.

Apple: prefetchHeapForWorkloadSize.

Args:
    size: Bytes.

Raises:
    OutOfMemoryError: There is no room.
    StateError: It was committed before.)")
      .def("commit", &CommandBuffer::commit, ReleaseGil(),
           R"(Hands everything recorded to the queue and ends recording.

Raises:
    StateError: It was committed before; or a source image is made by a command buffer that was not
        committed yet, and nothing is handed over.)")
      .def("commit_and_continue", &CommandBuffer::commit_and_continue, ReleaseGil(),
           R"(Hands over what is recorded so far; recording goes on in the same object.

Temporaries, predicate and heap stay valid; handlers stay with the piece they were added to.

Raises:
    StateError: As for `commit`.)")
      .def(
          "add_scheduled_handler",
          [](CommandBuffer& buffer, const Hinted<HandlerHint>& function) {
            buffer.add_scheduled_handler(handler(function));
          },
          py::arg("handler"), R"(Calls a function when the piece now being recorded was scheduled.

Args:
    handler: Called once with the command buffer, from the queue's thread; an exception becomes the
        buffer's error.)")
      .def(
          "add_completed_handler",
          [](CommandBuffer& buffer, const Hinted<HandlerHint>& function) {
            buffer.add_completed_handler(handler(function));
          },
          py::arg("handler"), R"(Calls a function when the piece now being recorded was completed.

Args:
    handler: Called once with the command buffer, from the queue's thread; an exception becomes the
        buffer's error.)")
      .def(
          "encode_host_function",
          [](CommandBuffer& buffer, const std::string& label,
             const Hinted<FunctionHint>& function) {
            buffer.encode_host_function(label, callback<>(function));
          },
          py::arg("label"), py::arg("function"),
          R"(Records a function of the host that runs in its turn.

Args:
    label: Name for errors and timelines.
    function: Called without arguments, from the queue's thread; an exception becomes the buffer's
        error.)")
      .def("encode_signal_event", &CommandBuffer::encode_signal_event, py::arg("event"),
           py::arg("value"), R"(Sets the event when all that was recorded before has run.

Args:
    event: The event, of any device.
    value: What it is set to, where it is less.)")
      .def("encode_wait_for_event", &CommandBuffer::encode_wait_for_event, py::arg("event"),
           py::arg("value"), R"(Holds the queue until the event is that far.

Args:
    event: The event, of any device.
    value: At least this.)");
}

void bind_waiting(BufferClass& commands) {
  commands
      .def("wait_until_completed", &CommandBuffer::wait_until_completed, ReleaseGil(),
           R"(Waits for all that this buffer committed, earlier pieces included.

Raises:
    StateError: Nothing was committed.
    Error: The first failure; a kernel's is a `DeviceError` with its label.)")
      .def("wait_until_scheduled", &CommandBuffer::wait_until_scheduled, ReleaseGil(),
           R"(Waits until all that this buffer committed was scheduled.

Raises:
    StateError: Nothing was committed.)")
      .def(
          "when_completed",
          [](const CommandBuffer& buffer, const Hinted<FunctionHint>& function) {
            const auto call = callback<>(function);
            py::gil_scoped_release release;
            buffer.when_completed(call);
          },
          py::arg("function"),
          R"(Calls a function once all that was committed so far is completed, failed or not.

Args:
    function: Called without arguments: at once, or from the queue's thread. An exception becomes the
        buffer's error.

Raises:
    StateError: Nothing was committed.)")
      .def(
          "completed",
          [](const py::object& buffer) {
            return Hinted<AwaitableHint>(
                py::module_::import("mpsnn.waiting").attr("completed")(buffer));
          },
          R"(For asyncio: `await commands.completed()`.

Waits, without blocking the event loop, for all that was committed so far.

Returns:
    A future of the running event loop; it has the result None, or the first failure as exception.

Raises:
    StateError: Nothing was committed.
    RuntimeError: No event loop is running.)")
      .def_property_readonly("status", &CommandBuffer::status, "Where the command buffer stands.")
      .def_property_readonly(
          "error",
          [](const CommandBuffer& buffer) -> std::optional<Hinted<ErrorHint>> {
            if (const std::exception_ptr error = buffer.error()) {
              return Hinted<ErrorHint>(exception_object(error));
            }
            return std::nullopt;
          },
          "The first failure as an exception; None where there is none, or not yet.");
}

}  // namespace

void bind_command_buffers(py::module_& m) {
  bind_values(m);
  BufferClass commands(m, "CommandBuffer",
                       R"(Records work; nothing of a piece runs before it is committed.

One thread records at a time. Apple: MPSCommandBuffer.

Args:
    queue: Where it is committed.
    label: Name for errors and timelines.
    auto_commit: `Graph.encode` commits pieces by itself while it records, as `commit_threshold`
        says, so that the device starts early. False: one piece, up to `commit` or
        `commit_and_continue`.
    command_buffer: Instead of a queue: the command buffer to wrap, see `wrap`.)",
                       py::release_gil_before_calling_cpp_dtor());
  bind_making(commands);
  bind_recording(commands);
  bind_waiting(commands);
}

}  // namespace mpsnn::bindings
