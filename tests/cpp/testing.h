// SPDX-License-Identifier: MIT
// A small test harness: cases register themselves, checks report file:line and both values, and a
// failed check does not end its case (REQUIRE does). Checks may be made from several threads.
#pragma once

#include <cmath>
#include <concepts>
#include <exception>
#include <functional>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace testing {

struct Case {
  std::string name;
  void (*body)();
};

/// Thrown by REQUIRE and skip(); ends the case. Not a std::exception, so that code under test does
/// not take it for one of its own.
struct EndCase {};

std::vector<Case>& cases();  // all that registered, in order of definition per file
bool add_case(std::string name, void (*body)());
void report_failure(const char* file, int line, const std::string& text);
[[noreturn]] void skip(
    const std::string& reason);  // this machine cannot run the case; listed at the end

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
template <class T>
concept Range = requires(const T& value) {
  value.begin();
  value.end();
};

/// Text of a value for failure messages: streamed where it can be, element by element for ranges.
template <class T>
std::string to_text(const T& value) {
  std::ostringstream out;
  out.precision(17);
  if constexpr (std::is_same_v<T, bool>) {
    out << (value ? "true" : "false");
  } else if constexpr (std::is_enum_v<T>) {
    out << +static_cast<std::underlying_type_t<T>>(value);
  } else if constexpr (std::is_same_v<T, char>) {
    out << '\'' << value << '\'';
  } else if constexpr (std::is_integral_v<T> && sizeof(T) == 1) {
    out << +value;
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    out << '"' << std::string_view(value) << '"';
  } else if constexpr (Printable<T>) {
    out << value;
  } else if constexpr (Range<T>) {
    out << '{';
    const char* separator = "";
    for (const auto& item : value) {
      out << std::exchange(separator, ", ") << to_text(std::decay_t<decltype(item)>(item));
    }
    out << '}';
  } else if constexpr (requires { to_string(value); }) {
    out << to_string(value);  // the type's own, found by argument-dependent lookup
  } else {
    out << "<" << sizeof(T) << "-byte value>";
  }
  return out.str();
}

/// ==, but sign-safe for integers of different types (`vector.size() == 3`).
template <class A, class B>
bool are_equal(const A& a, const B& b) {
  constexpr bool kIntegers = std::is_integral_v<A> && std::is_integral_v<B>;
  if constexpr (kIntegers && !std::is_same_v<A, B> && !std::is_same_v<A, bool> &&
                !std::is_same_v<B, bool> && !std::is_same_v<A, char> && !std::is_same_v<B, char>) {
    return std::cmp_equal(a, b);
  } else {
    return a == b;
  }
}

template <class A, class B>
bool check_equal(const char* file, int line, const char* text, const A& a, const B& b) {
  if (are_equal(a, b)) return true;
  report_failure(file, line,
                 std::string(text) + "\n    left:  " + to_text(a) + "\n    right: " + to_text(b));
  return false;
}

/// NaN is near nothing; equal infinities are near.
inline bool check_near(const char* file, int line, const char* text, double a, double b,
                       double tolerance) {
  if (a == b || std::abs(a - b) <= tolerance) return true;
  report_failure(file, line,
                 std::string(text) + "\n    left:  " + to_text(a) + "\n    right: " + to_text(b) +
                     "\n    apart: " + to_text(std::abs(a - b)));
  return false;
}

inline bool check_true(const char* file, int line, const char* text, bool passed) {
  if (!passed) report_failure(file, line, text);
  return passed;
}

/// Runs `body`, which must throw an `Expected` whose text contains `part`.
template <class Expected, class Body>
bool check_throws(const char* file, int line, const char* text, std::string_view part,
                  Body&& body) {
  std::string got = "nothing was thrown";
  try {
    std::forward<Body>(body)();
  } catch (const EndCase&) {
    throw;
  } catch (const Expected& error) {
    if constexpr (std::is_base_of_v<std::exception, Expected>) {
      if (std::string_view(error.what()).find(part) != std::string_view::npos) return true;
      got = "\"" + std::string(error.what()) + "\" does not contain \"" + std::string(part) + "\"";
    } else {
      return true;
    }
  } catch (const std::exception& error) {
    got = "another class was thrown: " + std::string(error.what());
  } catch (...) {
    got = "something else was thrown, not a std::exception";
  }
  report_failure(file, line, std::string(text) + "\n    " + got);
  return false;
}

}  // namespace testing

#define MPSNN_JOIN_(a, b) a##b
#define MPSNN_JOIN(a, b) MPSNN_JOIN_(a, b)
/// TEST_CASE("planner: temporaries share the heap") { … }
#define TEST_CASE(name) MPSNN_TEST_CASE(name, MPSNN_JOIN(test_case_, __LINE__))
#define MPSNN_TEST_CASE(name, id)                                                             \
  static void id();                                                                           \
  [[maybe_unused]] static const bool MPSNN_JOIN(id, _added) = ::testing::add_case(name, &id); \
  static void id()

#define CHECK(...)                                                     \
  ::testing::check_true(__FILE__, __LINE__, "CHECK(" #__VA_ARGS__ ")", \
                        static_cast<bool>(__VA_ARGS__))
#define REQUIRE(...)                                     \
  do {                                                   \
    if (!CHECK(__VA_ARGS__)) throw ::testing::EndCase{}; \
  } while (false)
#define CHECK_EQ(a, b) \
  ::testing::check_equal(__FILE__, __LINE__, "CHECK_EQ(" #a ", " #b ")", (a), (b))
#define CHECK_NEAR(a, b, tolerance)                                                       \
  ::testing::check_near(__FILE__, __LINE__, "CHECK_NEAR(" #a ", " #b ", " #tolerance ")", \
                        static_cast<double>(a), static_cast<double>(b),                   \
                        static_cast<double>(tolerance))
#define CHECK_THROWS_CONTAINS(expression, Type, part)                                           \
  ::testing::check_throws<Type>(__FILE__, __LINE__, "CHECK_THROWS(" #expression ", " #Type ")", \
                                (part), [&] { static_cast<void>(expression); })
#define CHECK_THROWS_AS(expression, Type) CHECK_THROWS_CONTAINS(expression, Type, "")
