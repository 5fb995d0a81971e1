// SPDX-License-Identifier: MIT
// 3 x 3 convolutions by Winograd's F(2x2, 3x3): 2.25 times fewer multiplications than the direct
// form. Its transforms only add, subtract and halve, so small integers stay exact and rounding
// errors are like the direct form's. The products are oneDNN's batched matrix multiplications, run
// block by block so that a block's transformed tiles stay in a core's cache. oneDNN has no Winograd
// kernel for float32 on x86-64.
#if defined(MPSNN_WITH_ONEDNN)

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/onednn.h"
#include "backend/cpu/ops/parameter_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/ops/winograd_tiles.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

constexpr std::int64_t kLeastChannels = 32;  // below, the transforms cost more than they save
constexpr std::int64_t kLeastTiles = 64;
constexpr std::size_t kBlockBytes =
    512 * 1024;  // of a block's transformed tiles: half of a core's L2

dnnl::memory::desc matrices(const dnnl::memory::dims& dims, Tag order = Tag::abc) {
  return {dims, dnnl::memory::data_type::f32, order};
}

/// Transformed weights, packed as oneDNN's matrix multiplication wants its right side.
struct WinogradLayout final : Layout {
  WinogradLayout(dnnl::memory::desc packed, bool turned)
      : desc(std::move(packed)), mirrored(turned) {
    name =
        str(mirrored ? "winograd2x2.mirrored." : "winograd2x2.", onednn::WeightsLayout(desc).name);
    bytes = desc.get_size();
  }
  dnnl::memory::desc desc;
  bool mirrored;  // half a turn, inputs and outputs swapped: for the gradient of the source
};

std::int64_t tiles_a_block(std::int64_t inputs, std::int64_t outputs) {
  const auto a_tile = static_cast<std::int64_t>(sizeof(float)) * kPositions * (inputs + outputs);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(kBlockBytes) / a_tile / 16 * 16, 16,
                                  128);
}

class WinogradKernel final : public Kernel {
 public:
  WinogradKernel(const TileGrid& grid, std::int64_t images, const Epilogue& epilogue, bool mirrored)
      : grid_(grid),
        epilogue_(epilogue),
        tiles_(images * grid.rows() * grid.columns()),
        block_(tiles_a_block(grid.channels, grid.outputs)),
        workers_(thread_count()) {
    const dnnl::memory::dims left{kPositions, block_, grid.channels};
    const dnnl::memory::dims right{kPositions, grid.channels, grid.outputs};
    const dnnl::memory::dims result{kPositions, block_, grid.outputs};
    const ThreadLimit one(1);  // it runs inside of a parallel region, one block a thread
    const dnnl::matmul::primitive_desc chosen(onednn::engine(), matrices(left),
                                              matrices(right, Tag::any), matrices(result),
                                              onednn::make_attributes());
    products_at_ = onednn::aligned(chosen.src_desc().get_size());
    const std::size_t rest_at = products_at_ + onednn::aligned(chosen.dst_desc().get_size());
    worker_bytes_ = rest_at + onednn::aligned(chosen.scratchpad_desc().get_size());
    using From = onednn::Operand::From;
    multiply_.emplace(dnnl::matmul(chosen),
                      std::vector<onednn::Operand>{
                          {DNNL_ARG_SRC, chosen.src_desc(), From::SCRATCH, 0},
                          {DNNL_ARG_WEIGHTS, chosen.weights_desc(), From::INPUT, 1},
                          {DNNL_ARG_DST, chosen.dst_desc(), From::SCRATCH, products_at_},
                          {DNNL_ARG_SCRATCHPAD, chosen.scratchpad_desc(), From::SCRATCH, rest_at}});
    input_layouts = {nullptr, std::make_shared<WinogradLayout>(chosen.weights_desc(), mirrored)};
    scratch_bytes = static_cast<std::size_t>(workers_) * worker_bytes_;
  }

