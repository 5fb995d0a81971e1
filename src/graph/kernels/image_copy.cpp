// SPDX-License-Identifier: MIT
// Images and matrices become one another, a row an image; channels of images are joined; parts of
// images are copied and turned. Operations: copy, concatenation.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSource, kDestination };

// ---- images and matrices

/// The rows of a matrix as images of a size: row r, from the origin on, is image r.
ImagePart rows_as_images(const KernelLowering& to, std::size_t matrix, std::size_t image,
                         std::string_view prefix) {
  const AttributeMap& a = to.attributes();
  const ImageSize size = to.desc(image).image();
  const std::vector<std::int64_t>& origin = get_ints(a, str(prefix, "_matrix_origin"));
  const std::int64_t index = get_int(a, str(prefix, "_matrix_batch_index"));
  const std::int64_t values = size.height * size.width * size.channels;
  const auto part = part_of(to.desc(matrix), origin[0], origin[1], size.n, values, index, 1);
  if (!part) {
    to.fail_operand(matrix, str(size.n, " rows of ", values, " columns from [", origin[0], ", ",
                                origin[1], "] on in matrix ", index));
  }
  if (to.desc(matrix).type != to.desc(image).type) {
    to.fail<ArgumentTypeError>(
        "element types", "the same of matrix and image",
        str(name_of(to.desc(matrix).type), " and ", name_of(to.desc(image).type)));
  }
  const auto element = static_cast<std::int64_t>(size_of(part->desc.type));
  const std::int64_t row = strides_of(part->desc)[1];
  const bool is_planar = get_int(a, "data_layout") == static_cast<std::int64_t>(DataLayout::CHW);
  const std::int64_t plane = size.height * size.width;
  std::vector<std::int64_t> strides =
      is_planar ? std::vector<std::int64_t>{row, size.width * element, element, plane * element}
                : std::vector<std::int64_t>{row, size.width * size.channels * element,
                                            size.channels * element, element};
  return {normalized({part->desc.type,
                      {size.n, size.height, size.width, size.channels},
                      nullptr,
                      std::move(strides)}),
          part->offset};
}

void lower_matrix_to_image(KernelLowering& to) {
  const ImagePart rows = rows_as_images(to, kSource, kDestination, "source");
  to.add(OpId::copy, {to.view(kSource, rows.desc, rows.offset)}, {to.operand(kDestination)}, {});
}

void lower_image_to_matrix(KernelLowering& to) {
  const ImagePart rows = rows_as_images(to, kDestination, kSource, "destination");
  to.add(OpId::copy, {to.operand(kSource)}, {to.view(kDestination, rows.desc, rows.offset)}, {});
}

std::vector<AttributeSpec> matrix_attributes(std::string_view origin_name,
                                             std::string_view batch_index) {
  return {origin(origin_name),
          {.name = batch_index,
           .type = AttributeType::INT,
           .doc = "which matrix of the batch takes part",
           .default_value = std::int64_t{0},
           .minimum = 0},
          {.name = "data_layout",
           .type = AttributeType::ENUM,
           .doc = "order of an image's values in a row",
           .default_value = static_cast<std::int64_t>(DataLayout::CHW),
           .enum_name = "DataLayout"}};
}

// ---- channels

void lower_concatenation(KernelLowering& to) {
  constexpr std::size_t kSources = 0, kResult = 1;
  const ImageSize result = to.desc(kResult).image();
  std::vector<ValueId> sources;
  std::int64_t channels = 0;
  for (std::size_t k = 0; k < to.variadic_count(); ++k) {
    const ImageSize size = to.desc(kSources, k).image();
    if (size.n != result.n || size.height != result.height || size.width != result.width) {
      to.fail_operand(
          kSources, str(result.n, " images of ", result.height, " x ", result.width, " pixels"), k);
    }
    channels += size.channels;
    sources.push_back(to.operand(kSources, k));
  }
  if (channels != result.channels)
    to.fail_operand(kResult, str(channels, " channels, the sum of the sources'"));
  if (sources.size() == 1) {
    to.add(OpId::copy, std::move(sources), {to.operand(kResult)}, {});
    return;
  }
  to.add(OpId::concatenation, std::move(sources), {to.operand(kResult)}, {});
}

