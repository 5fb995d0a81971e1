// SPDX-License-Identifier: MIT
// The queue of host backends, by the contract of backend.h.
#include <pthread.h>

#include <atomic>
#include <functional>
#include <thread>

#include "backend/host/host_queue.h"
#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

struct Step {
  std::function<void()> function;
  std::vector<const std::int32_t*> predicates = {};
};

/// Host functions in order; keeps what the queue called, in order.
class Work final : public backend::Submission {
 public:
  explicit Work(std::vector<Step> steps, std::exception_ptr refusal = nullptr)
      : steps_(std::move(steps)), refusal_(std::move(refusal)) {}

  std::size_t size() const noexcept override { return steps_.size(); }
  backend::Launch step(std::size_t i) override {
    backend::Launch launch;
    launch.host = steps_[i].function;
    launch.predicates = steps_[i].predicates;
    launch.label = "the step";
    return launch;
  }
  void scheduled() noexcept override { calls += "s"; }
  void completed(std::exception_ptr with) noexcept override {
    calls += "c";
    failure = std::move(with);
  }
  std::exception_ptr refused() const noexcept override { return refusal_; }

  std::string calls;
  std::exception_ptr failure;

 private:
  std::vector<Step> steps_;
  std::exception_ptr refusal_;
};

/// Submits and lets the queue's destructor wait.
std::shared_ptr<Work> run(std::vector<Step> steps, std::exception_ptr refusal = nullptr) {
  auto work = std::make_shared<Work>(std::move(steps), std::move(refusal));
  backend::host::make_queue("test")->submit(work);
  return work;
}

void rethrow(const Work& work) {
  if (work.failure) std::rethrow_exception(work.failure);
}

}  // namespace

TEST_CASE("host queue: a predicate is read when its step's turn comes") {
  std::int32_t first = 1, second = 0;
  std::string ran;
  const auto work = run({
      {[&] { ran += "a"; }, {&first}},
      {[&] { first = 0; }, {}},
      {[&] { ran += "b"; }, {&first}},   // switched off by the step before
      {[&] { ran += "c"; }, {&second}},  // off
      {[&] { second = -7; }, {}},
      {[&] { ran += "d"; }, {&second}},  // any value but zero is on
  });
  CHECK_EQ(ran, "ad");
  CHECK_EQ(work->calls, "sc");
  CHECK(work->failure == nullptr);
}

TEST_CASE("host queue: the first failure ends the submission, the next one runs") {
  std::string ran;
  const auto failing = std::make_shared<Work>(std::vector<Step>{
      {[&] { ran += "a"; }}, {[] { throw std::runtime_error("broke"); }}, {[&] { ran += "b"; }}});
  const auto next = std::make_shared<Work>(std::vector<Step>{{[&] { ran += "c"; }}});
  {
    const auto queue = backend::host::make_queue("test");
    queue->submit(failing);
    queue->submit(next);
  }
  CHECK_EQ(ran, "ac");
  CHECK_EQ(failing->calls, "sc");
  CHECK_THROWS_CONTAINS(rethrow(*failing), DeviceError, "\"the step\": broke");
  CHECK(next->failure == nullptr);
}

TEST_CASE("host queue: what is refused is not run") {
  std::string ran;
  const auto work = run({{[&] { ran += "a"; }}}, std::make_exception_ptr(DeviceError("earlier")));
  CHECK(ran.empty());
  CHECK_EQ(work->calls, "sc");
  CHECK_THROWS_CONTAINS(rethrow(*work), DeviceError, "earlier");
}

TEST_CASE("host queue: lets go of a submission once it is done, and names its thread") {
  std::string name(16, '\0');
  const auto work = run({{[&] { pthread_getname_np(pthread_self(), name.data(), name.size()); }}});
  CHECK_EQ(work.use_count(), 1);
  CHECK_EQ(std::string(name.c_str()), "mpsnn test");
}

TEST_CASE("host queue: unused, it comes and goes without a thread") {
  for (int i = 0; i < 1000; ++i) backend::host::make_queue("idle");
}
