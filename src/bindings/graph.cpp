// SPDX-License-Identifier: MIT
// Compiled graphs: arrays in, images out.
#include "mpsnn/graph.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

using ImageMap = std::map<std::string, Image>;
using SizeMap = std::map<std::string, ImageSize>;

std::string title(const Graph& graph) { return "Graph \"" + graph.label() + "\""; }

/// The handle that a key of the sources names: text, or a node of the graph.
std::string handle_of(const Graph& graph, py::handle key) {
  if (py::isinstance<py::str>(key)) return key.cast<std::string>();
  py::detail::make_caster<ImageArgument> node;
  if (node.load(key, false)) return py::detail::cast_op<ImageArgument>(node).node().handle();
  throw ArgumentTypeError(title(graph) +
                          ": sources: expected handles or image nodes as keys, got " +
                          std::string(py::repr(key)));
}

/// The image itself, or a new one with a copy of the array.
Image image_of(const Graph& graph, const std::string& handle, py::handle value) {
  if (py::isinstance<Image>(value)) return value.cast<const Image&>();
  const std::string what = title(graph) + ": source \"" + handle + "\"";
  // An unknown source is refused by `encode`, whatever it is made of.
  const DataType types[] = {graph.source_format(handle).value_or(DataType::FLOAT32)};
  const py::array array = typed_array(value, types, what).array;
  const ImageSize size = image_size(array, what);
  const void* const data = array.data();
  const Device& device = graph.device();
  py::gil_scoped_release release;
  return {device, size, types[0], data};
}

void add(const Graph& graph, ImageMap& images, const std::string& handle, py::handle value) {
  if (images.contains(handle)) {
    throw InvalidArgumentError(title(graph) + ": source \"" + handle +
                               "\": expected one image, got two");
  }
  images.emplace(handle, image_of(graph, handle, value));
}

struct SourcesHint {  // tools/gen_stubs.py says what it stands for
  static constexpr auto name = py::detail::const_name("_Sources");
};

ImageMap images_of(const Graph& graph, const Hinted<SourcesHint>& sources) {
  ImageMap images;
  if (py::isinstance<py::dict>(sources) || py::hasattr(sources, "items")) {
    for (const py::handle item : sources.attr("items")()) {
      const auto pair = item.cast<std::pair<py::object, py::object>>();
      add(graph, images, handle_of(graph, pair.first), pair.second);
    }
    return images;
  }
  if (!py::isinstance<py::list>(sources) && !py::isinstance<py::tuple>(sources)) {
    throw ArgumentTypeError(title(graph) + ": sources: expected a dict or a list, got " +
                            type_name(sources));
  }
  const auto list = py::reinterpret_borrow<py::sequence>(sources);
  const std::vector<std::string> handles = graph.source_handles();
  if (list.size() != handles.size()) {
    throw InvalidArgumentError(
        title(graph) + ": sources: expected " + std::to_string(handles.size()) +
        " in the order of source_handles, got " + std::to_string(list.size()));
  }
  for (std::size_t i = 0; i < handles.size(); ++i)
    add(graph, images, handles[i], py::object(list[i]));
  return images;
}

using StateMap = std::map<std::string, SourceState>;

/// Labels or arrays by handle or state node.
StateMap states_of(const Graph& graph, const std::optional<py::dict>& states) {
  StateMap given;
  if (!states) return given;
  for (const auto& [key, value] : *states) {
    py::detail::make_caster<StateKey> handle;
    if (!handle.load(key, false)) {
      throw ArgumentTypeError(title(graph) +
                              ": states: expected handles or state nodes as keys, got " +
                              std::string(py::repr(key)));
    }
    const std::string& name = py::detail::cast_op<StateKey&>(handle).handle;
    py::detail::make_caster<SourceState> state;
    if (!state.load(value, false)) {
      throw ArgumentTypeError(title(graph) + ": state \"" + name +
                              "\": expected a LossLabels or a dict of images, got " +
                              type_name(value));
    }
    given.emplace(name, py::detail::cast_op<SourceState&&>(std::move(state)));
  }
  return given;
}

