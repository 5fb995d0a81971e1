// SPDX-License-Identifier: MIT
// Files: safetensors read and written, atomic writes, hostile headers.
#include <sys/resource.h>
#include <sys/stat.h>
#include <csignal>

#include "archive_fixtures.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "mpsnn/error.h"
#include "testing.h"

using namespace fixtures;
using namespace mpsnn;  // NOLINT: tests only
using base::SafetensorsFile;
using base::TensorToWrite;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

void write_text(const std::string& path, const std::string& text) {
  const std::span<const std::byte> part = bytes_of(text);
  base::write_file_atomically(path, std::span(&part, 1));
}

/// Files may not grow beyond `bytes` while it lives: a disk that is full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);  // NOLINT: the write fails instead
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("files: written as a whole, replaced, mapped") {
  const Folder folder;
  const std::string path = folder / "file";
  write_text(path, "old");
  CHECK_EQ(read_bytes(path), "old");
  ::chmod(path.c_str(), 0640);
  write_text(path, "newer");
  CHECK_EQ(read_bytes(path), "newer");
  struct stat info{};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK_EQ(info.st_mode & 0777U, 0640U);
  CHECK_EQ(base::MappedFile(path).bytes().size(), 5U);
  CHECK_EQ(folder.file_count(), 1U);
  write_text(path, "");
  CHECK(base::MappedFile(path).bytes().empty());
}

TEST_CASE("files: a link is followed, not replaced") {
  const Folder folder;
  write_text(folder / "file", "old");
  std::filesystem::create_symlink(folder / "file", folder / "link");
  write_text(folder / "link", "new");
  CHECK_EQ(read_bytes(folder / "file"), "new");
  CHECK(std::filesystem::is_symlink(folder / "link"));
}

TEST_CASE("files: a link to what is not there yet is followed, one in a circle refused") {
  const Folder folder;
  std::filesystem::create_directory(folder / "inner");
  std::filesystem::create_symlink("inner/second", folder / "first");
  std::filesystem::create_symlink("file", folder / "inner/second");
  write_text(folder / "first", "new");
  CHECK_EQ(read_bytes(folder / "inner/file"), "new");
  CHECK(std::filesystem::is_symlink(folder / "first"));
  CHECK(std::filesystem::is_symlink(folder / "inner/second"));
  std::filesystem::create_symlink(folder / "circle", folder / "circle");
  CHECK_THROWS_CONTAINS(write_text(folder / "circle", "x"), FileError, "cannot write");
  CHECK(std::filesystem::is_symlink(folder / "circle"));
}

TEST_CASE("files: names as long as the system takes, and no part of a name") {
  const Folder folder;
  const std::string longest(255, 'n');
  write_text(folder / longest, "x");
  CHECK_EQ(read_bytes(folder / longest), "x");
  CHECK_THROWS_CONTAINS(write_text(folder / (longest + "n"), "x"), FileError, "too long");
  const std::string cut = (folder / "file") + std::string("\0.txt", 5);
  CHECK_THROWS_CONTAINS(write_text(cut, "x"), FileError, "zero byte");
  CHECK_THROWS_CONTAINS(base::MappedFile(cut), FileError, "zero byte");
  CHECK_EQ(folder.file_count(), 1U);
}

TEST_CASE("files: what cannot be written or read is a FileError with path and reason") {
  const Folder folder;
  CHECK_THROWS_CONTAINS(write_text(folder / "no/such/file", "x"), FileError, "No such file");
  CHECK_THROWS_CONTAINS(write_text(folder / "no/such/file", "x"), FileError, "no/such/file");
  CHECK_THROWS_AS(write_text("", "x"), FileError);
  std::filesystem::create_directory(folder / "folder");
  CHECK_THROWS_CONTAINS(write_text(folder / "folder", "x"), FileError, "not a regular file");
  CHECK_THROWS_CONTAINS(write_text("/dev/null", "x"), FileError, "not a regular file");
  CHECK_THROWS_CONTAINS(base::MappedFile(folder / "none"), FileError, "No such file");
  CHECK_THROWS_CONTAINS(base::MappedFile(folder / "folder"), FileError, "not a regular file");
  CHECK_THROWS_CONTAINS(base::MappedFile("/dev/null"), FileError, "not a regular file");
}

TEST_CASE("files: no space left keeps the old file and leaves nothing beside it") {
  const Folder folder;
  write_text(folder / "file", "old");
  {
    const FileSizeLimit limit(1000);
    CHECK_THROWS_CONTAINS(write_text(folder / "file", std::string(5000, 'x')), FileError,
                          "cannot write");
  }
  CHECK_EQ(read_bytes(folder / "file"), "old");
  CHECK_EQ(folder.file_count(), 1U);
}