  void run(const KernelArgs& args) const override {
    std::vector<std::exception_ptr> failures(static_cast<std::size_t>(workers_));
    parallel_for(workers_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t worker = begin; worker < end; ++worker) {
        try {
          work(args, worker);
        } catch (const Error&) {  // must not leave the parallel region
          failures[static_cast<std::size_t>(worker)] = std::current_exception();
        }
      }
    });
    for (const std::exception_ptr& failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
  }

 private:
  /// A worker's share of the blocks, in its part of the scratch memory.
  void work(const KernelArgs& args, std::int64_t worker) const {
    KernelArgs mine = args;
    mine.scratch =
        static_cast<char*>(args.scratch) + static_cast<std::size_t>(worker) * worker_bytes_;
    auto* values = static_cast<float*>(mine.scratch);
    const auto* products =
        reinterpret_cast<const float*>(static_cast<const char*>(mine.scratch) + products_at_);
    Epilogue epilogue = epilogue_;
    epilogue.bias = args.input<float>(2);
    const std::int64_t blocks = (tiles_ + block_ - 1) / block_;
    for (std::int64_t b = blocks * worker / workers_; b < blocks * (worker + 1) / workers_; ++b) {
      const std::int64_t first = b * block_, count = std::min(block_, tiles_ - first);
      transform_source(grid_, args.input<float>(0), first, count, block_, values);
      multiply_->run(mine, row);
      transform_result(grid_, products, first, count, block_, epilogue, args.output<float>(0));
    }
  }

  TileGrid grid_;
  Epilogue epilogue_;
  std::int64_t tiles_, block_, workers_;
  std::size_t products_at_ = 0, worker_bytes_ = 0;
  std::optional<onednn::Step> multiply_;
};

/// Transforms the weights, then lets oneDNN pack them.
class WinogradLayoutKernel final : public Kernel {
 public:
  explicit WinogradLayoutKernel(const WinogradLayout& layout) : mirrored_(layout.mirrored) {
    const dnnl::memory::desc plain = matrices(layout.desc.get_dims());
    rows_ = plain.get_dims()[1];
    columns_ = plain.get_dims()[2];
    const dnnl::reorder::primitive_desc chosen(onednn::engine(), plain, onednn::engine(),
                                               layout.desc, onednn::make_attributes());
    const std::size_t rest_at = onednn::aligned(plain.get_size());
    using From = onednn::Operand::From;
    pack_.emplace(dnnl::reorder(chosen),
                  std::vector<onednn::Operand>{
                      {DNNL_ARG_FROM, plain, From::SCRATCH, 0},
                      {DNNL_ARG_TO, layout.desc, From::OUTPUT, 0},
                      {DNNL_ARG_SCRATCHPAD, chosen.scratchpad_desc(), From::SCRATCH, rest_at}});
    scratch_bytes = rest_at + chosen.scratchpad_desc().get_size();
  }

  void run(const KernelArgs& args) const override {
    auto* values = static_cast<float*>(args.scratch);
    const std::int64_t outputs = mirrored_ ? rows_ : columns_,
                       inputs = mirrored_ ? columns_ : rows_;
    parallel_for(rows_, grain_for(columns_ * 100), [&](std::int64_t begin, std::int64_t end) {
      transform_weights(args.input<float>(0), outputs, inputs, mirrored_, begin, end, values);
    });
    pack_->run(args, row);
  }

 private:
  bool mirrored_;
  std::int64_t rows_ = 0, columns_ = 0;
  std::optional<onednn::Step> pack_;
};

