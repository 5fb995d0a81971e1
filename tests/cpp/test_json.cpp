// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <locale>
#include <string>

#include "base/json.h"
#include "mpsnn/error.h"
#include "testing.h"

using mpsnn::ArchiveError;
using mpsnn::InvalidArgumentError;
using mpsnn::base::Json;
using mpsnn::base::JsonField;
using mpsnn::base::kJsonDepthLimit;
using mpsnn::base::parse_json;

namespace {

std::string again(std::string_view text) { return to_string(parse_json(text)); }

}  // namespace

TEST_CASE("json: values of every kind") {
  CHECK(parse_json("null").is_null());
  CHECK(parse_json(" true ") == Json(true));
  CHECK(parse_json("false") == Json(false));
  CHECK(parse_json("-12") == Json(std::int64_t{-12}));
  CHECK(parse_json("9223372036854775807") == Json(std::numeric_limits<std::int64_t>::max()));
  CHECK(parse_json("-9223372036854775808") == Json(std::numeric_limits<std::int64_t>::min()));
  CHECK(parse_json("0.5") == Json(0.5));
  CHECK(parse_json("-1e-3") == Json(-1e-3));
  CHECK(parse_json("2E+2") == Json(200.0));
  CHECK(parse_json("\"a\\n\\\"\\\\\\/\\u00e9\\ud83d\\ude00\"") == Json("a\n\"\\/\u00e9\U0001F600"));
  CHECK(parse_json("[1, [], {}]") == Json(Json::Array{1, Json::Array{}, Json::Object{}}));
  CHECK(parse_json("{\"b\": 1, \"a\": {\"c\": null}}") ==
        Json(Json::Object{{"a", Json::Object{{"c", Json()}}}, {"b", 1}}));
}

TEST_CASE("json: integers and doubles keep their kind") {
  CHECK_EQ(again("[1, 1.0, 1e0, 0, -0.0, 1e300, 5e-324]"),
           "[1,1.0,1.0,0,-0.0,1e+300,4.94065645841247e-324]");
  const double third = 1.0 / 3.0;
  CHECK(parse_json(to_string(Json(third))) == Json(third));
  CHECK(parse_json(to_string(Json(1e22))).get_if<double>() != nullptr);
  for (const double value : {5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
                             std::nextafter(1.0, 2.0), 0.1F + 0.0, 9007199254740993.0}) {
    CHECK(parse_json(to_string(Json(value))) == Json(value));
    CHECK(parse_json(to_string(Json(-value))) == Json(-value));
  }
  CHECK_EQ(to_string(Json(0.1)), "0.1");
  CHECK_EQ(to_string(Json(1e22)), "1e+22");
  CHECK_EQ(to_string(Json(123456.0)), "123456.0");
}

TEST_CASE("json: numbers are the same in every locale") {
  struct Comma final : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale(), new Comma));
  const std::string text = again("[1234567, 1234567.5]");
  std::locale::global(before);
  CHECK_EQ(text, "[1234567,1234567.5]");
}

TEST_CASE("json: text is written compact, sorted and escaped") {
  CHECK_EQ(again(R"({ "b" : [ ] , "a" : "x\u0001\ty" })"), R"({"a":"x\u0001\u0009y","b":[]})");
  CHECK_EQ(again("{}"), "{}");
  CHECK_THROWS_AS(to_string(Json(std::nan(""))), InvalidArgumentError);
  CHECK_THROWS_AS(to_string(Json(std::numeric_limits<double>::infinity())), InvalidArgumentError);
  CHECK_THROWS_AS(to_string(Json("\xff")), InvalidArgumentError);
  CHECK_THROWS_AS(to_string(Json(Json::Object{{"\xc3", 1}})), InvalidArgumentError);
}