/// A rectangle and a range of channels. It lies inside on both sides: nothing is made up.
void lower_slice(KernelLowering& to) {
  const ImageSize source = to.desc(kSource).image(), result = to.desc(kDestination).image();
  const std::int64_t channel = get_int(to.attributes(), "source_feature_channel_offset");
  const Rectangle clip = rectangle_of(to, kDestination, "clip_rect"), from = moved(to, clip);
  if (from.x < 0 || from.y < 0 || from.x + from.width > source.width ||
      from.y + from.height > source.height || channel + result.channels > source.channels ||
      source.n != result.n) {
    to.fail_operand(kSource, str(result.n, " images with ", from.width, " x ", from.height,
                                 " pixels from (", from.x, ", ", from.y, ") on and channels ",
                                 channel, " to ", channel + result.channels - 1));
  }
  const ImagePart read = part_of_image(to, kSource, from, channel, result.channels),
                  written = part_of_image(to, kDestination, clip);
  to.add(OpId::copy, {to.view(kSource, read.desc, read.offset)},
         {to.view(kDestination, written.desc, written.offset)}, {});
}

void lower_transpose(KernelLowering& to) {
  const TensorDesc& source = to.desc(kSource);
  std::vector<std::int64_t> dims = source.dims, strides = strides_of(source);
  std::swap(dims[1], dims[2]);
  std::swap(strides[1], strides[2]);
  to.expect_dims(kDestination, dims);
  to.add(OpId::copy, {to.view(kSource, {source.type, dims, nullptr, strides}, 0)},
         {to.operand(kDestination)}, {});
}

EncodeMethod image_method(std::string_view doc, std::string_view source,
                          std::string_view destination, void (*lower)(KernelLowering&)) {
  return {.doc = doc,
          .operands = {{.name = "source_image", .kind = OperandKind::IMAGE, .doc = source},
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = destination,
                        .writes = true}},
          .lower = lower};
}

// ---- examples

constexpr std::string_view kToImageExample =
    R"(rows = mps.Matrix.from_array(device, np.arange(16, dtype=np.float32).reshape(2, 8))
images = mps.Image(device, size=(2, 2, 2, 2))
commands = mps.CommandBuffer(queue)
copy = mps.MatrixCopyToImage(device, data_layout=mps.DataLayout.HWC)
copy.encode(commands, rows, images)
commands.commit()
assert np.array_equal(np.asarray(images).reshape(2, 8), np.asarray(rows))
)";

constexpr std::string_view kToMatrixExample =
    R"(images = mps.Image(device, np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2))
rows = mps.Matrix(device, rows=2, columns=8)
commands = mps.CommandBuffer(queue)
mps.ImageCopyToMatrix(device).encode(commands, images, rows)
commands.commit()
assert np.array_equal(np.asarray(rows)[0], [0, 2, 4, 6, 1, 3, 5, 7])
)";

constexpr std::string_view kConcatenationExample =
    R"(colour = mps.Image(device, np.zeros((1, 4, 4, 3), np.float32))
depth = mps.Image(device, np.ones((1, 4, 4, 1), np.float32))
joined = mps.Image(device, size=(1, 4, 4, 4))
commands = mps.CommandBuffer(queue)
mps.ChannelConcatenation(device).encode(commands, [colour, depth], joined)
commands.commit()
assert np.array_equal(np.asarray(joined)[0, 0, 0], [0, 0, 0, 1])
)";

constexpr std::string_view kSliceExample =
    R"(source = mps.Image(device, np.arange(32, dtype=np.float32).reshape(1, 4, 4, 2))
corner = mps.Image(device, size=(1, 2, 2, 1))
commands = mps.CommandBuffer(queue)
slice = mps.Slice(device, offset=[2, 2], source_feature_channel_offset=1)
slice.encode(commands, source, corner)
commands.commit()
assert np.array_equal(np.asarray(corner), np.asarray(source)[:, 2:, 2:, 1:])
)";

constexpr std::string_view kTransposeExample =
    R"(source = mps.Image(device, np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1))
turned = mps.Image(device, size=(1, 3, 2, 1))
commands = mps.CommandBuffer(queue)
mps.ImageTranspose(device).encode(commands, source, turned)
commands.commit()
assert np.array_equal(np.asarray(turned)[0, :, :, 0], [[0, 3], [1, 4], [2, 5]])
)";

EncodeMethod matrix_to_image() {
  return {.doc = "Records the copy of rows into images.",
          .operands = {{.name = "source_matrix", .doc = "float32 or float16, a row an image"},
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = "images of the matrix's element type",
                        .writes = true}},
          .lower = lower_matrix_to_image};
}

