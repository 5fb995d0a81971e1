// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/winograd.h"

#include <omp.h>

#include <algorithm>
#include <dnnl.hpp>

#include "backend/cpu/ops/winograd_tiles.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

using Matrix = dnnl::memory;
using Tag = dnnl::memory::format_tag;

constexpr std::int64_t kLeastChannels = 32;  // below, the transforms cost more than they save
constexpr std::int64_t kLeastTiles = 64;
constexpr std::size_t kBlockBytes = 512 * 1024;  // of a block's transformed tiles: half of a core's L2
constexpr std::size_t kLine = 64;

dnnl::engine& cpu_engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// Weights as oneDNN's matrix multiplication wants its right side, transformed.
struct WinogradLayout final : Layout {
  Matrix::desc desc;
  std::int64_t outputs, inputs;
  bool mirrored;
};

// While a primitive is made on this thread it shall count on one thread: it runs inside a parallel
// region, one block a thread.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

std::int64_t tiles_a_block(std::int64_t inputs, std::int64_t outputs) {
  const auto a_tile = static_cast<std::int64_t>(sizeof(float)) * kPositions * (inputs + outputs);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(kBlockBytes) / a_tile / 16 * 16, 16, 128);
}

std::size_t rounded(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

class WinogradKernel final : public Kernel {
 public:
  WinogradKernel(const TileGrid& grid, std::int64_t images, const Epilogue& epilogue, bool mirrored)
      : grid_(grid), epilogue_(epilogue), tiles_(images * grid.rows() * grid.columns()),
        block_(tiles_a_block(grid.channels, grid.outputs)), threads_(omp_get_max_threads()) {
    using Type = Matrix::data_type;
    const Matrix::dims left{kPositions, block_, grid.channels}, right{kPositions, grid.channels, grid.outputs},
        result{kPositions, block_, grid.outputs};
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const OneThread guard;
    const dnnl::matmul::primitive_desc chosen(
        cpu_engine(), Matrix::desc(left, Type::f32, Tag::abc), Matrix::desc(right, Type::f32, Tag::any),
        Matrix::desc(result, Type::f32, Tag::abc), attributes);
    left_ = chosen.src_desc();
    right_ = chosen.weights_desc();
    products_ = chosen.dst_desc();
    scratch_ = chosen.scratchpad_desc();
    multiply_ = dnnl::matmul(chosen);

    auto layout = std::make_shared<WinogradLayout>();
    layout->desc = right_;
    layout->outputs = mirrored ? grid.channels : grid.outputs;
    layout->inputs = mirrored ? grid.outputs : grid.channels;
    layout->mirrored = mirrored;
    layout->bytes = right_.get_size();
    layout->name = str("winograd2x2", mirrored ? "-mirrored-" : "-", layout->outputs, "x", layout->inputs,
                       "-block", block_, "-", layout->bytes);
    input_layouts = {nullptr, layout};
    scratch_bytes = static_cast<std::size_t>(threads_) * thread_bytes();
  }

  void run(const KernelArgs& args) const override {
    const auto* source = args.input<float>(0);
    void* weights = args.table[args.inputs[1]];
    Epilogue epilogue = epilogue_;
    epilogue.bias = args.input<float>(2);
    auto* result = args.output<float>(0);
    auto* scratch = static_cast<char*>(args.scratch);
#pragma omp parallel num_threads(threads_)
    {
      char* mine = scratch + static_cast<std::size_t>(omp_get_thread_num()) * thread_bytes();
      auto* values = reinterpret_cast<float*>(mine);
      auto* products = reinterpret_cast<float*>(mine + rounded(left_.get_size()));
      void* rest = mine + rounded(left_.get_size()) + rounded(products_.get_size());
      dnnl::stream stream(cpu_engine());
      const std::unordered_map<int, Matrix> operands{
          {DNNL_ARG_SRC, Matrix(left_, cpu_engine(), values)},
          {DNNL_ARG_WEIGHTS, Matrix(right_, cpu_engine(), weights)},
          {DNNL_ARG_DST, Matrix(products_, cpu_engine(), products)},
          {DNNL_ARG_SCRATCHPAD, Matrix(scratch_, cpu_engine(), rest)}};
      const std::int64_t blocks = (tiles_ + block_ - 1) / block_;
#pragma omp for schedule(static)
      for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t first = b * block_, count = std::min(block_, tiles_ - first);
        transform_source(grid_, source, first, count, block_, values);
        multiply_.execute(stream, operands);
        transform_result(grid_, products, first, count, block_, epilogue, result);
      }
    }
  }

 private:
  std::size_t thread_bytes() const {
    return rounded(left_.get_size()) + rounded(products_.get_size()) + rounded(scratch_.get_size());
  }

  TileGrid grid_;
  Epilogue epilogue_;
  std::int64_t tiles_, block_;
  int threads_;
  Matrix::desc left_, right_, products_, scratch_;
  dnnl::matmul multiply_;
};

/// Transforms weights and packs them, unless the copy has the parameter's version already.
class WinogradLayoutKernel final : public Kernel {
 public:
  explicit WinogradLayoutKernel(std::shared_ptr<const WinogradLayout> layout) : layout_(std::move(layout)) {
    using Type = Matrix::data_type;
    const std::int64_t rows = layout_->mirrored ? layout_->outputs : layout_->inputs;
    const std::int64_t columns = layout_->mirrored ? layout_->inputs : layout_->outputs;
    plain_ = Matrix::desc({kPositions, rows, columns}, Type::f32, Tag::abc);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::reorder::primitive_desc chosen(cpu_engine(), plain_, cpu_engine(), layout_->desc, attributes);
    reorder_scratch_ = chosen.scratchpad_desc();
    reorder_ = dnnl::reorder(chosen);
    scratch_bytes = rounded(plain_.get_size()) + reorder_scratch_.get_size();
  }

