// SPDX-License-Identifier: MIT
// Fuzz target: any text as the document of an archive whose tensors are sound, so that more inputs
// get as far as nodes, data sources and kernels.
#include <bit>
#include <cstring>

#include "base/json.h"
#include "base/safetensors.h"
#include "fuzz.h"
#include "seeds.h"

namespace {

/// The bytes of a file with a header, whose data is padded.
std::string file_of(std::string header, const std::string& data) {
  while (header.size() % 64 != 56) header.push_back(' ');
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

class Wrapper {
 public:
  Wrapper() {
    const std::string good = fuzzing::training_archive();
    std::uint64_t length = 0;
    std::memcpy(&length, good.data(), sizeof length);
    header_ = *mpsnn::base::parse_json(std::string_view(good).substr(sizeof length, length))
                   .get_if<mpsnn::base::Json::Object>();
    data_ = good.substr(sizeof length + length);
  }

  std::string around(std::string_view document) const {
    mpsnn::base::Json::Object header = header_;
    header["__metadata__"] = mpsnn::base::Json::Object{{"mpsnn", std::string(document)}};
    return file_of(to_string(mpsnn::base::Json(header)), data_);
  }

 private:
  mpsnn::base::Json::Object header_;
  std::string data_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzzing::MemoryFile file;
  static const mpsnn::NullDevice null;
  static const Wrapper wrapper;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!mpsnn::base::is_utf8(text)) return -1;  // no such header can be written; not kept
  file.write(wrapper.around(text));
  fuzzing::restore_all(null.device(), file.path());
  return 0;
}