EncodeMethod image_to_matrix() {
  return {.doc = "Records the copy of images into rows.",
          .operands = {{.name = "source_image", .kind = OperandKind::IMAGE, .doc = "any images"},
                       {.name = "destination_matrix",
                        .doc = "matrix of the images' element type, a row an image",
                        .writes = true}},
          .lower = lower_image_to_matrix};
}

EncodeMethod concatenation() {
  return {.doc = "Records the joining.",
          .operands = {{.name = "source_images",
                        .kind = OperandKind::IMAGE,
                        .doc = "images of one size but for their channels, in order",
                        .variadic = true},
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = "image of the sources' pixels and all their channels",
                        .writes = true}},
          .lower = lower_concatenation};
}

constexpr std::string_view kToImageDoc =
    R"(Image n of the destination gets row origin + n of the matrix, as many columns as an image has values
(height * width * channels). With DataLayout.CHW, the default, a row holds one channel after the other, each row by row;
with HWC one pixel after the other. Element types of both must match; other rows and columns of the matrix are not read.

**Unlike Apple**: a batch is one image operand (N, H, W, C).)";

constexpr std::string_view kToMatrixDoc =
    R"(Row origin + n of the matrix gets image n, as many columns as an image has values (height * width * channels). With
DataLayout.CHW, the default, a row holds one channel after the other, each row by row; with HWC one pixel after the
other. Element types of both must match; other rows and columns of the matrix stay as they are.

**Unlike Apple**: a batch is one image operand (N, H, W, C).)";

constexpr std::string_view kConcatenationDoc =
    R"(destination[n, y, x] = the channels of source 0, then those of source 1, and so on. Formats may differ: each
value is converted to the destination's.

**Unlike Apple**: it has no such kernel; its graphs round the channels of each source up to a multiple of 4, here they
follow one another without gaps.)";

constexpr std::string_view kSliceDoc =
    R"(The clip rectangle of the destination gets the pixels from `offset` on of the source, channels
source_feature_channel_offset and following, as many as the destination has. Both lie inside of their image; other
pixels of the destination stay as they are. Formats may differ.

**Unlike Apple**: channel offsets need not be multiples of 4.)";

}  // namespace

std::vector<KernelClass> image_copy_kernels() {
  return {
      {.name = "MatrixCopyToImage",
       .apple = "MPSMatrixCopyToImage",
       .family = "image_copy",
       .brief = "Makes images from the rows of a matrix",
       .doc = kToImageDoc,
       .example = kToImageExample,
       .attributes = matrix_attributes("source_matrix_origin", "source_matrix_batch_index"),
       .methods = {matrix_to_image()},
       .check = check_batch_range},
      {.name = "ImageCopyToMatrix",
       .apple = "MPSImageCopyToMatrix",
       .family = "image_copy",
       .brief = "Makes rows of a matrix from images",
       .doc = kToMatrixDoc,
       .example = kToMatrixExample,
       .attributes =
           matrix_attributes("destination_matrix_origin", "destination_matrix_batch_index"),
       .methods = {image_to_matrix()},
       .check = check_batch_range},
      {.name = "ChannelConcatenation",
       .apple = "",
       .family = "image_copy",
       .brief = "Joins images along their channels",
       .doc = kConcatenationDoc,
       .example = kConcatenationExample,
       .methods = {concatenation()}},
      {.name = "Slice",
       .apple = "MPSNNSlice",
       .family = "image_copy",
       .brief = "Copies a rectangle and a range of channels",
       .doc = kSliceDoc,
       .example = kSliceExample,
       .attributes = {source_offset(),
                      clip_rect(),
                      {.name = "source_feature_channel_offset",
                       .type = AttributeType::INT,
                       .doc = "first channel that is read",
                       .default_value = std::int64_t{0},
                       .minimum = 0,
                       .maximum = 1 << 24}},
       .methods = {image_method("Records the copy.", "any image", "image of as many images",
                                lower_slice)},
       .check = check_rectangles},
      {.name = "ImageTranspose",
       .apple = "MPSImageTranspose",
       .family = "image_copy",
       .brief = "Exchanges rows and columns of images",
       .doc = "destination[n, x, y, c] = source[n, y, x, c]. Formats may differ.",
       .example = kTransposeExample,
       .methods = {image_method("Records the transposition.", "any image (N, H, W, C)",
                                "image (N, W, H, C)", lower_transpose)}},
  };
}

}  // namespace mpsnn::graph
