// SPDX-License-Identifier: MIT
// Optimizers used directly on vectors, matrices, arrays and images. Operations: the optimizers'.
#include <cstring>
#include <memory>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"
#include "mpsnn/data_source.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kGradient, kValues, kResult, kFirstMoment };

/// The optimizer whose attributes() the kernel's are; its learning rate is not the kernel's, which
/// is a scalar.
std::shared_ptr<Optimizer> optimizer_of(const KernelLowering& to, std::string_view type) {
  AttributeMap attributes = to.attributes();
  attributes["type"] = std::string(type);
  if (type == "OptimizerAdam") attributes["use_amsgrad"] = to.has(kFirstMoment + 2);
  return make_optimizer(attributes);
}

/// Values, gradient, version, time step?, moments -> the same but the gradient. The moments are
/// changed where they are; version and time step are the kernel's state.
void lower_update(KernelLowering& to, OpId op, std::string_view type, std::size_t moments,
                  bool counts_steps) {
  const TensorDesc& values = to.desc(kValues);
  for (std::size_t i : {std::size_t{kGradient}, std::size_t{kResult}}) {
    expect_floats(to, {i});
    to.expect_dims(i, values.dims);
  }
  expect_floats(to, {kValues});
  const TensorDesc counter{DataType::INT64, {1}, nullptr};
  const ValueId version = to.state(counter, 0),
                result = to.result_as_float32(kResult, to.desc(kResult), 0);
  std::vector<ValueId> inputs = {to.as_float32(kValues), to.as_float32(kGradient), version},
                       outputs = {result, version};
  if (counts_steps) {
    inputs.push_back(to.state(counter, sizeof(std::int64_t)));
    outputs.push_back(inputs.back());
  }
  for (std::size_t i = kFirstMoment; i < kFirstMoment + moments; ++i) {
    if (!to.has(i)) continue;
    expect_floats(to, {i});
    to.expect_dims(i, values.dims);
    inputs.push_back(to.as_float32(i));
    outputs.push_back(inputs.back());
  }
  const std::shared_ptr<Optimizer> optimizer = optimizer_of(to, type);
  to.add(op, std::move(inputs), outputs, optimizer->attributes(), {}, optimizer);
  to.write_back(result, kResult, to.desc(kResult), 0);
  std::size_t next = counts_steps ? 3 : 2;
  for (std::size_t i = kFirstMoment; i < kFirstMoment + moments; ++i) {
    if (to.has(i)) to.write_back(outputs[next++], i, to.desc(i), 0);
  }
}

void lower_sgd(KernelLowering& to) {
  const bool needs = get_float(to.attributes(), "momentum_scale") != 0;
  if (needs && !to.has(kFirstMoment)) to.fail("momentum", "operand for a momentum_scale", "none");
  lower_update(to, OpId::optimizer_stochastic_gradient_descent,
               "OptimizerStochasticGradientDescent", 1, false);
}
void lower_adam(KernelLowering& to) {
  lower_update(to, OpId::optimizer_adam, "OptimizerAdam", 3, true);
}
void lower_rms_prop(KernelLowering& to) {
  lower_update(to, OpId::optimizer_rms_prop, "OptimizerRMSProp", 1, false);
}

/// Version, time step.
std::vector<std::byte> make_state(const AttributeMap& attributes) {
  std::int64_t counters[2] = {0, 0};
  if (attributes.contains("time_step")) counters[1] = get_int(attributes, "time_step");
  std::vector<std::byte> bytes(sizeof counters);
  std::memcpy(bytes.data(), counters, sizeof counters);
  return bytes;
}

AttributeSpec fraction(std::string_view name, std::string_view doc, double value) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = 0,
          .maximum = 1};
}

AttributeSpec epsilon() {
  return {.name = "epsilon",
          .type = AttributeType::FLOAT,
          .doc = "added to the root",
          .default_value = 1e-8,
          .minimum = 0};
}

std::vector<AttributeSpec> attributes(std::vector<AttributeSpec> own) {
  return joined({{.name = "learning_rate",
                  .type = AttributeType::FLOAT,
                  .doc = "may be set between encodes",
                  .default_value = 1e-3,
                  .minimum = 0},
                 factor("gradient_rescale", "factor of the gradient", 1.0),
                 flag("apply_gradient_clipping", "the gradient is clipped", false),
                 factor("gradient_clip_max", "largest gradient", 0.0),
                 factor("gradient_clip_min", "smallest gradient", 0.0),
                 {.name = "regularization_type",
                  .type = AttributeType::ENUM,
                  .doc = "L1 or L2",
                  .default_value = std::int64_t{0},
                  .enum_name = "RegularizationType"},
                 factor("regularization_scale", "factor of the regularisation", 0.0)},
                std::move(own));
}

OperandSpec moment(std::string_view name, std::string_view doc, bool optional = false) {
  return {.name = name, .kind = kAnyOperand, .doc = doc, .writes = true, .optional = optional};
}

#define MPSNN_OPTIMIZER_DOC(formula)                                                             \
  formula                                                                                        \
      "\n\nThe gradient g is first clipped, then rescaled, then regularised: L1 adds scale * "   \
      "sign(v), L2 adds scale * v. All operands have one shape; each is a Matrix, Vector, "      \
      "NDArray "                                                                                 \
      "or Image of float32 or float16. The result may be the values. Moments are changed where " \
      "they are; make them zeros at first. Parameters are those of the optimizer of the same "   \
      "name, which updates data sources in a graph."

