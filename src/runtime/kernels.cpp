// SPDX-License-Identifier: MIT
// Encoding one kernel: operands are checked, the plan is looked up, one item is recorded.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "graph/node_attributes.h"
#include "runtime/array_state.h"
#include "runtime/command_buffer_state.h"
#include "runtime/image_state.h"
#include "runtime/kernel_impl.h"
#include "runtime/trace_recorder.h"

namespace mpsnn {
namespace {

using graph::EncodeMethod;
using graph::OperandKind;
using graph::OperandSpec;
using runtime::PlanRun;
using runtime::Resource;

/// An operand as the runtime sees it. Refers to what the caller gave.
struct Bound {
  const OperandSpec* spec = nullptr;
  const KernelOperand* given = nullptr;    // null: left out
  const TensorDesc* array_desc = nullptr;  // null: an image's, or left out
  TensorDesc image_desc = {};
  std::byte *start = nullptr, *end = nullptr;  // addresses on the device

  const TensorDesc& desc() const { return array_desc != nullptr ? *array_desc : image_desc; }
};

OperandKind kind_of(const KernelOperand& operand) {
  if (std::holds_alternative<Image>(operand)) return OperandKind::IMAGE;
  switch (std::get<Array>(operand).kind()) {
    case ArrayKind::MATRIX:
      return OperandKind::MATRIX;
    case ArrayKind::VECTOR:
      return OperandKind::VECTOR;
    case ArrayKind::NDARRAY:
      return OperandKind::NDARRAY;
  }
  throw InternalError("kind of an array out of range");
}

std::shared_ptr<Resource> resource_of(const KernelOperand& operand) {
  if (const auto* image = std::get_if<Image>(&operand)) return image->state();
  return std::get<Array>(operand).state()->resource();
}

/// `title()` is how errors call the kernel.
template <class Title>
void check_device(const Title& title, const std::shared_ptr<runtime::DeviceState>& device,
                  const Resource& resource, std::string_view argument) {
  if (resource.device == device) return;
  throw_expected(str(title(), ": ", argument), str("memory of device \"", device->title(), '"'),
                 str("that of device \"", resource.device->title(), '"'));
}

void check_lists(const DeviceKernel::Impl& kernel, const std::vector<OperandSpec>& specs,
                 const std::vector<KernelOperands>& given) {
  const std::size_t none = specs.size();
  std::size_t first = none;
  for (std::size_t i = 0; i < std::min(specs.size(), given.size()); ++i) {
    if (!specs[i].variadic) continue;
    if (first == none) first = i;
    if (given[i].size() == given[first].size()) continue;
    throw_expected(str(kernel.title(), ": ", specs[i].name),
                   str(given[first].size(), " operands, as ", specs[first].name), given[i].size());
  }
}

template <class E = InvalidArgumentError, class Expected, class Got>
[[noreturn]] void fail(const DeviceKernel::Impl& kernel, const OperandSpec& spec,
                       const Expected& expected, const Got& got) {
  throw_expected<E>(str(kernel.title(), ": ", spec.name), expected, got);
}

Bound bind_operand(const DeviceKernel::Impl& kernel, const OperandSpec& spec,
                   const KernelOperand& operand) {
  const OperandKind kind = kind_of(operand);
  if (!spec.kind.holds(kind))
    fail<ArgumentTypeError>(kernel, spec, name_of(spec.kind), name_of(kind));
  Bound bound{&spec, &operand};
  const Resource* resource = nullptr;
  std::size_t offset = 0;
  if (const auto* image = std::get_if<Image>(&operand)) {
    const ImageSize& size = image->size();
    bound.image_desc = {image->format(), {size.n, size.height, size.width, size.channels}, nullptr};
    resource = image->state().get();
  } else {
    const runtime::ArrayState& array = *std::get<Array>(operand).state();
    bound.array_desc = &array.desc;
    resource = array.resource().get();
    offset = array.offset;
  }
  check_device([&] { return kernel.title(); }, kernel.device.state(), *resource, spec.name);
  bound.start = static_cast<std::byte*>(resource->memory->device_pointer()) + offset;
  bound.end = bound.start + bound.desc().bytes();
  return bound;
}

/// The arguments of an encode, checked against the method's specs one by one.
std::vector<Bound> bind_operands(const DeviceKernel::Impl& kernel, const EncodeMethod& method,
                                 const std::vector<KernelOperands>& given) {
  const std::vector<OperandSpec>& specs = method.operands;
  if (given.size() > specs.size()) {
    throw_expected(str(kernel.title(), ": ", method.name), str(specs.size(), " operands"),
                   given.size());
  }
  check_lists(kernel, specs, given);
  std::vector<Bound> bound;
  bound.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const OperandSpec& spec = specs[i];
    const std::size_t count = i < given.size() ? given[i].size() : 0;
    if (count == 0 && !spec.optional) fail(kernel, spec, name_of(spec.kind), "none");
    if (count > 1 && !spec.variadic) fail(kernel, spec, name_of(spec.kind), "a list");
    if (count == 0) bound.push_back({&spec});
    for (std::size_t k = 0; k < count; ++k)
      bound.push_back(bind_operand(kernel, spec, given[i][k]));
  }
  return bound;
}

/// What is written overlaps no other operand, but where the kernel works in place.
void check_overlaps(const DeviceKernel::Impl& kernel, const std::vector<Bound>& operands) {
  for (const Bound& written : operands) {
    if (written.given == nullptr || !written.spec->writes) continue;
    for (const Bound& other : operands) {
      if (&other == &written || other.given == nullptr) continue;
      if (written.end <= other.start || other.end <= written.start) continue;
      const bool is_same = other.start == written.start && other.desc() == written.desc();
      if (is_same && written.spec->in_place && !other.spec->writes) continue;
      // Parts of one matrix, one a copy: what parts they are the kernel checks.
      if (is_same && written.spec == other.spec) continue;
      fail(kernel, *written.spec, str("memory apart from ", other.spec->name),
           "memory that overlaps it");
    }
  }
}

/// The kernel's attributes with some changed.
AttributeMap changed_attributes(const DeviceKernel::Impl& kernel, const AttributeMap& changes) {
  AttributeMap attributes = kernel.attributes;
  for (const auto& [name, value] : changes) attributes[name] = value;
  const graph::KernelClass& row = kernel.kernel_class;
  attributes = graph::complete_attributes({kernel.title(), row.attributes, row.fixed},
                                          std::move(attributes));
  if (row.check != nullptr) row.check(kernel.title(), attributes);
  return attributes;
}

/// What an encode with some attributes changed takes. Scalars alone leave the rest as it is.
runtime::KernelValues changed_values(const DeviceKernel::Impl& kernel,
                                     const AttributeMap& changes) {
  const graph::KernelClass& row = kernel.kernel_class;
  const auto is_scalar = [&](const auto& change) {
    return std::ranges::find(row.scalars, change.first) != row.scalars.end();
  };
  if (!std::ranges::all_of(changes, is_scalar)) return {row, changed_attributes(kernel, changes)};
  runtime::KernelValues values = kernel.values;
  const graph::AttributeTable table{kernel.title(), row.attributes, row.fixed};
  for (const auto& [name, value] : changes) {
    const auto place = std::ranges::find(row.scalars, name) - row.scalars.begin();
    values.scalars[static_cast<std::size_t>(place)] =
        std::get<double>(graph::checked_attribute(table, name, value));
  }
  return values;
}

/// A plan's key without copies.
struct EncodeKey {
  const EncodeMethod& method;
  const std::vector<Bound>& operands;
  const runtime::KernelValues& values;

