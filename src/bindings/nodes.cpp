// SPDX-License-Identifier: MIT
// Image and filter nodes. The typed classes (mpsnn.ConvolutionNode …) are Python, generated from
// the node table; they derive from FilterNode and register themselves by class name.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/attributes.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "graph/node_table.h"

namespace mpsnn::bindings {
namespace {

constexpr const char* kRegistry = "_node_classes";

py::module_ core() { return py::module_::import("mpsnn._core"); }

struct ImagesHint {
  static constexpr auto name =
      py::detail::const_name("collections.abc.Sequence[ImageNode | FilterNode]");
};
struct WeightsHint {
  static constexpr auto name = py::detail::const_name("DataSource | None");
};
struct LabelHint {
  static constexpr auto name = py::detail::const_name("str");
};
struct PaddingHint {
  static constexpr auto name = py::detail::const_name("PaddingPolicy | None");
};

/// What a wrong type is told by: the class and its argument, since the node is not there yet.
[[noreturn]] void fail_type(const std::string& class_name, const std::string& argument,
                            const std::string& expected, py::handle got) {
  throw ArgumentTypeError(class_name + ": " + argument + ": expected " + expected + ", got " +
                          type_name(got));
}

/// What the class calls its source i.
std::string source_name(const std::string& class_name, std::size_t i) {
  const graph::NodeClass* row = graph::find_node_class(class_name);
  if (row == nullptr || row->sources.empty()) return "sources[" + std::to_string(i) + "]";
  const std::size_t last = row->sources.size() - 1;
  const std::string name(row->sources[std::min(i, last)].name);
  return row->sources.back().variadic && i >= last ? name + "[" + std::to_string(i - last) + "]"
                                                   : name;
}

std::vector<ImageNode> image_nodes(const std::string& class_name, py::handle sources) {
  if (!py::isinstance<py::sequence>(sources) || py::isinstance<py::str>(sources))
    fail_type(class_name, "sources", "a list of image nodes", sources);
  std::vector<ImageNode> nodes;
  for (const py::handle source : py::reinterpret_borrow<py::sequence>(sources)) {
    py::detail::make_caster<ImageArgument> image;
    if (!image.load(source, false)) {
      fail_type(class_name, source_name(class_name, nodes.size()), "an ImageNode or a FilterNode",
                source);
    }
    nodes.push_back(py::detail::cast_op<ImageArgument&>(image).node());
  }
  return nodes;
}

std::shared_ptr<DataSource> data_source(const std::string& class_name, py::handle weights) {
  if (weights.is_none()) return nullptr;
  if (py::isinstance<DataSource>(weights)) return weights.cast<std::shared_ptr<DataSource>>();
  const graph::NodeClass* row = graph::find_node_class(class_name);
  const bool takes_any = row != nullptr && !row->weights.empty();
  fail_type(class_name, "weights", takes_any ? "a " + std::string(row->weights) : "None", weights);
}

FilterNode make_filter(const std::string& class_name, const Hinted<ImagesHint>& sources,
                       const Attributes& attributes, const Hinted<WeightsHint>& weights,
                       const Hinted<LabelHint>& label, const Hinted<PaddingHint>& padding_policy) {
  if (!py::isinstance<py::str>(label)) fail_type(class_name, "label", "a text", label);
  if (!padding_policy.is_none() && !py::isinstance<PaddingPolicy>(padding_policy))
    fail_type(class_name, "padding_policy", "a PaddingPolicy or None", padding_policy);
  FilterNode node(class_name, image_nodes(class_name, sources), attributes_of(attributes),
                  data_source(class_name, weights));
  if (const auto text = label.cast<std::string>(); !text.empty()) node.set_label(text);
  if (!padding_policy.is_none())
    node.set_padding_policy(padding_policy.cast<const PaddingPolicy&>());
  return node;
}

std::optional<FilterObject> wrap_optional(const std::optional<FilterNode>& node) {
  if (!node) return std::nullopt;
  return wrap(*node);
}

struct HandlerHint {  // tools/gen_stubs.py says what it stands for
  static constexpr auto name = py::detail::const_name("_NodeHandler");
};

/// The handler of training_graph is called while the call runs, on the caller's thread.
NodeHandler node_handler(const std::optional<Hinted<HandlerHint>>& handler) {
  if (!handler) return nullptr;
  if (PyCallable_Check(handler->ptr()) == 0) {
    throw ArgumentTypeError("training_graph: node_handler: expected a function or None, got " +
                            type_name(*handler));
  }
  return [function = *handler](
             FilterNode& gradient_node, const std::optional<FilterNode>& inference_node,
             const std::optional<ImageNode>& inference_source, const ImageNode& gradient_source) {
    const py::object other = function(wrap(gradient_node), wrap_optional(inference_node),
                                      inference_source, gradient_source);
    if (other.is_none()) return;
    if (!py::isinstance<FilterNode>(other)) {
      throw ArgumentTypeError("node_handler: expected a node in the place of \"" +
                              gradient_node.label() + "\", or None, got " + type_name(other));
    }
    gradient_node = other.cast<const FilterNode&>();
  };
}

py::typing::List<FilterNode> training_graph(const FilterNode& node,
                                            const std::optional<ImageArgument>& source_gradient,
                                            const std::optional<Hinted<HandlerHint>>& handler) {
  std::optional<ImageNode> gradient;
  if (source_gradient) gradient = source_gradient->node();
  return wrap(node.training_graph(gradient, node_handler(handler)));
}

std::size_t address(const std::shared_ptr<void>& record) {
  return reinterpret_cast<std::size_t>(record.get());
}

void bind_image_node(py::module_& m) {
  py::class_<ImageNode>(m, "ImageNode", R"(Placeholder of an image. Apple: MPSNNImageNode.

You make the graph's inputs; filters make the rest (`result_image`). Nodes compare and hash by
identity.

Args:
    handle: Key of `Graph.encode`'s sources; may be set later.)")
      .def(py::init<std::string>(), py::arg("handle") = "")
      .def_static("exported", &ImageNode::exported, py::arg("handle"),
                  R"(A node whose image comes back from `Graph.encode` although it is not a result.

Args:
    handle: Key of the image in the outputs.

Returns:
    The node.)")
      .def_property("handle", &ImageNode::handle, &ImageNode::set_handle,
                    "Key of the image in `Graph.encode`'s sources or outputs.")
      .def_property("stop_gradient", &ImageNode::stop_gradient, &ImageNode::set_stop_gradient,
                    "True: a training graph ends here; no gradient is made for what lies before.")
      .def_property("export_from_graph", &ImageNode::export_from_graph,
                    &ImageNode::set_export_from_graph,
                    "True: the image comes back from `Graph.encode` under its handle.")
      .def_property("format", &ImageNode::format, &ImageNode::set_format,
                    R"(Element type in memory, FLOAT32 or FLOAT16.

None: of a gradient that of the image it belongs to, else the graph's (`Graph.format`), else that of the first
source; float32 for inputs.)")
      .def_property_readonly(
          "producer", [](const ImageNode& node) { return wrap_optional(node.producer()); },
          "The filter that makes this image; None for the graph's inputs.")
      .def(
          "__eq__", [](const ImageNode& a, const ImageNode& b) { return a == b; },
          py::is_operator())
      .def("__hash__", [](const ImageNode& node) { return address(node.record()); })
      .def("__repr__", [](const ImageNode& node) {
        return "mpsnn.ImageNode(" + text_of(py::str(node.handle())) + ")";
      });
}

void bind_state_node(py::module_& m) {
  py::class_<StateNode>(m, "StateNode", R"(Placeholder of a state. Apple: MPSNNStateNode.

A state is named arrays beside the images. A filter makes one (`result_state`), or it is given to the
encode under its handle (`input_labels`, `use_source_state`). Nodes compare and hash by identity.)")
      .def_property("handle", &StateNode::handle, &StateNode::set_handle,
                    "Key of the state in `Graph.encode`'s states or outputs.")
      .def_property("export_from_graph", &StateNode::export_from_graph,
                    &StateNode::set_export_from_graph,
                    "True: the state comes back from `Graph.encode` under its handle.")
      .def_property_readonly(
          "producer", [](const StateNode& node) { return wrap_optional(node.producer()); },
          "The filter that makes this state; None: it is given to the encode.")
      .def_property_readonly("names", &StateNode::names, "Names of the arrays.")
      .def(
          "__eq__", [](const StateNode& a, const StateNode& b) { return a == b; },
          py::is_operator())
      .def("__hash__", [](const StateNode& node) { return address(node.record()); })
      .def("__repr__", [](const StateNode& node) {
        return "<mpsnn.StateNode " + text_of(py::str(node.handle())) + ">";
      });
}

void bind_construction(py::class_<FilterNode>& filter) {
  filter
      .def(py::init(&make_filter), py::arg("class_name"), py::arg("sources"),
           py::arg("attributes") = Attributes(), py::arg("weights") = py::none(), py::kw_only(),
           py::arg("label") = "", py::arg("padding_policy") = py::none())
      .def(py::init<const FilterNode&>(), py::arg("node"), "Another handle of the same node.");
}

void bind_parameters(py::class_<FilterNode>& filter) {
  filter.def_property_readonly("class_name", &FilterNode::class_name, "Name of the node's class.")
      .def_property("label", &FilterNode::label, &FilterNode::set_label,
                    "Name for errors, plans and timelines.")
      .def_property_readonly("sources", &FilterNode::sources, "The images that it reads.")
      .def_property_readonly("result_image", &FilterNode::result_image, "The image that it makes.")
      .def_property_readonly("result_state", &FilterNode::result_state,
                             R"(What the node leaves beside its image; made where it is exported.

The statistics that a normalisation used, the gradients of a gradient node's weights, a dropout's
mask. Raises InvalidArgumentError for a class that has none.)")
      .def_property_readonly("result_states", &FilterNode::result_states,
                             "All result states: one or none.")
      .def_property_readonly("input_labels", &FilterNode::input_labels,
                             R"(Of a loss without labels image: stands for the `LossLabels`.

Its handle is "labels" unless it is set. Raises InvalidArgumentError for other nodes.)")
      .def("use_source_state", &FilterNode::use_source_state, py::arg("handle"),
           R"(Takes what the forward node leaves in its state from a state given to the encode.

So forward and gradient node may stand in different graphs. Apple: the gradient state among a node's
sources.

Args:
    handle: Key of the state in `Graph.encode`'s states.

Returns:
    The state, with the names of the arrays that the node wants: a dropout's "mask", a
    normalisation's "mean" and "variance".

Raises:
    InvalidArgumentError: A node that takes none, an empty handle, a second call.)")
      .def_property_readonly("attributes", &FilterNode::attributes,
                             "Every parameter with its value, defaults included.")
      .def_property_readonly(
          "weights",
          [](const FilterNode& node) -> py::typing::Optional<DataSource> {
            return py::cast(node.weights());
          },
          "The data source; None where there is none.")
      .def_property("padding_policy", &FilterNode::padding_policy, &FilterNode::set_padding_policy,
                    "How the result is sized and placed.")
      .def_property("training_style", &FilterNode::training_style, &FilterNode::set_training_style,
                    "When weights are updated from their gradients.")
      .def_property_readonly(
          "inference_node",
          [](const FilterNode& node) { return wrap_optional(node.inference_node()); },
          "The inference node that a gradient node belongs to; None for others.")
      .def(
          "__eq__", [](const FilterNode& a, const FilterNode& b) { return a == b; },
          py::is_operator())
      .def("__hash__", [](const FilterNode& node) { return address(node.record()); })
      .def("__repr__", &shown<FilterNode>);
}

void bind_gradients(py::class_<FilterNode>& filter) {
  filter
      .def(
          "gradient_filter",
          [](const FilterNode& node, const ImageArgument& gradient) {
            return wrap(node.gradient_filter(gradient.node()));
          },
          py::arg("source_gradient"), R"(The gradient node of the first source image.

Args:
    source_gradient: Gradient of this node's result.

Returns:
    The gradient node; its result is the gradient of source image 0.

Raises:
    InvalidArgumentError: The node has no derivative.)")
      .def(
          "gradient_filters",
          [](const FilterNode& node, const ImageArgument& gradient) {
            return wrap(node.gradient_filters(gradient.node()));
          },
          py::arg("source_gradient"), R"(One gradient node a source image that has a derivative.

Args:
    source_gradient: Gradient of this node's result.

Returns:
    The gradient nodes, in the order of the sources.

Raises:
    InvalidArgumentError: The node has no derivative.)")
      .def("training_graph", &training_graph, py::arg("source_gradient") = py::none(),
           py::arg("node_handler") = py::none(), R"(Builds the training graph.

Walks back from this node, asks each forward node for its gradient nodes, adds gradients where an
image has several readers, and stops at `stop_gradient`.

Args:
    source_gradient: Gradient of this node's result; None: this node's own result is the gradient of
        its source (as that of an `InitialGradientNode`).
    node_handler: Called for each new node as it is made with the gradient node, the inference node
        that it belongs to (None for an addition that joins gradients), the inference node's source
        image, and the gradient image that enters the gradient node. It may set the gradient node's
        training style, label and handles, export its image or state, freeze the inference node's
        data source, set `stop_gradient` of the inference source, and return another node that takes
        the gradient node's place (a clipping of its result, say): what comes before then gets that
        one's result as its gradient. None: the gradient node stays.

Returns:
    The end nodes, whose results no other gradient node reads, in the order they were made.

Raises:
    InvalidArgumentError: A node on the way has no derivative; the text names it.)");
}

}  // namespace

FilterObject wrap(const FilterNode& node) {
  py::object plain = py::cast(node);
  const py::dict classes = core().attr(kRegistry);
  const py::str name{std::string(node.class_name())};
  if (!classes.contains(name)) return FilterObject(std::move(plain));
  // The class's own constructor would make a new node: only the base is initialised, with this one.
  const py::object type = classes[name];
  py::object typed = type.attr("__new__")(type);
  core().attr("FilterNode").attr("__init__")(typed, plain);
  return FilterObject(std::move(typed));
}

py::typing::List<FilterNode> wrap(const std::vector<FilterNode>& nodes) {
  py::typing::List<FilterNode> list;
  for (const FilterNode& node : nodes) list.append(wrap(node));
  return list;
}

void bind_nodes(py::module_& m) {
  m.attr(kRegistry) = py::dict();
  py::class_<FilterNode> filter(m, "FilterNode", R"(One filter of a graph. Apple: MPSNNFilterNode.

Use the typed classes (`ConvolutionNode`, …), which derive from it. A filter node may stand wherever
its result image is expected. Nodes compare and hash by identity.

Args:
    class_name: A class of the node table ("ConvolutionNode").
    sources: The images that it reads.
    attributes: Its parameters by name.
    weights: The data source, for classes that take one.
    label: Name for errors, plans and timelines; default: the data source's or "<class><n>".
    padding_policy: How the result is sized and placed; default: the class's.

Raises:
    InvalidArgumentError: Unknown class, wrong number of sources, unknown or missing parameter, a
        value of the wrong type or range; the text names class and argument.)");
  bind_image_node(m);
  bind_state_node(m);
  bind_construction(filter);
  bind_parameters(filter);
  bind_gradients(filter);
  m.def(
      "register_node_class",
      [](const std::string& class_name, const py::type& type) {
        core().attr(kRegistry)[py::str(class_name)] = type;
      },
      py::arg("class_name"), py::arg("type"),
      "Makes nodes of a class come back from C++ as instances of this Python class.");
}

}  // namespace mpsnn::bindings