constexpr std::string_view kSgdDoc = MPSNN_OPTIMIZER_DOC(
    "Without momentum v -= lr * g; with it m = momentum_scale * m + lr * g, v -= m; Nesterov: m = "
    "momentum_scale * m + g, v -= lr * (g + momentum_scale * m).");
constexpr std::string_view kAdamDoc = MPSNN_OPTIMIZER_DOC(
    "t += 1; lr_t = lr * sqrt(1 - beta2^t) / (1 - beta1^t); m = beta1 * m + (1 - beta1) * g; u = "
    "beta2 * u + (1 - beta2) * g^2; v -= lr_t * m / (sqrt(u) + epsilon). With maximum_velocity "
    "(AMSGrad) w = max(w, u) stands under the root.\n\nThe step t is the kernel's state on the "
    "device: it counts updates that ran, so a predicate that skips one does not count it. "
    "`time_step` is where it starts; setting it later sets the state, `read_state` tells it (the "
    "second of two int64).");
constexpr std::string_view kRmsPropDoc =
    MPSNN_OPTIMIZER_DOC("s = decay * s + (1 - decay) * g^2; v -= lr * g / (sqrt(s) + epsilon).");

constexpr std::string_view kSgdExample =
    R"(g = mps.Vector.from_array(device, np.array([1, -2], np.float32))
v = mps.Vector.from_array(device, np.array([3, 4], np.float32))
commands = mps.CommandBuffer(queue)
update = mps.OptimizerStochasticGradientDescentUpdate(device, learning_rate=0.5)
update.encode(commands, g, v, v)
commands.commit()
assert np.array_equal(np.asarray(v), [2.5, 5])
)";
constexpr std::string_view kAdamExample =
    R"(g = mps.Vector.from_array(device, np.array([1, -2], np.float32))
v = mps.Vector.from_array(device, np.array([3, 4], np.float32))
momentum, velocity = mps.Vector(device, length=2), mps.Vector(device, length=2)
commands = mps.CommandBuffer(queue)
update = mps.OptimizerAdamUpdate(device, learning_rate=0.1)
update.encode(commands, g, v, v, momentum, velocity)
commands.commit()
assert np.allclose(np.asarray(v), [2.9, 4.1])
assert np.frombuffer(update.read_state(), np.int64)[1] == 1
)";
constexpr std::string_view kRmsPropExample =
    R"(g = mps.Vector.from_array(device, np.array([1, -2], np.float32))
v = mps.Vector.from_array(device, np.array([3, 4], np.float32))
squares = mps.Vector(device, length=2)
commands = mps.CommandBuffer(queue)
update = mps.OptimizerRMSPropUpdate(device, learning_rate=0.1, decay=0.75)
update.encode(commands, g, v, v, squares)
commands.commit()
assert np.allclose(np.asarray(v), [2.8, 4.2])
)";

EncodeMethod method(void (*lower)(KernelLowering&), std::vector<OperandSpec> moments) {
  EncodeMethod all = {.doc = "Records the update.",
                      .operands = {{.name = "input_gradient", .kind = kAnyOperand, .doc = "g"},
                                   {.name = "input_values", .kind = kAnyOperand, .doc = "v"},
                                   {.name = "result_values",
                                    .kind = kAnyOperand,
                                    .doc = "v after the update",
                                    .writes = true,
                                    .in_place = true}},
                      .lower = lower};
  for (OperandSpec& spec : moments) all.operands.push_back(std::move(spec));
  return all;
}

KernelClass row(std::string_view name, std::string_view apple, std::string_view brief,
                std::string_view doc, std::string_view example, std::vector<AttributeSpec> own,
                EncodeMethod encode) {
  return {.name = name,
          .apple = apple,
          .family = "optimizer_update",
          .brief = brief,
          .doc = doc,
          .example = example,
          .attributes = attributes(std::move(own)),
          .methods = {std::move(encode)},
          .make_state = make_state,
          .remakes_state = true,
          .scalars = {"learning_rate"}};
}

}  // namespace

std::vector<KernelClass> optimizer_update_kernels() {
  return {
      row("OptimizerStochasticGradientDescentUpdate", "MPSNNOptimizerStochasticGradientDescent",
          "A step of gradient descent on any memory", kSgdDoc, kSgdExample,
          {fraction("momentum_scale", "factor of the momentum, below 1", 0.0),
           flag("use_nesterov_momentum", "Nesterov's form", false)},
          method(lower_sgd, {moment("input_momentum", "m", true)})),
      row("OptimizerAdamUpdate", "MPSNNOptimizerAdam", "A step of Adam or AMSGrad on any memory",
          kAdamDoc, kAdamExample,
          {fraction("beta1", "decay of the momentum, below 1", 0.9),
           fraction("beta2", "decay of the velocity, below 1", 0.999),
           epsilon(),
           {.name = "time_step",
            .type = AttributeType::INT,
            .doc = "updates counted before the first one",
            .default_value = std::int64_t{0},
            .minimum = 0}},
          method(lower_adam, {moment("input_momentum", "m"), moment("input_velocity", "u"),
                              moment("maximum_velocity", "w, for AMSGrad", true)})),
      row("OptimizerRMSPropUpdate", "MPSNNOptimizerRMSProp", "A step of RMSProp on any memory",
          kRmsPropDoc, kRmsPropExample,
          {fraction("decay", "decay of the sum of squares, below 1", 0.9), epsilon()},
          method(lower_rms_prop, {moment("input_sum_of_squares", "s")})),
  };
}

}  // namespace mpsnn::graph
