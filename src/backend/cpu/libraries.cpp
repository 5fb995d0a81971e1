// SPDX-License-Identifier: MIT
// What the CPU backend was built with, as the libraries themselves tell.
#include "base/library.h"

#include <utility>
#include <vector>

#include "backend/cpu/ops/lapack.h"
#include "backend/cpu/parallel.h"
#include "base/check.h"

#ifdef MPSNN_WITH_ONEDNN
#include <dnnl.hpp>
#endif

namespace mpsnn::backend::cpu {
namespace {

#ifdef MPSNN_WITH_ONEDNN
std::string_view name_of(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::sse41:
      return "sse41";
    case dnnl::cpu_isa::avx:
      return "avx";
    case dnnl::cpu_isa::avx2:
      return "avx2";
    case dnnl::cpu_isa::avx2_vnni:
      return "avx2_vnni";
    case dnnl::cpu_isa::avx512_core:
      return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_fp16:
      return "avx512_core_fp16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "avx512_core_amx";
    default:
      return "of its choice";
  }
}

base::LibraryInfo onednn() {
  const dnnl_version_t& version = *dnnl_version();
  return {"oneDNN", str(version.major, ".", version.minor, ".", version.patch),
          str("instructions ", name_of(dnnl::get_effective_cpu_isa()))};
}
#endif

}  // namespace

std::vector<base::LibraryInfo> libraries() {
  std::vector<base::LibraryInfo> found;
#ifdef MPSNN_WITH_ONEDNN
  found.push_back(onednn());
#endif
  if (base::LibraryInfo library = lapack::library(); !library.name.empty())
    found.push_back(std::move(library));
#ifdef MPSNN_WITH_OPENMP
  found.push_back({"OpenMP", std::to_string(_OPENMP), str("threads ", all_threads())});
#endif
  return found;
}

}  // namespace mpsnn::backend::cpu
