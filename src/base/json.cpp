// SPDX-License-Identifier: MIT
#include "base/json.h"

#ifdef __APPLE__
#include <xlocale.h>
#endif

#include <array>
#include <charconv>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <locale>
#include <sstream>
#include <system_error>

#include "mpsnn/error.h"

namespace mpsnn::base {
namespace {

/// The nearest double, whatever the program's locale is. Apple's libc++ has no std::from_chars of
/// doubles, and its std::to_chars is newer than the systems that we run on.
double to_double(const std::string& digits) {
  static const locale_t kClassic = newlocale(LC_ALL_MASK, "C", nullptr);
  return strtod_l(digits.c_str(), nullptr, kClassic);
}

/// Bytes of the well-formed UTF-8 sequence at the start of `text`, 0 where there is none
/// (Unicode, table 3-7).
std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto between = [&](std::size_t i, unsigned least, unsigned most) {
    return i < text.size() && byte(i) >= least && byte(i) <= most;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return between(1, 0x80, 0xBF) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned least = lead == 0xE0 ? 0xA0 : 0x80, most = lead == 0xED ? 0x9F : 0xBF;
    return between(1, least, most) && between(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned least = lead == 0xF0 ? 0x90 : 0x80, most = lead == 0xF4 ? 0x8F : 0xBF;
    return between(1, least, most) && between(2, 0x80, 0xBF) && between(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("the end");
    return value;
  }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    std::string got = "the end";
    if (at_ < text_.size()) {
      const auto byte = static_cast<unsigned char>(text_[at_]);
      got = byte >= 0x20 && byte < 0x7F ? std::string("'") + text_[at_] + "'"
                                        : "byte " + std::to_string(byte);
    }
    throw ArchiveError("JSON: byte " + std::to_string(at_) + ": expected " + std::string(expected) +
                       ", got " + got);
  }

  char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool digit() const noexcept { return peek() >= '0' && peek() <= '9'; }

  bool accept(char wanted) noexcept {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void skip_space() noexcept {
    while (at_ < text_.size() &&
           std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }

  Json parse_value(std::size_t depth) {
    if (depth > kJsonDepthLimit) {
      fail("at most " + std::to_string(kJsonDepthLimit) + " nested arrays and objects");
    }
    skip_space();
    switch (peek()) {
      case '{':
        return parse_object(depth);
      case '[':
        return parse_array(depth);
      case '"':
        return parse_string();
      case 't':
        return parse_word("true", true);
      case 'f':
        return parse_word("false", false);
      case 'n':
        return parse_word("null", Json());
      default:
        return parse_number();
    }
  }

  Json parse_word(std::string_view word, Json value) {
    if (text_.substr(at_, word.size()) != word) fail(word);
    at_ += word.size();
    return value;
  }

  Json parse_array(std::size_t depth) {
    ++at_;
    Json::Array array;
    skip_space();
    if (accept(']')) return array;
    do {
      array.push_back(parse_value(depth + 1));
      skip_space();
    } while (accept(','));
    if (!accept(']')) fail("',' or ']'");
    return array;
  }

  Json parse_object(std::size_t depth) {
    ++at_;
    Json::Object object;
    skip_space();
    if (accept('}')) return object;
    do {
      skip_space();
      if (peek() != '"') fail("a key in quotes");
      const std::size_t key_at = at_;
      std::string key = parse_string();
      skip_space();
      if (!accept(':')) fail("':'");
      if (object.contains(key)) {
        throw ArchiveError("JSON: byte " + std::to_string(key_at) + ": key \"" + key +
                           "\" stands twice");
      }
      Json value = parse_value(depth + 1);
      object.emplace(std::move(key), std::move(value));
      skip_space();
    } while (accept(','));
    if (!accept('}')) fail("',' or '}'");
    return object;
  }

  std::string parse_string() {
    ++at_;
    std::string out;
    while (!accept('"')) {
      if (at_ == text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20)
        fail("a character or '\"'");
      if (accept('\\')) {
        parse_escape(out);
        continue;
      }
      const std::size_t length = utf8_sequence(text_.substr(at_));
      if (length == 0) fail("UTF-8");
      out.append(text_.substr(at_, length));
      at_ += length;
    }
    return out;
  }

  void parse_escape(std::string& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (accept('u')) return append_utf8(out, parse_code_point());
    const std::size_t which = at_ < text_.size() ? kNames.find(text_[at_]) : std::string_view::npos;
    if (which == std::string_view::npos) fail("an escape");
    out.push_back(kMeanings[which]);
    ++at_;
  }

  std::uint32_t parse_code_point() {
    const std::uint32_t first = parse_hex4();
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || !accept('\\') || !accept('u')) fail("a pair of surrogates");
    const std::uint32_t second = parse_hex4();
    if (second < 0xDC00 || second > 0xDFFF) fail("a low surrogate");
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  std::uint32_t parse_hex4() {
    const std::string_view digits = text_.substr(at_, 4);
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4)
      fail("four hexadecimal digits");
    at_ += 4;
    return value;
  }

  Json parse_number() {
    const std::size_t start = at_;
    accept('-');
    if (!digit()) {
      at_ = start;
      fail("a value");
    }
    if (!accept('0')) skip_digits();
    bool whole = true;
    if (accept('.')) {
      whole = false;
      skip_digits();
    }
    if (accept('e') || accept('E')) {
      whole = false;
      if (!accept('+')) accept('-');
      skip_digits();
    }
    const std::string_view digits = text_.substr(start, at_ - start);
    if (whole) return integer(digits, start);
    const double value = to_double(std::string(digits));
    if (!std::isfinite(value)) {
      at_ = start;
      fail("a number in the range of a double");
    }
    return value;
  }

  void skip_digits() {
    if (!digit()) fail("a digit");
    while (digit()) ++at_;
  }

  std::int64_t integer(std::string_view digits, std::size_t start) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      at_ = start;
      fail("an integer of 64 bits");
    }
    return value;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

void write_string(std::string& out, std::string_view text) {
  if (!is_utf8(text)) throw InvalidArgumentError("JSON: expected UTF-8 text, got other bytes");
  constexpr std::string_view kHex = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out.append("\\u00");
      out.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      out.push_back(kHex[static_cast<unsigned char>(c) & 0xF]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void write_double(std::string& out, double value) {
  if (!std::isfinite(value))
    throw InvalidArgumentError("JSON: expected a finite number, got infinity or NaN");
  std::string digits;
  for (const int precision : {15, 16, 17}) {  // 17 tell any two doubles apart
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text << std::setprecision(precision) << value;
    digits = std::move(text).str();
    if (to_double(digits) == value) break;
  }
  out.append(digits);
  // Without a mark it would be read back as an integer.
  if (digits.find_first_of(".e") == std::string::npos) out.append(".0");
}

void write(std::string& out, const Json& value) {
  if (value.is_null()) {
    out.append("null");
  } else if (const bool* flag = value.get_if<bool>()) {
    out.append(*flag ? "true" : "false");
  } else if (const std::int64_t* integer = value.get_if<std::int64_t>()) {
    out.append(std::to_string(*integer));
  } else if (const double* number = value.get_if<double>()) {
    write_double(out, *number);
  } else if (const std::string* text = value.get_if<std::string>()) {
    write_string(out, *text);
  } else if (const Json::Array* array = value.get_if<Json::Array>()) {
    const char* separator = "[";
    for (const Json& item : *array) {
      out.append(std::exchange(separator, ","));
      write(out, item);
    }
    out.append(array->empty() ? "[]" : "]");
  } else if (const Json::Object* object = value.get_if<Json::Object>()) {
    const char* separator = "{";
    for (const auto& [key, item] : *object) {
      out.append(std::exchange(separator, ","));
      write_string(out, key);
      out.push_back(':');
      write(out, item);
    }
    out.append(object->empty() ? "{}" : "}");
  }
}

}  // namespace

std::string_view Json::type_name() const noexcept {
  constexpr std::array<std::string_view, 7> kNames = {
      "null", "true or false", "an integer", "a number", "a string", "an array", "an object"};
  return kNames[value_.index()];
}

Json parse_json(std::string_view text) { return Parser(text).document(); }

std::string to_string(const Json& value) {
  std::string out;
  write(out, value);
  return out;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void JsonField::fail(const std::string& problem) const {
  throw ArchiveError(path_ + ": " + problem);
}

template <class T>
const T& JsonField::as(std::string_view expected) const {
  const T* found = value_->get_if<T>();
  if (!found)
    fail("expected " + std::string(expected) + ", got " + std::string(value_->type_name()));
  return *found;
}

const Json::Object& JsonField::object() const { return as<Json::Object>("an object"); }
bool JsonField::boolean() const { return as<bool>("true or false"); }
const std::string& JsonField::string() const { return as<std::string>("a string"); }
std::size_t JsonField::size() const { return as<Json::Array>("an array").size(); }

JsonField JsonField::at(std::string_view key) const {
  const Json::Object& members = object();
  const auto found = members.find(key);
  if (found == members.end()) fail("expected a key \"" + std::string(key) + "\", got none");
  return {found->second, path_ + "." + std::string(key)};
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  const Json::Object& members = object();
  const auto found = members.find(key);
  if (found == members.end() || found->second.is_null()) return std::nullopt;
  return JsonField(found->second, path_ + "." + std::string(key));
}

JsonField JsonField::at(std::size_t index) const {
  const auto& items = as<Json::Array>("an array");
  if (index >= items.size()) {
    fail("expected at least " + std::to_string(index + 1) + " elements, got " +
         std::to_string(items.size()));
  }
  return {items[index], path_ + "[" + std::to_string(index) + "]"};
}

std::int64_t JsonField::integer(std::int64_t least, std::int64_t most) const {
  const auto value = as<std::int64_t>("an integer");
  if (value < least || value > most) {
    fail("expected an integer from " + std::to_string(least) + " to " + std::to_string(most) +
         ", got " + std::to_string(value));
  }
  return value;
}

std::size_t JsonField::index(std::size_t count) const {
  const auto value = as<std::int64_t>("an integer");
  if (value < 0 || static_cast<std::uint64_t>(value) >= count) {
    fail("expected an index below " + std::to_string(count) + ", got " + std::to_string(value));
  }
  return static_cast<std::size_t>(value);
}

double JsonField::number() const {
  if (const std::int64_t* whole = value_->get_if<std::int64_t>())
    return static_cast<double>(*whole);
  return as<double>("a number");
}

}  // namespace mpsnn::base
