// SPDX-License-Identifier: MIT
// Timelines.
#include "mpsnn/trace.h"

#include <string>

#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

void bind_spans(py::module_& m) {
  py::native_enum<SpanKind>(m, "SpanKind", "enum.IntEnum", "What took time.")
      .value("ENCODE", SpanKind::ENCODE)
      .value("COMMIT", SpanKind::COMMIT)
      .value("WAIT", SpanKind::WAIT)
      .value("HANDLER", SpanKind::HANDLER)
      .value("PIECE", SpanKind::PIECE)
      .value("KERNEL", SpanKind::KERNEL)
      .value("HOST_FUNCTION", SpanKind::HOST_FUNCTION)
      .finalize();
  py::class_<Span>(m, "Span", "Something that took time.")
      .def_readonly("kind", &Span::kind, "What took time.")
      .def_readonly("lane", &Span::lane, R"("host 1": a thread; "cpu: training": a queue.)")
      .def_readonly("name", &Span::name,
                    "The node's, graph's, command buffer's or function's label.")
      .def_readonly("commands", &Span::commands, "Label of the command buffer.")
      .def_readonly("kernel", &Span::kernel, R"(Row of a kernel: "convolution/onednn".)")
      .def_readonly("shapes", &Span::shapes, R"(Operands of a kernel: "(2, 8, 8, 3) -> …".)")
      .def_readonly("start_ns", &Span::start_ns, "Nanoseconds from the start of the capture.")
      .def_readonly("end_ns", &Span::end_ns, "Nanoseconds from the start of the capture.")
      .def_readonly("bytes", &Span::bytes, "Read and written; the sum of an ENCODE.")
      .def_readonly("flops", &Span::flops, "Arithmetic; the sum of an ENCODE.")
      .def_readonly("skipped", &Span::skipped, "By a predicate.")
      .def_property_readonly("duration_ns", &Span::duration_ns, "Nanoseconds.")
      .def("__repr__", [](const Span& s) {
        return py::str("<Span {} {!r} on {!r}: {:.3f} ms>")
            .format(py::cast(s.kind).attr("name"), s.name, s.lane,
                    1e-6 * static_cast<double>(s.duration_ns()));
      });
}

void bind_summary(py::module_& m) {
  py::class_<Gap>(m, "Gap", "A pause of a queue between two kernels.")
      .def_readonly("start_ns", &Gap::start_ns, "Nanoseconds from the start of the capture.")
      .def_readonly("end_ns", &Gap::end_ns, "Nanoseconds from the start of the capture.")
      .def_readonly("after", &Gap::after, "Name of the span before it.")
      .def_readonly("before", &Gap::before, "Name of the span behind it.")
      .def_readonly("starved", &Gap::starved,
                    "True: nothing had been committed; else inside of a piece, or waiting.");
  py::class_<QueueSummary>(m, "QueueSummary", "How busy a queue was, from first to last span.")
      .def_readonly("lane", &QueueSummary::lane, "Its name in the timeline.")
      .def_readonly("seconds", &QueueSummary::seconds, "From the first to the last span.")
      .def_readonly("busy_seconds", &QueueSummary::busy_seconds, "Kernels and host functions.")
      .def_readonly("starved_seconds", &QueueSummary::starved_seconds, "Nothing was committed.")
      .def_readonly("kernels", &QueueSummary::kernels, "Their number.")
      .def_readonly("skipped", &QueueSummary::skipped, "Of these, skipped by a predicate.")
      .def_readonly("gaps", &QueueSummary::gaps, "The five longest pauses.")
      .def_property_readonly("busy", &QueueSummary::busy, "Share of the time, 0 to 1.");
  py::class_<NodeCost>(m, "NodeCost", "What one node cost, all its kernels together.")
      .def_readonly("name", &NodeCost::name, "The node's label.")
      .def_readonly("kernel", &NodeCost::kernel, "The kernel's row.")
      .def_readonly("count", &NodeCost::count, "How often it ran.")
      .def_readonly("seconds", &NodeCost::seconds, "Together.")
      .def_readonly("share", &NodeCost::share, "Of the time of all kernels, 0 to 1.")
      .def_readonly("flops", &NodeCost::flops, "Together.")
      .def_readonly("bytes", &NodeCost::bytes, "Together.");
  py::class_<TraceSummary>(m, "TraceSummary", "What a capture shows, in numbers.")
      .def_readonly("seconds", &TraceSummary::seconds, "From the first to the last span.")
      .def_readonly("queues", &TraceSummary::queues, "Each queue.")
      .def_readonly("nodes", &TraceSummary::nodes, "The ten most costly, the worst first.")
      .def("__str__", &TraceSummary::text);
}

}  // namespace

void bind_traces(py::module_& m) {
  bind_spans(m);
  bind_summary(m);
  py::class_<Trace>(m, "Trace",
                    R"(A capture of all that this process encodes, commits, waits for and runs.

On all devices, between `start` and `stop`: `with Trace() as trace:` does both, as does
`mpsnn.capture()`. Work that was committed before, and kernels that have not ended when it stops, are
not in it: wait for the command buffers first. While none runs it costs one look at a flag a call.)")
      .def(py::init<>())
      .def("start", &Trace::start, R"(Begins the capture.

Raises:
    StateError: Another capture runs, or this one was started before.)")
      .def("stop", &Trace::stop, "Ends the capture; changes nothing where none runs.")
      .def_property_readonly("is_running", &Trace::is_running, "Whether it runs.")
      .def("__enter__",
           [](const Trace& trace) {
             trace.start();
             return trace;
           })
      .def(
          "__exit__",
          [](const Trace& trace, const py::object&, const py::object&, const py::object&) {
            trace.stop();
          },
          py::arg("exc_type"), py::arg("exc_value"), py::arg("traceback"))
      .def_property_readonly("spans", &Trace::spans, "In the order in which they ended.")
      .def("summary", &Trace::summary, ReleaseGil(),
           R"(How busy the devices were, and what cost most.

Returns:
    The summary; `print` shows it as text.)")
      .def("json", &Trace::json, ReleaseGil(), R"(Chrome's trace-event format.

Returns:
    The text.)")
      .def(
          "save", [](const Trace& trace, const PathArgument& path) { trace.save(path.path); },
          py::arg("path"), R"(Writes `json` to a file, which Perfetto and chrome://tracing open.

Args:
    path: Where; what was there is replaced.

Raises:
    FileError: It could not be written.)")
      .def(
          "plot",
          [](const py::object& trace, const PathArgument& path) {
            py::module_::import("mpsnn.timeline")
                .attr("plot")(trace.attr("spans"), py::str(path.path));
          },
          py::arg("path"), R"(Draws host and device lanes to a picture. Needs matplotlib.

Args:
    path: The picture's file; its ending says the format.)");
  m.def(
      "capture", [] { return Trace(); },
      R"(Captures a timeline: `with mpsnn.capture() as trace:`.

Returns:
    The trace; it starts where the `with` block begins.)");
}

}  // namespace mpsnn::bindings
