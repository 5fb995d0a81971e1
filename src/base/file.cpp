// SPDX-License-Identifier: MIT
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include "mpsnn/error.h"

namespace mpsnn::base {
namespace {

/// One write(2) takes at most about 2 GiB on Linux and macOS refuses more.
constexpr std::size_t kWriteLimit = std::size_t{1} << 30;

[[noreturn]] void fail(const std::string& path, std::string_view what, int error) {
  throw FileError("\"" + path + "\": " + std::string(what) + ": " +
                  std::generic_category().message(error));
}

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }
  /// Some systems report a failed write only here.
  int close() noexcept { return ::close(std::exchange(number_, -1)); }

 private:
  int number_;
};

/// The name of a file that is removed unless `keep` was called.
class TemporaryName {
 public:
  explicit TemporaryName(std::string path) : path_(std::move(path)) {}
  ~TemporaryName() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  const std::string& path() const noexcept { return path_; }
  void keep() noexcept { path_.clear(); }

 private:
  std::string path_;
};

/// The system would take what stands before the zero byte for the name.
void check_name(const std::string& path, std::string_view what) {
  const std::size_t zero = path.find('\0');
  if (zero == std::string::npos) return;
  throw FileError("\"" + path.substr(0, zero) + "\": " + std::string(what) +
                  ": the path has a zero byte behind it");
}

/// What a link to a file that is not there yet names; the path itself where it is no link.
std::filesystem::path behind_links(std::filesystem::path target) {
  constexpr int kLinks = 40;  // as many as Linux follows
  std::error_code error;
  for (int i = 0; i < kLinks; ++i) {
    const std::filesystem::path next = std::filesystem::read_symlink(target, error);
    if (error) break;  // no link
    target = target.parent_path() / next;
  }
  return target;
}

/// The file that is written in the end: links are followed; what is not a regular file is refused,
/// so that a device or a folder is never replaced.
std::string resolve(const std::string& path) {
  if (path.empty()) throw FileError("\"\": cannot write: the path is empty");
  check_name(path, "cannot write");
  std::error_code error;
  const std::filesystem::path target(path);
  const auto status = std::filesystem::status(target, error);
  const std::filesystem::file_type type = status.type();
  if (type == std::filesystem::file_type::none || type == std::filesystem::file_type::unknown)
    fail(path, "cannot write", error.value());  // links in a circle, a folder that is not ours
  if (!std::filesystem::exists(status)) return behind_links(target).string();
  if (!std::filesystem::is_regular_file(status))
    throw FileError("\"" + path + "\": cannot write: not a regular file");
  const auto real = std::filesystem::canonical(target, error);
  if (error) fail(path, "cannot write", error.value());
  return real.string();
}

void write_all(int file, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), std::min(bytes.size(), kWriteLimit));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "cannot write", errno);
    if (written == 0) fail(path, "cannot write", ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

/// Creates a file that was not there, with a name that no one else takes.
std::pair<int, std::string> create_beside(const std::filesystem::path& target) {
  constexpr int kAttempts = 100;
  constexpr std::size_t kLongName = 200;  // names may have 255 bytes
  std::random_device random;
  const std::string wanted = target.filename().string();
  const std::string stem = wanted.size() > kLongName ? "mpsnn" : wanted;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::filesystem::path name = target;
    name.replace_filename("." + stem + "." + std::to_string(random()) + ".tmp");
    const int file = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0) return {file, name.string()};
    if (errno != EEXIST) break;
  }
  fail(target.string(), "cannot create a file beside it", errno);
}

/// A file that is replaced keeps its mode; a new one has what the process's mask gave it.
void copy_mode(const std::string& target, int file) {
  struct stat info{};
  if (::stat(target.c_str(), &info) != 0) return;
  if (::fchmod(file, info.st_mode & 0777) != 0) fail(target, "cannot set the mode", errno);
}

/// Makes the rename itself last. Not every file system can; the data is safe already.
void sync_folder(const std::filesystem::path& folder) {
  const Descriptor handle(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle.get() >= 0) static_cast<void>(::fsync(handle.get()));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  check_name(path, "cannot open");
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail(path, "cannot open", errno);
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) fail(path, "cannot read", errno);
  if (!S_ISREG(info.st_mode)) throw FileError("\"" + path + "\": cannot read: not a regular file");
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;  // an empty file cannot be mapped
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) fail(path, "cannot map", errno);
  data_ = static_cast<const std::byte*>(mapped);
  file_ = file.release();
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  if (file_ >= 0) ::close(file_);
}

MappedFile::Writable MappedFile::writable(std::span<const std::byte> part) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = static_cast<std::size_t>(part.data() - data_);
  const std::size_t before = begin % page, bytes = before + part.size();
  // Swap for pages that may never be written is not set aside.
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file_,
                        static_cast<off_t>(begin - before));
  if (mapped == MAP_FAILED) fail(path_, "cannot map", errno);
  return {static_cast<std::byte*>(mapped) + before,
          std::shared_ptr<void>(mapped, [bytes](void* pages) { ::munmap(pages, bytes); })};
}

void write_file_atomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts) {
  const std::string target = resolve(path);
  const auto [number, name] = create_beside(target);
  Descriptor file(number);
  TemporaryName temporary(name);
  for (const std::span<const std::byte> part : parts) write_all(file.get(), part, path);
  copy_mode(target, file.get());
  if (::fsync(file.get()) != 0) fail(path, "cannot write", errno);
  if (file.close() != 0) fail(path, "cannot write", errno);
  if (::rename(temporary.path().c_str(), target.c_str()) != 0)
    fail(path, "cannot rename into place", errno);
  temporary.keep();
  const std::filesystem::path folder = std::filesystem::path(target).parent_path();
  sync_folder(folder.empty() ? "." : folder);
}

}  // namespace mpsnn::base
