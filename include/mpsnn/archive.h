// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mpsnn/coding.h"
#include "mpsnn/graph.h"
#include "mpsnn/kernel.h"
#include "mpsnn/rnn.h"

/// Archives: one safetensors file. Tensors are weights and optimizer state; the header's metadata
/// holds the graphs as JSON with a format version. No code is stored or run. A class of one's own
/// is kept where it implements SecureCoding (coding.h).
namespace mpsnn {

/// Collects objects and writes them as one file. Apple: NSKeyedArchiver.
class KeyedArchiver {
 public:
  /// Adds a graph under a key: its nodes, data sources with their latest weights on the graph's
  /// device, optimizers and moments. Data sources shared by graphs are stored once. Waits for
  /// committed work. Throws InvalidArgumentError for an empty or repeated key.
  void encode(const std::string& key, const Graph& graph);
  /// Adds a kernel that is encoded by itself: class, label, parameters, and its state on the device
  /// as it is now (a random number generator goes on where it stopped). Waits for committed work.
  void encode(const std::string& key, const DeviceKernel& kernel);
  /// Adds a recurrent layer: class, label, properties and descriptors; its weights are data
  /// sources, which are stored as they are on the layer's device, with optimizers and moments, and
  /// shared with graphs and other layers of the archive. The matrices that a training layer is
  /// encoded with are the caller's. Waits for committed work.
  void encode(const std::string& key, const RNNLayer& layer);
  /// Adds a data source by itself, with its latest weights on a device, its optimizer and moments.
  /// Graphs of the same archive share it.
  void encode(const std::string& key, const std::shared_ptr<DataSource>& source,
              const Device& device);
  /// Adds an object of a class of one's own. Throws InvalidArgumentError, too, where its class has
  /// no name.
  void encode(const std::string& key, const SecureCoding& object);
  /// Free text beside the objects.
  void set_metadata(const std::string& key, std::string value);
  /// Atomic: the file named holds the old contents or the new ones, never a part. Throws FileError
  /// (also where the disk is full; the temporary file is removed).
  void write(const std::string& path) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;

 public:
  KeyedArchiver();
};

/// A file that was opened and checked. Graphs decoded from one archive share their data sources.
class Archive {
 public:
  /// Keys of the graphs.
  std::vector<std::string> keys() const;
  std::vector<std::string> kernel_keys() const;
  std::vector<std::string> recurrent_layer_keys() const;
  std::vector<std::string> data_source_keys() const;
  std::vector<std::string> object_keys() const;
  const std::map<std::string, std::string>& metadata() const;
  /// Compiles the graph for the unarchiver's device with the stored weights and optimizer state.
  /// Throws InvalidArgumentError for an unknown key, ArchiveError.
  Graph decode_graph(const std::string& key) const;
  /// Makes the kernel on the unarchiver's device, with its state. Throws as decode_graph does.
  DeviceKernel decode_kernel(const std::string& key) const;
  /// Makes the recurrent layer on the unarchiver's device; its data sources are those that graphs
  /// of this archive share. Throws as decode_graph does.
  RNNAnyLayer decode_recurrent_layer(const std::string& key) const;
  /// The data source, with weights and optimizer state on the unarchiver's device; the one that
  /// graphs of this archive share. Throws as decode_graph does.
  std::shared_ptr<DataSource> decode_data_source(const std::string& key) const;
  /// Makes the object by the function that KeyedUnarchiver::allow() was given for its class. Throws
  /// as decode_graph does, and what the function throws.
  std::shared_ptr<SecureCoding> decode_object(const std::string& key) const;
  struct Impl;
  explicit Archive(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

/// Opens archives for a device. Apple: MPSKeyedUnarchiver.
class KeyedUnarchiver {
 public:
  explicit KeyedUnarchiver(const Device& device) : device_(device) {}
  /// Names a class that archives opened from now on may hold: objects of others are refused. Throws
  /// InvalidArgumentError for an empty or repeated name.
  void allow(const std::string& class_name, DecodeObject decode);
  /// Maps and checks the file. Throws FileError, ArchiveError (truncated, foreign, newer format, a
  /// tensor whose bytes are not aligned to its element type: it is used where it lies).
  Archive open(const std::string& path) const;

 private:
  Device device_;
  std::map<std::string, DecodeObject> classes_;
};

}  // namespace mpsnn