  bool operator==(const runtime::PlanKey& key) const {
    return key.method == method.name &&
           std::ranges::equal(operands, key.sources, {}, &Bound::desc) &&
           runtime::PlanKey::are_equal(key.attributes, values.planned);
  }
  explicit operator runtime::PlanKey() const {
    runtime::PlanKey key{{}, {}};
    for (const Bound& operand : operands) key.sources.push_back(operand.desc());
    key.attributes = values.planned;
    key.method = method.name;
    return key;
  }
};

graph::Plan make_plan(const DeviceKernel::Impl& kernel, const EncodeKey& key) {
  const runtime::PlanKey copy(key);
  // Lowerings see whole attributes; what they make of a scalar no operation reads.
  AttributeMap attributes = *copy.attributes;
  for (std::size_t i = 0; i < key.values.scalars.size(); ++i)
    attributes.emplace(kernel.kernel_class.scalars[i], key.values.scalars[i]);
  const std::size_t state_bytes = kernel.state ? kernel.state->bytes() : 0;
  return graph::make_plan(
      {kernel.kernel_class, key.method, kernel.label, attributes, copy.sources, state_bytes},
      kernel.device.state()->chooser);
}

const EncodeMethod& method_named(const DeviceKernel::Impl& kernel, std::string_view name) {
  const auto& methods = kernel.kernel_class.methods;
  const auto found = std::ranges::find(methods, name, &EncodeMethod::name);
  if (found != methods.end()) return *found;
  std::string names;
  for (const EncodeMethod& method : methods) names += str(names.empty() ? "" : ", ", method.name);
  throw_expected(str(kernel.title(), ": method"), names, str('"', name, '"'));
}

}  // namespace

