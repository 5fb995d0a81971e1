// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>

/// Errors. Every function of the library reports failure by throwing a class of this file; nothing
/// aborts the process. The text names the node or argument, what was expected and what came.
namespace mpsnn {

/// Base of all errors. In Python: `mpsnn.Error`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument has the right type but a wrong value, size or shape. Python: also a `ValueError`.
class InvalidArgumentError : public Error {
 public:
  using Error::Error;
};

/// An argument has the wrong type or element type. Python: also a `TypeError`.
class ArgumentTypeError : public Error {
 public:
  using Error::Error;
};

/// The backend cannot do this case; the text says why. Python: also a `NotImplementedError`.
class UnsupportedError : public Error {
 public:
  using Error::Error;
};

/// Memory of the host or device ran out. Python: also a `MemoryError`.
class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};

/// An object is not in the state that the call needs (not committed, already committed, not
/// loaded). Python: also a `RuntimeError`.
class StateError : public Error {
 public:
  using Error::Error;
};

/// A kernel failed on the device; the text holds its label. Python: also a `RuntimeError`.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// The device itself is gone; its objects cannot be used any more. Python: also a `RuntimeError`.
class DeviceLostError : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// A batch of a Pipeline failed; the text says which, and the failure itself is nested (Python:
/// `__cause__`). Python: also a `RuntimeError`.
class BatchError : public Error {
 public:
  BatchError(const std::string& text, std::size_t batch) : Error(text), batch_(batch) {}
  /// Counted from 0.
  std::size_t batch() const noexcept { return batch_; }

 private:
  std::size_t batch_;
};

/// An archive is truncated, foreign or inconsistent. Python: also a `ValueError`.
class ArchiveError : public Error {
 public:
  using Error::Error;
};

/// A file could not be opened, read or written. Python: also an `OSError`.
class FileError : public Error {
 public:
  using Error::Error;
};

/// A rule that mpsnn itself must keep was broken: a defect in the library, please report it.
/// Python: also a `RuntimeError`.
class InternalError : public Error {
 public:
  using Error::Error;
};

}  // namespace mpsnn
