// SPDX-License-Identifier: MIT
// Runs the cases of one test program: all, or those whose name contains the first argument;
// `--list` names them. Ends with "N passed, N failed"; fails when a check failed or when no case
// ran.
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "testing.h"

namespace testing {
namespace {

/// Thrown by skip(); carries the reason to the runner.
struct Skipped {
  std::string reason;
};

// Failures come from any thread; both are guarded by the mutex.
struct Failures {
  std::mutex mutex;
  std::size_t count = 0;
};

Failures& failures() {
  static Failures instance;
  return instance;
}

std::size_t failure_count() {
  const std::lock_guard lock(failures().mutex);
  return failures().count;
}

enum class Outcome { PASSED, FAILED, SKIPPED };

Outcome run(const Case& test) {
  const std::size_t before = failure_count();
  try {
    test.body();
  } catch (const EndCase&) {
    // REQUIRE has reported already: the count below tells.
  } catch (const Skipped& skipped) {
    std::printf("SKIPPED %s: %s\n", test.name.c_str(), skipped.reason.c_str());
    return Outcome::SKIPPED;
  } catch (const std::exception& error) {
    report_failure(test.name.c_str(), 0, std::string("unexpected exception: ") + error.what());
  } catch (...) {
    report_failure(test.name.c_str(), 0, "unexpected exception that is not a std::exception");
  }
  if (failure_count() == before) return Outcome::PASSED;
  std::printf("FAILED %s\n", test.name.c_str());
  return Outcome::FAILED;
}

}  // namespace

std::vector<Case>& cases() {
  static std::vector<Case> instance;
  return instance;
}

bool add_case(std::string name, void (*body)()) {
  cases().push_back({std::move(name), body});
  return true;
}

void report_failure(const char* file, int line, const std::string& text) {
  const std::lock_guard lock(failures().mutex);
  ++failures().count;
  std::printf("%s:%d: %s\n", file, line, text.c_str());
}

void skip(const std::string& reason) { throw Skipped{reason}; }

}  // namespace testing

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was printed before a crash is seen
  const char* filter = argc > 1 ? argv[1] : "";
  if (std::strcmp(filter, "--list") == 0) {
    for (const auto& test : testing::cases()) std::printf("%s\n", test.name.c_str());
    return 0;
  }
  std::size_t passed = 0, failed = 0, skipped = 0;
  for (const auto& test : testing::cases()) {
    if (test.name.find(filter) == std::string::npos) continue;
    switch (testing::run(test)) {
      case testing::Outcome::PASSED:
        ++passed;
        break;
      case testing::Outcome::FAILED:
        ++failed;
        break;
      case testing::Outcome::SKIPPED:
        ++skipped;
        break;
    }
  }
  if (passed + failed + skipped == 0) std::printf("no case's name contains \"%s\"\n", filter);
  std::printf("%zu passed, %zu failed", passed, failed);
  if (skipped != 0) std::printf(", %zu skipped", skipped);
  std::printf("\n");
  return failed == 0 && passed + skipped != 0 ? 0 : 1;
}