TEST_CASE("json: what is not JSON is refused with its place") {
  struct Row {
    std::string_view text, part;
  };
  const Row rows[] = {
      {"", "byte 0: expected a value, got the end"},
      {"  ", "byte 2"},
      {"nul", "expected null"},
      {"[1,]", "byte 3: expected a value, got ']'"},
      {"[1 2]", "byte 3: expected ',' or ']', got '2'"},
      {"[1", "got the end"},
      {"{\"a\" 1}", "expected ':'"},
      {"{\"a\":1,}", "a key in quotes"},
      {"{a:1}", "a key in quotes"},
      {"{\"a\":1,\"a\":2}", "byte 7: key \"a\" stands twice"},
      {"1 1", "expected the end"},
      {"01", "expected the end"},
      {"+1", "expected a value"},
      {"-", "expected a value"},
      {".5", "expected a value"},
      {"1.", "expected a digit"},
      {"1e", "expected a digit"},
      {"NaN", "expected a value"},
      {"9223372036854775808", "an integer of 64 bits"},
      {"1e999", "in the range of a double"},
      {"\"abc", "expected a character"},
      {"\"a\nb\"", "got byte 10"},
      {"\"\\x\"", "an escape"},
      {"\"\\u12g4\"", "four hexadecimal digits"},
      {"\"\\u+123\"", "four hexadecimal digits"},
      {"\"\\ud800\"", "a pair of surrogates"},
      {"\"\\ud800\\u0041\"", "a low surrogate"},
      {"\"\\udc00\"", "a pair of surrogates"},
      {"\"\xff\"", "UTF-8"},
      {"\"\xc0\x80\"", "UTF-8"},
      {"\"\xed\xa0\x80\"", "UTF-8"},
      {"\"\xf4\x90\x80\x80\"", "UTF-8"},
      {"\"\xe2\x82", "UTF-8"},
      {std::string_view("\0", 1), "got byte 0"},
      {"'a'", "expected a value"},
      {"/* */ 1", "expected a value"},
  };
  for (const Row& row : rows) CHECK_THROWS_CONTAINS(parse_json(row.text), ArchiveError, row.part);
}

TEST_CASE("json: nesting is limited") {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  parse_json(nested(kJsonDepthLimit));
  CHECK_THROWS_CONTAINS(parse_json(nested(kJsonDepthLimit + 2)), ArchiveError, "nested");
  CHECK_THROWS_AS(parse_json(std::string(1'000'000, '[')), ArchiveError);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK_THROWS_AS(parse_json(objects), ArchiveError);
}

TEST_CASE("json: fields name their path") {
  const Json document = parse_json(R"({"a": [{"b": 1, "n": null}, "x"], "d": 0.5, "t": true})");
  const JsonField root(document, "archive");
  CHECK_EQ(root.at("a").at(0).at("b").integer(), 1);
  CHECK_EQ(root.at("a").at(0).at("b").number(), 1.0);
  CHECK_EQ(root.at("a").at(1).string(), "x");
  CHECK(root.at("t").boolean());
  CHECK(!root.find("z").has_value());
  CHECK(!root.at("a").at(0).find("n").has_value());
  CHECK_EQ(root.at("a").at(0).at("b").index(2), 1U);
  CHECK_THROWS_CONTAINS(root.at("z"), ArchiveError, "archive: expected a key \"z\", got none");
  CHECK_THROWS_CONTAINS(root.at("a").at(2), ArchiveError,
                        "archive.a: expected at least 3 elements, got 2");
  CHECK_THROWS_CONTAINS(root.at("a").at(1).integer(), ArchiveError,
                        "archive.a[1]: expected an integer, got a string");
  CHECK_THROWS_CONTAINS(root.at("a").at(0).at("b").index(1), ArchiveError,
                        "an index below 1, got 1");
  CHECK_THROWS_CONTAINS(root.at("a").at(0).at("b").integer(2, 3), ArchiveError,
                        "from 2 to 3, got 1");
  CHECK_THROWS_CONTAINS(root.at("d").integer(), ArchiveError, "expected an integer, got a number");
  CHECK_THROWS_CONTAINS(root.at("d").at("x"), ArchiveError,
                        "archive.d: expected an object, got a number");
  CHECK_THROWS_CONTAINS(root.at("d").boolean(), ArchiveError, "expected true or false");
  CHECK_THROWS_CONTAINS(root.at("t").number(), ArchiveError,
                        "expected a number, got true or false");
  CHECK_THROWS_CONTAINS(root.size(), ArchiveError, "expected an array, got an object");
}