Fit fits_geometry(const KernelQuery& query, const TensorDesc& source, const TensorDesc& result) {
  const AttributeMap& a = query.attributes;
  if (source.type != DataType::FLOAT32) return Fit::no("takes float32 only");
  if (get_int(a, "kernel_height") != 3 || get_int(a, "kernel_width") != 3)
    return Fit::no("takes 3 x 3 only");
  for (const char* name : {"stride_y", "stride_x", "dilation_y", "dilation_x", "groups"}) {
    if (get_int(a, name) != 1) return Fit::no(str("takes no ", name, " but 1"));
  }
  if (get_int(a, "edge_mode") != static_cast<std::int64_t>(ImageEdgeMode::ZERO)) {
    return Fit::no("takes edge mode ZERO only");
  }
  const ImageSize in = source.image(), out = result.image();
  for (const std::int64_t channels : {in.channels, out.channels}) {
    if (channels < kLeastChannels || channels % kLanes != 0) {
      return Fit::no(str("takes channels from ", kLeastChannels, " on in multiples of ", kLanes));
    }
  }
  const std::int64_t tiles = out.n * ((out.height + 1) / kTile) * ((out.width + 1) / kTile);
  if (tiles < kLeastTiles) return Fit::no("pays for larger images only");
  return {};
}

TileGrid grid_of(const TensorDesc& source, const TensorDesc& result, std::int64_t pad_top,
                 std::int64_t pad_left) {
  const ImageSize in = source.image(), out = result.image();
  return {in.height, in.width, in.channels, out.height, out.width, out.channels, pad_top, pad_left};
}

}  // namespace

Fit fits_convolution_winograd(const KernelQuery& query) {
  const Fit neuron =
      fits_fused_neuron(static_cast<NeuronType>(get_int(query.attributes, "neuron_type")));
  if (!neuron.yes) return neuron;
  return fits_geometry(query, query.inputs[0], query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_convolution_winograd(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  Epilogue epilogue;
  const auto type = static_cast<NeuronType>(get_int(a, "neuron_type"));
  epilogue.relu = type == NeuronType::RELU;
  epilogue.slope = static_cast<float>(get_float(a, "neuron_a"));
  const TileGrid grid =
      grid_of(query.inputs[0], query.outputs[0], get_int(a, "pad_top"), get_int(a, "pad_left"));
  auto kernel = std::make_shared<WinogradKernel>(grid, query.outputs[0].image().n, epilogue, false);
  if (epilogue.relu || type == NeuronType::NONE) return kernel;
  const Neuron neuron = {type, epilogue.slope, static_cast<float>(get_float(a, "neuron_b")),
                         static_cast<float>(get_float(a, "neuron_c"))};
  return with_neuron_after(kernel, neuron, query.outputs[0].count(), "convolution/winograd");
}

Fit fits_convolution_data_gradient_winograd(const KernelQuery& query) {
  return fits_geometry(query, query.inputs[0], query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_convolution_data_gradient_winograd(const KernelQuery& query) {
  // The gradient of the source is a convolution of the gradient with the weights turned by half a
  // turn; what was padded by p is now padded by 2 - p.
  const AttributeMap& a = query.attributes;
  const TileGrid grid = grid_of(query.inputs[0], query.outputs[0], 2 - get_int(a, "pad_top"),
                                2 - get_int(a, "pad_left"));
  return std::make_shared<WinogradKernel>(grid, query.outputs[0].image().n, Epilogue{}, true);
}

Fit fits_parameter_layout_winograd(const KernelQuery& query) {
  if (dynamic_cast<const WinogradLayout*>(query.outputs[0].layout.get()) == nullptr) {
    return Fit::no("makes Winograd's layouts only");
  }
  return {};
}

std::shared_ptr<Kernel> prepare_parameter_layout_winograd(const KernelQuery& query) {
  const auto& layout = dynamic_cast<const WinogradLayout&>(*query.outputs[0].layout);
  auto kernel = std::make_shared<WinogradLayoutKernel>(layout);
  kernel->row = "parameter_layout/winograd";  // the runtime names the outer kernel only
  return std::make_shared<CopyIfStale>(std::move(kernel));
}

}  // namespace mpsnn::backend::cpu

#endif  // MPSNN_WITH_ONEDNN