TEST_CASE("safetensors: what is written is read") {
  const Folder folder;
  const std::string floats(24, 'f'), counter(8, 'c'), flags(3, 'b');
  base::write_safetensors(folder / "file",
                          {{"flags", "BOOL", {3}, bytes_of(flags)},
                           {"weights", "F32", {2, 3}, bytes_of(floats)},
                           {"empty", "F32", {0, 7}, {}},
                           {"step", "I64", {}, bytes_of(counter)}},
                          {{"note", "caf\u00e9"}});
  const SafetensorsFile file(folder / "file");
  CHECK_EQ(file.metadata().at("note"), "caf\u00e9");
  REQUIRE(file.tensors().size() == 4);
  const base::TensorView& weights = file.tensors().at("weights");
  CHECK_EQ(weights.dtype, "F32");
  CHECK_EQ(weights.shape, (std::vector<std::int64_t>{2, 3}));
  CHECK(std::memcmp(weights.bytes.data(), floats.data(), 24) == 0);
  CHECK(std::memcmp(file.tensors().at("flags").bytes.data(), flags.data(), 3) == 0);
  CHECK(file.tensors().at("step").shape.empty());
  CHECK(file.tensors().at("empty").bytes.empty());
}

TEST_CASE("safetensors: wrong tensors are not written") {
  const Folder folder;
  const std::string floats(8, 'f');
  const auto write = [&](std::vector<TensorToWrite> tensors) {
    base::write_safetensors(folder / "x", tensors, {});
  };
  CHECK_THROWS_AS(write({{"a", "F32", {3}, bytes_of(floats)}}), InternalError);
  CHECK_THROWS_AS(write({{"a", "F7", {2}, bytes_of(floats)}}), InternalError);
  CHECK_THROWS_CONTAINS(
      write({{"a", "F32", {2}, bytes_of(floats)}, {"a", "F32", {2}, bytes_of(floats)}}),
      InvalidArgumentError, "\"a\"");
  CHECK_THROWS_AS(write({{"\xff", "F32", {2}, bytes_of(floats)}}), InvalidArgumentError);
  CHECK_EQ(folder.file_count(), 0U);
}

TEST_CASE("safetensors: hostile files") {
  const auto tensor = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  const std::string four(4, '\0'), eight(8, '\0');
  struct Row {
    std::string bytes, part;
  };
  const Row rows[] = {
      {"", "truncated"},
      {"1234567", "truncated"},
      {eight, "not a safetensors file"},
      {std::string(8, '\xff') + "{}", "not a safetensors file"},
      {std::string("PK\x03\x04") + std::string(100, 'z'), "not a safetensors file"},
      {std::string("\x40\0\0\0\0\0\0\0{}", 10), "truncated: expected a header of 64 bytes, got 2"},
      {std::string("\0\0\0\x05\0\0\0\0{", 9), "truncated: expected a header of 83886080"},
      {std::string("\x02\0\0\0\0\0\0\0[]", 10), "not a safetensors file"},
      {safetensors("{\"a\":"), "JSON: byte"},
      {safetensors("{\"a\":{},\"a\":{}}"), "stands twice"},
      {safetensors("{\"a\":1}"), "tensor \"a\": expected an object"},
      {safetensors("{\"a\":" + std::string(100'000, '[')), "nested"},
      {safetensors("{\"a\":{}}"), "expected a key \"dtype\""},
      {safetensors("{\"__metadata__\":{\"k\":1}}"), "expected a string"},
      {safetensors("{\"__metadata__\":[]}"), "expected an object"},
      {safetensors(tensor("F33", "[1]", "[0,4]"), four), "unknown element type \"F33\""},
      {safetensors(tensor("F32", "1", "[0,4]"), four), "shape: expected an array"},
      {safetensors(tensor("F32", "[1.0]", "[0,4]"), four), "expected an integer"},
      {safetensors(tensor("F32", "[-1]", "[0,4]"), four), "got -1"},
      {safetensors(tensor("F32", "[2]", "[0,4]"), four),
       "expected 8 bytes for its shape and type, got 4"},
      {safetensors(tensor("F32", "[4611686018427387904,4]", "[0,0]")), "impossible"},
      {safetensors(tensor("F32", "[9223372036854775807,9223372036854775807]", "[0,4]"), four),
       "impossible"},
      {safetensors(tensor("F32", "[1]", "[0]"), four), "expected 2 numbers"},
      {safetensors(tensor("F32", "[1]", "[0,4,4]"), four), "expected 2 numbers"},
      {safetensors(tensor("F32", "[1]", "[4,0]"), four), "data_offsets[1]"},
      {safetensors(tensor("F32", "[1]", "[-4,0]"), four), "data_offsets[0]"},
      {safetensors(tensor("F32", "[1]", "[0,4]")), "data_offsets[1]"},
      {safetensors(tensor("F32", "[1]", "[9223372036854775800,9223372036854775804]"), four),
       "data_offsets[0]"},
      {safetensors(tensor("F32", "[1]", "[0,4]"), eight), "expected 4 bytes of tensors, got 8"},
      {safetensors(tensor("F32", "[1]", "[4,8]"), eight), "overlap others or leave a gap"},
      {safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                   "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
                   eight),
       "not aligned"},
      {safetensors(two("[0,4]", "[0,4]"), four), "overlap"},
      {safetensors(two("[0,4]", "[2,6]"), "123456"), "overlap"},
      {safetensors(two("[0,4]", "[6,10]"), "1234567890"), "gap"},
      {safetensors("{}", four), "expected 0 bytes of tensors"},
  };
  const Folder folder;
  for (const Row& row : rows) {
    write_bytes(folder / "hostile", row.bytes);
    CHECK_THROWS_CONTAINS(SafetensorsFile(folder / "hostile"), ArchiveError, row.part);
    CHECK_THROWS_CONTAINS(SafetensorsFile(folder / "hostile"), ArchiveError, "hostile\": ");
  }
}