runtime::KernelValues::KernelValues(const graph::KernelClass& of, const AttributeMap& attributes) {
  AttributeMap others = attributes;
  for (const std::string_view name : of.scalars) {
    const auto scalar = others.find(name);
    scalars.push_back(std::get<double>(scalar->second));
    others.erase(scalar);
  }
  planned = std::make_shared<const AttributeMap>(std::move(others));
}

DeviceKernel::Impl::Impl(const Device& on, const graph::KernelClass& of, AttributeMap given)
    : device(on),
      kernel_class(of),
      label(of.name),
      attributes(graph::complete_attributes({std::string(of.name), of.attributes, of.fixed},
                                            std::move(given))),
      values(of, attributes) {
  if (of.check != nullptr) of.check(of.name, attributes);
  if (of.make_state == nullptr) return;
  const std::vector<std::byte> bytes = of.make_state(attributes);
  state = Buffer(device, bytes.data(), bytes.size());
}

void DeviceKernel::Impl::set_attributes(AttributeMap given) {
  values = runtime::KernelValues(kernel_class, given);
  attributes = std::move(given);
}

DeviceKernel::DeviceKernel(const Device& device, std::string_view class_name,
                           AttributeMap attributes) {
  const graph::KernelClass* row = graph::find_kernel_class(class_name);
  if (row == nullptr) {
    throw_expected("DeviceKernel: class_name", "a class of the kernel table",
                   str('"', class_name, '"'));
  }
  impl_ = std::make_shared<Impl>(device, *row, std::move(attributes));
}

std::string_view DeviceKernel::class_name() const { return impl_->kernel_class.name; }
Device DeviceKernel::device() const { return impl_->device; }
const std::string& DeviceKernel::label() const { return impl_->label; }
void DeviceKernel::set_label(std::string label) {
  impl_->label = std::move(label);
  impl_->plans.clear();  // they bear the label
}
const AttributeMap& DeviceKernel::attributes() const { return impl_->attributes; }

const AttributeValue& DeviceKernel::attribute(std::string_view name) const {
  const auto found = impl_->attributes.find(name);
  if (found == impl_->attributes.end())
    throw_expected(impl_->title(), "the name of an attribute", str('"', name, '"'));
  return found->second;
}

void DeviceKernel::set_attribute(std::string_view name, AttributeValue value) {
  const graph::KernelClass& row = impl_->kernel_class;
  if (std::ranges::find(row.scalars, name) != row.scalars.end()) {
    const std::string known(name);
    runtime::KernelValues changed = changed_values(*impl_, {{known, std::move(value)}});
    const auto place = std::ranges::find(row.scalars, name) - row.scalars.begin();
    impl_->attributes[known] = changed.scalars[static_cast<std::size_t>(place)];
    impl_->values = std::move(changed);
    return;
  }
  AttributeMap changed = changed_attributes(*impl_, {{std::string(name), std::move(value)}});
  if (row.make_state != nullptr && row.make_state(changed) != row.make_state(impl_->attributes)) {
    if (row.remakes_state) {
      const std::vector<std::byte> state = row.make_state(changed);
      write_state(state.data(), state.size());
      impl_->set_attributes(std::move(changed));
      return;
    }
    throw InvalidArgumentError(
        str(impl_->title(), ": ", name, ": expected to be set at construction, got a change"));
  }
  impl_->set_attributes(std::move(changed));
}

std::size_t DeviceKernel::state_bytes() const { return impl_->state ? impl_->state->bytes() : 0; }

namespace {

void check_state_bytes(const DeviceKernel& kernel, const char* what, std::size_t bytes) {
  if (kernel.impl()->state && bytes == kernel.state_bytes()) return;
  throw_expected(str(kernel.impl()->title(), ": ", what), str(kernel.state_bytes(), " bytes"),
                 bytes);
}

}  // namespace

void DeviceKernel::read_state(void* to, std::size_t bytes) const {
  check_state_bytes(*this, "read_state", bytes);
  runtime::wait_for_maker(*impl_->state->state());
  impl_->state->read(0, to, bytes);
}