using StatesArgument = py::typing::Dict<StateKey, SourceState>;

GraphOutputs encode(const Graph& graph, CommandBuffer& commands, const Hinted<SourcesHint>& sources,
                    const std::optional<StatesArgument>& states) {
  const ImageMap images = images_of(graph, sources);
  const StateMap given = states_of(graph, states);
  py::gil_scoped_release release;
  return graph.encode(commands, images, given);
}

/// Sizes by handle; where an array or image is given, its own.
struct SizesHint {  // tools/gen_stubs.py says what it stands for
  static constexpr auto name = py::detail::const_name("_Sizes");
};
using Sizes = Hinted<SizesHint>;

SizeMap sizes_of(const Graph& graph, const Sizes& sources) {
  if (!py::hasattr(sources, "items")) {
    throw ArgumentTypeError(title(graph) + ": sources: expected a dict, got " + type_name(sources));
  }
  SizeMap sizes;
  for (const py::handle item : sources.attr("items")()) {
    const auto [key, value] = item.cast<std::pair<py::object, py::object>>();
    const std::string handle = handle_of(graph, key);
    py::detail::make_caster<ImageSize> size;
    if (py::isinstance<Image>(value)) {
      sizes[handle] = value.cast<const Image&>().size();
    } else if (size.load(value, true)) {
      sizes[handle] = py::detail::cast_op<ImageSize>(size);
    } else {
      throw ArgumentTypeError(title(graph) + ": source \"" + handle +
                              "\": expected a size (N, H, W, C), got " +
                              std::string(py::repr(value)));
    }
  }
  return sizes;
}

void bind_outputs(py::module_& m) {
  py::class_<GraphOutputs>(m, "GraphOutputs", R"(The images that one encode makes.

A sequence of the results in their order, None where one is not needed; and by handle a mapping of
the results that have one and of the exported images.)",
                           py::release_gil_before_calling_cpp_dtor())
      .def_readonly("results", &GraphOutputs::results, "The results in their order.")
      .def_readonly("by_handle", &GraphOutputs::by_handle, "Results and exported images by handle.")
      .def_readonly("states", &GraphOutputs::states,
                    R"(Exported states by handle: the arrays of each by name, float32.

With ones before their extents up to four: a bias of C is (1, 1, 1, C).)")
      .def("__len__", [](const GraphOutputs& outputs) { return outputs.results.size(); })
      .def("__iter__",
           [](const GraphOutputs& outputs) -> py::typing::Iterator<std::optional<Image>> {
             return py::iter(py::cast(outputs.results));
           })
      .def("__contains__",
           [](const GraphOutputs& outputs, const std::string& handle) {
             return outputs.by_handle.contains(handle);
           })
      .def(
          "__getitem__",
          [](const GraphOutputs& outputs, py::ssize_t index) -> std::optional<Image> {
            const auto count = static_cast<py::ssize_t>(outputs.results.size());
            if (index < -count || index >= count) {
              throw py::index_error("results: expected an index below " + std::to_string(count) +
                                    ", got " + std::to_string(index));
            }
            return outputs.results[static_cast<std::size_t>(index < 0 ? index + count : index)];
          },
          py::arg("index"))
      .def(
          "__getitem__",
          [](const GraphOutputs& outputs, const std::string& handle) { return outputs[handle]; },
          py::arg("handle"))
      .def(
          "__getitem__",
          [](const GraphOutputs& outputs, const ImageArgument& node) {
            return outputs[node.node().handle()];
          },
          py::arg("node"))
      .def("__repr__", [](const GraphOutputs& outputs) {
        return py::str("<mpsnn.GraphOutputs {} by_handle={}>")
            .format(py::cast(outputs.results), py::cast(outputs.by_handle));
      });
}