  void run(const KernelArgs& args) const override {
    const auto* version = args.input<std::int64_t>(1);
    auto* copied = args.output<std::int64_t>(1);
    if (version != nullptr && copied != nullptr && *version == *copied) return;
    const auto* weights = args.input<float>(0);
    auto* values = static_cast<float*>(args.scratch);
    const std::int64_t rows = plain_.get_dims()[1];
#pragma omp parallel
    {
      const std::int64_t threads = omp_get_num_threads(), mine = omp_get_thread_num();
      transform_weights(weights, layout_->outputs, layout_->inputs, layout_->mirrored, rows * mine / threads,
                        rows * (mine + 1) / threads, values);
    }
    dnnl::stream stream(cpu_engine());
    reorder_.execute(stream, {{DNNL_ARG_FROM, Matrix(plain_, cpu_engine(), values)},
                              {DNNL_ARG_TO, Matrix(layout_->desc, cpu_engine(), args.output<void>(0))},
                              {DNNL_ARG_SCRATCHPAD, Matrix(reorder_scratch_, cpu_engine(),
                                                           reinterpret_cast<char*>(values) +
                                                               rounded(plain_.get_size()))}});
    stream.wait();
    if (version != nullptr && copied != nullptr) *copied = *version;
  }

 private:
  std::shared_ptr<const WinogradLayout> layout_;
  Matrix::desc plain_, reorder_scratch_;
  dnnl::reorder reorder_;
};

Fit fits_geometry(const KernelQuery& query, const TensorDesc& source, const TensorDesc& result) {
  const AttributeMap& a = query.attributes;
  if (source.type != DataType::FLOAT32) return Fit::no("takes float32 only");
  if (get_int(a, "kernel_height") != 3 || get_int(a, "kernel_width") != 3) return Fit::no("takes 3 x 3 only");
  for (const char* name : {"stride_y", "stride_x", "dilation_y", "dilation_x", "groups"}) {
    if (get_int(a, name) != 1) return Fit::no(str("takes no ", name, " but 1"));
  }
  if (get_int(a, "edge_mode") != static_cast<std::int64_t>(ImageEdgeMode::ZERO)) {
    return Fit::no("takes edge mode ZERO only");
  }
  const ImageSize in = source.image(), out = result.image();
  for (const std::int64_t channels : {in.channels, out.channels}) {
    if (channels < kLeastChannels || channels % kVectorWidth != 0) {
      return Fit::no(str("takes channels from ", kLeastChannels, " on in multiples of ", kVectorWidth));
    }
  }
  const std::int64_t tiles = out.n * ((out.height + 1) / kTile) * ((out.width + 1) / kTile);
  if (tiles < kLeastTiles) return Fit::no("pays for larger images only");
  return {};
}

TileGrid grid_of(const TensorDesc& source, const TensorDesc& result, std::int64_t pad_top, std::int64_t pad_left) {
  const ImageSize in = source.image(), out = result.image();
  return {in.height, in.width, in.channels, out.height, out.width, out.channels, pad_top, pad_left};
}

}  // namespace

Fit fits_winograd_convolution(const KernelQuery& query) {
  const auto neuron = static_cast<NeuronType>(get_int(query.attributes, "neuron_type"));
  if (neuron != NeuronType::NONE && neuron != NeuronType::RELU) return Fit::no("fuses ReLU only");
  return fits_geometry(query, query.inputs[0], query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_winograd_convolution(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  Epilogue epilogue;
  epilogue.relu = static_cast<NeuronType>(get_int(a, "neuron_type")) == NeuronType::RELU;
  epilogue.slope = static_cast<float>(get_float(a, "neuron_a"));
  const TileGrid grid =
      grid_of(query.inputs[0], query.outputs[0], get_int(a, "pad_top"), get_int(a, "pad_left"));
  return std::make_shared<WinogradKernel>(grid, query.outputs[0].image().n, epilogue, false);
}

Fit fits_winograd_data_gradient(const KernelQuery& query) {
  return fits_geometry(query, query.inputs[0], query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_winograd_data_gradient(const KernelQuery& query) {
  // The gradient of the source is a convolution of the gradient with the weights turned by half a
  // turn; what was padded by p is now padded by 2 - p.
  const AttributeMap& a = query.attributes;
  const TileGrid grid =
      grid_of(query.inputs[0], query.outputs[0], 2 - get_int(a, "pad_top"), 2 - get_int(a, "pad_left"));
  return std::make_shared<WinogradKernel>(grid, query.outputs[0].image().n, Epilogue{}, true);
}

Fit fits_winograd_layout(const KernelQuery& query) {
  if (dynamic_cast<const WinogradLayout*>(query.outputs[0].layout.get()) == nullptr) {
    return Fit::no("makes Winograd's layouts only");
  }
  return {};
}

std::shared_ptr<Kernel> prepare_winograd_layout(const KernelQuery& query) {
  return std::make_shared<WinogradLayoutKernel>(
      std::dynamic_pointer_cast<const WinogradLayout>(query.outputs[0].layout));
}

}  // namespace mpsnn::backend::cpu