void DeviceKernel::write_state(const void* from, std::size_t bytes) const {
  check_state_bytes(*this, "write_state", bytes);
  runtime::wait_for_users(*impl_->state->state());
  impl_->state->write(0, from, bytes);
  runtime::take_over(*impl_->state->state());
}

runtime::BoundKernel runtime::bind_kernel(const DeviceKernel& kernel, std::string_view method_name,
                                          const std::vector<KernelOperands>& given,
                                          const AttributeMap& changed) {
  DeviceKernel::Impl& impl = *kernel.impl();
  const EncodeMethod& method = method_named(impl, method_name);
  const std::vector<Bound> operands = bind_operands(impl, method, given);
  check_overlaps(impl, operands);
  std::optional<KernelValues> with_changes;
  if (!changed.empty()) with_changes = changed_values(impl, changed);
  const KernelValues& values = with_changes ? *with_changes : impl.values;
  const EncodeKey key{method, operands, values};
  BoundKernel bound;
  bound.run.plan = impl.plans.plan(key, [&] { return make_plan(impl, key); });
  bound.run.scalars = values.scalars;
  bound.bases.reserve(operands.size() + 3);
  bound.bases.insert(bound.bases.end(), {nullptr, nullptr});
  bound.run.uses.reserve(operands.size() + 1);
  for (const Bound& operand : operands) {
    bound.bases.push_back(operand.start);
    if (operand.given != nullptr)
      bound.run.uses.push_back({resource_of(*operand.given), operand.spec->writes});
  }
  if (impl.state) {
    bound.bases.push_back(impl.state->state()->memory->device_pointer());
    bound.run.uses.push_back({impl.state->state(), true});
  }
  if (bound.heap_bytes() == 0) bound.run.table = bound.run.plan->table(bound.bases);
  return bound;
}

void runtime::BoundKernel::take_heap(CommandBufferState& buffer) {
  run.heap = buffer.heap(heap_bytes());
  bases[1] = run.heap->device_pointer();
  run.table = run.plan->table(bases);
}

void DeviceKernel::encode_method(CommandBuffer& commands, std::string_view method,
                                 const std::vector<KernelOperands>& given,
                                 const AttributeMap& changed) const {
  runtime::CommandBufferState& buffer = *commands.state();
  runtime::HostSpan span(SpanKind::ENCODE, impl_->label, buffer.label());
  runtime::expect_device([&] { return impl_->title(); }, impl_->device, buffer);
  runtime::BoundKernel bound = runtime::bind_kernel(*this, method, given, changed);
  const runtime::CompiledPlan& plan = *bound.run.plan;
  span.set_work(plan.bytes_before(plan.plan().operations.size()),
                plan.flops_before(plan.plan().operations.size()));
  if (bound.heap_bytes() != 0) bound.take_heap(buffer);
  buffer.record(std::make_shared<PlanRun>(std::move(bound.run)), commands.layer()->stack());
}

HostKernel::HostKernel(Function function, std::string label)
    : function_(std::move(function)), label_(std::move(label)) {
  if (!function_) throw_expected("HostKernel: function", "a function", "none");
}

void HostKernel::encode(CommandBuffer& commands, const KernelOperands& reads,
                        const KernelOperands& writes) const {
  runtime::CommandBufferState& buffer = *commands.state();
  const auto title = [&] { return str("HostKernel \"", label_, '"'); };
  runtime::HostStep step{label_, {}};
  const auto bind = [&](const KernelOperands& operands, bool writing) {
    std::vector<Operand> bound;
    for (const KernelOperand& operand : operands) {
      const std::shared_ptr<Resource> resource = resource_of(operand);
      check_device(title, buffer.device(), *resource, writing ? "writes" : "reads");
      auto* const host = static_cast<std::byte*>(resource->memory->host_pointer());
      if (host == nullptr) {
        throw UnsupportedError(str(title(), ": the memory of device \"", buffer.device()->kind(),
                                   "\" is not the host's"));
      }
      const auto* array = std::get_if<Array>(&operand);
      step.uses.push_back({resource, writing});
      bound.push_back({operand, host + (array != nullptr ? array->offset() : 0)});
    }
    return bound;
  };
  step.function = [function = function_, read = bind(reads, false), written = bind(writes, true)] {
    function(read, written);
  };
  buffer.record(std::move(step), commands.layer()->stack());
}

}  // namespace mpsnn