void bind_cost(py::module_& m) {
  py::class_<Graph::Cost>(m, "GraphCost", "What one encode takes.")
      .def_readonly("heap_bytes", &Graph::Cost::heap_bytes, "Bytes of temporaries.")
      .def_readonly("flops", &Graph::Cost::flops, "Floating-point operations.")
      .def_readonly("operations", &Graph::Cost::operations, "Kernels run.");
}

using GraphClass = py::class_<Graph>;

void bind_structure(GraphClass& graph) {
  graph
      .def_property_readonly("device", &Graph::device, "Where it runs.",
                             py::return_value_policy::copy)
      .def_property("label", &Graph::label, &Graph::set_label, "Name for errors and timelines.")
      .def_property_readonly("source_handles", &Graph::source_handles,
                             "Handles of the sources, in the order of a list given to `encode`.")
      .def_property_readonly("format", &Graph::format,
                             "Element type of images that say nothing themselves, or None.")
      .def("source_format", &Graph::source_format, py::arg("handle"),
           R"(The element type of a source's images.

Args:
    handle: The source's handle.

Returns:
    The type; None where there is no such source.)")
      .def_property_readonly("source_state_handles", &Graph::source_state_handles,
                             R"(Handles of the states that `encode` wants.

Labels of losses, and the states that gradient nodes use (`use_source_state`).)")
      .def_property_readonly("intermediate_handles", &Graph::intermediate_handles,
                             "Handles of the exported images.")
      .def_property_readonly("result_state_handles", &Graph::result_state_handles,
                             "Handles of the exported states.")
      .def_property_readonly("result_images", &Graph::result_images, "The nodes of the results.")
      .def_property_readonly("results_are_needed", &Graph::results_are_needed, "A flag a result.")
      .def_property_readonly("data_sources", &Graph::data_sources,
                             "Every data source, in the order of first use.")
      .def_property_readonly(
          "nodes", [](const Graph& self) { return wrap(self.nodes()); },
          "Every filter node, in the order they run.");
}

void bind_encode(GraphClass& graph) {
  graph.def(
      "encode", &encode, py::arg("commands"), py::arg("sources"), py::arg("states") = py::none(),
      R"(Records the graph on a command buffer, which may commit pieces of it (`CommitThreshold`).

Args:
    commands: The command buffer.
    sources: An image a source: an `Image`, or an array of the source's format (N, H, W, C), or
        (H, W, C) for one image, which is copied at the call. By handle or image node, or a list in
        the order of `source_handles`.
    states: By handle or state node, a `LossLabels` for each loss whose labels come in a state, and
        for each state that a gradient node uses the arrays of `GraphOutputs.states`.

Returns:
    The images that will be made.

Raises:
    InvalidArgumentError: A source or state is missing or unknown, or its size or rank does not fit;
        the text names the source, state or node.
    ArgumentTypeError: An image or array is not of the source's format.
    UnsupportedError: No kernel of the device fits.)");
}

void bind_reload(GraphClass& graph) {
  graph.def("reload_from_data_sources", &Graph::reload_from_data_sources,
            py::call_guard<py::gil_scoped_release>(),
            R"(Reads the values of every data source again. Apple: reloadFromDataSources.

Those it was made with or `set_initial` gave, or what one of one's own gives now. Work in flight is
waited for; moments and time steps stay. What training has changed on this device since is lost.

Raises:
    StateError: A data source cannot be loaded; the text names it.)");
}

void bind_plans(GraphClass& graph) {
  graph
      .def(
          "plan_text",
          [](const Graph& self, const Sizes& sources) {
            return self.plan_text(sizes_of(self, sources));
          },
          py::arg("sources"), R"(The plan as text: operations, kernels, lifetimes, heap.

Args:
    sources: Sizes (N, H, W, C), or images, by handle or node. A state's labels have its handle
        ("labels"), its weights, where they are there, "labels.weights"; the arrays of another state
        are "handle.name".

Returns:
    The text.

Raises:
    InvalidArgumentError: As for `encode`.)")
      .def(
          "plan_dot",
          [](const Graph& self, const Sizes& sources) {
            return self.plan_dot(sizes_of(self, sources));
          },
          py::arg("sources"), R"(The plan as Graphviz source.

Args:
    sources: Sizes (N, H, W, C), or images, by handle or node.

Returns:
    The source.

Raises:
    InvalidArgumentError: As for `encode`.)")
      .def_property("plan_limit", &Graph::plan_limit, &Graph::set_plan_limit,
                    R"(Plans are kept for the last sizes of sources, this many; 16 at first.

The one used longest ago makes room.)")
      .def_property_readonly("plan_count", &Graph::plan_count, "Plans kept now.")
      .def("trim", &Graph::trim, "Drops the plans; those in flight are kept until they have run.")
      .def(
          "cost",
          [](const Graph& self, const Sizes& sources) {
            return self.cost(sizes_of(self, sources));
          },
          py::arg("sources"), R"(Heap, FLOPs and operations of one encode.

Args:
    sources: Sizes (N, H, W, C), or images, by handle or node.

Returns:
    The cost.

Raises:
    InvalidArgumentError: As for `encode`.)")
      .def("dot", &Graph::dot, R"(The nodes as Graphviz source.

Returns:
    The source.)")
      .def(
          "svg",
          [](const Graph& self, const std::optional<Sizes>& sources) {
            const std::string dot = sources ? self.plan_dot(sizes_of(self, *sources)) : self.dot();
            return py::str(py::module_::import("mpsnn.drawing").attr("svg")(dot));
          },
          py::arg("sources") = py::none(),
          R"(A drawing of the nodes, or of the plan for given sizes. Needs Graphviz' program `dot`.

Args:
    sources: Sizes (N, H, W, C), or images, by handle or node; None: the nodes are drawn.

Returns:
    The drawing as SVG.

Raises:
    UnsupportedError: The program `dot` is not installed.)");
}

}  // namespace

void bind_graph(py::module_& m) {
  bind_outputs(m);
  bind_cost(m);
  GraphClass graph(m, "Graph", R"(A compiled graph, for one device. Apple: MPSNNGraph.

Everything that is needed for the results. Sizes come with the sources at each encode; plans for the
last sizes are kept. May be encoded from several threads at once, each on its own command buffer.

Args:
    device: Where it runs.
    result_images: The images wanted.
    results_are_needed: A flag a result; False: the image itself is not wanted, only the weight
        updates on the way. None: all are.
    format: Element type, FLOAT32 or FLOAT16, of the images that nodes make and that say nothing
        themselves (`ImageNode.format`). None: that of the node's first source; a source that says
        nothing is of float32. A gradient has the type of the image that it is the gradient of.
        Apple: MPSNNGraph's `format`, whose default is float16.

Raises:
    InvalidArgumentError: No results, a result that no node makes, two sources with one handle, a
        source without one, lengths that differ.
    StateError: A data source cannot be loaded; the text names it.
    UnsupportedError: A format other than float32 and float16.)",
                   py::release_gil_before_calling_cpp_dtor());
  graph.def(py::init([](const Device& device, const std::vector<ImageArgument>& result_images,
                        std::optional<std::vector<bool>> results_are_needed,
                        std::optional<DataType> format) {
              std::vector<ImageNode> nodes = nodes_of(result_images);
              py::gil_scoped_release release;
              return Graph(device, std::move(nodes), std::move(results_are_needed), format);
            }),
            py::arg("device"), py::arg("result_images"), py::arg("results_are_needed") = py::none(),
            py::arg("format") = py::none());
  bind_structure(graph);
  bind_encode(graph);
  bind_reload(graph);
  bind_plans(graph);
  graph.def("__repr__", [](const Graph& self) { return "<mpsnn." + title(self) + ">"; });
}

}  // namespace mpsnn::bindings
